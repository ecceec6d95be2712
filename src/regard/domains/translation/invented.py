"""Languages that nobody speaks, so that a learner cannot know them: it has to read the lexicon from the pairs.

A ciphered language is a real one whose letters are permuted: its grammar is real, and no word looks like one of another
language. A relexified one is English with other words: stems by a random phonology, endings, another order, words that
are dropped, joined or glued to the next one. The sentences are real English; so a learner sees far more of it than
there are translations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from regard.domains.translation.reader import word_arrays
from regard.domains.translation.tokens import romanise

_ARTICLES = frozenset(("a", "an", "the"))
_PREPOSITIONS = frozenset(
    [
        "of",
        "in",
        "on",
        "at",
        "to",
        "for",
        "with",
        "from",
        "by",
        "into",
        "about",
        "under",
        "over",
        "after",
        "before",
        "without",
    ]
)
_CONSONANTS, _VOWELS = "bcdfghjklmnpqrstvwxzşčšžñðļç", "aeiouyäöüâéõ"
_OTHER_SCRIPTS = (0x430, 0x10D0, 0x561, 0x905, 0x5D0)  # Cyrillic, Georgian, Armenian, Devanagari, Hebrew
_ENDINGS = (("ing", ""), ("ed", ""), ("ies", "y"), ("s", ""), ("ly", ""), ("er", ""))

Word = tuple[str, str]
"""As it is written, and in Latin letters."""


def ciphered(characters: NDArray[np.int64], rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Words under a permutation of their letters.

    Args:
        characters: (T, 16) code points.
        rng: draws it.

    Returns:
        (T, 16) code points and (T,) numbers in Latin letters.
    """
    points, index = np.unique(characters, return_inverse=True)
    letters = np.array([place for place, point in enumerate(points) if point and chr(point).isalpha()], dtype=np.int64)
    mapped = points.copy()
    mapped[letters] = points[rng.permutation(letters)]
    changed = mapped[index.reshape(characters.shape)]
    latin = {int(point): romanise(chr(point)) if point else "" for point in mapped}
    words = ["".join(latin[point] for point in row if point) for row in changed.tolist()]
    return changed, word_arrays([], words)[1] if not words else word_arrays(words, words)[1]


class Relexifier:
    """One invented language: English sentences to its own.

    Args:
        rng: draws its grammar and its words.
        is_name: whether an English word is a name, which stays nearly the same.
    """

    def __init__(self, rng: np.random.Generator, is_name: Callable[[str], bool]) -> None:
        self.rng, self.is_name = rng, is_name
        self.consonants = "".join(rng.permutation(list(_CONSONANTS))[: rng.integers(8, 18)])
        self.vowels = "".join(rng.permutation(list(_VOWELS))[: rng.integers(3, 8)])
        self.closed = rng.random()
        self.script = int(rng.choice(_OTHER_SCRIPTS)) if rng.random() < 0.25 else 0
        self.reverses, self.postpositions = rng.random() < 0.2, rng.random() < 0.4
        self.swaps, self.final_verbs = rng.random() < 0.3, rng.random() < 0.3
        self.drops_articles = rng.random() < 0.6
        self.drops, self.merges = rng.random() * 0.1, rng.random() ** 3 * 0.25
        self.cognates, self.synonyms = rng.random() ** 3 * 0.5, rng.random() * 0.15
        self.cases = [self._syllable() for _ in range(rng.integers(0, 6))]
        self.inflected = rng.random() * 0.6
        self.prefixing = rng.random() < 0.25
        self.glued = rng.random() < 0.3
        self.endings = {ending: self._syllable() for ending, _ in _ENDINGS}
        self._stems: dict[str, list[str]] = {}
        self._pool: list[str] = []

    def __call__(self, tokens: Sequence[str]) -> list[Word]:
        """The sentence in this language."""
        rng, words = self.rng, list(tokens)
        end = words.pop() if words and not words[-1][0].isalnum() else None
        if self.drops_articles:
            words = [word for word in words if word not in _ARTICLES]
        if self.drops:
            words = [word for word in words if rng.random() >= self.drops] or words
        order = list(range(len(words)))
        if self.postpositions:
            for i in range(len(words) - 1):
                if words[order[i]] in _PREPOSITIONS:
                    order[i], order[i + 1] = order[i + 1], order[i]
        if self.swaps:
            for i in range(0, len(order) - 1, 2):
                order[i], order[i + 1] = order[i + 1], order[i]
        if self.final_verbs and len(order) > 2:
            order.append(order.pop(1))
        if self.reverses:
            order.reverse()
        written: list[str] = []
        for place in order:
            form = self._form(words[place], words[place - 1] if place else "")
            if written and ((self.glued and words[place] in _PREPOSITIONS) or rng.random() < self.merges):
                written[-1] += form
            else:
                written.append(form)
        written += [end] if end is not None else []
        return [self._spelled(word) for word in written if word]

    def _form(self, word: str, before: str) -> str:
        if not word[0].isalpha():
            return word
        base, ending = word, ""
        for suffix, rest in _ENDINGS:
            if len(word) > len(suffix) + 2 and word.endswith(suffix):
                base, ending = word[: -len(suffix)] + rest, self.endings[suffix]
                break
        stems = self._stems.get(base)
        if stems is None:
            stems = [self._stem(base) for _ in range(2 if self.rng.random() < self.synonyms else 1)]
            self._stems[base] = stems
        form = stems[0] if len(stems) == 1 else stems[int(self.rng.integers(2))]
        if self.cases and self.rng.random() < self.inflected:
            case = self.cases[len(before) % len(self.cases)]
            form = case + form if self.prefixing else form + case
        return form + ending

    def _stem(self, word: str) -> str:
        rng = self.rng
        if self.is_name(word) or rng.random() < self.cognates:
            letters = [letter for letter in word if rng.random() > 0.1]
            swapped = [
                str(rng.choice(list(self.vowels))) if x in "aeiou" and rng.random() < 0.2 else x for x in letters
            ]
            return "".join(swapped) or word
        if self._pool and rng.random() < 0.02:
            return self._pool[int(rng.integers(len(self._pool)))]
        n_syllables = 1 + (len(word) > 3) + (rng.random() < 0.4)
        stem = "".join(self._syllable() for _ in range(n_syllables))
        self._pool.append(stem)
        return stem

    def _syllable(self) -> str:
        rng = self.rng
        draw = rng.integers(0, 1 << 30, 3)
        syllable = self.consonants[draw[0] % len(self.consonants)] + self.vowels[draw[1] % len(self.vowels)]
        return syllable + (self.consonants[draw[2] % len(self.consonants)] if rng.random() < self.closed * 0.6 else "")

    def _spelled(self, word: str) -> Word:
        if not self.script:
            return word, romanise(word)
        return "".join(chr(self.script + ord(x) % 32) if x.isalpha() else x for x in word), romanise(word)

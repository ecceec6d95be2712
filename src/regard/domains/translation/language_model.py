"""A language model of English: interpolated Kneser-Ney over words, up to trigrams.

    p(w | u v) = max(c(u v w) - d, 0) / c(u v) + d N(u v .) / c(u v) p(w | v),
    p(w | v) likewise with continuation counts N(. v w), p(w) with N(. w) / N(. .), and 1 / V for the rest

Ney, Essen and Kneser 1994; Chen and Goodman 1999. Counts stand in dictionaries; what a sentence asks for is remembered.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import log

from regard.nn.spelling import read_spelling, spell
from regard.nn.trigrams import Trigrams

START, END = "<s>", "</s>"


class EnglishModel(ABC):
    """What knows how usual English is."""

    @abstractmethod
    def knows(self, word: str) -> bool:
        """Whether it is in the vocabulary."""

    @abstractmethod
    def log_probability(self, word: str, before: tuple[str, str]) -> float:
        """Of a word after two others."""

    @abstractmethod
    def frequent(self, n_words: int) -> list[str]:
        """Words that follow the most different words."""


class TrigramModel(EnglishModel):
    """Log-probabilities of English words after two others.

    Args:
        sentences: tokens of each, without marks of start and end.
        discount: d.
    """

    def __init__(self, sentences: Iterable[Sequence[str]], discount: float = 0.75) -> None:
        self.discount = discount
        trigrams: Counter[tuple[str, str, str]] = Counter()
        for tokens in sentences:
            padded = (START, START, *tokens, END)
            trigrams.update(zip(padded, padded[1:], padded[2:], strict=False))
        bigrams, unigrams = Counter((v, w) for _, v, w in trigrams), Counter[str]()
        for _, w in bigrams:
            unigrams[w] += 1
        self._counts = (trigrams, bigrams, unigrams)
        self._total: tuple[Counter[tuple[str, str]], Counter[str]] = (Counter(), Counter())
        self._kinds: tuple[Counter[tuple[str, str]], Counter[str]] = (Counter(), Counter())
        for (u, v, _), n in trigrams.items():
            self._total[0][u, v] += n
            self._kinds[0][u, v] += 1
        for (v, _), n in bigrams.items():
            self._total[1][v] += n
            self._kinds[1][v] += 1
        self._n_bigrams = len(bigrams)
        self.words = frozenset(unigrams)
        self._cached = lru_cache(maxsize=2**20)(self._log_probability)

    def log_probability(self, word: str, before: tuple[str, str]) -> float:
        """Of a word after two others."""
        return self._cached(word, before)

    def knows(self, word: str) -> bool:
        """Whether it was seen."""
        return word in self.words

    def frequent(self, n_words: int) -> list[str]:
        """The words that follow the most different words."""
        return [w for w, _ in self._counts[2].most_common(n_words + 1) if w != END][:n_words]

    def probability(self, word: str, before: tuple[str, str]) -> float:
        """p(word | before); of a word that was never seen, its share of what is left for all of them."""
        u, v = before
        d, vocabulary = self.discount, len(self.words) + 1
        p = 1 / vocabulary
        if self._n_bigrams:
            n_kinds = len(self.words)
            p = (max(self._counts[2][word] - d, 0) + d * n_kinds * p) / self._n_bigrams
        if total := self._total[1][v]:
            p = (max(self._counts[1][v, word] - d, 0) + d * self._kinds[1][v] * p) / total
        if total := self._total[0][u, v]:
            p = (max(self._counts[0][u, v, word] - d, 0) + d * self._kinds[0][u, v] * p) / total
        return p

    def _log_probability(self, word: str, before: tuple[str, str]) -> float:
        return log(self.probability(word, before))

    def score(self, tokens: Sequence[str]) -> float:
        """Log-probability of a sentence, its end included."""
        padded = (START, START, *tokens, END)
        triples = zip(padded, padded[1:], padded[2:], strict=False)
        return sum(self.log_probability(w, (u, v)) for u, v, w in triples)


class CountedEnglish(EnglishModel):
    """`Trigrams` that a learner keeps, as a model of English words.

    Args:
        trigrams: counted.
        vocabulary: (W,) numbers of its words in order, the end of a sentence first.
    """

    def __init__(self, trigrams: Trigrams, vocabulary: Sequence[int]) -> None:
        self._place = {number: place for place, number in enumerate(vocabulary)}
        self._n_words = len(vocabulary)
        t = trigrams  # lists, of which single numbers are read far faster
        self._one, self._two_left, self._three_left = (x.float().tolist() for x in (t.one, t.two_left, t.three_left))
        self._two, self._three = t.two.float().tolist(), t.three.float().tolist()
        self._two_start, self._two_word = t.two_start.tolist(), t.two_word.tolist()
        self._three_start, self._three_word = t.three_start.tolist(), t.three_word.tolist()
        self._three_place = {key: place for place, key in enumerate(t.three_key.tolist())}
        followed = [end - start for start, end in zip(self._two_start, self._two_start[1:], strict=False)]
        before = Counter(self._two_word[: self._two_start[-1]])
        self._common = [place for place, _ in before.most_common() if 0 < place < self._n_words and followed[place]]
        self._words = [read_spelling(number) for number in vocabulary]
        self._cached = lru_cache(maxsize=2**20)(self._log_probability)

    def log_probability(self, word: str, before: tuple[str, str]) -> float:
        """Of a word after two others."""
        return self._cached(word, before)

    def knows(self, word: str) -> bool:
        """Whether it is in the vocabulary."""
        return word == END or spell(word) in self._place

    def frequent(self, n_words: int) -> list[str]:
        """The words that follow the most different words."""
        return [self._words[place] for place in self._common[:n_words]]

    def _log_probability(self, word: str, before: tuple[str, str]) -> float:
        (u, v), w = map(self._number, before), self._number(word)
        p = self._two_left[v] * self._one[w] + _entry(self._two_start, self._two_word, self._two, v, w)
        place = self._three_place.get(u * (self._n_words + 1) + v)
        if place is not None:
            p = self._three_left[place] * p + _entry(self._three_start, self._three_word, self._three, place, w)
        return log(max(p, 1e-9))

    def _number(self, word: str) -> int:
        if not word:
            return self._n_words
        return 0 if word in (START, END) else self._place.get(spell(word), self._n_words)


def _entry(start: Sequence[int], word: Sequence[int], value: Sequence[float], row: int, w: int) -> float:
    """Of a sparse row, whose words are in order; 0 where it has none."""
    begin, end = start[row], start[row + 1]
    at = bisect_left(word, w, begin, end)
    return value[at] if at < end and word[at] == w else 0.0

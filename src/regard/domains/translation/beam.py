"""From what each word of a sentence may mean to an English sentence: a beam over word order, with a language model.

    score = sum_j translation * log p(e | f_j) + language * log p(e | before) + length * (number of words)
            - distortion * (jumps) - insertion * (words that no source word gives)

Each source word gives one English word or none; a word of those that stand everywhere may be put before another one.
Hypotheses that have covered the same number of words compete (Koehn, Och and Marcu 2003).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from regard.domains.translation.language_model import END, START, EnglishModel


@dataclass(frozen=True)
class BeamOptions:
    """Weights of the parts of the score, chosen on Croatian, Dutch, French, Bengali, Irish and Malay.

    Args:
        translation, language: of log-probabilities.
        length: for each word, against the language model's love of short sentences.
        distortion: for each word jumped over.
        insertion: for each word that no source word gives.
        copied: log-probability of a word that the language model does not know, such as a name.
        window: how many words may be jumped over.
        width: hypotheses that are kept.
        n_inserted: words that may be inserted: those that follow the most different words.
    """

    translation: float = 1.0
    language: float = 0.35
    length: float = 0.8
    distortion: float = 0.45
    insertion: float = 2.5
    copied: float = -10.0
    window: int = 2
    width: int = 8
    n_inserted: int = 25


class Choice(NamedTuple):
    """One way to render a source word.

    Args:
        word: English; None for no word.
        log_probability: of it.
    """

    word: str | None
    log_probability: float


class _Hypothesis(NamedTuple):
    score: float
    covered: int
    last: int
    before: tuple[str, str]
    words: tuple[str, ...]
    sources: tuple[int, ...]


class Decoded(NamedTuple):
    """An English sentence.

    Args:
        words: lower-case tokens.
        sources: for each the position of the source word that gave it; -1 for an inserted one.
        score: of the whole.
    """

    words: tuple[str, ...]
    sources: tuple[int, ...]
    score: float


class Beam:
    """Decodes sentences with one language model.

    Args:
        model: of English.
        options: weights and sizes.
    """

    def __init__(self, model: EnglishModel, options: BeamOptions) -> None:
        self.model, self.options = model, options
        self._frequent = [word for word in model.frequent(options.n_inserted) if word.isalpha()]
        self._inserted: dict[tuple[str, str], str] = {}

    def decode(self, choices: Sequence[Sequence[Choice]]) -> Decoded:
        """The best sentence.

        Args:
            choices: for each source word the ways to render it, at least one.
        """
        o, n_words = self.options, len(choices)
        # What is not covered yet is expected to cost what its best choice costs, its English words alone.
        expected = [max(self._expected(choice) for choice in of_word) for of_word in choices]
        total = sum(expected)
        stacks: list[dict[tuple[int, int, tuple[str, str]], _Hypothesis]] = [{} for _ in range(n_words + 1)]
        stacks[0][0, -1, (START, START)] = _Hypothesis(total, 0, -1, (START, START), (), ())
        for n_covered in range(n_words):
            best = sorted(stacks[n_covered].values(), key=lambda h: (-h.score, h.words))[: o.width]
            for hypothesis in best:
                first = next(j for j in range(n_words) if not hypothesis.covered >> j & 1)
                for j in range(first, min(n_words, first + o.window + 1)):
                    if hypothesis.covered >> j & 1:
                        continue
                    for choice in choices[j]:
                        if choice.word is None and j > first:
                            continue
                        for new in self._extend(hypothesis, j, choice, expected[j]):
                            key = (new.covered, new.last, new.before)
                            old = stacks[n_covered + 1].get(key)
                            if old is None or (new.score, old.words) > (old.score, new.words):
                                stacks[n_covered + 1][key] = new
        finished = [
            Decoded(h.words, h.sources, h.score + o.language * self.model.log_probability(END, h.before))
            for h in stacks[n_words].values()
        ]
        return max(finished, key=lambda d: (bool(d.words), d.score, d.words))

    def _log_probability(self, word: str, before: tuple[str, str]) -> float:
        known = self.model.knows(word)
        return self.model.log_probability(word, before) if known else self.options.copied

    def _expected(self, choice: Choice) -> float:
        o = self.options
        if choice.word is None:
            return o.translation * choice.log_probability
        alone = o.language * self._log_probability(choice.word, ("", ""))
        return o.translation * choice.log_probability + 0.6 * alone + o.length

    def _extend(self, h: _Hypothesis, j: int, choice: Choice, expected: float) -> list[_Hypothesis]:
        o, word = self.options, choice.word
        covered, base = h.covered | 1 << j, h.score - expected + o.translation * choice.log_probability
        if word is None:
            return [h._replace(score=base, covered=covered, last=j)]
        base += o.length - o.distortion * abs(j - h.last - 1)
        u, v = h.before
        score = base + o.language * self._log_probability(word, (u, v))
        plain = _Hypothesis(score, covered, j, (v, word), (*h.words, word), (*h.sources, j))
        x = self._inserted.get((v, word))
        if x is None:
            gains = {
                x: self._log_probability(x, ("", v)) + self._log_probability(word, ("", x)) for x in self._frequent
            }
            x = self._inserted[v, word] = max(gains, key=lambda x: (gains[x], x)) if gains else ""
        if not x:
            return [plain]
        gain = self._log_probability(x, (u, v)) + self._log_probability(word, (v, x))
        score = base + o.language * gain + o.length - o.insertion
        inserted = _Hypothesis(score, covered, j, (x, word), (*h.words, x, word), (*h.sources, -1, j))
        return [plain, inserted]

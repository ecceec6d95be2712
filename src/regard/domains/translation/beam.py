"""From what each word of a sentence may mean to an English sentence: a beam over word order, with a language model.

    score = sum_j translation * log p(e | f_j) + language * log p(e | before) + length * (number of words)
            - distortion * (jumps) - insertion * (words that no source word gives)

Each source word gives one English word or none; a word of those that stand everywhere may be put before another one.
Hypotheses that have covered the same number of words compete (Koehn, Och and Marcu 2003).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nlargest
from math import inf
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
        self._scores: dict[tuple[str, tuple[str, str]], float] = {}

    def decode(self, choices: Sequence[Sequence[Choice]]) -> Decoded:
        """The best sentence.

        Args:
            choices: for each source word the ways to render it, at least one.
        """
        o, n_words = self.options, len(choices)
        # What is not covered yet is expected to cost what its best choice costs, its English words alone.
        expected = [max(self._expected(choice) for choice in of_word) for of_word in choices]
        total = sum(expected)
        stacks: list[_Stack] = [{} for _ in range(n_words + 1)]
        stacks[0][0, -1, (START, START)] = _Hypothesis(total, 0, -1, (START, START), (), ())
        for n_covered in range(n_words):
            best = sorted(stacks[n_covered].values(), key=lambda h: (-h.score, h.words))[: o.width]
            stack, floor = stacks[n_covered + 1], -inf
            for hypothesis in best:
                first = next(j for j in range(n_words) if not hypothesis.covered >> j & 1)
                for j in range(first, min(n_words, first + o.window + 1)):
                    if hypothesis.covered >> j & 1:
                        continue
                    for choice in choices[j]:
                        if choice.word is None and j > first:
                            continue
                        self._extend(hypothesis, j, choice, expected[j], stack, floor)
                # Scores in a stack only rise: what is below its best `width` now will not be continued.
                if n_covered + 1 < n_words and len(stack) >= o.width:
                    floor = nlargest(o.width, (h.score for h in stack.values()))[-1]
        finished = [
            Decoded(h.words, h.sources, h.score + o.language * self.model.log_probability(END, h.before))
            for h in stacks[n_words].values()
        ]
        return max(finished, key=lambda d: (bool(d.words), d.score, d.words))

    def _log_probability(self, word: str, before: tuple[str, str]) -> float:
        score = self._scores.get((word, before))
        if score is None:
            known = self.model.knows(word)
            score = self.model.log_probability(word, before) if known else self.options.copied
            if len(self._scores) < _MOST_SCORES:
                self._scores[word, before] = score
        return score

    def _expected(self, choice: Choice) -> float:
        o = self.options
        if choice.word is None:
            return o.translation * choice.log_probability
        alone = o.language * self._log_probability(choice.word, ("", ""))
        return o.translation * choice.log_probability + 0.6 * alone + o.length

    def _extend(self, h: _Hypothesis, j: int, choice: Choice, expected: float, stack: _Stack, floor: float) -> None:
        """Put what follows from rendering word j so into the stack, where it is better than what stands there.

        Nothing below `floor` is built; a log-probability of English is at most 0, and need not be known for that.
        """
        o, word = self.options, choice.word
        covered, base = h.covered | 1 << j, h.score - expected + o.translation * choice.log_probability
        if word is None:
            if base >= floor:
                _keep(stack, (covered, j, h.before), base, h, (), ())
            return
        base += o.length - o.distortion * abs(j - h.last - 1)
        u, v = h.before
        if base >= floor:
            score = base + o.language * self._log_probability(word, h.before)
            if score >= floor:
                _keep(stack, (covered, j, (v, word)), score, h, (word,), (j,))
        if base + o.length - o.insertion < floor:
            return
        x = self._inserted.get((v, word))
        if x is None:
            gains = {
                x: self._log_probability(x, ("", v)) + self._log_probability(word, ("", x)) for x in self._frequent
            }
            x = self._inserted[v, word] = max(gains, key=lambda x: (gains[x], x)) if gains else ""
        if x:
            gain = self._log_probability(x, (u, v)) + self._log_probability(word, (v, x))
            score = base + o.language * gain + o.length - o.insertion
            if score >= floor:
                _keep(stack, (covered, j, (x, word)), score, h, (x, word), (-1, j))


_MOST_SCORES = 2**20
"""Log-probabilities that are remembered."""

_Key = tuple[int, int, tuple[str, str]]
_Stack = dict[_Key, _Hypothesis]


def _keep(
    stack: _Stack, key: _Key, score: float, h: _Hypothesis, words: tuple[str, ...], sources: tuple[int, ...]
) -> None:
    """Of hypotheses that go on alike the better one; of equals the first in the alphabet."""
    old = stack.get(key)
    if old is not None and old.score > score:
        return  # most are: nothing is built for them
    written = h.words + words
    if old is None or score > old.score or written < old.words:
        stack[key] = _Hypothesis(score, *key, written, h.sources + sources)

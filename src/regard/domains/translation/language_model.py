"""A language model of English: interpolated Kneser-Ney over words, up to trigrams.

    p(w | u v) = max(c(u v w) - d, 0) / c(u v) + d N(u v .) / c(u v) p(w | v),
    p(w | v) likewise with continuation counts N(. v w), p(w) with N(. w) / N(. .), and 1 / V for the rest

Ney, Essen and Kneser 1994; Chen and Goodman 1999. Counts stand in dictionaries; what a sentence asks for is remembered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import log

START, END = "<s>", "</s>"


class TrigramModel:
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
        self.log_probability = lru_cache(maxsize=2**20)(self._log_probability)

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

"""IBM model 1: which words of a sentence translate which, by expectation maximisation.

    p(e | f) = prod_i 1/(J + 1) sum_j t(e_i | f_j),   j = 0 .. J, f_0 the empty word
    t(e | f) proportional to sum over pairs and i of t(e_i | f_j) / sum_j' t(e_i | f_j')  where e_i = e and f_j = f

Brown et al. 1993, The Mathematics of Statistical Machine Translation. All links of all pairs are one flat array, so a
step of two hundred pairs is a few sums over some ten thousand numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

NULL = ""
"""The empty word, which explains what no word of the sentence does."""

Tokens = Sequence[str]


@dataclass(frozen=True)
class Lexicon:
    """What a set of pairs says about words.

    Args:
        given: the words of the conditioning side by their number; NULL is the first.
        output: the words of the other side by their number.
        rows, columns: (N,) numbers of each (given, output) couple that stands in some pair.
        probability: (N,) t(output | given).
        fertility: expected number of output words of one occurrence of each given word.
    """

    given: dict[str, int]
    output: dict[str, int]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    probability: NDArray[np.float64]
    fertility: NDArray[np.float64]
    _tables: dict[str, dict[str, float]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        names, words = list(self.given), list(self.output)
        for row, column, p in zip(self.rows.tolist(), self.columns.tolist(), self.probability.tolist(), strict=True):
            self._tables.setdefault(names[row], {})[words[column]] = p

    def translations(self, word: str) -> dict[str, float]:
        """t(. | word); empty for a word that no pair has."""
        return self._tables.get(word, {})

    def __call__(self, output: str, given: str) -> float:
        """t(output | given); 0 for words that never meet."""
        return self._tables.get(given, {}).get(output, 0.0)


def fit_lexicon(
    pairs: Sequence[tuple[Tokens, Tokens]],
    n_steps: int = 10,
    weight: Sequence[float] | None = None,
) -> Lexicon:
    """IBM model 1 from uniform t, where its likelihood has one maximum only.

    Args:
        pairs: tokens of the given side and of the output side of each pair.
        n_steps: of expectation maximisation.
        weight: of each pair; 2 is the same pair twice, 0 is none. By default 1.
    """
    given, output = {NULL: 0}, dict[str, int]()
    pair_weight = np.ones(len(pairs)) if weight is None else np.asarray(weight, dtype=np.float64)
    link_given, link_output, link_position, link_weight = [], [], [], []
    n_positions = 0
    seen = np.zeros(1 + sum(len(left) for left, _ in pairs))
    for number, (left, right) in enumerate(pairs):
        f = np.array([0, *(given.setdefault(word, len(given)) for word in left)], dtype=np.int64)
        e = np.array([output.setdefault(word, len(output)) for word in right], dtype=np.int64)
        np.add.at(seen, f, pair_weight[number])
        link_given.append(np.tile(f, len(e)))
        link_output.append(np.repeat(e, len(f)))
        link_position.append(n_positions + np.repeat(np.arange(len(e)), len(f)))
        link_weight.append(np.full(len(e) * len(f), pair_weight[number]))
        n_positions += len(e)
    if n_positions == 0:
        empty = np.zeros(0, dtype=np.int64)
        return Lexicon(given, output, empty, empty, np.zeros(0), np.zeros(len(given)))
    flat_given, position, weights = (np.concatenate(part) for part in (link_given, link_position, link_weight))
    couples, couple = np.unique(flat_given * len(output) + np.concatenate(link_output), return_inverse=True)
    rows, columns = couples // len(output), couples % len(output)
    t = np.full(len(couples), 1.0 / len(output))
    counts = np.zeros(len(couples))
    for _ in range(n_steps):
        score = t[couple]
        total = np.bincount(position, score, minlength=n_positions)[position]
        counts = np.bincount(couple, weights * np.divide(score, total, where=total > 0, out=np.zeros_like(score)))
        per_word = np.bincount(rows, counts, minlength=len(given))
        t = np.divide(counts, per_word[rows], where=per_word[rows] > 0, out=np.zeros_like(counts))
    occurrences = seen[: len(given)]
    fertility = np.bincount(rows, counts, minlength=len(given)) / np.maximum(occurrences, 1e-300)
    return Lexicon(given, output, rows, columns, t, np.where(occurrences > 0, fertility, 0.0))

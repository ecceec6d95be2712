"""Which of some translations is meant: the one that agrees most with all of them (minimum Bayes risk).

    t* = argmax_t sum_i p_i chrF(t, t_i)

after Kumar and Byrne 2004, with chrF as in Eikema and Aziz 2020 (arXiv:2005.10283). A learner's likeliest sentence is
fluent and may be about something else; a lexicon's is clumsy and seldom is. Each is evidence for the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_ORDER, _BETA = 6, 2.0


def expected_chrf(translations: Sequence[str], p: Sequence[float]) -> NDArray[np.float64]:
    """(N,) expected chrF2, 0 to 1, of each of N translations where the truth is the i-th with probability p_i.

    Args:
        translations: texts.
        p: (N,) at least 0; scaled to sum to 1.

    Examples:
        >>> expected_chrf(["a dog", "a dog", "cats"], [1, 1, 1]).round(2).tolist()
        [0.69, 0.69, 0.38]
    """
    grams = [_n_grams(text) for text in translations]
    n = len(translations)
    agreement = np.eye(n)
    for i in range(n):
        for j in range(i):
            agreement[i, j], agreement[j, i] = _both_ways(grams[i], grams[j])
    weight = np.asarray(p, dtype=np.float64)
    return agreement @ (weight / max(float(weight.sum()), 1e-300))


def _n_grams(text: str) -> list[Counter[str]]:
    letters = "".join(text.split())
    return [Counter(letters[i : i + n] for i in range(len(letters) - n + 1)) for n in range(1, _ORDER + 1)]


def _both_ways(a: Sequence[Counter[str]], b: Sequence[Counter[str]]) -> tuple[float, float]:
    """chrF of a against b, and of b against a."""
    shares_a, shares_b = [], []
    for x, y in zip(a, b, strict=True):
        n_x, n_y = x.total(), y.total()
        if n_x and n_y:
            small, large = (x, y) if len(x) < len(y) else (y, x)
            same = sum(min(count, large[gram]) for gram, count in small.items() if gram in large)
            shares_a.append(same / n_x)
            shares_b.append(same / n_y)
    if not shares_a:
        return float(a == b), float(a == b)
    first, second = float(np.mean(shares_a)), float(np.mean(shares_b))
    return _f(first, second), _f(second, first)


def _f(precision: float, recall: float) -> float:
    total = _BETA**2 * precision + recall
    return (1 + _BETA**2) * precision * recall / total if total else 0.0

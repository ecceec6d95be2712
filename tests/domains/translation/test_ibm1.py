"""IBM model 1 against its definition."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from regard.domains.translation.ibm1 import NULL, fit_lexicon

PAIRS = [
    (["das", "haus"], ["the", "house"]),
    (["das", "buch"], ["the", "book"]),
    (["ein", "buch", "das"], ["a", "book", "the", "the"]),
    (["haus"], ["house", "a"]),
]


def brute_force(pairs, n_steps: int, weight):
    """Expectation maximisation as the formula says it, in Python's floats."""
    vocabulary = {e for _, right in pairs for e in right}
    t = {(f, e): 1 / len(vocabulary) for left, right in pairs for f in [NULL, *left] for e in right}
    for _ in range(n_steps):
        counts, total = defaultdict(float), defaultdict(float)
        for (left, right), w in zip(pairs, weight, strict=True):
            for e in right:
                z = sum(t[f, e] for f in [NULL, *left])
                for f in [NULL, *left]:
                    counts[f, e] += w * t[f, e] / z
                    total[f] += w * t[f, e] / z
        t = {(f, e): counts[f, e] / total[f] for f, e in t}
    return t, counts


@pytest.mark.parametrize("weight", [(1, 1, 1, 1), (0.5, 2, 1, 3)])
@pytest.mark.parametrize("n_steps", [1, 7])
def test_it_is_the_definition(weight: tuple[float, ...], n_steps: int) -> None:
    lexicon = fit_lexicon(PAIRS, n_steps, weight)
    expected, counts = brute_force(PAIRS, n_steps, weight)
    assert sum(len(lexicon.translations(f)) for f in lexicon.given) == len(expected)
    for (f, e), p in expected.items():
        assert lexicon(e, f) == pytest.approx(p, abs=1e-12)
    for f, number in lexicon.given.items():
        n = sum(w * [NULL, *left].count(f) for (left, _), w in zip(PAIRS, weight, strict=True))
        assert lexicon.fertility[number] == pytest.approx(sum(c for (g, _), c in counts.items() if g == f) / n)


def test_the_likelihood_only_rises() -> None:
    def likelihood(n_steps: int) -> float:
        t = fit_lexicon(PAIRS, n_steps)
        return sum(np.log(np.mean([t(e, f) for f in [NULL, *left]])) for left, right in PAIRS for e in right)

    values = [likelihood(n) for n in (1, 2, 4, 8, 16)]
    assert values == sorted(values) and values[-1] > values[0]


def test_weight_is_repetition_and_zero_is_absence() -> None:
    weighted, repeated = fit_lexicon(PAIRS, weight=[2, 0, 1, 1]), fit_lexicon([PAIRS[0], PAIRS[0], *PAIRS[2:]])
    for f in repeated.given:
        assert weighted.translations(f) == pytest.approx(
            {**dict.fromkeys(weighted.translations(f), 0.0), **repeated.translations(f)}, abs=1e-12
        )


def test_words_are_found() -> None:
    lexicon = fit_lexicon(PAIRS, 30)
    best = {f: max(lexicon.translations(f), key=lexicon.translations(f).__getitem__) for f in ("haus", "buch")}
    assert best == {"haus": "house", "buch": "book"}


def test_no_pairs_give_no_words() -> None:
    assert fit_lexicon([]).translations("haus") == {} == fit_lexicon([([], [])]).translations(NULL)

"""The trigram model in tensors is the one of dictionaries, and probabilities add up."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from regard.nn.trigrams import Trigrams


def sentences(n: int = 200) -> list[list[int]]:
    rng = np.random.default_rng(0)
    return [
        rng.choice([1, 2, 3, 4, 5, 6], rng.integers(1, 6), p=[0.4, 0.2, 0.2, 0.1, 0.05, 0.05]).tolist()
        for _ in range(n)
    ]


def test_it_is_kneser_ney_by_hand() -> None:
    model, said = Trigrams(6, 500), sentences()
    model.count(said)
    triples = [t for s in said for t in zip([0, 0, *s], [0, *s, 0], [*s, 0], strict=False)]
    kinds = set(triples)
    d = 0.75

    def by_hand(u: int, v: int, w: int) -> float:
        bigrams = {(b, c) for _, b, c in kinds}
        n_words = len({c for _, c in bigrams})
        base = {c: max(sum(b[1] == c for b in bigrams) - d, 0) + d * n_words / 7 for c in range(7)}
        p = base[w] / sum(base.values())
        row = [(a, b, c) for a, b, c in kinds if b == v]
        n = sum((a, v, w) in kinds for a in range(7))
        p = max(n - d, 0) / len(row) + d * len({c for _, _, c in row}) / len(row) * p
        total = sum(t[:2] == (u, v) for t in triples)
        if not total:
            return p
        more = len({c for a, b, c in kinds if (a, b) == (u, v)})
        return max(triples.count((u, v, w)) - d, 0) / total + d * more / total * p

    before, last = torch.tensor([0, 0, 1, 5, 6]), torch.tensor([0, 1, 2, 6, 6])
    p = model(before, last)
    torch.testing.assert_close(p.sum(1), torch.ones(5), rtol=2e-3, atol=0)
    for row, (u, v) in enumerate(zip(before.tolist(), last.tolist(), strict=True)):
        expected = torch.tensor([by_hand(u, v, w) for w in range(7)])
        torch.testing.assert_close(p[row], expected, rtol=2e-3, atol=1e-4)


def test_uncounted_it_is_even() -> None:
    model = Trigrams(6, 10)
    assert model.is_empty
    torch.testing.assert_close(model(torch.tensor([1]), torch.tensor([2])), torch.full((1, 7), 1 / 7))


def test_counting_anew_forgets_what_was_counted() -> None:
    told, again = Trigrams(6, 90), Trigrams(6, 90)
    told.count(sentences())
    for model in (told, again):
        model.count(sentences()[:2])
    before, last = (torch.arange(7).repeat_interleave(7), torch.arange(7).repeat(7))
    assert torch.equal(told(before, last), again(before, last))


@pytest.mark.parametrize("n_entries", [6, 20, 45])
def test_without_room_for_all_it_is_still_a_distribution(n_entries: int) -> None:
    model = Trigrams(6, n_entries)
    model.count(sentences())
    before, last = (torch.arange(7).repeat_interleave(7), torch.arange(7).repeat(7))
    p = model(before, last)
    assert bool((p >= 0).all())
    assert torch.allclose(p.sum(-1), torch.ones(49), atol=2e-3)

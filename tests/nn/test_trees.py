"""Trees grown level by level against one grown row by row, and against scikit-learn's on average."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor

from regard.nn.trees import Trees, grow, walk
from regard.sampling.random import _mix  # pyright: ignore[reportPrivateUsage]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def task(n_rows: int, n_features: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rows (1, n, D), targets (1, n, 1) and weights (1, n), the first of them 0."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1, n_rows, n_features, generator=generator, dtype=torch.float64)
    y = x[..., :1].square() + x[..., 1:2] + 0.1 * torch.randn(1, n_rows, 1, generator=generator, dtype=torch.float64)
    weight = torch.rand(1, n_rows, generator=generator, dtype=torch.float64) + 0.5
    weight[:, 0] = 0
    return x, y, weight


def row_by_row(x: NDArray[Any], y: NDArray[Any], w: NDArray[Any], key: np.uint64) -> list[tuple[int, float]]:
    """The splits of one tree in depth-first order, by NumPy; a leaf is (-1, 0)."""
    mean = np.average(y, weights=w)
    if (w * (y - mean) ** 2).sum() <= 1e-9 * w.sum():
        return [(-1, 0.0)]
    with np.errstate(over="ignore"):
        words = _mix(np.array([key]) + np.arange(1, x.shape[1] + 1, dtype=np.uint64) * _GOLDEN)
        keys = _mix(np.array([key]) + np.arange(1, 3, dtype=np.uint64) * _GOLDEN)
    candidates = []
    for d, word in enumerate(words):
        u = float(word >> np.uint64(40)) / 2**24
        at = x[:, d].min() + (x[:, d].max() - x[:, d].min()) * u
        sides = [x[:, d] <= at, x[:, d] > at]
        gain = sum(w[s].sum() * (np.average(y[s], weights=w[s]) - mean) ** 2 for s in sides)
        candidates.append((round(gain, 9), int(word >> np.uint64(16)) & 0xFFFFFF, d, at))
    _, _, d, at = max(candidates)
    splits = [(d, at)]
    for side, child in zip((x[:, d] <= at, x[:, d] > at), keys, strict=True):
        splits += row_by_row(x[side], y[side], w[side], child)
    return splits


def depth_first(trees: Trees, node: int = 0) -> list[tuple[int, float]]:
    """The splits of the only tree."""
    child = int(trees.child[0, 0, node])
    if not child:
        return [(-1, 0.0)]
    split = (int(trees.feature[0, 0, node]), float(trees.threshold[0, 0, node]))
    return [split, *depth_first(trees, child), *depth_first(trees, child + 1)]


def test_a_tree_is_the_one_grown_row_by_row() -> None:
    x, y, weight = task(25, 4)
    grown = depth_first(grow(x, y, weight, n_trees=1, seed=3))
    x_1, y_1, w_1 = x[0, 1:].numpy(), y[0, 1:, 0].numpy(), weight[0, 1:].numpy()
    scaled = (y_1 - np.average(y_1, weights=w_1)) / np.sqrt(np.cov(y_1, aweights=w_1, ddof=0))
    with np.errstate(over="ignore"):
        root = _mix(_mix(np.array([1 + 3 * 1_000_003], dtype=np.uint64)))[0]
    expected = row_by_row(x_1, scaled, w_1, root)
    assert [d for d, _ in grown] == [d for d, _ in expected]
    np.testing.assert_allclose([u for _, u in grown], [u for _, u in expected], rtol=1e-12)
    assert len(grown) == 2 * 24 - 1  # targets all differ, so there are as many leaves as rows


def test_on_average_it_is_scikit_learns() -> None:
    x, y, _ = task(40, 5)
    query = task(200, 5, seed=1)[0]
    trees = grow(x, y, torch.ones(1, 40), n_trees=600)
    leaf = list(walk(trees, x))[-1][0]
    of_query = list(walk(trees, query))[-1][0]
    value = torch.zeros(1, 600, trees.child.shape[2], dtype=torch.float64).scatter(2, leaf, y.mT.expand(-1, 600, -1))
    ours = value.gather(2, of_query).mean(1)[0].numpy()
    theirs = ExtraTreesRegressor(600, random_state=0, n_jobs=1).fit(x[0].numpy(), y[0, :, 0].numpy())
    expected = theirs.predict(query[0].numpy())
    assert np.abs(ours - expected).mean() < 0.07 * y.std()
    assert np.corrcoef(ours, expected)[0, 1] > 0.99


@pytest.mark.parametrize("share_tried", [1.0, 0.3])
def test_equal_tasks_and_other_tasks_change_nothing(share_tried: float) -> None:
    a, b = task(12, 5), task(12, 5, seed=1)
    order = [a, b, a, b, b]
    options: dict[str, Any] = {"n_trees": 4, "share_tried": share_tried}
    together = grow(*(torch.cat([t[k] for t in order]) for k in range(3)), **options)
    for k, alone in enumerate(order):
        expected = grow(*alone, **options)
        for name in ("feature", "threshold", "child"):
            assert torch.equal(getattr(together, name)[k], getattr(expected, name)[0])


def test_features_may_be_shifted_scaled_and_constant() -> None:
    x, y, weight = task(15, 4)
    x[..., 3] = 1.0
    nodes = [node for node, _ in walk(grow(x, y, weight, n_trees=5, share_tried=0.25), x)]
    other = x * torch.tensor([1e6, 1e-6, 3.0, 7.0]) + torch.tensor([5.0, 0.0, 1.0, 2.0])
    moved = [node for node, _ in walk(grow(other, y, weight, n_trees=5, share_tried=0.25), other)]
    assert all(torch.equal(a, b) for a, b in zip(nodes, moved, strict=True))
    # Where the feature that was tried is constant, all are tried: every row comes to a leaf of its own.
    assert all(len(leaves.unique()) == 14 for leaves in nodes[-1][0, :, 1:])


def test_nothing_to_split() -> None:
    x, y, weight = task(6, 3)
    for trees in (
        grow(x, torch.full_like(y, 4.0), weight, n_trees=2),
        grow(torch.ones_like(x), y, weight, n_trees=2),
        grow(x, y, torch.zeros_like(weight), n_trees=2),
        grow(x[:, 1:2], y[:, 1:2], weight[:, 1:2], n_trees=2),
    ):
        assert not bool(trees.child.any())


def test_few_trees_at_a_time_are_the_same_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    given = task(10, 3)
    whole = grow(*given, n_trees=7)
    monkeypatch.setattr("regard.nn.trees._AT_ONCE", 60)
    assert torch.equal(grow(*given, n_trees=7).threshold, whole.threshold)

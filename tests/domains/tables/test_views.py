"""Views of tables: scaling against NumPy, ranks against SciPy, and classes that come back in their own order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm, rankdata
from torch import Tensor

from regard.domains.tables.views import TableViews, normal_scores
from regard.errors import EpisodeError


def cells(x: object, missing: object = None) -> dict[str, Tensor]:
    t = torch.tensor(x, dtype=torch.float64)
    gaps = torch.zeros_like(t, dtype=torch.bool) if missing is None else torch.tensor(missing)
    return {"x": t, "missing": gaps}


TABLE = [[1.0, 5.0, -2.0], [2.0, 5.0, 0.0], [4.0, 5.0, 2.0], [9.0, 5.0, 8.0]]


def test_the_first_view_is_the_table_scaled_by_weighted_mean_and_deviation() -> None:
    weight = torch.tensor([1.0, 2.0, 0.5, 0.0], dtype=torch.float64)
    views = TableViews(1, cells(TABLE), weight, 3)
    x = views.support(cells(TABLE))["x"]  # type: ignore[index]
    mean = np.average(TABLE, 0, weight)
    deviation = np.sqrt(np.average((np.array(TABLE) - mean) ** 2, 0, weight))
    deviation[1] = 1.0  # a constant column stays constant
    assert x.shape == (1, 4, 3)
    np.testing.assert_allclose(x[0].numpy(), (TABLE - mean) / deviation, atol=1e-12)


def test_missing_cells_do_not_count_for_mean_and_deviation() -> None:
    gaps = [[False, False, False], [False, False, True], [False, False, False], [True, False, False]]
    views = TableViews(1, cells(TABLE, gaps), torch.ones(4, dtype=torch.float64), 2)
    there = views.support(cells(TABLE, gaps))
    assert there["missing"][0].tolist() == gaps  # type: ignore[index]
    column = np.array([1.0, 2.0, 4.0])
    expected = (column - column.mean()) / column.std()
    np.testing.assert_allclose(there["x"][0, :3, 0].numpy(), expected)  # type: ignore[index]


def test_views_turn_columns_and_classes_and_rank_every_second() -> None:
    n, n_classes = 5, 3
    views = TableViews(n, cells(TABLE), torch.ones(4, dtype=torch.float64), n_classes)
    order = views.class_order(n_classes)
    assert order.tolist() == [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2], [1, 2, 0]]
    seen = views.support(cells(TABLE))["x"]  # type: ignore[index]
    assert torch.equal(seen, views.queries(cells(TABLE))["x"])  # type: ignore[index]
    plain = seen[0]
    ranked = normal_scores({**cells(TABLE), "x": plain}, {**cells(TABLE), "x": plain}, torch.ones(4).double())
    for e in range(n):
        source = ranked if e % 2 else plain
        columns = {tuple(c.tolist()) for c in seen[e].T}
        assert columns == {tuple(c.tolist()) for c in source.T}, f"view {e}"
    assert any(not torch.equal(seen[2], seen[e]) for e in (0, 4)), "columns stand where they stood"


def test_another_seed_orders_columns_differently_and_the_same_alike() -> None:
    wide = {"x": torch.arange(40.0, dtype=torch.float64).view(2, 20), "missing": torch.zeros(2, 20, dtype=torch.bool)}
    made = [TableViews(2, wide, torch.ones(2).double(), 2, seed=s)._views[1].columns.tolist() for s in (0, 0, 1)]
    assert made[0] == made[1] != made[2]
    assert sorted(made[0]) == list(range(20))


def test_normal_scores_are_quantiles_of_ranks() -> None:
    rows = torch.tensor([[3.0], [1.0], [1.0], [7.0], [5.0]], dtype=torch.float64)
    there = {"x": rows, "missing": torch.zeros(5, 1, dtype=torch.bool)}
    scores = normal_scores(there, there, torch.ones(5, dtype=torch.float64))[:, 0].numpy()
    # Mid-ranks: rankdata averages ties, and half a row is added on both sides.
    np.testing.assert_allclose(scores, norm.ppf(rankdata(rows[:, 0]) / 6))


def test_a_row_of_weight_two_is_two_rows_in_ranks_and_zero_is_none() -> None:
    rows = torch.tensor([[3.0], [1.0], [7.0], [4.0]], dtype=torch.float64)
    there = {"x": rows, "missing": torch.zeros(4, 1, dtype=torch.bool)}
    twice = {"x": rows[[0, 0, 1, 2]], "missing": torch.zeros(4, 1, dtype=torch.bool)}
    asked = cells([[0.0], [1.0], [3.0], [5.0], [9.0]])
    a = normal_scores(asked, there, torch.tensor([2.0, 1.0, 1.0, 0.0], dtype=torch.float64))
    b = normal_scores(asked, twice, torch.ones(4, dtype=torch.float64))
    assert torch.allclose(a, b)
    assert bool(torch.isfinite(a).all()) and bool((a.diff(dim=0) > 0).all())


def test_items_that_are_no_table_are_refused() -> None:
    with pytest.raises(EpisodeError, match="X became one tensor"):
        TableViews(1, torch.zeros(3, 2), torch.ones(3), 2)

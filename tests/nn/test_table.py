"""Layers for tables, each against a plain way of computing the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.kernel_ridge import KernelRidge

from regard.nn.kernel_experts import EXPERTS, CellViews, _solve_by_anchors, ask_again, choose_anchors, consult
from regard.nn.table import (
    ContextAttention,
    FeatureAttention,
    _shares,
    _sorted_shares,
    attend,
    column_statistics,
    view_cells,
)

SEEDED = torch.Generator


def cells(n_rows: int = 9, n_features: int = 3, seed: int = 0) -> torch.Tensor:
    generator = SEEDED().manual_seed(seed)
    # Rounded, so that some values are equal.
    return torch.randn(2, n_rows, n_features, generator=generator, dtype=torch.float64).mul(2).round()


def views(known: torch.Tensor, weight: torch.Tensor, asked: torch.Tensor) -> CellViews:
    columns = column_statistics(known, None, weight)
    return view_cells(torch.cat([known, asked], 1), None, columns)[0]


def test_a_constant_column_and_a_single_row_have_spread_1() -> None:
    x = torch.full((1, 4, 1), 1e9 + 0.1, dtype=torch.float64)
    for rows in (x, x[:, :1]):
        columns = column_statistics(rows, None, torch.ones(1, rows.shape[1], dtype=torch.float64))
        assert columns.spread.item() == 1
        assert view_cells(rows, None, columns)[0].score.abs().max() < 1e-6


def test_views_are_those_of_numpy() -> None:
    known, asked = cells(), cells(seed=1)
    weight = torch.ones(2, 9, dtype=torch.float64)
    found = views(known, weight, asked)
    x, k = torch.cat([known, asked], 1)[0, :, 1].numpy(), known[0, :, 1].numpy()
    np.testing.assert_allclose(found.score[0, :, 1], np.arcsinh((x - k.mean()) / k.std()), atol=1e-12)
    rank = [(np.sum(k < v) + np.sum(k == v) / 2) / 9 for v in x]
    np.testing.assert_allclose(found.rank[0, :, 1], rank)
    np.testing.assert_allclose(found.normal[0, :, 1], norm.ppf((np.array(rank) * 9 + 0.5) / 10), atol=1e-12)


def test_views_do_not_change_with_the_unit_and_ranks_not_with_a_bend() -> None:
    known, asked = cells(), cells(seed=1)
    weight = torch.ones(2, 9, dtype=torch.float64)
    plain = views(known, weight, asked)
    other = views(1000 * known - 7, weight, 1000 * asked - 7)
    torch.testing.assert_close(other.score, plain.score)
    bent = views(known.exp(), weight, asked.exp())
    torch.testing.assert_close(bent.rank, plain.rank)


def test_a_missing_cell_says_nothing_about_its_column() -> None:
    x, weight = cells(), torch.ones(2, 9, dtype=torch.float64)
    missing = torch.zeros_like(x, dtype=torch.bool)
    missing[0, 3, 1] = True
    a, b = (column_statistics(x.masked_fill(missing, v), missing, weight) for v in (0.0, 99.0))
    torch.testing.assert_close(a.centre, b.centre)
    torch.testing.assert_close(a.spread, b.spread)
    rest = torch.arange(9) != 3
    torch.testing.assert_close(a.centre[0, 0, 1], x[0, rest, 1].mean())


@pytest.mark.parametrize("number", range(len(EXPERTS)))
def test_an_expert_is_kernel_ridge_regression_and_its_leave_one_out_is_a_loop(number: int) -> None:
    expert = EXPERTS[number]
    known, asked = cells(), cells(seed=1)
    weight = torch.ones(2, 9, dtype=torch.float64)
    y = cells(n_features=2, seed=2)
    all_views = views(known, weight, asked)
    opinions, told = consult(all_views, y, weight)
    relevance = opinions.relevance[0].numpy() ** expert.power
    relevance /= relevance.sum()
    rows = getattr(all_views, expert.view)[0].numpy()

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        if expert.kind == "linear":
            return float((relevance * a * b).sum())
        if expert.kind == "gaussian":
            return float(np.exp(-(expert.scale**2) / 2 * (relevance * (a - b) ** 2).sum()))
        return float(np.exp(-expert.scale * (relevance * np.abs(a - b)).sum()))

    mean = y[0].mean(0).numpy()
    ridge = KernelRidge(alpha=expert.ridge, kernel=kernel).fit(rows[:9], y[0].numpy() - mean)
    np.testing.assert_allclose(told[0, 9:, :, number], ridge.predict(rows[9:]) + mean, atol=1e-9)
    for row in range(9):
        rest = np.arange(9) != row
        ridge.fit(rows[:9][rest], y[0].numpy()[rest] - mean)
        np.testing.assert_allclose(told[0, row, :, number], ridge.predict(rows[row : row + 1])[0] + mean, atol=1e-9)


def test_experts_asked_again_say_the_same_and_count_whole_weights() -> None:
    known, asked, y = cells(), cells(seed=1), cells(n_features=2, seed=2)
    weight = torch.ones(2, 9, dtype=torch.float64)
    weight[:, 4] = 2
    all_views = views(known, weight, asked)
    opinions, told = consult(all_views, y, weight)
    torch.testing.assert_close(ask_again(opinions, all_views.rows(slice(9, None))), told[:, 9:])
    rows = [*range(9), 4]
    twice = views(known[:, rows], torch.ones(2, 10, dtype=torch.float64), asked)
    other, told_twice = consult(twice, y[:, rows], torch.ones(2, 10, dtype=torch.float64))
    torch.testing.assert_close(told_twice[:, 10:], told[:, 9:])
    torch.testing.assert_close(told_twice[:, :9], told[:, :9])
    torch.testing.assert_close(other.loss, opinions.loss)


def test_quick_attention_is_the_attention_of_the_house() -> None:
    generator = SEEDED().manual_seed(0)
    q, k, v = (torch.randn(2, 3, 4, 5, 6, generator=generator, dtype=torch.float64) for _ in range(3))
    weight = torch.tensor([[1, 0, 2, 0.5, 1], [0, 0, 3, 1, 0]], dtype=torch.float64)
    quick = attend(q, k, v, weight)
    torch.testing.assert_close(attend(q, k, v, weight.clone().requires_grad_()).detach(), quick)
    torch.testing.assert_close(attend(q, k, v, None), attend(q, k, v, torch.ones_like(weight)))


def test_columns_are_apart_across_rows_and_rows_across_features() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 6, 3, 8, dtype=torch.float64)
    across = ContextAttention(8, 2).double()
    found = across(x, across.remember(x[:, :4]), None)
    one = across(x[:, :, 1:2], across.remember(x[:, :4, 1:2]), None)
    torch.testing.assert_close(found[:, :, 1:2], one)
    features = FeatureAttention(8, 2).double()
    torch.testing.assert_close(features(x)[:, 2:3], features(x[:, 2:3]))
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(features(x[:, :, order]), features(x)[:, :, order])


def test_anchors_that_are_all_rows_are_the_exact_experts() -> None:
    known, asked, y = cells(), cells(seed=1), cells(n_features=2, seed=2)
    weight = torch.ones(2, 9, dtype=torch.float64)
    weight[0, 3], weight[1, 5] = 2, 0
    all_views = views(known, weight, asked)
    anchors = choose_anchors(all_views, y, weight, 9)
    assert sorted(anchors[0].tolist()) == list(range(9))
    assert anchors[1, -1] == 5
    opinions, told = consult(all_views, y, weight)
    others, told_by_anchors = consult(all_views, y, weight, anchors)
    torch.testing.assert_close(told_by_anchors, told, rtol=0, atol=1e-2)
    torch.testing.assert_close(others.loss, opinions.loss, rtol=2e-2, atol=1e-3)
    torch.testing.assert_close(ask_again(others, all_views.rows(slice(9, None))), told_by_anchors[:, 9:])


def test_leave_one_out_by_anchors_is_a_loop() -> None:
    known, y = cells(), cells(n_features=2, seed=2)
    weight = torch.ones(2, 9, dtype=torch.float64)
    all_views = views(known, weight, known)
    anchors, relevance = torch.tensor([[0, 2, 4, 7]] * 2), torch.ones(2, known.shape[2], dtype=torch.float64)
    centres = all_views.rows(slice(9)).gather(anchors)
    _, told, alone = _solve_by_anchors(all_views, centres, relevance, y, weight)
    left_out = y[:, None] - (y[:, None] - told[:, :, :9]) / alone[..., None]
    for row in range(9):
        without = weight.clone()
        without[:, row] = 0
        _, others, _ = _solve_by_anchors(all_views, centres, relevance, y, without)
        torch.testing.assert_close(left_out[:, :, row], others[:, :, row])


def test_anchors_stand_for_every_class_whatever_the_order_of_rows() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 60, 3, dtype=torch.float64, generator=generator)
    y = torch.eye(3, dtype=torch.float64)[torch.arange(60) % 20 // 7][None]
    weight = (torch.arange(60) % 5 > 0).double()[None]
    shuffled = torch.randperm(60, generator=generator)
    first = choose_anchors(views(x, weight, x), y, weight, 12)[0]
    moved = x[:, shuffled], y[:, shuffled], weight[:, shuffled]
    second = shuffled[choose_anchors(views(moved[0], moved[2], moved[0]), moved[1], moved[2], 12)[0]]
    assert first.tolist() == second.tolist()
    assert len(set(first.tolist())) == 12
    assert (weight[0, first] > 0).all()
    assert y[0, first].sum(0).min() >= 3


def test_ranks_by_sorting_are_ranks_by_comparing() -> None:
    known, asked = cells().round(), cells(seed=1).round()
    weight = torch.rand(2, 9, dtype=torch.float64)
    missing = torch.zeros_like(known, dtype=torch.bool)
    missing[0, 3, 1] = True
    columns = column_statistics(known.masked_fill(missing, 0.0), missing, weight)
    for found, wanted in zip(_sorted_shares(asked, columns), _shares(asked, columns), strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("largest", [1.0, 100.0])
def test_the_quick_solution_is_the_one_that_is_differentiated(largest: float) -> None:
    x, y = cells(n_rows=40), cells(n_rows=40, n_features=2, seed=2)
    weight = torch.linspace(0, 1, 40, dtype=torch.float64).repeat(2, 1) ** 2 * largest
    rows = views(x, weight, x[:, :5] + 1)
    _, quick = consult(rows, y, weight)
    opinions, general = consult(rows, y, weight.requires_grad_())
    assert opinions.dual.requires_grad
    torch.testing.assert_close(quick, general.detach(), rtol=1e-6, atol=1e-6)

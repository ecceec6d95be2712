"""Tasks of a table: episodes are a pure function of their number, and labels are those of the table."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from regard.errors import DataError
from regard.sampling.task_table import TaskTable, TaskTableSampler, repeated_tasks


def table(n: int = 60, n_tasks: int = 4) -> TaskTable:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, (n, n_tasks)).astype(np.float32)
    y[rng.random(y.shape) < 0.2] = np.nan
    x = {"row": torch.arange(n), "x": torch.randn(n, 3)}
    return TaskTable(x, y, tuple("abcd"[:n_tasks]), tuple(map(str, range(n))), ("f", "f", "f", "g")[:n_tasks])


def test_labels_are_those_of_one_task_and_rows_differ() -> None:
    data = table()
    sampler = TaskTableSampler(data, 5, 3, seed=3)
    episode = sampler([0, 7, 4])
    for b in range(3):
        rows = torch.cat([episode.support.x["row"][b], episode.query_x["row"][b]])  # type: ignore[index]
        y = torch.cat([episode.support.y[b], episode.query_y[b]]).numpy()
        assert len(set(rows.tolist())) == 16
        assert any(np.array_equal(data.y[rows, task], y.astype(np.float32)) for task in range(4))
    alone = sampler([7])
    assert torch.equal(alone.query_x["row"][0], episode.query_x["row"][1])  # type: ignore[index]


def test_shares_decide_how_often_a_group_is_drawn() -> None:
    sampler = TaskTableSampler(table(), 5, 3, shares={"f": 0.1, "g": 0.9})
    episode, data = sampler(range(300)), table()
    rows, y = episode.support.x["row"], episode.support.y  # type: ignore[index]
    is_g = [(data.y[rows[b], 3] == y[b].numpy()).all() for b in range(300)]
    assert 0.8 < np.mean(is_g) < 1.0
    with pytest.raises(DataError, match="group 'h'"):
        TaskTableSampler(table(), shares={"h": 1.0})


def test_any_items_are_drawn_alike_for_labels_of_all_tasks() -> None:
    episode = TaskTableSampler(table(), 5, 3, any_items=True)(range(200))
    rows = torch.cat([episode.support.x["row"], episode.query_x["row"]], 1)  # type: ignore[index]
    assert all(len(set(row.tolist())) == 16 for row in rows)
    counts = np.bincount(rows.flatten().numpy(), minlength=60)
    assert counts.min() > 25 and counts.max() < 85  # 53 of each on average


def test_values_are_targets() -> None:
    data = TaskTable(
        torch.randn(30, 2), np.random.default_rng(0).normal(size=(30, 1)).astype(np.float32), ("v",), ("",) * 30
    )
    episode = TaskTableSampler(data, (4, 8), 5, regression=True)([0, 1])
    assert episode.support.is_regression and episode.query_y.shape == (2, 5, 1)
    assert set(episode.support.weight.sum(1).tolist()) <= {4.0, 5.0, 6.0, 7.0, 8.0}


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(DataError, match="n_shot \\+ n_query asks for 80"):
        TaskTableSampler(table(), 40, 40)


def test_repeats_are_found_as_a_correlation_of_the_shared_rows_says() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, (800, 3)).astype(np.float32)
    others = np.where(rng.random((800, 3)) < 0.1, 1 - y, y)[:, [2, 0, 1]]
    others[:500, 1] = np.nan
    y[:200, 0] = np.nan
    found = {(r.other, r.task): r for r in repeated_tasks(others, y, n_shared=300)}
    assert set(found) == {(0, 2), (1, 0), (2, 1)}
    both = ~np.isnan(others[:, 1]) & ~np.isnan(y[:, 0])
    assert found[1, 0].phi == pytest.approx(np.corrcoef(others[both, 1], y[both, 0])[0, 1])
    assert found[1, 0].n_shared == both.sum() == 300
    assert not repeated_tasks(others, y, n_shared=900)


def test_rows_with_labels_follow_the_queries_with_weight_0() -> None:
    values = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
    data = TaskTable(torch.arange(300)[:, None], values, ("a", "b"), tuple(map(str, range(300))))
    plain, more = (TaskTableSampler(data, 4, (3, 5), regression=True, n_labelled=k)(range(40)) for k in (0, 7))
    assert torch.equal(plain.query_x, more.query_x[:, :5]) and torch.equal(plain.support.y, more.support.y)  # type: ignore[index]
    assert more.query_weight.shape == (40, 12) and not more.query_weight[:, 5:].any()
    assert set(plain.query_weight.sum(1).tolist()) == {3.0, 4.0, 5.0}

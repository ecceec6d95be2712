"""Items with many tasks, each of which labels some of them: molecules and their assays, compounds and their properties.

    labels   x (N, *item); y (N, T), NaN where a task says nothing of an item
    episode  one task: in classification its inactive items are class 0 and its active ones class 1, n_shot and n_query
             of each; in regression n_shot and n_query items with their values

Tasks may have groups, such as the publications they come from, and groups shares: then an episode draws a group by its
share first, so that a publication of 300 tasks does not drown one of ten.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.episode import Episode, Items, Support, first_tensor, map_items
from regard.errors import DataError
from regard.sampling.counts import Count
from regard.sampling.random import uniform, without_replacement
from regard.sampling.source import EpisodeSource, Numbers, count_range

_TASK, _ROWS, _SHOTS, _N_STREAMS = range(4)
_LABELLED, _QUERIES = 100, 200
"""Beyond the streams of every split."""


@dataclass(frozen=True)
class TaskTable:
    """N items, T tasks.

    Args:
        x: (N, *item).
        y: (N, T) float32: 0 and 1, or numbers; NaN is unknown.
        names: of the tasks.
        ids: of the items, such as canonical SMILES: equal ids are one item.
        groups: of the tasks; empty where there are none.

    Raises:
        DataError: sizes disagree.
    """

    x: Items
    y: NDArray[np.float32]
    names: tuple[str, ...]
    ids: tuple[str, ...]
    groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n_items = len(first_tensor(self.x))
        if self.y.shape != (n_items, len(self.names)) or len(self.ids) != n_items:
            raise DataError(
                f"labels have shape {self.y.shape} for {n_items} items, {len(self.ids)} ids and {len(self.names)} "
                "tasks: expected one row per item and one column per task."
            )
        if self.groups and len(self.groups) != len(self.names):
            raise DataError(f"{len(self.groups)} groups for {len(self.names)} tasks: expected one per task.")

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, index: NDArray[np.int64]) -> Items:
        """The items at `index`, of any shape."""
        flat = torch.from_numpy(index.reshape(-1))
        return map_items(lambda t: t.index_select(0, flat).reshape(*index.shape, *t.shape[1:]), self.x)

    def select(self, items: NDArray[np.bool_] | None = None, tasks: Sequence[int] | None = None) -> Self:
        """Some of the items and some of the tasks.

        Args:
            items: (N,) those to keep; all by default.
            tasks: numbers of those to keep, in this order; all by default.
        """
        kept = np.arange(len(self)) if items is None else np.flatnonzero(items)
        chosen = list(range(len(self.names))) if tasks is None else list(tasks)
        return replace(
            self,
            x=self.x if items is None else self.rows(kept),
            y=self.y[kept][:, chosen],
            names=tuple(self.names[t] for t in chosen),
            ids=self.ids if items is None else tuple(self.ids[i] for i in kept),
            groups=tuple(self.groups[t] for t in chosen) if self.groups else (),
        )


class RepeatedTask(NamedTuple):
    """A task whose labels repeat another's.

    Args:
        other: number of the task that is repeated.
        task: number of the one that repeats it.
        phi: correlation of their labels.
        n_shared: items that both label.
    """

    other: int
    task: int
    phi: float
    n_shared: int


def repeated_tasks(
    others: NDArray[np.float32], y: NDArray[np.float32], *, at_least: float = 0.6, n_shared: int = 300
) -> list[RepeatedTask]:
    """Pairs whose labels agree, or are opposite, on the items that both have: |phi| above `at_least`.

    Args:
        others: (N, T1), NaN where unknown.
        y: (N, T2), of the same items.
        at_least: correlation; that of 0 and 1 is phi.
        n_shared: of so many items at least.
    """
    a, b = others.astype(np.float64), y.astype(np.float64)
    known_a, known_b = (~np.isnan(v) for v in (a, b))
    a, b = np.where(known_a, a, 0.0), np.where(known_b, b, 0.0)
    ka, kb = known_a.astype(np.float64), known_b.astype(np.float64)
    n = ka.T @ kb
    mean_a, mean_b = a.T @ kb / np.maximum(n, 1), ka.T @ b / np.maximum(n, 1)
    covariance = a.T @ b / np.maximum(n, 1) - mean_a * mean_b
    variance_a = (a * a).T @ kb / np.maximum(n, 1) - mean_a**2
    variance_b = ka.T @ (b * b) / np.maximum(n, 1) - mean_b**2
    phi = covariance / np.sqrt(np.maximum(variance_a * variance_b, 1e-12))
    found = np.argwhere((np.abs(phi) > at_least) & (n >= n_shared))
    return [RepeatedTask(int(i), int(j), float(phi[i, j]), int(n[i, j])) for i, j in found]


@final
class TaskTableSampler(EpisodeSource):
    """Episodes of the tasks of a table; number i is a pure function of (seed, i).

    Args:
        table: items and labels.
        n_shot, n_query: rows per class, or per task in regression; a pair draws from an inclusive range.
        regression: labels are numbers.
        seed: of the episodes.
        stream: keeps apart episodes of one seed that must not be the same, such as training and test.
        shares: how often each group of tasks is drawn, in any unit; in proportion to their tasks by default.
        any_items: draw rows from all items alike, whatever their labels in the task: for learners that are trained on
            the labels of all tasks at once, which the items hold. Of the task, unknown labels are then 0.
        n_labelled: so many rows of all items follow the queries, with weight 0: for learners that are trained by
            episodes and on the labels that the items hold.

    Raises:
        DataError: no task with so many rows, or a group that no task has.
    """

    def __init__(
        self,
        table: TaskTable,
        n_shot: Count = 10,
        n_query: Count = 10,
        *,
        regression: bool = False,
        seed: int = 0,
        stream: int = 0,
        shares: Mapping[str, float] | None = None,
        any_items: bool = False,
        n_labelled: int = 0,
    ) -> None:
        self.any_items, self.n_labelled = any_items, n_labelled
        self.table, self.regression, self.seed, self.stream = table, regression, seed, stream
        self.n_shot, self.n_query = count_range(n_shot, "n_shot"), n_query
        self.query_range = count_range(n_query, "n_query")
        self.n_way = (0, 0) if regression else (2, 2)
        need = self._per_class = self.n_shot[1] + self.query_range[1]
        columns = [table.y[:, task] for task in range(len(table.names))]
        kinds = [(~np.isnan(y),) if regression else (y == 0, y == 1) for y in columns]
        rows = [[np.flatnonzero(kind) for kind in task] for task in kinds]
        self.tasks = np.array([t for t, task in enumerate(rows) if min(map(len, task)) >= need], dtype=np.int64)
        if len(self.tasks) == 0:
            largest = max((min(map(len, task)) for task in rows), default=0)
            raise DataError(
                f"n_shot + n_query asks for {need} rows{'' if regression else ' of each class'}, and no task has more "
                f"than {largest}: lower n_shot or n_query."
            )
        self._rows = [rows[t] for t in self.tasks]
        self._sizes = np.array([[len(kind) for kind in task] for task in self._rows], dtype=np.int64)
        self._share = np.cumsum(self._probabilities(shares))

    def _probabilities(self, shares: Mapping[str, float] | None) -> NDArray[np.float64]:
        """(T,) of the tasks that are drawn from."""
        if shares is None:
            return np.full(len(self.tasks), 1 / len(self.tasks))
        groups = np.array([self.table.groups[t] for t in self.tasks] if self.table.groups else [])
        absent = sorted(set(shares) - set(groups.tolist()))
        if absent:
            raise DataError(f"no task of so many rows has the group {absent[0]!r}: expected {sorted(set(groups))}.")
        probability = np.zeros(len(self.tasks))
        for group, share in shares.items():
            probability[groups == group] = share / (groups == group).sum()
        return probability / probability.sum()

    def __call__(self, episodes: Numbers) -> Episode:
        number = np.asarray(episodes, dtype=np.int64)
        draw = uniform(self.seed, self.stream * _N_STREAMS + _TASK, number, 1)[:, 0]
        task = np.minimum(np.searchsorted(self._share, draw), len(self.tasks) - 1)
        picked = without_replacement(
            self.seed,
            self.stream * _N_STREAMS + _ROWS,
            number,
            self._sizes[task],
            self._per_class,
            int(self._sizes.max()),
        )
        rows = np.stack(
            [[self._rows[t][k][p] for k, p in enumerate(pick)] for t, pick in zip(task, picked, strict=True)]
        )
        if self.any_items:
            rows = self._any_rows(number, _ROWS, rows.shape[1] * self._per_class).reshape(rows.shape)
        n_shot = self.n_shot[1]
        support, query = (part.reshape(len(number), -1) for part in (rows[..., :n_shot], rows[..., n_shot:]))
        column = self.tasks[task]
        n_query = query.shape[1]
        if self.n_labelled:
            query = np.concatenate([query, self._any_rows(number, _LABELLED, self.n_labelled)], 1)
        x, query_x = self.table.rows(support), self.table.rows(query)
        weight = self._weights(number, support.shape, self.n_shot, self.stream * _N_STREAMS + _SHOTS)
        query_weight = torch.zeros(query.shape)
        query_weight[:, :n_query] = self._weights(
            number, (len(number), n_query), self.query_range, self.stream * _N_STREAMS + _QUERIES
        )
        if self.regression:
            y, query_y = (self._values(part, column)[..., None] for part in (support, query))
            return Episode(Support(x, y, weight, 0), query_x, query_y, query_weight, 0)
        y, query_y = (self._values(part, column).long() for part in (support, query))
        return Episode(Support(x, y, weight, 2), query_x, query_y, query_weight, 2)

    def _values(self, rows: NDArray[np.int64], task: NDArray[np.int64]) -> Tensor:
        values = self.table.y[rows, task[:, None]]
        return torch.from_numpy(np.nan_to_num(values) if self.any_items or self.n_labelled else values)

    def _any_rows(self, number: NDArray[np.int64], stream: int, n_rows: int) -> NDArray[np.int64]:
        """(episodes, n_rows) of all items, whatever their labels."""
        everything = np.full((len(number), 1), len(self.table), dtype=np.int64)
        stream += self.stream * _N_STREAMS
        return without_replacement(self.seed, stream, number, everything, n_rows, len(self.table))[:, 0]

    def _weights(
        self, number: NDArray[np.int64], shape: tuple[int, ...], allowed: tuple[int, int], stream: int
    ) -> Tensor:
        """1, or 0 beyond the number of rows that an episode has drawn for a class."""
        low, high = allowed
        weight = np.ones((shape[0], shape[1] // high, high), dtype=np.float32)
        if low < high:
            noise = uniform(self.seed, stream, number, weight.shape[1])
            n_rows = low + np.floor(noise * (high - low + 1)).astype(np.int64)
            weight[np.arange(high) >= n_rows[..., None]] = 0
        return torch.from_numpy(weight.reshape(shape))

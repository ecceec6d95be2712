"""Demonstrations as episodes: a support of K demonstrations of one task, and queries that are states of its others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray

from regard.domains.acting.demonstrations import Demonstrations
from regard.domains.acting.steps import StepReader
from regard.episode import Episode, Support
from regard.errors import DataError
from regard.sampling.counts import Count
from regard.sampling.random import uniform
from regard.sampling.source import EpisodeSource, Numbers, count_range

_TASK, _SIZE, _SHOWN, _ASKED, _STEP, _N_STREAMS = range(6)


@final
class DemonstrationSource(EpisodeSource):
    """Episodes of demonstrations.

    Args:
        demonstrations: of the tasks that episodes are of, each task at least one more than is shown.
        reader: steps to rows.
        n_shot: demonstrations that are shown, K; a pair draws from an inclusive range. Noisy ones are never shown.
        n_query: states that are asked about, of all that are not shown.
        blind: nothing is shown: rows have weight 0. What is learned so is the goal-agnostic policy.
        seed, stream: of the episodes; as other sources.

    Raises:
        DataError: counts below 1, or a task with too few demonstrations.
    """

    n_way = (0, 0)

    def __init__(
        self,
        demonstrations: Demonstrations,
        reader: StepReader,
        n_shot: Count = 1,
        n_query: Count = 24,
        *,
        blind: bool = False,
        seed: int = 0,
        stream: int = 0,
    ) -> None:
        self.n_shot, n_query = count_range(n_shot, "n_shot"), count_range(n_query, "n_query")[1]
        self.n_query, self.n_states, self.seed, self.stream, self.blind = n_query, n_query, seed, stream, blind
        self.demonstrations, self.reader = demonstrations, reader
        self._x, self._y, self._weight = reader.rows(demonstrations)
        self._states = reader(demonstrations.observations)
        self._actions = torch.from_numpy(demonstrations.actions).to(self._states.dtype)
        tasks = np.unique(demonstrations.tasks)
        members = [np.flatnonzero(demonstrations.tasks == task) for task in tasks]
        shown = [rows[~demonstrations.noisy[rows]] for rows in members]
        for task, rows, clean in zip(tasks, members, shown, strict=True):
            if len(clean) < self.n_shot[1] or len(rows) <= self.n_shot[1]:
                raise DataError(
                    f"task {task} has {len(rows)} demonstrations, {len(clean)} of them undisturbed: expected "
                    f"{self.n_shot[1]} to show and another to ask about; lower n_shot, or record more."
                )
        self._members, self._clean = _table(members), _table(shown)

    def __call__(self, episodes: Numbers) -> Episode:
        number = np.asarray(episodes, dtype=np.int64)
        n = len(number)
        task = (self._draw(_TASK, number, 1)[:, 0] * len(self._members)).astype(np.int64)
        low, high = self.n_shot
        size = low + (self._draw(_SIZE, number, 1)[:, 0] * (high - low + 1)).astype(np.int64)
        clean = self._clean[task]
        key = np.where(clean >= 0, self._draw(_SHOWN, number, clean.shape[1]), 2.0)
        chosen = np.take_along_axis(clean, key.argsort(1)[:, :high], 1)
        is_shown = np.arange(chosen.shape[1]) < size[:, None]
        # What is asked about is of all the others.
        members = self._members[task]
        others = members >= 0
        others &= ~((members[:, :, None] == chosen[:, None]) & is_shown[:, None]).any(2)
        order = (~others).argsort(1, kind="stable")
        pick = (self._draw(_ASKED, number, self.n_states) * others.sum(1)[:, None]).astype(np.int64)
        asked = np.take_along_axis(members, np.take_along_axis(order, pick, 1), 1)
        lengths, starts = self.demonstrations.lengths[asked], self.demonstrations.starts[asked]
        step = starts + (self._draw(_STEP, number, self.n_states) * lengths).astype(np.int64)
        index = torch.from_numpy(chosen)
        weight = self._weight[index] * torch.from_numpy(is_shown & (not self.blind)).to(self._weight.dtype)[..., None]
        support = Support(self._x[index].flatten(1, 2), self._y[index].flatten(1, 2), weight.reshape(n, -1), 0)
        states = torch.from_numpy(step)
        return Episode(support, self._states[states], self._actions[states])

    def _draw(self, purpose: int, number: NDArray[np.int64], n: int) -> NDArray[np.float64]:
        return uniform(self.seed, self.stream * _N_STREAMS + purpose, number, n).astype(np.float64)


def _table(rows: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Rows of different lengths as one table, -1 where there is none."""
    table = np.full((len(rows), max(map(len, rows))), -1, dtype=np.int64)
    for which, row in enumerate(rows):
        table[which, : len(row)] = row
    return table

"""Robots' data: demonstrations to train on, tasks that were never trained on, and where rollouts happen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from regard.domains.acting.demonstrations import Demonstrations, record
from regard.domains.acting.environment import Environment
from regard.domains.acting.simulated import SimulatedData, Trial
from regard.domains.acting.source import DemonstrationSource
from regard.domains.acting.steps import StepReader
from regard.domains.base import Domain
from regard.domains.data import describe_items
from regard.domains.options import EpisodeOptions
from regard.errors import ConfigError, DataError, did_you_mean

_STREAMS = {"test": 0, "train": 1, "validation": 2}
HELD_OUT = 1_000_000
"""Number of the first task that is not trained on."""


@dataclass(frozen=True)
class RecordedData(SimulatedData):
    """Demonstrations of training tasks, and environments for the others.

    Args:
        domain, title, encoder: as `Data`.
        demonstrations: to train on; a tenth of the tasks is for validation.
        environments: name to what makes it, for rollouts; none where there is no simulator.
        reader: steps to rows.
        blind: nothing is shown in training: the goal-agnostic policy.
        n_side_by_side: robots of one trial at most.
        record_test: makes the demonstrations of tasks (environment name, tasks, how many); the expert's by default.
    """

    domain: Domain
    title: str
    demonstrations: Demonstrations
    environments: Mapping[str, Callable[[], Environment]]
    reader: StepReader
    blind: bool = False
    encoder: dict[str, Any] = field(default_factory=dict)
    record_test: Callable[[str, Sequence[int], int], Demonstrations] | None = None
    n_side_by_side: int = 1000

    @property
    def has_simulator(self) -> bool:
        return bool(self.environments)

    @property
    def items(self) -> dict[str, Any]:
        return describe_items(self.domain, self.reader)

    @cached_property
    def _splits(self) -> dict[str, Demonstrations]:
        """Every tenth task of each environment validates."""
        tasks = np.unique(self.demonstrations.tasks)
        held = tasks[9::10] if len(tasks) >= 10 else tasks[-1:]
        is_held = np.isin(self.demonstrations.tasks, held)
        if is_held.all():
            raise DataError(f"{self.title} has demonstrations of one task: expected at least two, one to validate on.")
        return {
            "train": self.demonstrations.select(np.flatnonzero(~is_held)),
            "validation": self.demonstrations.select(np.flatnonzero(is_held)),
        }

    def source(self, split: str, episodes: EpisodeOptions, seed: int) -> DemonstrationSource:
        if split not in _STREAMS:
            raise DataError(f"{self.title} has no split {split!r}: {did_you_mean(split, _STREAMS)}")
        if split == "test" and not self.environments:
            split = "validation"
        most = episodes.n_shot[1] if isinstance(episodes.n_shot, tuple) else episodes.n_shot
        if split == "test":
            trials = self.trials("test", most + 1, 20, 1, seed)
            shown = Demonstrations.joined([d for trial in trials for d in trial.demonstrations])
        else:
            shown = self._splits[split]
        return DemonstrationSource(
            shown,
            self.reader,
            episodes.n_shot,
            episodes.n_query,
            blind=self.blind,
            seed=seed,
            stream=_STREAMS[split],
        )

    def training(self, episodes: EpisodeOptions, seed: int) -> DemonstrationSource:
        return self.source("train", episodes, seed)

    def trials(self, split: str, n_demonstrations: int, n_tasks: int, n_starts: int, seed: int) -> list[Trial]:
        if not self.environments:
            raise ConfigError(f"{self.title} has no simulator: expected an environment to roll out in.")
        if split not in ("test", "validation"):
            raise DataError(f"there are no rollouts of {split!r}: {did_you_mean(split, ('test', 'validation'))}")
        first = HELD_OUT * (1 if split == "test" else 2) + 1000 * seed
        placements = tuple(range(10_000, 10_000 + n_starts))
        trials: list[Trial] = []
        for number, (name, make) in enumerate(self.environments.items()):
            share = len(range(number, n_tasks, len(self.environments)))
            if share == 0:
                continue
            tasks = tuple(range(first, first + share))
            if self.record_test is not None:
                shown = self.record_test(name, tasks, n_demonstrations)
            else:
                shown = record(make(), tasks, n_demonstrations)
            for begin in range(0, share, self.n_side_by_side):
                some = tasks[begin : begin + self.n_side_by_side]
                trials.append(Trial(make, some, tuple(shown.of_task(task) for task in some), placements))
        return trials

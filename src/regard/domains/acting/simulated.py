"""Data whose learners act and are judged by what they do: the demonstrations, and what rollouts are of."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from regard.domains.acting.demonstrations import Demonstrations
from regard.domains.acting.environment import Environment
from regard.domains.acting.steps import StepReader
from regard.domains.data import Data


@dataclass(frozen=True)
class Trial:
    """What a policy is tried on.

    Args:
        environment: makes it; called where the rollouts run, which may be another process.
        tasks: (B,) numbers of its tasks.
        demonstrations: of each task.
        placements: of the rollouts of each task; the first rollout of all tasks has the first, and so on.
    """

    environment: Callable[[], Environment]
    tasks: tuple[int, ...]
    demonstrations: tuple[Demonstrations, ...]
    placements: tuple[int, ...] = (10_000,)


class SimulatedData(Data):
    """Abstract: data whose learners are judged by rollouts."""

    reader: StepReader
    blind: bool

    @property
    @abstractmethod
    def has_simulator(self) -> bool:
        """Whether rollouts are possible; else only predicted actions can be looked at."""

    @abstractmethod
    def trials(self, split: str, n_demonstrations: int, n_tasks: int, n_starts: int, seed: int) -> list[Trial]:
        """Tasks of each environment with their demonstrations, the same for every learner.

        Args:
            split: "test" or "validation"; there are no rollouts of training tasks.
            n_demonstrations: of each task.
            n_tasks: in all, spread evenly over the environments.
            n_starts: rollouts of each task, each from another placement.
            seed: another seed, other tasks.
        """

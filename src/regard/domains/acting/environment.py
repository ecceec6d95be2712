"""What a robot's environment promises: tasks whose goal is not shown, robots side by side, and an expert that knows.

    family = an environment, such as "push-v3": task number i is a hidden goal, a pure function of (seed, i)
    start  = robots of tasks i_1 ... i_B, each placed by its placement number: a pure function of (seed, i, placement)
    step   = one action for each robot;  success is latched: at any step, or at the last, as the family says

The goal is fixed by the task and everything else is placed again for every demonstration and every rollout. Else K
demonstrations would be one, and replaying it would score.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from regard.errors import DataError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Simulation(ABC):
    """B robots under way, made by `Environment.start`."""

    @property
    @abstractmethod
    def observation(self) -> Floats:
        """(B, D) what each policy may see; the goal is not in it."""

    @property
    @abstractmethod
    def success(self) -> Bools:
        """(B,) whether each has done its task."""

    @abstractmethod
    def expert(self) -> Floats:
        """(B, A) what the expert, who knows the goals, does next."""

    @abstractmethod
    def step(self, action: Floats, active: Bools | None = None) -> None:
        """One action (B, A) for each robot, clipped to -1..1; robots that are not active (B,) stand still."""

    def frame(self, robot: int = 0) -> NDArray[np.uint8]:
        """(H, W, 3) a picture of one robot.

        Raises:
            DataError: an environment without pictures.
        """
        raise DataError(f"{type(self).__name__} has no pictures: expected MuJoCo's Reacher or Meta-World.")


class Environment(ABC):
    """One family of tasks.

    Attributes:
        name: of it.
        n_features, n_actions: D and A.
        horizon: steps of a rollout.
        stops_at_success: success counts at any step and ends the rollout; else it counts at the last step.
        shows_arrival_only: a demonstration ends soon after it has succeeded, and does not show how to stay there.
        n_side_by_side: robots that are simulated at once when demonstrations are recorded.
    """

    name: str
    n_features: int
    n_actions: int
    horizon: int
    stops_at_success: ClassVar[bool] = False
    shows_arrival_only: ClassVar[bool] = False
    n_side_by_side: ClassVar[int] = 1000

    @abstractmethod
    def start(self, tasks: Sequence[int], placements: Sequence[int]) -> Simulation:
        """Robots of these tasks, placed by these numbers.

        Raises:
            DataError: no placement that keeps the environment's own rules was found.
        """

    def place(self, observation: Floats) -> Floats:
        """(..., D) what is seen to (..., 2) where the robot is, for pictures; the first two features by default."""
        return observation[..., :2]

    def close(self) -> None:  # noqa: B027
        """Let renderers go."""


def placement_generator(*numbers: int) -> np.random.Generator:
    """Randomness that is a pure function of these numbers."""
    return np.random.default_rng([n & 0xFFFFFFFF for n in numbers])

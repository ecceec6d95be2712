"""Points in the plane, in NumPy: what demonstrations are for, without a simulator.

    Reach2D      go to a place that is not shown:   p <- p + a / 10,   done within 0.05 of it at the last step
    Choose2D     go to the object of a colour that is not named: three objects, placed and coloured again every time

The expert goes straight, at full speed until it is near. An open-loop replay, or the action of the nearest state of a
demonstration, does neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from regard.domains.acting.environment import Bools, Environment, Floats, Simulation, placement_generator

SPEED = 0.1
"""The longest step."""

_NEAR = 0.05


class PointSimulation(Simulation):
    """B points, and where each should be."""

    def __init__(self, position: Floats, goal: Floats, scene: Floats | None = None) -> None:
        self.position, self.goal, self.scene = position.copy(), goal, scene

    @property
    def observation(self) -> Floats:
        """(B, 2) the position; with a scene also, of each object, where it is from here and its colour."""
        if self.scene is None:
            return self.position.copy()
        objects = self.scene.copy()
        objects[..., :2] -= self.position[:, None]
        return np.concatenate([self.position, objects.reshape(len(objects), -1)], 1)

    @property
    def success(self) -> Bools:
        return np.linalg.norm(self.position - self.goal, axis=1) < _NEAR

    def expert(self) -> Floats:
        way = (self.goal - self.position) / SPEED
        return way / np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1)

    def step(self, action: Floats, active: Bools | None = None) -> None:
        moved = np.clip(self.position + SPEED * np.clip(action, -1, 1), -1.2, 1.2)
        self.position = moved if active is None else np.where(active[:, None], moved, self.position)


class Reach2D(Environment):
    """Go to the place of the task.

    Args:
        seed: of tasks and placements.
        horizon: steps; 28 cross the square from corner to corner.
    """

    name = "reach2d"
    n_features: int = 2
    n_actions = 2

    def __init__(self, seed: int = 0, *, horizon: int = 40) -> None:
        self.seed, self.horizon = seed, horizon

    def start(self, tasks: Sequence[int], placements: Sequence[int]) -> PointSimulation:
        goal = np.stack([placement_generator(self.seed, task).uniform(-0.9, 0.9, 2) for task in tasks])
        # Drawn until it is some way off: the sixteen tries make it a matter of 1e-12 that none is.
        start = np.stack(
            [
                placement_generator(self.seed, task, placement, 1).uniform(-0.9, 0.9, (16, 2))
                for task, placement in zip(tasks, placements, strict=True)
            ]
        )
        far = np.linalg.norm(start - goal[:, None], axis=-1) > 0.4
        return PointSimulation(start[np.arange(len(start)), far.argmax(1)], goal)


class Choose2D(Environment):
    """Go to the object of the task's colour.

    Args:
        seed: of tasks and placements.
        horizon: steps.
        n_objects: to choose from.
    """

    name = "choose2d"
    n_actions = 2
    shows_arrival_only: ClassVar[bool] = True
    n_shared: ClassVar[int] = 2
    n_object_features: ClassVar[int] = 5

    def __init__(self, seed: int = 0, *, horizon: int = 40, n_objects: int = 3) -> None:
        self.seed, self.horizon, self.n_objects = seed, horizon, n_objects
        self.n_features = self.n_shared + n_objects * self.n_object_features

    def start(self, tasks: Sequence[int], placements: Sequence[int]) -> PointSimulation:
        scenes, goals, starts = [], [], []
        for task, placement in zip(tasks, placements, strict=True):
            colour = placement_generator(self.seed, task, 7).uniform(-1, 1, 3)
            rng = placement_generator(self.seed, task, placement, 2)
            places = rng.uniform(-0.9, 0.9, (1, 2))
            colours = colour[None]
            while len(places) < self.n_objects + 1:  # the last place is where it starts
                place, other = rng.uniform(-0.9, 0.9, 2), rng.uniform(-1, 1, 3)
                apart = np.linalg.norm(places - place, axis=1).min() > 0.4
                if apart and np.linalg.norm(other - colour) > 0.7:
                    places, colours = np.vstack([places, place]), np.vstack([colours, other])
            order = rng.permutation(self.n_objects)
            scenes.append(np.concatenate([places[:-1], colours[:-1]], 1)[order])
            goals.append(places[0])
            starts.append(places[-1])
        return PointSimulation(np.stack(starts), np.stack(goals), np.stack(scenes))

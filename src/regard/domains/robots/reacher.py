"""MuJoCo's Reacher: a two-joint arm whose fingertip is to be at a target that is not shown.

    task i         the target, within reach
    placement j    the first joint anywhere, the elbow bent by 0.4 to 2.6 to either side
    observation    cosine and sine of both joints, their speeds, and the fingertip; scaled, and without the target
    done           the fingertip within 2 cm of the target at step 50

The arm is Gymnasium's Reacher-v5 (MIT) in MuJoCo (Apache-2.0); the start is ours, which is elsewhere always the same
outstretched arm. The expert moves the joints by damped inverse kinematics from where the arm is, so its actions vary
smoothly with what is seen; one that chooses an elbow jumps, and whoever imitates it learns the mean of two ways.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.domains.acting.environment import Bools, Environment, Floats, Simulation, placement_generator
from regard.extras import import_extra

_LINKS = np.array([0.1, 0.11])
_N_PHYSICS_STEPS = 2
_GEAR = 200.0


class Reacher(Environment):
    """Put the fingertip on the target of the task.

    Args:
        seed: of tasks and placements.
        horizon: steps of 20 ms.
        tolerance: metres from the target that count as there.

    Raises:
        MissingExtraError: Gymnasium or MuJoCo is not installed.
    """

    name = "reacher"
    n_features = 8
    n_actions = 2

    def __init__(self, seed: int = 0, *, horizon: int = 50, tolerance: float = 0.02) -> None:
        self._mujoco = import_extra("mujoco", "robots")
        gym = import_extra("gymnasium", "robots")
        path = Path(gym.__file__).parent / "envs" / "mujoco" / "assets" / "reacher.xml"
        self._model = self._mujoco.MjModel.from_xml_path(str(path))
        self.seed, self.horizon, self.tolerance = seed, horizon, tolerance

    def place(self, observation: Floats) -> Floats:
        return 0.2 * observation[..., 6:8]

    def start(self, tasks: Sequence[int], placements: Sequence[int]) -> ReacherSimulation:
        targets, arms = [], []
        for task, placement in zip(tasks, placements, strict=True):
            rng = placement_generator(self.seed, task)
            angle, radius = rng.uniform(-np.pi, np.pi), np.sqrt(rng.uniform(0.05**2, 0.19**2))
            targets.append(radius * np.array([np.cos(angle), np.sin(angle)]))
            start = placement_generator(self.seed, task, placement, 1)
            elbow = start.uniform(0.4, 2.6) * start.choice([-1, 1])
            arms.append([start.uniform(-np.pi, np.pi), elbow])
        return ReacherSimulation(self._mujoco, self._model, np.array(targets), np.array(arms), self.tolerance)


class ReacherSimulation(Simulation):
    """Arms side by side: one model, and a state of each."""

    def __init__(self, mujoco: Any, model: Any, target: Floats, arm: Floats, tolerance: float) -> None:
        self._mujoco, self._model, self._target, self._tolerance = mujoco, model, target, tolerance
        self._states = [mujoco.MjData(model) for _ in arm]
        for state, joints, goal in zip(self._states, arm, target, strict=True):
            state.qpos[:] = [*joints, *goal]
            mujoco.mj_forward(model, state)
        self._joints = self._read_joints()

    def _read_joints(self) -> tuple[Floats, Floats]:
        """(B, 2) angles and speeds."""
        states = np.array([(*state.qpos[:2], *state.qvel[:2]) for state in self._states])
        return states[:, :2], states[:, 2:]

    @property
    def observation(self) -> Floats:
        angle, speed = self._joints
        return np.concatenate([np.cos(angle), np.sin(angle), speed / 5, fingertip(angle) / 0.2], 1)

    @property
    def success(self) -> Bools:
        return np.linalg.norm(fingertip(self._joints[0]) - self._target, axis=1) < self._tolerance

    def expert(self) -> Floats:
        angle, speed = self._joints
        way = self._target - fingertip(angle)
        jacobian = jacobian_of(angle)
        square = jacobian @ jacobian.transpose(0, 2, 1) + 1e-3 * np.eye(2)
        turn = (jacobian.transpose(0, 2, 1) @ np.linalg.solve(square, way[..., None]))[..., 0]
        wanted = np.clip(15 * turn, -8, 8)
        return np.clip((30 * (wanted - speed) + speed) / _GEAR, -1, 1)

    def step(self, action: Floats, active: Bools | None = None) -> None:
        clipped = np.clip(action, -1, 1)
        for b, state in enumerate(self._states):
            if active is None or active[b]:
                state.ctrl[:] = clipped[b]
                self._mujoco.mj_step(self._model, state, _N_PHYSICS_STEPS)
        self._joints = self._read_joints()

    def frame(self, robot: int = 0) -> NDArray[np.uint8]:
        renderer = self._mujoco.Renderer(self._model, 200, 200)
        try:
            renderer.update_scene(self._states[robot])
            return renderer.render().copy()
        finally:
            renderer.close()


def fingertip(angle: Floats) -> Floats:
    """(B, 2) joints to (B, 2) places, in metres."""
    along = np.cumsum(angle, 1)
    return np.stack([np.cos(along) @ _LINKS, np.sin(along) @ _LINKS], 1)


def jacobian_of(angle: Floats) -> Floats:
    """(B, 2, 2) of `fingertip` by the joints."""
    along = np.cumsum(angle, 1)
    second = _LINKS[1] * np.stack([-np.sin(along[:, 1]), np.cos(along[:, 1])], 1)
    first = _LINKS[0] * np.stack([-np.sin(along[:, 0]), np.cos(along[:, 0])], 1) + second
    return np.stack([first, second], 2)

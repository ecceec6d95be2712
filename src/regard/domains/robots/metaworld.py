"""Meta-World: fifty skills of a Sawyer arm, with the goal hidden and the objects placed again every time.

    task i         the goal, where the skill has one beside its object (6 numbers a placement): the last 3 of them
    placement j    the object, the first 3 numbers; the hand, in reach-v3, which else starts in one place
    observation    hand, gripper, two objects and their turns (18 numbers), how the hand and the first object moved in
                   the last step, and where the first object is from the hand; scaled, and without the goal

Yu et al. 2019, "Meta-World: A Benchmark and Evaluation for Multi-Task and Meta Reinforcement Learning",
arXiv:1910.10897. The package is `metaworld` 3.1.1 (MIT), with its scripted experts.

Mind that, in 24 of the 50, the goal follows from the object that is seen: a policy without demonstrations does those,
so the goal-agnostic row belongs beside every result. `env.reset()` never returns when a placement breaks the
environment's own distance rule, takes no notice of its seed, and places twice: here the placement is given, tried a
bounded number of times, and drawn again by number.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from regard.domains.acting.environment import Bools, Environment, Floats, Simulation, placement_generator
from regard.errors import ConfigError, DataError, did_you_mean
from regard.extras import import_extra

ML10_TRAIN = (
    "reach-v3",
    "push-v3",
    "pick-place-v3",
    "door-open-v3",
    "drawer-close-v3",
    "button-press-topdown-v3",
    "peg-insert-side-v3",
    "window-open-v3",
    "sweep-v3",
    "basketball-v3",
)
ML10_TEST = ("drawer-open-v3", "door-close-v3", "shelf-place-v3", "sweep-into-v3", "lever-pull-v3")
ML45_TEST = ("bin-picking-v3", "box-close-v3", "hand-insert-v3", "door-lock-v3", "door-unlock-v3")

_TRIES = 50
_HAND_LOW, _HAND_HIGH = (-0.2, 0.5, 0.1), (0.2, 0.75, 0.35)
_CENTRE = np.array([0.0, 0.6, 0.15])


def skill_names() -> tuple[str, ...]:
    """All fifty, in order of their names.

    Raises:
        MissingExtraError: the package is not installed.
    """
    return tuple(sorted(import_extra("metaworld.env_dict", "metaworld").ALL_V3_ENVIRONMENTS))


class MetaWorld(Environment):
    """One skill of Meta-World.

    Args:
        name: such as "push-v3".
        seed: of its tasks and placements.
        horizon: steps of a rollout; experts take 32 to 151 of the package's own 500.

    Raises:
        MissingExtraError: the package is not installed.
        ConfigError: no such skill, or a horizon that the package does not allow.
    """

    n_actions = 4
    n_features = 27
    stops_at_success: ClassVar[bool] = True
    n_side_by_side: ClassVar[int] = 1

    def __init__(self, name: str, seed: int = 0, *, horizon: int = 150) -> None:
        classes = import_extra("metaworld.env_dict", "metaworld").ALL_V3_ENVIRONMENTS
        if name not in classes:
            raise ConfigError(f"Meta-World has no skill {name!r}: {did_you_mean(name, classes)}")
        if not 1 <= horizon <= 500:
            raise ConfigError(f"horizon is {horizon}: expected 1 to 500 steps.")
        self.name, self.seed, self.horizon = name, seed, horizon
        self._number = sorted(classes).index(name)
        self._make, self._policy = classes[name], _expert_class(name)
        self._robots: list[Any] = []

    def start(self, tasks: Sequence[int], placements: Sequence[int]) -> MetaWorldSimulation:
        while len(self._robots) < len(tasks):
            # Building one takes 0.4 s; they are kept for the next start.
            self._robots.append(self._make())
        robots = self._robots[: len(tasks)]
        return MetaWorldSimulation(
            [self._place(*which) for which in zip(robots, tasks, placements, strict=True)], robots, self._policy
        )

    def vector(self, task: int, placement: int, attempt: int = 0) -> Floats:
        """The numbers of one placement: object, and goal where the skill has one of its own."""
        if not self._robots:
            self._robots.append(self._make())
        space = self._robots[0]._random_reset_space
        vector = placement_generator(self.seed, self._number, task, placement, attempt).uniform(space.low, space.high)
        if len(vector) == 6:
            goal = placement_generator(self.seed, self._number, task).uniform(space.low, space.high)[3:]
            vector = np.concatenate([vector[:3], goal])
        return vector

    def close(self) -> None:
        for robot in self._robots:
            robot.close()
        self._robots = []

    def _place(self, robot: Any, task: int, placement: int) -> Floats:
        """The first observation of 39 numbers."""
        gym = import_extra("gymnasium.envs.mujoco", "metaworld").MujocoEnv
        robot._set_task_called, robot._freeze_rand_vec = True, True
        if robot._partially_observable:  # the expert sees the goal, `_features` leaves it out
            robot._partially_observable = False
            robot.__dict__.pop("sawyer_observation_space", None)  # its limits, which would clip the goal to zeros
        for attempt in range(_TRIES):
            robot._get_state_rand_vec = _Bounded(self.vector(task, placement, attempt))
            if self.name == "reach-v3":
                hand = placement_generator(self.seed, self._number, task, placement, attempt, 1)
                robot.hand_init_pos = hand.uniform(_HAND_LOW, _HAND_HIGH)
            robot.curr_path_length = 0
            try:
                # As its own reset, which places twice: the second time counts.
                gym.reset(robot)
            except _BrokenRuleError:
                continue
            # Its own first observation shows where things stood before they were placed.
            import_extra("mujoco", "metaworld").mj_forward(robot.model, robot.data)
            robot._prev_obs = robot._get_curr_obs_combined_no_goal()
            return np.asarray(robot._get_obs(), dtype=np.float64)
        raise DataError(
            f"{self.name}: no placement for task {task} keeps the environment's distance rule in {_TRIES} draws: "
            "expected another task number."
        )


class _BrokenRuleError(Exception):
    """The environment wants another placement than the one that it was given."""


class _Bounded:
    """Gives a placement once per reset, where the environment's own loop would ask for ever."""

    def __init__(self, vector: Floats) -> None:
        self.vector, self.n_calls = vector, 0

    def __call__(self) -> Floats:
        self.n_calls += 1
        if self.n_calls > 1:
            raise _BrokenRuleError
        return self.vector


class MetaWorldSimulation(Simulation):
    """Arms side by side, each in a simulator of its own."""

    def __init__(self, first: Sequence[Floats], robots: Sequence[Any], policy: Any) -> None:
        self._full, self._robots = list(first), robots
        self._policies = [policy() for _ in robots]
        self._success = np.zeros(len(robots), dtype=bool)

    @property
    def observation(self) -> Floats:
        return np.stack([_features(full) for full in self._full])

    @property
    def success(self) -> Bools:
        return self._success.copy()

    def expert(self) -> Floats:
        actions = [policy.get_action(full) for policy, full in zip(self._policies, self._full, strict=True)]
        return np.clip(np.asarray(actions, dtype=np.float64), -1, 1)

    def step(self, action: Floats, active: Bools | None = None) -> None:
        clipped = np.clip(action, -1, 1).astype(np.float32)
        for b, robot in enumerate(self._robots):
            if active is None or active[b]:
                self._full[b], _, _, _, info = robot.step(clipped[b])
                self._success[b] |= bool(info["success"])

    def frame(self, robot: int = 0) -> NDArray[np.uint8]:
        return render(self._robots[robot])


def render(robot: Any, size: int = 200, camera: str = "corner2") -> NDArray[np.uint8]:
    """(size, size, 3) one frame. MUJOCO_GL=egl draws without a screen."""
    mujoco = import_extra("mujoco", "metaworld")
    renderer = mujoco.Renderer(robot.model, size, size)
    try:
        renderer.update_scene(robot.data, camera=camera)
        # The cameras corner and corner2 hang upside down.
        return np.flipud(renderer.render()).copy()
    finally:
        renderer.close()


def _features(full: Floats) -> Floats:
    """(39,) with the goal to (27,) without: places in some 15 cm, motions in cm per step."""
    now, before = full[:18], full[18:36]
    hand, thing, other = now[:3], now[4:7], now[11:14]
    # A second object that is not there is all zeros.
    second = np.where(np.any(now[11:18] != 0), (other - _CENTRE) / 0.15, 0.0)
    moved = [(hand - before[:3]) / 0.01, (thing - before[4:7]) / 0.01]
    places = [(hand - _CENTRE) / 0.15, (thing - _CENTRE) / 0.15, second, (thing - hand) / 0.1]
    return np.clip(np.concatenate([*places, *moved, now[3:4], now[7:11], now[14:18]]), -6, 6)


@cache
def _expert_class(name: str) -> Any:
    """The scripted expert of a skill."""
    policies = import_extra("metaworld.policies", "metaworld")
    return policies.ENV_POLICY_MAP[name]

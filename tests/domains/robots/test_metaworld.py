"""Meta-World, and the traps of it: each has a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("metaworld", reason="pip install 'regard[metaworld]'")

from regard.domains.acting.demonstrations import Demonstrations, record
from regard.domains.acting.simulated import Trial
from regard.domains.robots import collect
from regard.domains.robots.metaworld import ML10_TEST, ML10_TRAIN, ML45_TEST, MetaWorld, _Bounded, _BrokenRuleError
from regard.errors import ConfigError, DataError
from regard.evaluation.rollouts import ExpertPolicy, Replay, roll_out
from rendering import assert_a_picture_is_rendered

pytestmark = pytest.mark.filterwarnings("ignore:Constant.s. may be too high:UserWarning")


def rolled(environment: MetaWorld, task: int, placement: int, n_steps: int = 25) -> Any:
    simulation = environment.start([task], [placement])
    seen = [simulation.observation]
    for _ in range(n_steps):
        simulation.step(simulation.expert())
        seen.append(simulation.observation)
    return np.stack(seen)


@pytest.mark.parametrize("name", ["push-v3", "drawer-open-v3", "lever-pull-v3"])
def test_a_rollout_is_a_function_of_its_numbers(name: str) -> None:
    environment = MetaWorld(name)
    first = rolled(environment, 0, 0)
    rolled(environment, 1, 3)  # what happened before leaves no trace
    np.testing.assert_array_equal(rolled(environment, 0, 0), first)
    np.testing.assert_array_equal(rolled(MetaWorld(name), 0, 0), first)


def test_the_goal_is_fixed_and_the_object_is_placed_again() -> None:
    environment = MetaWorld("pick-place-v3")
    vectors = np.stack([environment.vector(3, placement) for placement in range(6)])
    assert np.ptp(vectors[:, 3:], axis=0).max() == 0 and np.ptp(vectors[:, :2], axis=0).min() > 0.01
    assert np.abs(environment.vector(4, 0)[3:] - vectors[0, 3:]).max() > 1e-3


def test_the_goal_is_not_in_the_observation() -> None:
    environment = MetaWorld("pick-place-v3")
    here = environment.start([0], [0]).observation
    robot = environment._robots[0]
    robot._target_pos = robot._target_pos + 0.05
    assert np.abs(np.asarray(robot._get_obs())[36:] - environment.vector(0, 0)[3:]).max() > 0.04  # the expert sees it
    other = environment.start([0], [0])
    other._full[0][36:] += 0.05
    np.testing.assert_array_equal(other.observation, here)


def test_a_placement_that_breaks_the_rule_does_not_hang() -> None:
    bounded = _Bounded(np.zeros(6))
    bounded()
    with pytest.raises(_BrokenRuleError):
        bounded()
    environment = MetaWorld("push-v3")
    near = np.array([0.0, 0.65, 0.02, 0.0, 0.66, 0.02])  # the object at the goal: its own reset asks for ever
    environment.vector = lambda *_: near  # type: ignore[method-assign]
    with pytest.raises(DataError, match="no placement for task 0 keeps the environment's distance rule"):
        environment.start([0], [0])


def test_reach_starts_the_hand_in_other_places() -> None:
    environment = MetaWorld("reach-v3")
    hands = [environment.start([0], [placement]).observation[0, :3] for placement in range(4)]
    assert np.ptp(hands, axis=0).min() > 0.3


def test_replay_scores_where_all_is_frozen_and_not_where_it_is_placed_again() -> None:
    environment = MetaWorld("push-v3")
    tasks = tuple(range(1_000_000, 1_000_003))
    shown = record(environment, tasks, 1)
    demonstrations = tuple(shown.of_task(task) for task in tasks)
    frozen, again = (Trial(lambda: environment, tasks, demonstrations, (p,)) for p in (0, 10_000))
    assert roll_out(Replay(), frozen).all() and not roll_out(Replay(), again).all()
    assert roll_out(ExpertPolicy(), again).all()


def test_recorded_once_and_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = {skill: range(2) for skill in ("drawer-close-v3", "window-open-v3")}
    collect.collect_skills(tmp_path, ["drawer-close-v3"], tasks, 1, 1, 0)
    recorded: list[str] = []

    def noted(environment: MetaWorld, *args: Any, **options: Any) -> Demonstrations:
        recorded.append(environment.name)
        return record(environment, *args, **options)

    monkeypatch.setattr(collect, "record", noted)
    both = collect.collect_skills(tmp_path, list(tasks), tasks, 1, 1, 0)
    assert recorded == ["window-open-v3"] and len(both) == 8 and both.tasks.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert both.families == {0: "drawer-close-v3", 1: "drawer-close-v3", 2: "window-open-v3", 3: "window-open-v3"}


def test_skills_of_the_suites() -> None:
    assert len(ML10_TRAIN) == 10 and not set(ML10_TRAIN) & {*ML10_TEST, *ML45_TEST}
    with pytest.raises(ConfigError, match="no skill 'push'"):
        MetaWorld("push")
    with pytest.raises(ConfigError, match="expected ML10 or ML45"):
        collect.metaworld_data("f", "ML11", "new", 12, True, False, 0)


def test_a_picture() -> None:
    assert_a_picture_is_rendered("regard.domains.robots.metaworld", "MetaWorld('push-v3')")

"""Points in the plane: pure functions of numbers, a hidden goal, and an expert that arrives."""

from __future__ import annotations

import numpy as np
import pytest

from regard.domains.acting.demonstrations import record
from regard.domains.acting.environment import Environment
from regard.domains.robots.reach2d import Choose2D, Reach2D
from regard.errors import DataError


@pytest.mark.parametrize("environment", [Reach2D(), Choose2D(), Choose2D(n_objects=5)], ids=["reach", "three", "five"])
def test_the_expert_arrives_and_nobody_else(environment: Environment) -> None:
    experts, idle = (environment.start(range(40), [3] * 40) for _ in range(2))
    assert experts.observation.shape == (40, environment.n_features)
    assert not experts.success.any()
    for _ in range(environment.horizon):
        experts.step(experts.expert())
        idle.step(np.zeros((40, environment.n_actions)))
    assert experts.success.all() and not idle.success.any()
    assert np.abs(experts.expert()).max() <= 1


@pytest.mark.parametrize("environment", [Reach2D(seed=1), Choose2D(seed=1)], ids=["reach", "choose"])
def test_a_placement_is_a_function_of_its_numbers(environment: Environment) -> None:
    together = environment.start([0, 1, 1], [0, 0, 5])
    alone = environment.start([1], [5])
    np.testing.assert_array_equal(together.observation[2:], alone.observation)
    np.testing.assert_array_equal(together.expert()[2:], alone.expert())
    assert np.abs(together.observation[1] - together.observation[2]).max() > 0.01  # placed again
    assert np.abs(type(environment)(seed=2).start([1], [5]).observation - alone.observation).max() > 0.01


def test_the_goal_is_fixed_and_the_start_is_not() -> None:
    robots = Reach2D().start([7] * 20, range(20))
    assert np.ptp(robots.goal, axis=0).max() == 0 and np.ptp(robots.position, axis=0).min() > 0.5
    assert np.linalg.norm(robots.position - robots.goal, axis=1).min() > 0.4


def test_the_colour_is_fixed_and_its_object_is_not() -> None:
    robots = Choose2D().start([7] * 20, range(20))
    assert robots.scene is not None
    which = np.linalg.norm(robots.scene[..., :2] - robots.goal[:, None], axis=-1).argmin(1)
    assert np.ptp(robots.scene[np.arange(20), which, 2:], axis=0).max() == 0 and len(set(which)) == 3


def test_the_demonstration_names_the_object() -> None:
    """A rule on what is seen alone: the colour of what it ended at, and the object here that is most like it."""
    robots, shown = Choose2D().start(range(50), [3] * 50), record(Choose2D(), range(50), 1)
    ends = np.stack([shown.observations[shown.steps(i)][-1, 2:].reshape(3, 5) for i in range(50)])
    nearest = np.linalg.norm(ends[..., :2], axis=-1).argmin(1)
    colour = ends[np.arange(50), nearest, 2:]
    for _ in range(40):
        objects = robots.observation[:, 2:].reshape(50, 3, 5)
        which = np.linalg.norm(objects[..., 2:] - colour[:, None], axis=-1).argmin(1)
        robots.step(objects[np.arange(50), which, :2] / 0.1 / 2)
    assert robots.success.all()


def test_who_is_done_stands_still() -> None:
    robots = Reach2D().start([0, 1], [0, 0])
    before = robots.position.copy()
    robots.step(np.ones((2, 2)), np.array([True, False]))
    assert (robots.position != before).any(1).tolist() == [True, False]


def test_points_have_no_pictures() -> None:
    with pytest.raises(DataError, match="has no pictures"):
        Reach2D().start([0], [0]).frame()

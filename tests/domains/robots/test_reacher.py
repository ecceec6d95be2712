"""MuJoCo's Reacher: kinematics against the simulator, a hidden target, an expert that acts smoothly."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="pip install 'regard[robots]'")
pytest.importorskip("gymnasium", reason="pip install 'regard[robots]'")

from regard.domains.acting.demonstrations import record
from regard.domains.robots.reacher import Reacher, fingertip, jacobian_of
from rendering import assert_a_picture_is_rendered


def test_the_fingertip_is_where_mujoco_says() -> None:
    robots = Reacher().start(range(5), [0] * 5)
    angle, _ = robots._joints
    tips = [state.body("fingertip").xpos[:2] for state in robots._states]
    np.testing.assert_allclose(fingertip(angle), tips, atol=1e-9)
    np.testing.assert_allclose(Reacher().place(robots.observation), tips, atol=1e-9)


def test_the_first_joint_is_anywhere_and_the_elbow_on_either_side() -> None:
    angle, _ = Reacher().start([3] * 200, range(200))._joints
    assert angle.min(0) == pytest.approx([-np.pi, -2.6], abs=0.2)
    assert angle.max(0) == pytest.approx([np.pi, 2.6], abs=0.2)
    assert np.abs(angle[:, 1]).min() > 0.4 and 0.3 < (angle[:, 1] > 0).mean() < 0.7


def test_the_jacobian_is_a_difference_quotient() -> None:
    angle, step = np.array([[0.3, 1.2], [-2.0, 0.5]]), 1e-6
    for joint in (0, 1):
        moved = angle + step * np.eye(2)[joint]
        np.testing.assert_allclose(
            jacobian_of(angle)[:, :, joint], (fingertip(moved) - fingertip(angle)) / step, atol=1e-6
        )


def test_the_expert_arrives_smoothly_and_stays() -> None:
    environment = Reacher()
    robots, actions = environment.start(range(100), [3] * 100), []
    assert robots.success.mean() < 0.1
    for _ in range(environment.horizon):
        actions.append(robots.expert())
        robots.step(actions[-1])
    assert robots.success.mean() > 0.98


def test_the_expert_does_not_choose_between_elbows() -> None:
    robots = Reacher().start(range(200), [3] * 200)
    before = robots.expert()
    for state in robots._states:
        state.qpos[:2] += 0.01
    robots._joints = robots._read_joints()
    # One that chooses jumps by about 1 wherever it changes its mind.
    assert np.quantile(np.abs(robots.expert() - before), 0.99) < 0.3


def test_placements_are_functions_of_numbers_and_the_target_is_not_seen() -> None:
    together, alone = Reacher().start([0, 1], [4, 5]), Reacher().start([1], [5])
    np.testing.assert_allclose(together.observation[1:], alone.observation, atol=1e-12)
    before = alone.observation
    alone._target += 0.1
    alone._states[0].qpos[2:] += 0.1
    np.testing.assert_array_equal(alone.observation, before)


def test_demonstrations() -> None:
    assert record(Reacher(), range(4), 2, 1).lengths.tolist() == [50] * 12


def test_a_picture() -> None:
    assert_a_picture_is_rendered("regard.domains.robots.reacher", "Reacher()")

"""Demonstrations as data: what fits, what does not, and what the recorder keeps."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regard.domains.acting.demonstrations import Demonstrations, record
from regard.domains.robots.reach2d import Choose2D, PointSimulation, Reach2D
from regard.errors import DataError


def three() -> Demonstrations:
    lengths = (4, 2, 3)
    return Demonstrations.of(
        [(np.full((n, 2), n), np.full((n, 1), -n)) for n in lengths], [5, 9, 5], [False, True, False]
    )


def test_steps_of_each_and_of_some() -> None:
    demonstrations = three()
    assert len(demonstrations) == 3 and demonstrations.starts.tolist() == [0, 4, 6]
    assert demonstrations.observations[demonstrations.steps(1)].tolist() == [[2, 2], [2, 2]]
    some = demonstrations.of_task(5)
    assert some.lengths.tolist() == [4, 3] and some.actions[:, 0].tolist() == [-4] * 4 + [-3] * 3
    assert demonstrations.first(1).lengths.tolist() == [4, 2]


def test_joined_tasks_are_numbered_one_after_another() -> None:
    named = Demonstrations.of([([[0.0]] * 2, [[0.0]] * 2)], [3], families={3: "push"})
    other = Demonstrations.of([([[0.0]] * 2, [[0.0]] * 2)] * 2, [7, 8], families={8: "pull"})
    both = Demonstrations.joined([named, other])
    assert both.tasks.tolist() == [0, 1, 2] and both.families == {0: "push", 2: "pull"}


def test_saved_is_loaded(tmp_path: Path) -> None:
    demonstrations = record(Reach2D(), [4, 2], 2, 1)
    demonstrations.save(tmp_path / "some.npz")
    again = Demonstrations.load(tmp_path / "some.npz")
    for name in ("observations", "actions", "lengths", "tasks", "noisy"):
        np.testing.assert_array_equal(getattr(again, name), getattr(demonstrations, name))
    assert again.families == {4: "reach2d", 2: "reach2d"}


@pytest.mark.parametrize(
    ("trajectories", "message"),
    [
        ([], "there are no demonstrations"),
        ([(np.zeros((3, 2)), np.zeros((2, 1)))], "as many steps of both"),
        (
            [(np.zeros((3, 2)), np.zeros((3, 1))), (np.zeros((3, 4)), np.zeros((3, 1)))],
            "demonstration 1 has observations",
        ),
        ([(np.zeros((3, 2)), np.zeros((3, 1))), (np.zeros((3, 2)), np.zeros((3, 2)))], "demonstration 1 has"),
        ([(np.zeros((1, 2)), np.zeros((1, 1)))], "has 1 step: expected at least 2"),
        (
            [(np.zeros((2, 2)), np.zeros((2, 1))), (np.array([[0, 0], [0, np.nan]]), np.zeros((2, 1)))],
            "demonstration 1, step 1",
        ),
    ],
)
def test_what_does_not_fit_is_named(trajectories: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Demonstrations.of(trajectories)


def test_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"PK nothing")
    with pytest.raises(DataError, match="holds no demonstrations"):
        Demonstrations.load(tmp_path / "a.npz")
    record(Reach2D(), [0], 2).save(tmp_path / "whole.npz")
    whole = (tmp_path / "whole.npz").read_bytes()
    for at in range(0, len(whole), 97):
        (tmp_path / "a.npz").write_bytes(whole[:at])
        with pytest.raises(DataError):
            Demonstrations.load(tmp_path / "a.npz")
        (tmp_path / "a.npz").write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        with suppress(DataError):  # a byte that matters to nothing, or one message
            Demonstrations.load(tmp_path / "a.npz")


def test_noise_moves_the_robot_and_not_the_label() -> None:
    clean, noisy = (record(Reach2D(), range(10), 0 if disturbed else 1, int(disturbed)) for disturbed in (False, True))
    assert noisy.noisy.all() and not clean.noisy.any()
    assert np.abs(noisy.observations - clean.observations).max() > 0.05
    goal = np.stack([clean.observations[clean.steps(i)][-1] for i in range(10)])
    for i in range(10):
        way = (goal[i] - noisy.observations[noisy.steps(i)]) / 0.1
        label = way / np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1)
        # What the expert would have done there, to the last 0.05 of the clean demonstration.
        assert np.abs(noisy.actions[noisy.steps(i)] - label)[:5].max() < 0.2


def test_the_disturbed_robot_drifts_otherwise_every_time() -> None:
    one, two = (record(Reach2D(), [0, 1], 1, 1).observations for _ in range(2))
    np.testing.assert_array_equal(one, two)


def target_is_nearest(demonstrations: Demonstrations, rows: np.ndarray) -> float:
    """The share of moving steps of Choose2D in which the nearest object is the one that is gone to."""
    found = []
    for row in rows.tolist():
        steps = demonstrations.steps(row)
        away = demonstrations.observations[steps][:, 2:].reshape(-1, 3, 5)[..., :2]
        distance = np.linalg.norm(away, axis=-1)
        towards = (away * demonstrations.actions[steps][:, None]).sum(-1) / np.maximum(distance, 1e-9)
        moving = np.linalg.norm(demonstrations.actions[steps], axis=1) > 0.5
        found.append((distance.argmin(1) == towards.argmax(1))[moving])
    return float(np.concatenate(found).mean())


def test_a_detour_hides_where_the_path_leads() -> None:
    """Else "go on to what is near" is nearly right, and is learned in place of reading the demonstration."""
    shown = record(Choose2D(), range(100), 1, 1, n_detour_steps=12)
    clean, detoured = (np.flatnonzero(shown.noisy == noisy) for noisy in (False, True))
    assert target_is_nearest(shown, detoured) < target_is_nearest(shown, clean) - 0.05
    steps = [shown.actions[shown.steps(row)] for row in detoured.tolist()]
    # Labels are the expert's: straight to the object from the first step, at full speed.
    assert all(np.linalg.norm(actions[0]) == pytest.approx(1) for actions in steps)
    plain = record(Choose2D(), range(100), 1, 0)
    np.testing.assert_array_equal(plain.observations, shown.select(clean).observations)


class Hopeless(Reach2D):
    """The goals of even tasks are out of reach."""

    def start(self, tasks: Any, placements: Any) -> PointSimulation:
        simulation = super().start(tasks, placements)
        simulation.goal = simulation.goal + 5 * (np.asarray(tasks)[:, None] % 2 == 0)
        return simulation


def test_an_expert_that_never_succeeds_is_said() -> None:
    with pytest.raises(DataError, match="did not succeed in 8 tries at task 0 and 1 others"):
        record(Hopeless(), [0, 1, 2], 1)
    some = record(Hopeless(), [0, 1, 2, 3], 2, leave_out_failed=True)
    assert some.tasks.tolist() == [1, 1, 3, 3] and set(some.families) == {1, 3}
    with pytest.raises(DataError, match="at task 0 and 1 others"):
        record(Hopeless(), [0, 2], 1, leave_out_failed=True)

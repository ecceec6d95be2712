"""The robot goes where it was shown from other places, and what is wrong with a question is said in one sentence."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regard.app.page import ROBOT
from regard.app.robot import walked
from regard.domains.acting.demonstrations import Demonstrations

WAY = [[-0.8, -0.8], [0.0, 0.0], [0.5, 0.6]]
STARTS = [[0.8, -0.7], [-0.7, 0.5], [0.0, -0.9]]


def question(**changes: Any) -> str:
    return json.dumps({"paths": [WAY], "starts": STARTS, **changes})


def test_it_arrives_and_says_which_steps_counted() -> None:
    found = ROBOT.answer(question())
    assert [answer["said"] for answer in found["answers"]] == ["arrived"] * 3
    for answer, start in zip(found["answers"], STARTS, strict=True):
        assert answer["start"] == start
        assert np.linalg.norm(np.subtract(answer["end"], WAY[-1])) < 0.1
        assert sum(answer["attention"].values()) == pytest.approx(1, abs=1e-5)
    assert found["html"].count("<svg") == 3 and "<script" not in found["html"]
    assert "further off than without others" in found["html"]


def test_another_goal_is_another_answer() -> None:
    other = [[-0.8, -0.8], [-0.6, 0.7]]
    (answer,) = ROBOT.answer(question(paths=[other], starts=[[0.8, -0.7]]))["answers"]
    assert np.linalg.norm(np.subtract(answer["end"], other[-1])) < 0.1


def test_a_line_is_walked_at_the_speed_of_the_robot() -> None:
    position, action = walked(np.array(WAY))
    assert np.linalg.norm(np.diff(position, axis=0), axis=1).max() == pytest.approx(0.1, abs=1e-9)
    np.testing.assert_allclose(position[:-1] + 0.1 * action[:-1], position[1:])
    assert np.allclose(position[-1], WAY[-1]) and not action[-1].any()


def test_what_was_shown_is_saved(tmp_path: Path) -> None:
    saved = ROBOT.save(question())
    path = tmp_path / saved["name"]
    path.write_bytes(base64.b64decode(saved["content"]))
    assert np.allclose(Demonstrations.load(path).observations[-1], WAY[-1])
    assert "error" in ROBOT.take(question())


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (question(paths=[]), "nothing was shown"),
        (question(starts=[]), "no place to start"),
        (question(paths=[[[0, 0], [0.05, 0]]]), "too short"),
        (question(paths=[[[0, 0, 0], [1, 1]]]), "reload"),
        (question(starts=[[float("nan"), 0]]), "not finite"),
        (question(paths=[WAY] * 6), "takes 5"),
        ("{}", "reload"),
        ("[" * 100_000, "reload"),
    ],
)
def test_questions_that_cannot_be_answered_are_told(asked: str, message: str) -> None:
    assert message in ROBOT.answer(asked)["error"]
    assert message in ROBOT.save(asked)["error"]

"""A point in the plane that is shown where to go: the board of demonstrations, without a simulator or an extra."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from regard.app.desk import Mode
from regard.domains.acting.demonstrations import Demonstrations
from regard.domains.acting.steps import StepReader
from regard.domains.robots.reach2d import SPEED, PointSimulation, Reach2D
from regard.episode import Support
from regard.errors import ConfigError, DataError, RegardError
from regard.evaluation.intervals import paired_interval
from regard.evaluation.rollouts import LearnerPolicy
from regard.explain.answers import beside_chance
from regard.explain.demonstrations import watched
from regard.limits import ENCODED_BYTES
from regard.recipes.trained import TrainedLearner
from regard.report.rollouts import ShownRollout, ShownStep, render_rollouts

Floats = NDArray[np.float64]
MOST_PATHS, MOST_STARTS, MOST_POINTS = 5, 8, 5000
SHARE = 0.5
"""Of the shown steps, that are deleted to see whether the attended ones were those that mattered."""

_ARRIVED = 0.1
"""How near counts: a way that is drawn ends where a hand stopped."""

_NAMED = 3
"""Steps whose effect is said of each rollout."""


@dataclass(frozen=True)
class RobotDesk:
    """Paths that are drawn, and places from which the same is to be done; the interface of a `Desk`.

    Args:
        title: of its tab.
        learner: a policy of places in the plane, trained by `regard train reach2d`.
        about: a sentence or two above the board.
    """

    title: str
    learner: str
    about: str
    mode: Mode = "path"
    support: str = ""
    query: str = ""
    regression: bool = True

    def answer(self, question: str) -> dict[str, Any]:
        """The page of rollouts, and the rollouts as data; or what is wrong with the question, for people.

        Args:
            question: JSON, `{"paths": [[[x, y], ..], ..], "starts": [[x, y], ..]}`, all from -1 to 1, y upwards.
        """
        try:
            shown, starts = self._read(question)
            policy = _Policy(self.learner)
            rollouts = policy.explained(shown, starts)
        except RegardError as error:
            return {"error": str(error)}
        trust, believed = _trust(rollouts)
        ways = [shown.observations[shown.steps(i)] for i in range(len(shown))]
        html = render_rollouts(ways, rollouts, trust, believed)
        answers = [
            {
                "query": f"start {number}",
                "said": "arrived" if rollout.arrived else f"ended {rollout.distance:.2f} away",
                "start": rollout.path[0].tolist(),
                "end": rollout.path[-1].tolist(),
                "distance": rollout.distance,
                "attention": {step.name: step.attention for step in rollout.steps},
            }
            for number, rollout in enumerate(rollouts, 1)
        ]
        return {"html": html, "answers": answers}

    def save(self, question: str) -> dict[str, Any]:
        """What was shown, as a file in base64; `Demonstrations.load` reads it."""
        try:
            shown, _ = self._read(question)
        except RegardError as error:
            return {"error": str(error)}
        with TemporaryDirectory() as folder:
            path = Path(folder) / "demonstrations.npz"
            shown.save(path)
            return {"name": path.name, "content": base64.b64encode(path.read_bytes()).decode()}

    def take(self, question: str) -> dict[str, Any]:
        """There is no offline page of a policy."""
        return {"error": "a policy has no offline page: regard.FewShotPolicy(...).module() exports it from Python."}

    def _read(self, question: str) -> tuple[Demonstrations, Floats]:
        if len(question) > ENCODED_BYTES:
            raise DataError("the paths are too long: draw fewer.")
        try:
            asked = json.loads(question)
            paths = [np.asarray(path, dtype=np.float64).reshape(-1, 2) for path in asked["paths"]]
            starts = np.asarray(asked["starts"], dtype=np.float64).reshape(-1, 2)
        except (ValueError, RecursionError, KeyError, TypeError) as error:
            raise DataError("the question is not a list of paths and one of places: reload the page.") from error
        if not all(np.isfinite(each).all() and len(each) <= MOST_POINTS for each in [*paths, starts]):
            raise DataError(f"paths have numbers that are not finite, or more than {MOST_POINTS} points: draw again.")
        if not paths:
            raise DataError("nothing was shown: draw a path to the place where it should go.")
        if not len(starts):
            raise DataError("there is no place to start from: click one or more.")
        if len(paths) > MOST_PATHS or len(starts) > MOST_STARTS:
            raise DataError(
                f"there are {len(paths)} paths and {len(starts)} places: the page takes {MOST_PATHS} and {MOST_STARTS}."
            )
        return Demonstrations.of([walked(path) for path in paths]), np.clip(starts, -1, 1)


def walked(path: Floats) -> tuple[Floats, Floats]:
    """A drawn line (N, 2) as steps of the robot's speed: positions (T, 2) and actions (T, 2), some of them of rest.

    Raises:
        DataError: a line shorter than two steps.
    """
    path = np.clip(path, -1, 1)
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    if along[-1] < 2 * SPEED:
        raise DataError("a path is too short to be a way: draw one of some length, which ends where it should go.")
    at = np.append(np.arange(0, along[-1], SPEED), [along[-1]] * 4)
    position = np.stack([np.interp(at, along, path[:, axis]) for axis in (0, 1)], 1)
    action = np.diff(position, axis=0, append=position[-1:]) / SPEED
    return position, action


class _Policy:
    """What a policy does after some demonstrations, with each of its shown steps and without."""

    def __init__(self, learner: str) -> None:
        trained = TrainedLearner.shared(learner, regression=True)
        reader = trained.reader()
        if not isinstance(reader, StepReader):
            raise ConfigError(f"{learner} is no policy: expected a run of `regard train reach2d`.")
        self.reader, self.policy = reader, LearnerPolicy(trained.learner, reader, name=learner)

    def explained(self, shown: Demonstrations, starts: Floats) -> list[ShownRollout]:
        """One rollout from each place, and what it would be without some of what was shown."""
        goal = np.stack([shown.observations[shown.steps(i)][-1] for i in range(len(shown))]).mean(0).astype(np.float64)
        support = self.reader.support([shown])
        real = support.weight[0].numpy() > 0
        path, attention = self._roll_out(support, support.weight.repeat(len(starts), 1), starts, goal)
        rng = np.random.default_rng(0)
        found = []
        for row, start in enumerate(starts):
            attended = attention[row].mean(0)
            order = np.argsort(-np.where(real, attended, -1), kind="stable")
            n_deleted = round(SHARE * int(real.sum()))
            named = order[:_NAMED]
            groups = [[int(step)] for step in named]
            groups += [order[:n_deleted].tolist(), rng.permutation(np.flatnonzero(real))[:n_deleted].tolist()]
            weight = support.weight.repeat(len(groups), 1)
            for task, gone in enumerate(groups):
                weight[task, gone] = 0
            others, _ = self._roll_out(support, weight, np.tile(start, (len(groups), 1)), goal)
            ends = np.linalg.norm(others[:, -1] - goal, axis=1)
            distance = float(np.linalg.norm(path[row, -1] - goal))
            steps = [
                ShownStep(
                    self._name(step, real),
                    (float(support.x[0, step, 0]), float(support.x[0, step, 1])),
                    float(attended[step]),
                    float(ends[list(named).index(step)]) if step in named else None,
                )
                for step in order[: int(real.sum())].tolist()
            ]
            found.append(
                ShownRollout(path[row], distance, distance < _ARRIVED, steps, float(ends[-2]), float(ends[-1]))
            )
        return found

    def _name(self, row: int, real: NDArray[np.bool_]) -> str:
        n_rows = self.reader.n_rows
        demonstration, step = divmod(row, n_rows)
        n_steps = int(real[demonstration * n_rows :][:n_rows].sum())
        return f"demonstration {demonstration + 1}, step {step + 1} of {n_steps}"

    def _roll_out(
        self, support: Support[torch.Tensor], weight: torch.Tensor, starts: Floats, goal: Floats
    ) -> tuple[Floats, Floats]:
        """Positions (B, T + 1, 2) and attention (B, T, S) of B rollouts, each under its own weights (B, S)."""
        n = len(starts)
        tasks = replace(support.map(lambda t: t.expand(n, *t.shape[1:])), weight=weight)
        rollout = watched(self.policy, PointSimulation(starts, np.tile(goal, (n, 1))), tasks, Reach2D().horizon)
        return rollout.observations, rollout.attention


def _trust(rollouts: Sequence[ShownRollout]) -> tuple[str, bool | None]:
    """How far to believe the picture of the attended steps, and whether that is above chance."""
    what = f"without the {100 * SHARE:.0f}% of the shown steps that were attended to most"
    if len(rollouts) < 2:
        return (
            f"From one place: {what} it ends {rollouts[0].without_attended:.2f} from the goal, without as many random "
            f"ones {rollouts[0].without_random:.2f}. Start from more places to know whether to believe that.",
            None,
        )
    more = paired_interval(
        np.array([each.without_attended for each in rollouts]), np.array([each.without_random for each in rollouts])
    )
    measured = f"{what} it ends {more.mean:+.2f} [{more.low:+.2f}, {more.high:+.2f}] further off than without others"
    if more.low > 0:
        return f"The steps that are drawn large are those it acts by: {measured}.", True
    return f"Do not believe which steps are drawn large: {measured}, {beside_chance(more, 'places')}.", False

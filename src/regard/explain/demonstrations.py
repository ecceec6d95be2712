"""Which steps of a demonstration a policy acts by, along a rollout, and whether to believe it.

    attention_btr    how much row r of the demonstrations of task b counted for the action at step t
    deleted          the rows that counted most, over the whole rollout, get weight 0, and the robot tries again

If success falls as attended rows are deleted, and hardly falls as random ones are, the attention is what the policy
acts by.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from regard.domains.acting.environment import Simulation
from regard.domains.acting.simulated import Trial
from regard.episode import Support
from regard.errors import ConfigError, did_you_mean
from regard.evaluation.rollouts import LearnerPolicy
from regard.learners.base import AttendingLearner

Deleted = Literal["attended", "random"]


@dataclass(frozen=True)
class AttendedRollout:
    """What happened, and what each step of it attended to.

    Args:
        observations: (B, T + 1, D) what was seen, the last one after the last action.
        attention: (B, T, S) over the support rows, K demonstrations of n rows.
        weight: (B, S) of the rows; 0 is padding.
        success: (B,).
    """

    observations: NDArray[np.float64]
    attention: NDArray[np.float64]
    weight: NDArray[np.float64]
    success: NDArray[np.bool_]


def attended_rollout(policy: LearnerPolicy, trial: Trial) -> AttendedRollout:
    """Roll out once, from the first placement, and keep the attention of every step.

    Args:
        policy: of a learner that attends.
        trial: B tasks.

    Raises:
        ConfigError: a learner that does not attend.
    """
    environment = trial.environment()
    return watched(
        policy,
        environment.start(trial.tasks, [trial.placements[0]] * len(trial.tasks)),
        policy.reader.support(trial.demonstrations),
        environment.horizon,
        stops=environment.stops_at_success,
    )


def watched(
    policy: LearnerPolicy, simulation: Simulation, support: Support, horizon: int, *, stops: bool = False
) -> AttendedRollout:
    """Roll out a simulation that has begun, and keep the attention of every step.

    Args:
        policy: of a learner that attends.
        simulation: B tasks.
        support: of them, as the policy's reader makes it; rows may have lost their weight.
        horizon: steps.
        stops: whether a task that has succeeded moves no more.

    Raises:
        ConfigError: a learner that does not attend.
    """
    learner, attention = policy.learner, []
    if not isinstance(learner, AttendingLearner):
        raise ConfigError(f"{policy.name} does not attend: see `regard learners`; expected one that does.")

    def attend(state: Any, observation: NDArray[np.float64]) -> None:
        with torch.inference_mode():
            attention.append(learner.attend(state, policy.reader(observation)[:, None])[:, 0].double().numpy())

    seen, success = _roll_out(policy, simulation, support, horizon, stops, attend)
    return AttendedRollout(np.stack(seen, 1), np.stack(attention, 1), support.weight.double().numpy(), success)


def success_without(
    policy: LearnerPolicy,
    trial: Trial,
    share: float,
    deleted: Deleted = "attended",
    *,
    rollout: AttendedRollout | None = None,
    seed: int = 0,
) -> NDArray[np.bool_]:
    """(B,) success where a share of the rows is deleted.

    Args:
        policy, trial: as `attended_rollout`.
        share: of each task's rows, from 0 to less than 1.
        deleted: those most attended to over the rollout with all rows, or random ones.
        rollout: with all rows, where it is there already.
        seed: of the random ones.

    Raises:
        ConfigError: an unknown choice, a share out of range, or a learner that does not attend.
    """
    if deleted not in get_args(Deleted) or not 0 <= share < 1:
        raise ConfigError(
            f"deleted is {deleted!r} and share {share}: expected a share from 0 to less than 1, and "
            f"{did_you_mean(deleted, get_args(Deleted))}"
        )
    full = rollout or attended_rollout(policy, trial)
    score = full.attention.mean(1)
    if deleted == "random":
        score = np.random.default_rng(seed).random(score.shape)
    score = np.where(full.weight > 0, score, -1)
    rank = (-score).argsort(1, kind="stable").argsort(1)
    n_deleted = np.round(share * (full.weight > 0).sum(1)).astype(int)
    kept = torch.from_numpy(rank >= n_deleted[:, None])
    support = policy.reader.support(trial.demonstrations)
    environment = trial.environment()
    simulation = environment.start(trial.tasks, [trial.placements[0]] * len(trial.tasks))
    left = replace(support, weight=support.weight * kept)
    return _roll_out(policy, simulation, left, environment.horizon, environment.stops_at_success)[1]


def _roll_out(
    policy: LearnerPolicy,
    simulation: Simulation,
    support: Support,
    horizon: int,
    stops: bool,
    note: Callable[[Any, NDArray[np.float64]], None] | None = None,
) -> tuple[list[NDArray[np.float64]], NDArray[np.bool_]]:
    """All that was seen, T + 1 times (B, D), and success (B,); `note` gets the state and what is seen before a step."""
    with torch.no_grad():
        state = policy.learner.adapt(support)
    act, seen = policy.acting(state), [simulation.observation]
    for _ in range(horizon):
        active = ~simulation.success if stops else np.ones(support.n_tasks, dtype=bool)
        if not active.any():
            break
        if note is not None:
            note(state, seen[-1])
        simulation.step(act(seen[-1]), active)
        seen.append(simulation.observation)
    return seen, simulation.success

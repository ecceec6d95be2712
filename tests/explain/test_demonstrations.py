"""Attention along a rollout, and success when attended steps are deleted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from regard.domains.acting.demonstrations import record
from regard.domains.acting.steps import StepReader
from regard.domains.robots.data import RecordedData
from regard.domains.robots.domain import ROBOTS
from regard.domains.robots.reach2d import Reach2D
from regard.episode import Items, Support
from regard.errors import ConfigError
from regard.evaluation.rollouts import LearnerPolicy, roll_out
from regard.explain import attended_rollout, success_without
from regard.learners.base import AttendingLearner
from regard.learners.deep_kernel import DeepKernel


class LooksAtTheEnd(AttendingLearner):
    """Goes to the mean place of the shown steps, each weighted by how near the end it is; and says so."""

    regresses, classifies = True, False

    def adapt(self, support: Support) -> Support:
        return support

    def attend(self, state: Support, query_x: Items) -> Tensor:
        assert isinstance(state.x, Tensor) and isinstance(query_x, Tensor)
        p = state.weight * torch.exp(20 * state.x[..., 2])
        return (p / p.sum(1, keepdim=True))[:, None].expand(-1, query_x.shape[1], -1)

    def predict(self, state: Support, query_x: Items) -> Normal:
        assert isinstance(state.x, Tensor) and isinstance(query_x, Tensor)
        way = (self.attend(state, query_x) @ state.x[..., :2] - query_x[..., :2]) / 0.1
        mean = way / way.norm(dim=-1, keepdim=True).clamp_min(1)
        return Normal(mean, torch.ones_like(mean))


def test_deleting_what_was_attended_to_hurts_and_random_steps_do_not() -> None:
    # Two steps at 40 rows: of so many, the last quarter stands at the goal already.
    data = RecordedData(
        ROBOTS, "reach2d", record(Reach2D(horizon=30), range(5), 2), {"reach2d": Reach2D}, StepReader(8)
    )
    (trial,) = data.trials("test", 1, 30, 1, 0)
    policy = LearnerPolicy(LooksAtTheEnd(), StepReader(8))
    rollout = attended_rollout(policy, trial)
    assert rollout.attention.shape == (30, 40, 8) and rollout.observations.shape == (30, 41, 2)
    np.testing.assert_allclose(rollout.attention.sum(-1), 1, atol=1e-6)
    np.testing.assert_array_equal(rollout.success, roll_out(policy, trial)[:, 0])
    assert success_without(policy, trial, 0.0).mean() == rollout.success.mean() == 1
    attended, random = (success_without(policy, trial, 0.75, which).mean() for which in ("attended", "random"))
    assert attended < 0.5 and random > attended + 0.3


def test_what_it_needs() -> None:
    data = RecordedData(ROBOTS, "reach2d", record(Reach2D(), range(5), 2), {"reach2d": Reach2D}, StepReader(8))
    (trial,) = data.trials("test", 1, 2, 1, 0)
    with pytest.raises(ConfigError, match="does not attend"):
        attended_rollout(LearnerPolicy(DeepKernel(), StepReader(8)), trial)
    with pytest.raises(ConfigError, match="share 1"):
        success_without(LearnerPolicy(LooksAtTheEnd(), StepReader(8)), trial, 1.0)

"""A goal that stands in the observation is found, and one that does not raises no alarm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Normal

from regard.domains.acting.demonstrations import Demonstrations, record
from regard.domains.acting.source import DemonstrationSource
from regard.domains.acting.steps import StepReader
from regard.domains.robots.reach2d import Reach2D
from regard.episode import Items, Support
from regard.evaluation.leaks.goals import goal_is_hidden
from regard.learners.base import Learner


class GoesToTheLastStep(Learner):
    """What a good learner does: the goal is where the demonstration ended."""

    regresses, classifies = True, False

    def adapt(self, support: Support) -> Tensor:
        assert isinstance(support.x, Tensor)
        last = (support.x[..., -2] * (support.weight > 0)).argmax(1)
        return support.x[torch.arange(len(last)), last, :2]

    def predict(self, state: Tensor, query_x: Items) -> Normal:
        assert isinstance(query_x, Tensor)
        way = (state[:, None] - query_x[..., :2]) / 0.1
        mean = way / way.norm(dim=-1, keepdim=True).clamp_min(1)
        return Normal(mean, torch.ones_like(mean))


def leaky(demonstrations: Demonstrations) -> Demonstrations:
    """The goal beside the position."""
    goals = np.concatenate(
        [
            np.repeat(demonstrations.observations[demonstrations.steps(i)][-1:], n, 0)
            for i, n in enumerate(demonstrations.lengths.tolist())
        ]
    )
    return replace(demonstrations, observations=np.concatenate([demonstrations.observations, goals], 1))


def test_a_planted_goal_is_found_and_a_hidden_one_is_not() -> None:
    train, test = record(Reach2D(), range(150), 2), record(Reach2D(), range(1000, 1030), 2)
    verdicts = {}
    for name, change in (("hidden", lambda d: d), ("planted", leaky)):
        sources = [DemonstrationSource(change(d), StepReader(6), 1, 16, stream=i) for i, d in enumerate((train, test))]
        # A learner that is no better than half of what can be had.
        verdicts[name] = goal_is_hidden(GoesToTheLastStep(), sources[0], sources[1])
    assert verdicts["hidden"].verdict == "passed", verdicts["hidden"].proof
    unexplained = {name: int(v.proof.split("%")[0].split()[-1]) for name, v in verdicts.items()}
    assert unexplained["planted"] < unexplained["hidden"] / 3

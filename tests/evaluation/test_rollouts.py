"""Judged by rollouts: the same trials for everybody, and resumable; policies against what they say."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from regard.domains.acting.demonstrations import record
from regard.domains.acting.simulated import Trial
from regard.domains.acting.steps import StepReader
from regard.domains.robots.data import RecordedData
from regard.domains.robots.domain import ROBOTS, DemonstrationOptions
from regard.domains.robots.reach2d import Reach2D
from regard.episode import Items, Support
from regard.errors import ConfigError, DataError
from regard.evaluation.compare import compare
from regard.evaluation.rollouts import (
    CloningFromScratch,
    ExpertPolicy,
    LearnerPolicy,
    NearestState,
    Replay,
    evaluate_rollouts,
    roll_out,
    success_interval,
)
from regard.learners.base import Learner


class GoesToTheEnd(Learner):
    """Straight to where the first demonstration ended; what learning should come to."""

    regresses, classifies = True, False

    def adapt(self, support: Support) -> Tensor:
        assert isinstance(support.x, Tensor)
        last = (support.x[..., 2] * (support.weight > 0)).argmax(1)
        return support.x[torch.arange(len(last)), last, :2]

    def predict(self, state: Tensor, query_x: Items) -> Normal:
        assert isinstance(query_x, Tensor)
        way = (state[:, None] - query_x[..., :2]) / 0.1
        mean = way / way.norm(dim=-1, keepdim=True).clamp_min(1)
        return Normal(mean, torch.ones_like(mean))


def data(n_tasks: int = 20) -> RecordedData:
    shown = record(Reach2D(), range(n_tasks), 2, 1)
    return RecordedData(ROBOTS, "reach2d", shown, {"reach2d": Reach2D}, StepReader(8))


def test_who_understands_the_demonstration_arrives_and_who_repeats_it_does_not() -> None:
    trials = data().trials("test", 1, 30, 2, 0)
    learner, replay, expert, nearest, cloning = (
        evaluate_rollouts(policy, trials)
        for policy in (
            LearnerPolicy(GoesToTheEnd(), StepReader(8)),
            Replay(),
            ExpertPolicy(),
            NearestState(),
            CloningFromScratch(100),
        )
    )
    assert learner.metrics["success"].mean == expert.metrics["success"].mean == 1
    assert all(r.metrics["success"].mean < 0.4 for r in (replay, nearest, cloning))
    assert learner.episodes == 30 and learner.n_shot == 1 and learner.n_query == 2
    (comparison,) = compare([learner, replay])
    assert comparison.metric == "success" and comparison.better == "GoesToTheEnd"


def test_replaying_works_where_nothing_is_placed_again() -> None:
    (trial,) = data().trials("test", 1, 10, 1, 0)
    same = Trial(trial.environment, trial.tasks, trial.demonstrations, (0,))
    assert roll_out(Replay(), same).all() and not roll_out(Replay(), trial).all()


def test_a_blind_policy_gets_no_demonstration() -> None:
    (trial,) = data().trials("test", 1, 10, 1, 0)
    assert roll_out(LearnerPolicy(GoesToTheEnd(), StepReader(8), blind=True), trial).mean() < 0.5


def test_a_stopped_call_goes_on(tmp_path: Path) -> None:
    shown = data()
    trials = [t for seed in (0, 1) for t in shown.trials("test", 1, 4, 1, seed)]
    one = evaluate_rollouts(NearestState(), trials).per_episode["success"]
    keep = tmp_path / "kept.json"
    evaluate_rollouts(NearestState(), trials[:1], keep=keep)
    before = keep.read_text()
    again = evaluate_rollouts(NearestState(), trials, keep=keep).per_episode["success"]
    np.testing.assert_array_equal(one, again)
    assert keep.read_text().startswith(before[:-1])
    with pytest.raises(ConfigError, match="other rollouts"):
        evaluate_rollouts(Replay(), trials, keep=keep)


def test_wilsons_interval_has_a_width_where_all_succeed() -> None:
    interval = success_interval(np.ones(20))
    assert interval.mean == interval.high == 1 and interval.low == pytest.approx(0.8389, abs=1e-4)
    half = success_interval(np.array([1.0] * 10 + [0.0] * 10))
    assert (half.low, half.high) == pytest.approx((0.2993, 0.7007), abs=1e-4)


def test_splits_of_recorded_tasks() -> None:
    both = data()
    options = DemonstrationOptions(n_shot=1, n_query=4)
    train, validation = both.training(options, 0), both.source("validation", options, 0)
    seen = [set(s.demonstrations.tasks.tolist()) for s in (train, validation)]
    assert len(seen[1]) == 2 and not seen[0] & seen[1] and len(seen[0] | seen[1]) == 20
    assert both.source("test", options, 0)([0]).query_x.shape == (1, 4, 4)
    with pytest.raises(DataError, match="no rollouts of 'train'"):
        both.trials("train", 1, 4, 1, 0)
    with pytest.raises(DataError, match="no split 'tset'"):
        both.source("tset", options, 0)
    with pytest.raises(ConfigError, match="needs at least 2"):
        evaluate_rollouts(ExpertPolicy(), both.trials("test", 1, 1, 1, 0))
    alone = RecordedData(ROBOTS, "own", both.demonstrations, {}, StepReader(8))
    assert not alone.has_simulator
    with pytest.raises(ConfigError, match="has no simulator"):
        alone.trials("test", 1, 4, 1, 0)


def test_environments_share_the_tasks() -> None:
    shown = record(Reach2D(), range(5), 2)
    two = RecordedData(ROBOTS, "two", shown, {"a": Reach2D, "b": partial(Reach2D, 3)}, StepReader(8))
    trials = two.trials("test", 1, 5, 1, 0)
    assert [len(t.tasks) for t in trials] == [3, 2] and trials[0].environment().start(trials[0].tasks, [0] * 3)

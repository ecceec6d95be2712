"""Chance is one over the classes that an episode has, however many its batch has room for."""

from __future__ import annotations

import numpy as np
import torch

from regard.evaluation.leaks.answers import nothing_is_known_without_evidence
from regard.evaluation.leaks.context import LeakContext
from regard.learners import Prototypical
from regard.nn.flat import Flat
from regard.sampling import Dataset, EpisodeSampler


def test_an_honest_learner_is_at_chance_where_ways_vary() -> None:
    x = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    source = EpisodeSampler(Dataset.of(x, torch.arange(12).repeat_interleave(5)), (2, 8), 1, 2, seed=1)
    present = [len(source([n]).query_y[source([n]).query_weight > 0].unique()) for n in range(12)]
    assert len({*present}) > 3
    context = LeakContext(Prototypical(Flat()).eval(), source, n_episodes=12)
    found = nothing_is_known_without_evidence(context)
    assert found.verdict == "passed", found.proof
    assert f"({100 * np.mean([1 / n for n in present]):.1f})" in found.proof

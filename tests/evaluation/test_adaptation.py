"""Adaptation alone is timed, one task at a time, and nothing else is touched."""

from __future__ import annotations

import time

import torch

from regard.episode import Support
from regard.evaluation import adaptation_seconds
from regard.learners.prototypical import Prototypical
from regard.nn.mlp import MLP
from regard.sampling import Dataset, EpisodeSampler


class Slow(Prototypical):
    """Takes its time, and dice."""

    def adapt(self, support: Support) -> object:
        assert support.n_tasks == 1 and not self.training and not torch.is_grad_enabled()
        torch.rand(3)
        time.sleep(0.02)
        return super().adapt(support)


def test_the_time_of_adapt_alone() -> None:
    dataset = Dataset(torch.randn(40, 4), torch.arange(40) // 8, tuple("abcde"))
    learner = Slow(MLP(4, 3, (8,))).train()
    torch.manual_seed(1)
    dice = torch.get_rng_state()
    seconds = adaptation_seconds(learner, EpisodeSampler(dataset, 3, 1, 2), n_tasks=3)
    assert 0.02 <= seconds < 0.2
    assert learner.training and torch.equal(torch.get_rng_state(), dice)

"""Queries whose weights are the same share one adaptation, and get the same answers as by themselves."""

from __future__ import annotations

import pytest
import torch

from regard.explain.reweighting import Reweighting
from regard.learners import ExtraTrees, Learner, NearestNeighbour, Prototypical
from regard.nn.flat import Flat
from regard.testing import random_episode


@pytest.mark.parametrize(
    ("learner", "n_targets"), [(Prototypical(Flat()), 0), (NearestNeighbour(), 1), (ExtraTrees(n_trees=3), 2)]
)
def test_one_adaptation_answers_as_many(learner: Learner, n_targets: int, monkeypatch: pytest.MonkeyPatch) -> None:
    reweighting = Reweighting.of(learner, random_episode(0, n_tasks=3, n_query=4, n_targets=n_targets))
    weight = reweighting.weights(4).clone()
    weight[:, :, 1] = 0
    adapted: list[int] = []
    adapt = type(learner).adapt_encoded
    monkeypatch.setattr(
        type(learner), "adapt_encoded", lambda self, support: (adapted.append(support.n_tasks), adapt(self, support))[1]
    )
    together = reweighting.predict(weight)
    by_query = reweighting.predict(weight.clone().requires_grad_())
    assert adapted == [3, 12]
    torch.testing.assert_close(together, by_query)
    weight[0, 0, 0] = 0
    torch.testing.assert_close(reweighting.predict(weight)[1:], together[1:])
    assert adapted[-1] == 12

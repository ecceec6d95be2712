"""All queries under one weighting share an adaptation, and get the same answers as by themselves."""

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
    episode = random_episode(0, n_tasks=1, n_query=4, n_targets=n_targets)
    reweighting = Reweighting.of(learner, episode)
    n_query, n_rows = episode.query_y.shape[1], episode.support.n_rows
    weight = torch.rand(3, n_rows, generator=torch.Generator().manual_seed(1)).masked_fill(torch.eye(3, n_rows) > 0, 0)
    adapted: list[int] = []
    adapt = type(learner).adapt_encoded
    monkeypatch.setattr(
        type(learner), "adapt_encoded", lambda self, support: (adapted.append(support.n_tasks), adapt(self, support))[1]
    )
    together = reweighting.predict_each(weight)
    assert sum(adapted) == 3
    alone = [reweighting.predict(one.expand(1, n_query, n_rows))[0] for one in weight]
    torch.testing.assert_close(together, torch.stack(alone))

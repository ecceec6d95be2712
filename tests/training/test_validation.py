"""What validation measures, and what is better."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from regard.episode import Episode, Items, Support
from regard.errors import ConfigError
from regard.learners import Prototypical
from regard.learners.base import Learner
from regard.nn.mlp import MLP
from regard.sampling import Dataset, EpisodeSampler
from regard.sampling.functions import Sinusoids
from regard.training import TrainConfig
from regard.training.validation import is_better, metric_of, validate

DATA = Dataset.of(torch.randn(60, 8, generator=torch.Generator().manual_seed(0)), torch.arange(60) // 6)


def test_a_tie_is_no_improvement() -> None:
    assert is_better("accuracy", 0.5, None) and is_better("nll", 0.5, None)
    assert [is_better("accuracy", new, 0.5) for new in (0.4, 0.5, 0.6)] == [False, False, True]
    for metric in ("nll", "loss", "mse"):
        assert [is_better(metric, new, 0.5) for new in (0.4, 0.5, 0.6)] == [True, False, False]


def test_what_is_measured_is_what_the_targets_and_the_settings_say() -> None:
    classes, curves = EpisodeSampler(DATA, n_way=3, n_query=2), Sinusoids()
    said = TrainConfig(validation_metric="nll")
    assert metric_of(None, TrainConfig()) == metric_of(classes, TrainConfig()) == "accuracy"
    assert metric_of(curves, TrainConfig()) == metric_of(curves, said) == metric_of(classes, said) == "nll"
    assert metric_of(lambda n: classes(n), said) == "loss", "a function says nothing of its targets"
    with pytest.raises(ConfigError, match="targets are numbers"):
        metric_of(curves, TrainConfig(validation_metric="accuracy"))


class Counting(Learner):
    """Its loss is the number of the episode; it notes how many come at once, and whether it was in training."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.modes: set[bool] = set()
        self.weight = nn.Parameter(torch.zeros(()))

    def adapt(self, support: Support) -> None:
        raise NotImplementedError

    def predict(self, state: None, query_x: Items) -> Tensor:
        raise NotImplementedError

    def loss(self, episode: Episode) -> Tensor:
        self.sizes.append(len(episode.query_y))
        self.modes.add(self.training or torch.is_grad_enabled())
        return episode.query_y[:, 0, 0] + self.weight


def numbers(episodes: np.ndarray) -> Episode:
    """Episodes whose target is their number."""
    y = torch.from_numpy(episodes).double()[:, None, None]
    return Episode(Support(y, y, torch.ones(len(y), 1, dtype=torch.float64), 0), y, y)


def test_the_mean_loss_of_a_function_is_over_all_episodes_once() -> None:
    learner = Counting()
    found = validate(learner, numbers, TrainConfig(validation_episodes=19))
    assert found == pytest.approx(np.arange(19).mean()) and learner.sizes == [8, 8, 3] and learner.modes == {False}
    assert learner.training


def test_a_learner_is_validated_on_as_many_episodes_as_are_set() -> None:
    torch.manual_seed(0)
    learner, sampler = Prototypical(MLP(8)), EpisodeSampler(DATA, n_way=3, n_query=2)
    one, two = (validate(learner, sampler, TrainConfig(validation_episodes=n)) for n in (2, 50))
    assert one != two and 0.0 <= one <= 1.0
    assert validate(learner, sampler, TrainConfig(validation_episodes=50)) == two

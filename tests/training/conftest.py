"""Tiny learners on random pictures, so that a run takes a second."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from regard.learners.prototypical import Prototypical
from regard.nn.conv4 import Conv4
from regard.sampling.dataset import Dataset
from regard.sampling.episodes import EpisodeSampler
from regard.training import TrainConfig


@pytest.fixture(scope="session")
def sampler() -> EpisodeSampler:
    generator = torch.Generator().manual_seed(0)
    # Noisy copies of one picture a class, which can be learned.
    prototypes = torch.randint(0, 200, (12, 1, 12, 12), generator=generator)
    images = (prototypes + torch.randint(0, 56, (12, 10, 12, 12), generator=generator)).flatten(0, 1).to(torch.uint8)
    return EpisodeSampler(Dataset.of(images, torch.arange(120) // 10), 5, 1, 2)


@pytest.fixture
def make_learner() -> Callable[[], Prototypical]:
    def make() -> Prototypical:
        torch.manual_seed(0)
        return Prototypical(Conv4(1, 4, n_halvings=2, pool="mean", image_size=12))

    return make


@pytest.fixture
def tiny() -> TrainConfig:
    return TrainConfig(
        steps=12,
        validate_every=6,
        validation_episodes=4,
        log_every=2,
        checkpoint_every=5,
        warmup_steps=2,
        tensorboard=False,
        accelerator="cpu",
    )

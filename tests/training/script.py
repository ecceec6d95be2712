"""A tiny run for the tests that need a process of their own: to kill, to interrupt, to run twice at once.

Usage: script.py FOLDER KEY=VALUE ..., where keys are those of TrainConfig.
"""

from __future__ import annotations

import logging
import resource
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from regard.errors import StorageError
from regard.learners.prototypical import Prototypical
from regard.nn.conv4 import Conv4
from regard.nn.encoder import Encoder
from regard.sampling.dataset import Dataset
from regard.sampling.episodes import EpisodeSampler
from regard.training import TrainConfig, TrainResult, train


class Dropped(Encoder):
    """An encoder that draws random numbers in training, which a resumed run has to draw again."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Conv4(1, 4, n_halvings=2, pool="mean", image_size=12)
        self.dropout = nn.Dropout(0.2)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.encoder(x))


def run(folder: Path, dropout: bool, resume: bool, **settings: object) -> TrainResult:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (120, 12, 12), dtype=torch.uint8, generator=generator)
    sampler = EpisodeSampler(Dataset.of(images, torch.arange(120) // 10), 5, 1, 2)
    torch.manual_seed(0)
    learner = Prototypical(Dropped() if dropout else Dropped().encoder)
    fixed = {"validation_episodes": 4, "tensorboard": False, "accelerator": "cpu"}
    config = TrainConfig(**fixed | settings)  # type: ignore[arg-type]
    return train(learner, sampler, config, validation_sampler=sampler, folder=folder, resume=resume)


def main() -> int:
    logging.basicConfig(level=logging.WARNING)
    torch.set_num_threads(1)
    settings = dict(argument.split("=") for argument in sys.argv[2:])
    limit = int(settings.pop("file_limit", 0))
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        dropout, resume = settings.pop("dropout", "1") == "1", settings.pop("resume", "1") == "1"
        result = run(Path(sys.argv[1]), dropout, resume, **settings)
    except StorageError as error:
        sys.stderr.write(f"StorageError: {error}\n")
        return 3
    return 2 if result.interrupted else 0


if __name__ == "__main__":
    raise SystemExit(main())

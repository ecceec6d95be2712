"""One number that says how good the learner is now."""

from __future__ import annotations

import numpy as np
import torch

from regard.errors import ConfigError
from regard.evaluation import LOWER_IS_BETTER
from regard.evaluation.evaluate import evaluate
from regard.learners.base import Learner
from regard.nn.inference import device_of, eval_mode
from regard.sampling.source import EpisodeSource
from regard.training.batches import Source
from regard.training.config import TrainConfig


def metric_of(source: Source | None, config: TrainConfig) -> str:
    """What `validate` measures: what the settings say, or "accuracy" of classes and "nll" of targets; "loss" on a
    function that is no source, and of sequences.

    Raises:
        ConfigError: accuracy of numbers.
    """
    if source is not None and (not isinstance(source, EpisodeSource) or source.sequences):
        return "loss"
    numbers = source is not None and not source.n_way[1]
    if numbers and config.validation_metric == "accuracy":
        raise ConfigError("validation_metric is 'accuracy' and targets are numbers: expected auto or nll.")
    if config.validation_metric != "auto":
        return config.validation_metric
    return "nll" if numbers else "accuracy"


def validate(learner: Learner, source: Source, config: TrainConfig) -> float:
    """The mean over episodes 0 .. validation_episodes - 1, in float32, as the learner will be used."""
    metric = metric_of(source, config)
    if metric == "loss" or not isinstance(source, EpisodeSource):
        return _mean_loss(learner, source, config.validation_episodes)
    return evaluate(learner, source, config.validation_episodes).metrics[metric].mean


def is_better(metric: str, new: float, best: float | None) -> bool:
    """Higher for accuracy, lower for a loss; a tie is no improvement."""
    if best is None:
        return True
    return new < best if metric == "loss" or metric in LOWER_IS_BETTER else new > best


def _mean_loss(learner: Learner, source: Source, n_episodes: int, batch: int = 8) -> float:
    total = 0.0
    with eval_mode(learner), torch.no_grad():
        for start in range(0, n_episodes, batch):
            numbers = np.arange(start, min(start + batch, n_episodes), dtype=np.int64)
            total += float(learner.loss(source(numbers).to(device_of(learner))).sum())
    return total / n_episodes

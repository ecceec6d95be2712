"""Predictions of one batch after another become per-episode metrics: of classes, or of targets that are numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, final

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Distribution
from torch.nn import functional as F

from regard.errors import EpisodeError
from regard.evaluation.intervals import mean_interval
from regard.evaluation.metrics import METRICS, Calibration, ece_by_episode, episode_metrics
from regard.evaluation.runner import EpisodeRunner, Predictions
from regard.evaluation.targets import TARGET_METRICS, target_metrics


@dataclass(frozen=True)
class BatchScores:
    """What is kept of a batch of B episodes, on the CPU.

    Args:
        metrics: name to (B,) values.
        bins: (B, 15, 3) sums for the calibration curve, see `episode_metrics`; None for targets.
        predicted: (B, Q) predicted class indices; None for targets.
    """

    metrics: dict[str, Tensor]
    bins: Tensor | None = None
    predicted: Tensor | None = None


class MetricAccumulator(ABC):
    """Collects the scores of batches, in the order of the episodes."""

    def __init__(self) -> None:
        self._scores: list[BatchScores] = []

    @staticmethod
    @abstractmethod
    def score(predictions: Predictions) -> BatchScores:
        """Score one batch.

        Raises:
            EpisodeError: an output of the wrong kind.
        """

    def add(self, scores: BatchScores) -> None:
        """Append the scores of the next batch."""
        self._scores.append(scores)

    @abstractmethod
    def summary(self, runner: EpisodeRunner) -> dict[str, Any]:
        """The fields of a `Result` that were measured."""

    def _values(self) -> dict[str, NDArray[Any]]:
        return {name: torch.cat([s.metrics[name] for s in self._scores]).numpy() for name in self._scores[0].metrics}


@final
class ClassMetrics(MetricAccumulator):
    """Of logits (B, Q, C)."""

    @staticmethod
    def score(predictions: Predictions) -> BatchScores:
        output, y, weight = predictions
        if not isinstance(output, Tensor):
            raise _wrong_kind(output, "classes, and expected logits (tasks, queries, classes)")
        logits = output.cpu()
        metrics, bins = episode_metrics(logits, y.cpu(), weight.cpu())
        return BatchScores(metrics, bins, logits.argmax(-1))

    def summary(self, runner: EpisodeRunner) -> dict[str, Any]:
        bins = torch.cat([s.bins for s in self._scores if s.bins is not None]).numpy()
        values = {**self._values(), "ece": ece_by_episode(bins)}
        predicted = [s.predicted for s in self._scores if s.predicted is not None]
        # Batches of generated episodes may be padded to different numbers of queries.
        width = max(p.shape[1] for p in predicted)
        return {
            "metrics": {name: mean_interval(values[name]) for name in METRICS},
            "per_episode": {name: values[name] for name in METRICS},
            "calibration": Calibration.of(bins),
            "confusion": runner.confusion(torch.cat([F.pad(p, (0, width - p.shape[1])) for p in predicted])),
        }


@final
class TargetMetrics(MetricAccumulator):
    """Of distributions over (B, Q, T)."""

    @staticmethod
    def score(predictions: Predictions) -> BatchScores:
        output, y, weight = predictions
        if not isinstance(output, Distribution):
            raise _wrong_kind(output, "numbers, and expected a torch distribution over (tasks, queries, targets)")
        return BatchScores({name: value.cpu() for name, value in target_metrics(output, y, weight).items()})

    def summary(self, runner: EpisodeRunner) -> dict[str, Any]:
        values = self._values()
        return {
            "metrics": {name: mean_interval(values[name]) for name in TARGET_METRICS},
            "per_episode": {name: values[name] for name in TARGET_METRICS},
        }


def _wrong_kind(output: object, expected: str) -> EpisodeError:
    return EpisodeError(f"the learner answered with a {type(output).__name__}: these episodes ask for {expected}.")

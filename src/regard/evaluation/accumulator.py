"""What is counted, batch after batch: one tally for classes, one for targets that are numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
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


class MetricAccumulator(ABC):
    """Gathers the answers of one batch after another into per-episode numbers."""

    def __init__(self) -> None:
        self._metrics: list[dict[str, Tensor]] = []

    @abstractmethod
    def add(self, predictions: Predictions) -> None:
        """Count one batch.

        Raises:
            EpisodeError: an answer of the wrong kind.
        """

    @abstractmethod
    def summary(self, runner: EpisodeRunner) -> dict[str, Any]:
        """The fields of a `Result` that were found out."""

    def _values(self) -> dict[str, NDArray[Any]]:
        return {name: torch.cat([m[name] for m in self._metrics]).numpy() for name in self._metrics[0]}


@final
class ClassMetrics(MetricAccumulator):
    """Of logits (B, Q, C)."""

    def __init__(self) -> None:
        super().__init__()
        self._bins: list[Tensor] = []
        self._predicted: list[Tensor] = []

    def add(self, predictions: Predictions) -> None:
        output, y, weight = predictions
        if not isinstance(output, Tensor):
            raise _wrong_kind(output, "classes, and expected logits (tasks, queries, classes)")
        logits = output.cpu()
        metrics, bins = episode_metrics(logits, y.cpu(), weight.cpu())
        self._metrics.append(metrics)
        self._bins.append(bins)
        self._predicted.append(logits.argmax(-1))

    def summary(self, runner: EpisodeRunner) -> dict[str, Any]:
        bins = torch.cat(self._bins).numpy()
        values = {**self._values(), "ece": ece_by_episode(bins)}
        # Where episodes are made up, batches may be padded to different numbers of queries.
        width = max(p.shape[1] for p in self._predicted)
        predicted = torch.cat([F.pad(p, (0, width - p.shape[1])) for p in self._predicted])
        return {
            "metrics": {name: mean_interval(values[name]) for name in METRICS},
            "per_episode": {name: values[name] for name in METRICS},
            "calibration": Calibration.of(bins),
            "confusion": runner.confusion(predicted),
        }


@final
class TargetMetrics(MetricAccumulator):
    """Of distributions over (B, Q, T)."""

    def add(self, predictions: Predictions) -> None:
        output, y, weight = predictions
        if not isinstance(output, Distribution):
            raise _wrong_kind(output, "numbers, and expected a torch distribution over (tasks, queries, targets)")
        self._metrics.append({k: v.cpu() for k, v in target_metrics(output, y, weight).items()})

    def summary(self, runner: EpisodeRunner) -> dict[str, Any]:
        values = self._values()
        return {
            "metrics": {name: mean_interval(values[name]) for name in TARGET_METRICS},
            "per_episode": {name: values[name] for name in TARGET_METRICS},
        }


def _wrong_kind(output: object, expected: str) -> EpisodeError:
    return EpisodeError(f"the learner answered with a {type(output).__name__}: these episodes ask for {expected}.")

"""How good predicted classes are: one number per episode and metric, thousands of episodes at once.

    accuracy           the share of queries predicted right
    precision, recall, f1
                       macro: the mean over the classes that occur in the episode, as labels or predictions; 0 for a
                       class that is never predicted (precision) or never a label (recall). As scikit-learn's with
                       average="macro", zero_division=0
    nll                mean of -log p(right class); p is held at 2.2e-16 from below, as scikit-learn's log_loss does, so
                       that one certain mistake of a hard attention does not make a mean infinite
    brier              mean over queries of sum_c (p_c - [y = c])^2, between 0 and 2
    ece                expected calibration error, 15 bins of the highest probability, pooled over *all* queries:
                       sum_b n_b / n |accuracy_b - confidence_b|

Weight 0 leaves a query out; other weights count as scikit-learn's sample_weight.

ECE is a number of the pool, not of an episode. So that it too has an interval and can be paired, it is taken apart:
sum_b |g_b| with g_b the sum of (right - confidence) in bin b is a sum over episodes of sign(g_b) * g_ib, whose mean is
the ECE and whose spread, with the signs held fixed (the delta method), gives the interval. Close to a perfect 0 that
is optimistic, as ECE itself is biased upward there.

Brier 1950, "Verification of forecasts expressed in terms of probability"; Naeini et al. 2015, "Obtaining well
calibrated probabilities using Bayesian binning"; Guo et al. 2017, "On calibration of modern neural networks"
(arXiv:1706.04599), whose 15 bins these are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

METRICS = ("accuracy", "precision", "recall", "f1", "nll", "brier", "ece")
"""The names, in the order of tables."""

N_BINS = 15

_SMALLEST_LOG = float(np.log(np.finfo(np.float64).eps))


@dataclass(frozen=True)
class Calibration:
    """A reliability curve: confidence and accuracy by bin of the highest probability.

    count, confidence, accuracy: (15,) queries in the bin, their mean probability and their share of right answers; 0
    for an empty bin. Bin b holds probabilities in (b / 15, (b + 1) / 15].
    """

    count: NDArray[np.float64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def edges(self) -> NDArray[np.float64]:
        """(16,) bounds of the bins."""
        return np.linspace(0, 1, len(self.count) + 1)

    @property
    def ece(self) -> float:
        """The expected calibration error."""
        gap = np.abs(self.accuracy - self.confidence)
        return float((self.count * gap).sum() / max(float(self.count.sum()), 1e-300))

    @classmethod
    def of(cls, bins: NDArray[np.float64]) -> Self:
        """From sums (E, 15, 3) of weight, confidence and right answers, as `episode_metrics` gives them."""
        count, confidence, right = bins.sum(0).T
        filled = np.where(count > 0, count, 1.0)
        return cls(count, confidence / filled, right / filled)


@dataclass(frozen=True)
class Confusion:
    """Which classes of the *data set* were predicted for which, over all episodes; only pairs that occurred are kept.

    Args:
        class_names: all names of the data set.
        true, predicted: (K,) int64 into `class_names`.
        count: (K,) how many queries.
    """

    class_names: tuple[str, ...]
    true: NDArray[np.int64]
    predicted: NDArray[np.int64]
    count: NDArray[np.int64]

    @classmethod
    def of(cls, class_names: tuple[str, ...], true: NDArray[np.int64], predicted: NDArray[np.int64]) -> Self:
        """Count pairs given query by query."""
        pair, count = np.unique(true * len(class_names) + predicted, return_counts=True)
        return cls(class_names, pair // len(class_names), pair % len(class_names), count)

    def matrix(self, classes: list[int] | None = None) -> NDArray[np.int64]:
        """(K, K) counts, a row per true class and a column per predicted one, of these classes or all."""
        chosen = range(len(self.class_names)) if classes is None else classes
        index = np.full(len(self.class_names), -1)
        index[list(chosen)] = np.arange(len(chosen))
        row, column = index[self.true], index[self.predicted]
        kept = (row >= 0) & (column >= 0)
        matrix = np.zeros((len(chosen), len(chosen)), dtype=np.int64)
        np.add.at(matrix, (row[kept], column[kept]), self.count[kept])
        return matrix


def episode_metrics(logits: Tensor, y: Tensor, weight: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """All metrics but "ece" of B episodes, and what the ECE of all episodes is made from.

    Args:
        logits: (B, Q, C), minus infinity for absent classes.
        y: (B, Q) int64.
        weight: (B, Q); every episode has some weight.

    Returns:
        name to (B,) float64, and sums (B, 15, 3) by bin of confidence: weight, weight times confidence, and weight of
        right answers.
    """
    log_p, weight = torch.log_softmax(logits.double(), -1), weight.double()
    p, share = log_p.exp(), weight / weight.sum(1, keepdim=True)
    confidence, predicted = p.max(-1)
    counts = confusion(predicted, y, weight, logits.shape[-1])
    right, n_true, n_predicted = counts.diagonal(dim1=1, dim2=2), counts.sum(2), counts.sum(1)
    occurs = ((n_true + n_predicted) > 0).double()

    def macro(top: Tensor, bottom: Tensor) -> Tensor:
        return (top / torch.where(bottom > 0, bottom, 1.0)).sum(1) / occurs.sum(1)

    log_right = log_p.gather(-1, y[..., None])[..., 0]
    # sum_c (p_c - [y = c])^2 without the (B, Q, C) one-hot.
    brier = p.square().sum(-1) - 2 * log_right.exp() + 1
    nll = -log_right.clamp_min(_SMALLEST_LOG)
    scores = {
        "accuracy": right.sum(1) / n_true.sum(1),
        "precision": macro(right, n_predicted),
        "recall": macro(right, n_true),
        "f1": macro(2 * right, n_true + n_predicted),
        "nll": (share * nll).sum(1),
        "brier": (share * brier).sum(1),
    }
    bin_BQ = (confidence * N_BINS).ceil().long().clamp(1, N_BINS) - 1
    sums = torch.stack([weight, weight * confidence, weight * (predicted == y)], -1)
    return scores, sums.new_zeros(len(weight), N_BINS, 3).scatter_add_(1, bin_BQ[..., None].expand_as(sums), sums)


def confusion(predicted: Tensor, y: Tensor, weight: Tensor, n_classes: int) -> Tensor:
    """(B, C, C) summed weight of the queries of class (row) that were predicted as (column)."""
    pair = y * n_classes + predicted
    counts = weight.new_zeros(len(y), n_classes * n_classes).scatter_add_(1, pair, weight)
    return counts.unflatten(1, (n_classes, n_classes))


def ece_by_episode(bins: NDArray[np.float64]) -> NDArray[np.float64]:
    """(E,) numbers whose mean is the pooled ECE of sums (E, 15, 3)."""
    gap = bins[..., 2] - bins[..., 1]
    return np.asarray((gap * np.sign(gap.sum(0))).sum(1) * len(bins) / bins[..., 0].sum())

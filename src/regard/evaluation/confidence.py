"""How confident a prediction is, and when to give none.

    p          = softmax(logits / T)                    T lowers the negative log-likelihood of validation episodes most
    trust      = sigmoid(b + u log max p + v max logit)             the probability that the answer is right
    answer     = argmax p   if trust >= threshold       else "none of these"

Trust is a logistic regression on open validation episodes: some queries are of classes that the support lacks, and any
answer to them is wrong. The largest probability must be large somewhere, even for an item unlike all examples; the
largest logit of a learner that compares by distance says how near the nearest is. Which of the two says more depends on
the learner, so their weights are learned. The threshold is the lowest at which no more than `target_error`
of the answers given on those episodes are wrong.

Guo et al. 2017, "On calibration of modern neural networks" (arXiv:1706.04599), for the temperature; Hendrycks and
Gimpel 2017 (arXiv:1610.02136) and Vaze et al. 2022, "Open-set recognition: a good closed-set classifier is all you
need?" (arXiv:2110.06207), for the two signals; Platt 1999 for the regression; Geifman and El-Yaniv 2017
(arXiv:1705.08500) for the target error.

Not here: a guarantee. The target holds on average over episodes like those of validation, and for no others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.errors import ConfigError, EpisodeError
from regard.evaluation.intervals import Interval, mean_interval
from regard.evaluation.metrics import ece_by_episode, episode_metrics
from regard.evaluation.runner import row_runner
from regard.learners.base import Learner
from regard.nn.inference import device_of, eval_mode
from regard.sampling.episodes import EpisodeRows, EpisodeSampler

_AT_ONCE = 4  # episodes


@dataclass(frozen=True)
class Confidence:
    """Temperature, trust and threshold, set on validation episodes.

    Args:
        temperature: logits are divided by it.
        trust: b, u and v above.
        threshold: below it the answer is "none of these"; 0 always answers.
        target_error: the share of wrong answers that the threshold was set for.
    """

    temperature: float = 1.0
    trust: tuple[float, float, float] = (0.0, 1.0, 0.0)
    threshold: float = 0.0
    target_error: float = 1.0

    def probabilities(self, logits: Tensor) -> Tensor:
        """(..., C) calibrated."""
        return torch.softmax(logits.double() / self.temperature, -1)

    def trusts(self, logits: Tensor) -> Tensor:
        """(...) the probability that the best answer is right, unknown classes included."""
        bias, *slopes = self.trust
        return torch.sigmoid(bias + _signals(logits, self.temperature) @ torch.tensor(slopes, dtype=torch.float64))

    def answers(self, logits: Tensor) -> Tensor:
        """(...) bool, which queries get an answer; the others are "none of these"."""
        return self.trusts(logits) >= self.threshold

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold."""
        return {**asdict(self), "trust": list(self.trust)}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """Undo `to_dict`."""
        return cls(**{**content, "trust": tuple(content["trust"])})

    @classmethod
    def kept_in(cls, header: Mapping[str, Any]) -> Self:
        """What a header holds under "confidence"; by default, every query is answered, uncalibrated."""
        return cls.from_dict(header["confidence"]) if "confidence" in header else cls()


@dataclass(frozen=True)
class ConfidenceReport:
    """How well a confidence works, on episodes that were not used to set it.

    Args:
        before, after: ece, brier and nll of queries of known classes, without and with the temperature.
        answered: share of the queries of known classes that got an answer.
        refused: share of the queries of unknown classes that got none.
        error: share of wrong ones among the answers given, to known and unknown alike.
        auroc: how well trust separates queries of known classes from others; 0.5 is chance.
    """

    before: dict[str, Interval]
    after: dict[str, Interval]
    answered: Interval
    refused: Interval
    error: Interval
    auroc: float


@dataclass(frozen=True)
class _OpenPredictions:
    """Predictions for open episodes: logits (E, Q, C), y (E, Q), known (E, Q) and weight (E, Q)."""

    logits: Tensor
    y: Tensor
    known: Tensor
    weight: Tensor


def fit_confidence(
    learner: Learner, sampler: EpisodeSampler, *, target_error: float = 0.05, n_unknown: int = 1, n_episodes: int = 200
) -> Confidence:
    """Set temperature, trust and threshold on validation episodes.

    Args:
        learner: temporarily in eval mode, then restored.
        sampler: of validation episodes.
        target_error: largest share of wrong answers among those given.
        n_unknown: further classes per episode, with queries and without support.
        n_episodes: how many.

    Raises:
        ConfigError: a target outside (0, 1), or n_unknown below 1.
        DataError: fewer classes than n_way + n_unknown.
        EpisodeError: a learner that predicts numbers.
    """
    if not 0 < target_error < 1:
        raise ConfigError(f"target_error is {target_error!r}: expected a share between 0 and 1, such as 0.05.")
    predictions = _predict(learner, sampler, n_unknown, n_episodes)
    is_real = predictions.weight > 0
    known = predictions.known & is_real
    temperature = best_temperature(predictions.logits[known], predictions.y[known])
    right = ((predictions.logits.argmax(-1) == predictions.y) & predictions.known)[is_real]
    trust = _regression(_signals(predictions.logits[is_real], temperature), right)
    confidence = Confidence(temperature, trust, 0.0, target_error)
    return replace(
        confidence, threshold=_threshold(confidence.trusts(predictions.logits)[is_real], right, target_error)
    )


def measure_confidence(
    learner: Learner, sampler: EpisodeSampler, confidence: Confidence, *, n_unknown: int = 1, n_episodes: int = 400
) -> ConfidenceReport:
    """Measure a confidence on other episodes; arguments and errors as for `fit_confidence`."""
    predictions = _predict(learner, sampler, n_unknown, n_episodes)
    known = (predictions.known * predictions.weight).numpy()
    unknown = (~predictions.known * predictions.weight).numpy()
    is_answered = confidence.answers(predictions.logits).numpy()
    right = ((predictions.logits.argmax(-1) == predictions.y) & predictions.known).numpy()
    is_real = predictions.weight > 0
    return ConfidenceReport(
        before=_calibration(predictions, 1.0),
        after=_calibration(predictions, confidence.temperature),
        answered=_ratio(is_answered * known, known),
        refused=_ratio(~is_answered * unknown, unknown),
        error=_ratio(is_answered * ~right * (known + unknown), is_answered * (known + unknown)),
        auroc=auroc(confidence.trusts(predictions.logits)[is_real], predictions.known[is_real]),
    )


def best_temperature(logits: Tensor, y: Tensor) -> float:
    """The T at which the mean of -log softmax(logits / T)[y] is least.

    The loss is convex in 1/T: a search by golden section over log T, between 1/100 and 100, cannot miss it.

    Args:
        logits: (N, C), minus infinity for absent classes.
        y: (N,) int64, present classes.
    """
    logits = logits.double()

    def loss(log_t: float) -> float:
        return float(torch.nn.functional.cross_entropy(logits / float(np.exp(log_t)), y))

    from scipy.optimize import minimize_scalar  # comes with scikit-learn

    best = minimize_scalar(loss, bounds=(-np.log(100), np.log(100)), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(best.x))


def auroc(score: Tensor, positive: Tensor) -> float:
    """The area under the ROC curve; 0.5 if all are positive or none is."""
    from sklearn.metrics import roc_auc_score

    kind = positive.numpy()
    return float(roc_auc_score(kind, score.numpy())) if 0 < kind.sum() < len(kind) else 0.5


# ---- what it is made of ----------------------------------------------------------------------------------------------


def _predict(learner: Learner, sampler: EpisodeSampler, n_unknown: int, n_episodes: int) -> _OpenPredictions:
    if n_unknown < 1:
        raise ConfigError(f"n_unknown is {n_unknown}: expected at least 1 class that the support lacks.")
    wide = _with_more_classes(sampler, n_unknown)
    rows, known = _without_support(wide.rows(range(n_episodes)), n_unknown)
    step = 1 if learner.transductive else _AT_ONCE
    with eval_mode(learner):
        runner = row_runner(learner, wide, rows, device_of(learner))
        outputs = [runner.output(rows[first : first + step]) for first in range(0, n_episodes, step)]
    logits = [output.cpu() for output in outputs if isinstance(output, Tensor)]
    if len(logits) < len(outputs):
        raise EpisodeError(
            f"{type(learner).__name__} predicts a {type(outputs[0]).__name__}: expected logits, since confidence is "
            "about classes."
        )
    return _OpenPredictions(torch.cat(logits), rows.query_y, known, (rows.query >= 0).double())


def _with_more_classes(sampler: EpisodeSampler, n_unknown: int) -> EpisodeSampler:
    """The same episodes with more classes in each."""
    low, high = sampler.n_way
    return EpisodeSampler(
        sampler.dataset,
        (low + n_unknown, high + n_unknown),
        sampler.n_shot,
        sampler.n_query,
        seed=sampler.seed,
        within_groups=sampler.within_groups,
        even_groups=sampler.even_groups,
        transform=sampler.transform,
        dtype=sampler.dtype,
    )


def _without_support(rows: EpisodeRows, n_unknown: int) -> tuple[EpisodeRows, Tensor]:
    """The first classes lose their support; the others are numbered from 0. Also which queries are of known classes."""
    shot = rows.support_y >= n_unknown
    known = rows.query_y >= n_unknown
    opened = replace(
        rows,
        support=torch.where(shot, rows.support, -1),
        support_y=(rows.support_y - n_unknown).clamp_min(0),
        query_y=(rows.query_y - n_unknown).clamp_min(0),
        n_classes=rows.n_classes - n_unknown,
    )
    return opened, known


def _signals(logits: Tensor, temperature: float) -> Tensor:
    """(..., 2) the inputs of trust: the log of the largest probability, and the largest logit."""
    logits = logits.double()
    return torch.stack([torch.log_softmax(logits / temperature, -1).amax(-1), logits.amax(-1)], -1)


def _regression(signals: Tensor, right: Tensor) -> tuple[float, float, float]:
    """The logistic regression of `right` (N,) on `signals` (N, 2); constant if all are right or all wrong."""
    from sklearn.linear_model import LogisticRegression

    share = float(right.double().mean())
    if share in (0.0, 1.0):
        return (20.0 if share else -20.0, 0.0, 0.0)
    mean, deviation = signals.mean(0), signals.std(0).clamp_min(1e-12)
    fitted = LogisticRegression(C=np.inf).fit(((signals - mean) / deviation).numpy(), right.numpy())
    slopes = torch.from_numpy(fitted.coef_[0]) / deviation
    return (float(fitted.intercept_[0]) - float(slopes @ mean), float(slopes[0]), float(slopes[1]))


def _threshold(score: Tensor, right: Tensor, target_error: float) -> float:
    """The lowest score above which at most `target_error` of the answers are wrong; above all if there is none."""
    ordered, index = score.double().sort(descending=True)
    wrong = (~right[index]).double().cumsum(0) / torch.arange(1, len(score) + 1)
    # Equal scores are answered together: only the last of a run can be a threshold.
    last = torch.cat([ordered[1:] < ordered[:-1], torch.ones(1, dtype=torch.bool)])
    good = ((wrong <= target_error) & last).nonzero()[:, 0]
    return float(ordered[good[-1]]) if len(good) else float(np.nextafter(float(ordered[0]), np.inf))


def _calibration(predictions: _OpenPredictions, temperature: float) -> dict[str, Interval]:
    metrics, bins = episode_metrics(
        predictions.logits / temperature, predictions.y, predictions.known * predictions.weight
    )
    values = {"ece": ece_by_episode(bins.numpy()), "brier": metrics["brier"].numpy(), "nll": metrics["nll"].numpy()}
    return {name: mean_interval(value) for name, value in values.items()}


def _ratio(top_EQ: NDArray[np.float64], bottom_EQ: NDArray[np.float64]) -> Interval:
    """The ratio of two sums over episodes, with an interval by the delta method."""
    top, bottom = top_EQ.sum(1), bottom_EQ.sum(1)
    if bottom.sum() == 0:
        return Interval(0.0, 0.0, 0.0)
    ratio = top.sum() / bottom.sum()
    return mean_interval(ratio + (top - ratio * bottom) / bottom.mean())

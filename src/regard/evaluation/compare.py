"""Which learner is better, evaluated on the very same episodes.

The difference of two learners has a narrower interval than either mean, since what makes an episode hard is hard for
both. A difference whose interval covers zero is reported as a tie: ranks count only learners that are better
by an interval clear of zero, so several may share the first rank.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from regard.errors import ConfigError, DataError, did_you_mean
from regard.evaluation.evaluate import evaluate
from regard.evaluation.intervals import Interval, Method, is_tie, paired_interval
from regard.evaluation.metrics import METRICS
from regard.evaluation.result import Count, Result
from regard.evaluation.targets import TARGET_METRICS
from regard.learners.base import Learner
from regard.sampling.source import EpisodeSource

LOWER_IS_BETTER = frozenset({"nll", "brier", "ece", "mse", "rmse", "mae", "crps"})

NEITHER_IS_BETTER = frozenset({"coverage"})
"""Metrics that have a right value instead of a direction."""

_SAME = ("data", "n_way", "n_shot", "n_query", "episodes", "seed", "digest")
"""What two results must share to be compared. Not `transductive`, which is a property of the learner."""


@dataclass(frozen=True)
class Comparison:
    """The difference a - b of a metric over the same episodes."""

    a: str
    b: str
    data: str
    n_way: Count
    n_shot: Count
    metric: str
    difference: Interval

    @property
    def tie(self) -> bool:
        """Whether the interval covers zero."""
        return is_tie(self.difference)

    @property
    def better(self) -> str | None:
        """The name of the better learner; None in a tie, and for a metric without a direction."""
        if self.tie or self.metric in NEITHER_IS_BETTER:
            return None
        return self.a if (self.difference.mean > 0) != (self.metric in LOWER_IS_BETTER) else self.b


def compare(
    results: Sequence[Result], metrics: Sequence[str] | None = None, *, level: float = 0.95, method: Method = "t"
) -> list[Comparison]:
    """The paired difference of every pair of learners and every metric.

    Args:
        results: of two or more learners, each under its own name, on the same episodes.
        metrics: names; defaults to all metrics of the results.
        level, method: of the intervals.

    Raises:
        DataError: episodes differ, names repeat, or per-episode values are missing.
        ConfigError: an unknown metric.

    Examples:
        >>> import torch
        >>> from regard.learners import Matching, Prototypical
        >>> from regard.nn.mlp import MLP
        >>> from regard.sampling import Dataset, EpisodeSampler
        >>> source = EpisodeSampler(Dataset.of(torch.randn(60, 8), torch.arange(10).repeat_interleave(6)), n_query=3)
        >>> results = [evaluate(learner(MLP(8)), source, 20) for learner in (Prototypical, Matching)]
        >>> [comparison] = compare(results, ["accuracy"])
        >>> comparison.a, comparison.b, comparison.difference.low <= comparison.difference.mean
        ('Prototypical', 'Matching', True)
    """
    metrics = metrics_of(results[0]) if metrics is None and results else metrics or ()
    names = [result.learner for result in results]
    if len(results) < 2 or len(set(names)) < len(names):
        raise DataError(
            f"got results of {', '.join(map(repr, names)) or 'nobody'}: expected two or more learners, each under a "
            "name of its own; give evaluate(name=...)."
        )
    first, mistakes = results[0], []
    for other in results[1:]:
        mistakes += [
            f"{name} is {getattr(first, name)!r} for {first.learner!r} and {getattr(other, name)!r} for "
            f"{other.learner!r}: expected the same episodes; evaluate both with one sampler."
            for name in _SAME
            if getattr(first, name) != getattr(other, name)
        ]
    for result in results:
        available = result.per_episode or dict.fromkeys(metrics_of(result))
        unknown = [metric for metric in metrics if metric not in available]
        if unknown:
            raise ConfigError(f"metric {unknown[0]!r} is unknown: {did_you_mean(unknown[0], available)}")
        if not result.per_episode:
            mistakes.append(
                f"{result.learner!r} has no per-episode values: read a file written with raw=True, or evaluate again."
            )
    if mistakes:
        raise DataError("these results cannot be compared:\n" + "\n".join(mistakes))
    return [
        Comparison(
            a=a.learner,
            b=b.learner,
            data=a.data,
            n_way=a.n_way,
            n_shot=a.n_shot,
            metric=metric,
            difference=paired_interval(a.per_episode[metric], b.per_episode[metric], level=level, method=method),
        )
        for a, b in combinations(results, 2)
        for metric in metrics
    ]


def compare_learners(
    learners: Mapping[str, Learner],
    source: EpisodeSource,
    n_episodes: int = 1000,
    *,
    batch: int | None = None,
    processes: int = 1,
    data: str = "unnamed",
) -> tuple[list[Result], list[Comparison]]:
    """Evaluate each learner on the same episodes, then compare: name to learner in, results and comparisons out.

    The other arguments are those of `evaluate`.
    """
    results = [
        evaluate(learner, source, n_episodes, batch=batch, processes=processes, name=name, data=data)
        for name, learner in learners.items()
    ]
    return results, compare(results)


def ranks(comparisons: Sequence[Comparison], metric: str = "accuracy") -> dict[str, int]:
    """Rank by name: one more than the number of learners that are clearly better. Ties share a rank."""
    compared = [c for c in comparisons if c.metric == metric]
    if not compared:
        raise ConfigError(f"no comparison of {metric!r}: {did_you_mean(metric, {c.metric for c in comparisons})}")
    beaten = [c.b if c.better == c.a else c.a for c in compared if c.better is not None]
    return {name: 1 + beaten.count(name) for c in compared for name in (c.a, c.b)}


def metrics_of(result: Result) -> tuple[str, ...]:
    """The names of its metrics: of classes, of targets, or of rollouts."""
    if "success" in result.metrics:
        return ("success",)
    return METRICS if result.n_way else TARGET_METRICS

"""Evaluation: how good a learner is, with an interval, and which of two is better on the very same episodes."""

from regard.evaluation.adaptation import adaptation_seconds
from regard.evaluation.compare import (
    LOWER_IS_BETTER,
    NEITHER_IS_BETTER,
    Comparison,
    compare,
    compare_learners,
    ranks,
)
from regard.evaluation.evaluate import evaluate
from regard.evaluation.intervals import Interval, is_tie, mean_interval, paired_interval
from regard.evaluation.metrics import METRICS, Calibration, Confusion, episode_metrics
from regard.evaluation.result import Result
from regard.evaluation.results_json import from_json, read_results, to_json, write_results
from regard.evaluation.schema import check_document
from regard.evaluation.targets import TARGET_METRICS, target_metrics

__all__ = [
    "LOWER_IS_BETTER",
    "METRICS",
    "NEITHER_IS_BETTER",
    "TARGET_METRICS",
    "Calibration",
    "Comparison",
    "Confusion",
    "Interval",
    "Result",
    "adaptation_seconds",
    "check_document",
    "compare",
    "compare_learners",
    "episode_metrics",
    "evaluate",
    "from_json",
    "is_tie",
    "mean_interval",
    "paired_interval",
    "ranks",
    "read_results",
    "target_metrics",
    "to_json",
    "write_results",
]

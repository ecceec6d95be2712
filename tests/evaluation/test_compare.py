"""Pairs of learners: every pair and metric once, paired, at the level and by the method that were chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from regard.errors import ConfigError, DataError
from regard.evaluation import METRICS, Comparison, Interval, Result, compare, paired_interval, ranks
from regard.evaluation.compare import LOWER_IS_BETTER, NEITHER_IS_BETTER, metrics_of
from regard.evaluation.targets import TARGET_METRICS


def result(name: str, values: Any, **changes: Any) -> Result:
    per_episode = {"accuracy": np.asarray(values, dtype=np.float64), "nll": 1 - np.asarray(values, dtype=np.float64)}
    fields: dict[str, Any] = {
        "data": "toy", "n_way": 5, "n_shot": 1, "n_query": 3, "episodes": len(values), "seed": 0,
        "transductive": False, "metrics": {}, "seconds": 1.0, "per_episode": per_episode, "digest": "d",
    }  # fmt: skip
    return Result(learner=name, **{**fields, **changes})


A, B = np.array([0.9, 0.5, 0.7, 0.8]), np.array([0.8, 0.5, 0.5, 0.7])


def test_a_difference_is_a_paired_t_test() -> None:
    [found] = compare([result("a", A), result("b", B)], ["accuracy"])
    test = stats.ttest_rel(A, B)
    low, high = test.confidence_interval(0.95)
    assert (found.difference.mean, found.difference.low, found.difference.high) == pytest.approx(
        ((A - B).mean(), low, high)
    )
    # Not paired, the interval would be another.
    apart = stats.ttest_ind(A, B).confidence_interval(0.95)
    assert found.difference.high - found.difference.low < (apart.high - apart.low) / 2


def test_level_and_method_reach_the_interval() -> None:
    pair = [result("a", A), result("b", B)]
    for options in ({"level": 0.5}, {"method": "bootstrap"}, {"level": 0.8, "method": "bootstrap"}):
        [found] = compare(pair, ["accuracy"], **options)  # type: ignore[arg-type]
        assert found.difference == paired_interval(A, B, **options)  # type: ignore[arg-type]
    widths = [compare(pair, ["accuracy"], level=level)[0].difference.half_width for level in (0.5, 0.9, 0.99)]
    assert widths == sorted(set(widths))


def test_every_pair_and_metric_once_in_order() -> None:
    results = [result(n, v) for n, v in (("a", A), ("b", B), ("c", B[::-1]))]
    found = compare(results, ["accuracy", "nll"])
    assert [(c.a, c.b, c.metric) for c in found] == [
        (a, b, m) for a, b in ("ab", "ac", "bc") for m in ("accuracy", "nll")
    ]
    assert {(c.data, c.n_way, c.n_shot) for c in found} == {("toy", 5, 1)}
    ac = found[2]
    assert ac.difference.mean == pytest.approx((A - B[::-1]).mean())


def test_all_metrics_of_the_kind_of_result_by_default() -> None:
    assert metrics_of(result("a", A)) == METRICS and metrics_of(result("a", A, n_way=0)) == TARGET_METRICS
    assert metrics_of(result("a", A, n_way=(2, 5))) == METRICS
    whole = [
        result(n, v, per_episode=dict.fromkeys(METRICS, np.asarray(v, dtype=np.float64)))
        for n, v in zip("ab", (A, B), strict=True)
    ]
    assert [c.metric for c in compare(whole)] == list(METRICS)
    with pytest.raises(DataError, match="nobody: expected two or more"):
        compare([])


@pytest.mark.parametrize(
    "changes",
    [{"data": "other"}, {"n_way": 4}, {"n_shot": 2}, {"n_query": 4}, {"seed": 1}, {"digest": "e"}, {"episodes": 5}],
)
def test_what_must_be_shared_is_named(changes: dict[str, Any]) -> None:
    with pytest.raises(DataError) as caught:
        compare([result("a", A), result("b", B, **changes)], ["accuracy"])
    [line] = str(caught.value).splitlines()[1:]
    [(name, value)] = changes.items()
    assert line.startswith(f"{name} is ") and f"and {value!r} for 'b'" in line


def test_a_transductive_learner_may_be_compared() -> None:
    [found] = compare([result("a", A), result("b", B, transductive=True)], ["accuracy"])
    assert found.difference.mean == pytest.approx((A - B).mean())


def test_an_unknown_metric_is_unknown_with_and_without_raw_values() -> None:
    with pytest.raises(ConfigError, match="metric 'acuracy' is unknown: did you mean 'accuracy'"):
        compare([result("a", A), result("b", B)], ["acuracy"])
    with pytest.raises(ConfigError, match="did you mean 'brier'"):
        compare([result("a", A, per_episode={}), result("b", B, per_episode={})], ["bier"])
    with pytest.raises(DataError, match=r"'a' has no per-episode values.*\n'b' has no"):
        compare([result("a", A, per_episode={}), result("b", B, per_episode={})], ["accuracy"])


def verdict(metric: str, low: float, high: float) -> str | None:
    return Comparison("a", "b", "toy", 5, 1, metric, Interval((low + high) / 2, low, high)).better


@pytest.mark.parametrize("metric", [*METRICS, *TARGET_METRICS])
def test_the_direction_of_every_metric(metric: str) -> None:
    errors = {"nll", "brier", "ece", "mse", "rmse", "mae", "crps"}
    better_when_higher = None if metric == "coverage" else "b" if metric in errors else "a"
    better_when_lower = {None: None, "a": "b", "b": "a"}[better_when_higher]
    assert (verdict(metric, 0.1, 0.3), verdict(metric, -0.3, -0.1)) == (better_when_higher, better_when_lower)
    assert verdict(metric, -0.1, 0.3) is None
    assert (metric in LOWER_IS_BETTER, metric in NEITHER_IS_BETTER) == (metric in errors, metric == "coverage")


def test_ranks_of_a_metric_without_direction_are_all_first() -> None:
    pair = [Comparison("a", "b", "toy", 0, 5, "coverage", Interval(0.2, 0.1, 0.3))]
    assert ranks(pair, "coverage") == {"a": 1, "b": 1}


def test_tied_ranks_skip_what_they_share() -> None:
    """Two learners beaten by one: 1, 2, 2; and who is beaten by both of two that tie: 1, 1, 3."""

    def clear(a: str, b: str) -> Comparison:
        return Comparison(a, b, "toy", 5, 1, "accuracy", Interval(0.2, 0.1, 0.3))

    def tied(a: str, b: str) -> Comparison:
        return Comparison(a, b, "toy", 5, 1, "accuracy", Interval(0.1, -0.1, 0.3))

    assert ranks([clear("a", "b"), clear("a", "c"), tied("b", "c")]) == {"a": 1, "b": 2, "c": 2}
    assert ranks([tied("a", "b"), clear("a", "c"), clear("b", "c")]) == {"a": 1, "b": 1, "c": 3}
    # From the side of the second, a loss is a win.
    assert ranks([Comparison("a", "b", "toy", 5, 1, "accuracy", Interval(-0.2, -0.3, -0.1))]) == {"a": 2, "b": 1}

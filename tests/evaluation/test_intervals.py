"""Intervals cover what they claim to cover, and pairs are worth what they should be."""

from __future__ import annotations

from inspect import unwrap

import numpy as np
import pytest
from scipy import stats

from regard.errors import ConfigError, DataError
from regard.evaluation import Interval, is_tie, mean_interval, paired_interval


def test_equals_scipy() -> None:
    x = np.random.default_rng(0).normal(size=12)
    ours = mean_interval(x, level=0.9)
    low, high = stats.t.interval(0.9, len(x) - 1, loc=x.mean(), scale=stats.sem(x))
    assert (ours.mean, ours.low, ours.high) == pytest.approx((x.mean(), low, high))
    assert ours.half_width == pytest.approx((high - low) / 2)


@pytest.mark.parametrize(("method", "n_runs", "floor"), [("t", 2000, 0.935), ("bootstrap", 100, 0.86)])
def test_covers_the_truth_about_as_often_as_it_says(method: str, n_runs: int, floor: float) -> None:
    draws = np.random.default_rng(1).binomial(20, 0.8, size=(n_runs, 30)) / 20
    covered = np.mean([mean_interval(x, method=method).covers(0.8) for x in draws])
    assert floor < covered < 0.98


def test_a_pair_is_narrower_than_either_mean() -> None:
    generator = np.random.default_rng(2)
    hardness = generator.normal(size=200)
    a, b = hardness + 0.1 * generator.normal(size=(2, 200)) + np.array([[0.1], [0.0]])
    difference = paired_interval(a, b)
    assert difference.half_width < mean_interval(a).half_width / 3
    assert difference.low > 0
    # What is hard for both cancels, however hard it is.
    harder = paired_interval(a + 7 * hardness, b + 7 * hardness)
    assert (harder.low, harder.high) == pytest.approx((difference.low, difference.high))


def test_bootstrap_repeats_by_seed_and_agrees_with_t() -> None:
    x = np.random.default_rng(3).normal(size=400)
    ours = mean_interval(x, method="bootstrap", seed=5)
    assert ours == mean_interval(x, method="bootstrap", seed=5)
    assert ours != mean_interval(x, method="bootstrap", seed=6)
    assert (ours.low, ours.high) == pytest.approx((mean_interval(x).low, mean_interval(x).high), abs=0.02)


def test_equal_values_are_a_tie_of_no_width() -> None:
    x = np.full(10, 0.1)
    for method in ("t", "bootstrap"):
        interval = mean_interval(x, method=method)  # type: ignore[arg-type]
        assert interval.low <= interval.mean <= interval.high
    assert is_tie(paired_interval(x, x))
    assert not is_tie(Interval(0.1, 0.05, 0.15))
    assert not is_tie(Interval(-0.1, -0.15, -0.05))


@pytest.mark.parametrize(
    ("values", "message"),
    [([0.5], "at least 2 episodes"), ([[0.5, 0.6]], "one number for each"), ([0.5, np.nan], "1 of 2 values are not")],
)
def test_refuses_what_has_no_interval(values: list[float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        mean_interval(values)


def test_refuses_wrong_choices() -> None:
    with pytest.raises(ConfigError, match="did you mean 'bootstrap'"):
        # As in use: tests execute annotations, which would object first.
        unwrap(mean_interval)([0.1, 0.2], method="bootstrp")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="between 0 and 1"):
        mean_interval([0.1, 0.2], level=95)
    with pytest.raises(DataError, match="cannot be paired"):
        paired_interval([0.1, 0.2], [0.1, 0.2, 0.3])


def test_bounds_are_inclusive_and_levels_are_shares() -> None:
    interval = Interval(0.5, 0.25, 0.75)
    assert interval.covers(0.25) and interval.covers(0.75)
    assert not interval.covers(0.2499) and not interval.covers(0.7501)
    assert interval.half_width == 0.25 and str(interval) == "0.5 [0.25, 0.75]"
    for level in (0, 1, 1.5, -0.1):
        with pytest.raises(ConfigError, match="between 0 and 1"):
            mean_interval([0.1, 0.2], level=level)


def test_two_values_have_one_degree_of_freedom() -> None:
    found = mean_interval([0.0, 1.0])
    assert found.half_width == pytest.approx(12.706204736 * 0.5, rel=1e-6)  # t(0.975, 1) * (1/sqrt(2)) / sqrt(2)


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_bootstrap_bounds_are_quantiles_of_the_means_of_resamples(level: float) -> None:
    x = np.random.default_rng(4).exponential(size=25)
    found = mean_interval(x, level=level, method="bootstrap", seed=1)
    by_scipy = stats.bootstrap(
        (x,), np.mean, confidence_level=level, method="percentile", n_resamples=5000
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((by_scipy.low, by_scipy.high), abs=0.08)
    assert found.mean == x.mean()


def test_seed_and_level_of_a_pair_reach_its_interval() -> None:
    a, b = np.random.default_rng(5).normal(size=(2, 20))
    for options in ({"level": 0.5}, {"method": "bootstrap", "seed": 3}, {"method": "bootstrap", "level": 0.8}):
        assert paired_interval(a, b, **options) == mean_interval(a - b, **options)  # type: ignore[arg-type]

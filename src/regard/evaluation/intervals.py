"""A mean is reported with its interval, and two learners are compared on the very same episodes.

    mean +- t(0.975, n - 1) * s / sqrt(n)        s: sample standard deviation (n - 1) of the n per-episode values

Episodes are independent draws, so the unit is the episode and never the query: queries of one episode share their
support set, and counting them one by one makes intervals several times too narrow. In a paired difference the same
formula is applied to the n differences; what both learners find hard cancels, so the interval is narrower than that of
either mean. `method="bootstrap"` resamples episodes instead (percentile, 2,000 resamples by seed): for few episodes and
skewed values. Papers of this field write 1.96 for t, which is the same from a few hundred episodes on.

Student 1908, "The probable error of a mean"; Efron 1979, "Bootstrap methods: another look at the jackknife".

Not here: a correction for comparing many learners at once. Of twenty comparisons between equals, one will look clear
of zero at 95%; raise `level` where that matters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regard.errors import ConfigError, DataError, did_you_mean

Method = Literal["t", "bootstrap"]

_RESAMPLES = 2_000


@dataclass(frozen=True)
class Interval:
    """A mean between its bounds."""

    mean: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the distance between the bounds: what is written after the plus-minus sign."""
        return (self.high - self.low) / 2

    def covers(self, value: float) -> bool:
        """Whether `value` lies within the bounds, ends included."""
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.mean:.4g} [{self.low:.4g}, {self.high:.4g}]"


def mean_interval(values: ArrayLike, *, level: float = 0.95, method: Method = "t", seed: int = 0) -> Interval:
    """The mean of per-episode values and its interval.

    Args:
        values: (n,) one number per episode.
        level: how often such intervals cover the true mean.
        method: "t" or "bootstrap", as above.
        seed: random seed of the bootstrap; the same seed gives the same interval.

    Raises:
        DataError: fewer than two values, or values that are not finite.
        ConfigError: a level outside (0, 1) or an unknown method.

    Examples:
        >>> print(mean_interval([0.6, 0.8, 0.7, 0.9]))
        0.75 [0.5446, 0.9554]
    """
    x = _checked(values)
    if not 0 < level < 1:
        raise ConfigError(f"level is {level!r}: expected a share between 0 and 1, such as 0.95.")
    if method == "t":
        from scipy.special import stdtrit  # comes with scikit-learn

        mean = float(x.mean())
        half = float(stdtrit(len(x) - 1, 0.5 + level / 2) * x.std(ddof=1) / np.sqrt(len(x)))
        return Interval(mean, mean - half, mean + half)
    if method == "bootstrap":
        generator = np.random.default_rng(seed)
        # One resample at a time: an index of all of them would take 160 MB for 10,000 episodes.
        means = [x[generator.integers(len(x), size=len(x))].mean() for _ in range(_RESAMPLES)]
        low, high = np.quantile(means, [0.5 - level / 2, 0.5 + level / 2])
        # Rounding may put a constant's mean a last digit outside.
        mean = float(x.mean())
        return Interval(mean, min(float(low), mean), max(float(high), mean))
    raise ConfigError(f"method is {method!r}: {did_you_mean(str(method), get_args(Method))}")


def paired_interval(
    a: ArrayLike, b: ArrayLike, *, level: float = 0.95, method: Method = "t", seed: int = 0
) -> Interval:
    """The interval of the mean difference a - b, where a[i] and b[i] come from the same episode.

    Raises:
        DataError: as `mean_interval`, and where `a` and `b` differ in length.

    Examples:
        >>> difference = paired_interval([0.61, 0.82, 0.71, 0.92], [0.6, 0.8, 0.7, 0.9])
        >>> print(difference, is_tie(difference))
        0.015 [0.005813, 0.02419] False
    """
    x, y = _checked(a), _checked(b)
    if len(x) != len(y):
        raise DataError(f"{len(x)} and {len(y)} values cannot be paired: expected one of each for every episode.")
    return mean_interval(x - y, level=level, method=method, seed=seed)


def is_tie(difference: Interval) -> bool:
    """Whether a difference is not clear: its interval covers zero, the bounds included."""
    return difference.covers(0.0)


def _checked(values: ArrayLike) -> NDArray[np.float64]:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or len(x) < 2:
        raise DataError(f"values have shape {x.shape}: an interval needs one number for each of at least 2 episodes.")
    if not np.isfinite(x).all():
        raise DataError(f"{int((~np.isfinite(x)).sum())} of {len(x)} values are not finite: expected numbers.")
    return x

"""Which candidate to measure next: the one whose value may improve most on the best so far, in expectation.

    EI(x) = (m - b) Phi(u) + s phi(u),   u = (m - b) / s        m, s: predicted mean and deviation; b: the best measured

Several at once are chosen one after the other, each as if those before it had been measured as predicted ("kriging
believer"), so that they do not all ask about one neighbourhood.

Mockus 1975; Jones, Schonlau, Welch 1998, "Efficient Global Optimization of Expensive Black-Box Functions"; several at
once: Ginsbourger, Le Riche, Carraro 2010.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone

from regard.errors import ConfigError, EpisodeError
from regard.estimators.inputs import require_count
from regard.estimators.regressor import FewShotRegressor
from regard.numbers import NORMAL_95


@dataclass(frozen=True)
class Suggestion:
    """One candidate.

    Args:
        row: of the candidates.
        candidate: as it was given.
        mean, deviation: of its predicted value.
        improvement: expected, over the best that was measured or is believed.
    """

    row: int
    candidate: Any
    mean: float
    deviation: float
    improvement: float

    @property
    def interval(self) -> tuple[float, float]:
        """Where 95% of the values are expected."""
        return self.mean - NORMAL_95 * self.deviation, self.mean + NORMAL_95 * self.deviation


def expected_improvement(mean: ArrayLike, deviation: ArrayLike, best: float) -> NDArray[np.float64]:
    """(N,) how much more than `best` a normal variable is expected to be, counting less as nothing.

    Args:
        mean, deviation: (N,) of the values; a deviation of 0 is a value that is known.
        best: the value to be exceeded.

    Examples:
        >>> expected_improvement([1.0, 3.0], [0.0, 0.0], best=2.0).tolist()
        [0.0, 1.0]
    """
    from scipy.special import ndtr

    gain = np.asarray(mean, dtype=np.float64) - best
    spread = np.asarray(deviation, dtype=np.float64)
    u = np.divide(gain, spread, out=np.zeros_like(gain), where=spread > 0)
    density = np.exp(-u * u / 2) / np.sqrt(2 * np.pi)
    return np.where(spread > 0, np.maximum(gain * ndtr(u) + spread * density, 0), np.maximum(gain, 0))


def next_experiment(
    model: FewShotRegressor | str | Path,
    measured: Any,
    values: ArrayLike,
    candidates: Any,
    *,
    n: int = 1,
    maximise: bool = True,
) -> list[Suggestion]:
    """The candidates to measure next, best first.

    Args:
        model: an estimator, whose own fit is left alone; or the name of a model that ships, such as "materials".
        measured: things that were measured, as `FewShotRegressor.fit` takes them.
        values: (N,) what was measured.
        candidates: things that could be measured.
        n: how many to choose, at most 100.
        maximise: large values are wanted; else small ones.

    Raises:
        EpisodeError: no candidate, or values that are not one number for each thing measured.
        ConfigError: more than there are candidates, or a learner that predicts no deviation.
        DataError: things that cannot be read.

    Examples:
        >>> x = [[0.0], [1.0], [2.0], [3.0]]
        >>> best, = next_experiment("tables", x, [0.0, 1.0, 2.0, 3.0], [[0.5], [3.5]])
        >>> best.row
        1
    """
    things, pool = _rows(measured), _rows(candidates)
    sign = 1.0 if maximise else -1.0
    y = np.asarray(values, dtype=np.float64)
    if y.shape != (len(things),) or not len(y):
        raise EpisodeError(f"values have shape {y.shape} for {len(things)} things: expected one number for each.")
    if not pool:
        raise EpisodeError("there are no candidates: expected at least one to choose from.")
    if require_count(n, "n", 100) > len(pool):
        raise ConfigError(f"n is {n} and there are {len(pool)} candidates: expected at most as many.")
    estimator: Any = FewShotRegressor(model) if isinstance(model, str | Path) else clone(model)
    left, chosen = list(range(len(pool))), list[Suggestion]()
    while len(chosen) < n:
        estimator.fit(_like(measured, things), y)
        mean, deviation = estimator.predict(_like(candidates, [pool[i] for i in left]), return_std=True)
        gain = expected_improvement(sign * mean, deviation, float((sign * y).max()))
        # Where nothing promises any gain, the largest mean does.
        k = int(np.lexsort((sign * mean, gain))[-1])
        chosen.append(Suggestion(left[k], pool[left[k]], float(mean[k]), float(deviation[k]), float(gain[k])))
        things, y = [*things, pool[left.pop(k)]], np.append(y, mean[k])
    return chosen


def _rows(things: Any) -> list[Any]:
    """Rows of a list, array, series or data frame; a text would be a list of letters."""
    if isinstance(things, str):
        raise EpisodeError(f"expected a list of things, and got one text, {things!r:.60}: put it into a list.")
    return list(things.to_numpy()) if hasattr(things, "to_numpy") else list(things)


def _like(things: Any, rows: Sequence[Any]) -> Any:
    """Rows as what they were taken from."""
    if hasattr(things, "columns"):
        return type(things)(list(rows), columns=things.columns)
    return np.asarray(rows) if isinstance(things, np.ndarray) and things.dtype != object else list(rows)

"""The few lines of geometry that the charts need: an axis with round ticks, a smoothed line, a string of points.

Charts are drawn on a square of 100 by 100 that the page stretches to any size; strokes and letters keep theirs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

_STEPS = (1, 2, 2.5, 5, 10)
_POINTS = 240


@dataclass(frozen=True)
class Axis:
    """A stretch of numbers mapped to 0..100, with a tick at every multiple of `step`."""

    low: float
    high: float
    step: float

    @classmethod
    def around(cls, values: Iterable[float], n_ticks: int = 4) -> Self:
        """The shortest stretch between two ticks that holds the finite ones of `values`."""
        low, high = _ends(values)
        step = _round_step(((high - low) or abs(high) or 1.0) / n_ticks)
        low, high = float(np.floor(low / step + 1e-9) * step), float(np.ceil(high / step - 1e-9) * step)
        return cls(low, high if high > low else low + step, step)

    @classmethod
    def up_to(cls, values: Iterable[float], n_ticks: int = 4) -> Self:
        """From 0 to exactly the largest."""
        high = _ends(values)[1]
        high = high if high > 0 else 1.0
        return cls(0.0, high, _round_step(high / n_ticks))

    @property
    def ticks(self) -> list[float]:
        """Multiples of `step`, low to high."""
        first, last = np.ceil(self.low / self.step - 1e-9), np.floor(self.high / self.step + 1e-9)
        return [round(i * self.step, 12) for i in range(int(first), int(last) + 1)]

    def at(self, value: float) -> float:
        """Where `value` lies, 0..100."""
        return round(float(100 * (value - self.low) / (self.high - self.low)), 2)


def _ends(values: Iterable[float]) -> tuple[float, float]:
    x = np.asarray(list(values), dtype=np.float64)
    x = x[np.isfinite(x)]
    return (float(x.min()), float(x.max())) if x.size else (0.0, 1.0)


def _round_step(rough: float) -> float:
    power = 10.0 ** np.floor(np.log10(rough))
    return float(next(s * power for s in _STEPS if s * power >= rough * (1 - 1e-9)))


def points(x: NDArray[Any], y: NDArray[Any], across: Axis, up: Axis) -> str:
    """The finite points as an SVG polyline's attribute, up being less."""
    finite = np.isfinite(np.asarray(y, dtype=np.float64))
    pairs = zip(x[finite].tolist(), y[finite].tolist(), strict=True)
    return " ".join(f"{across.at(a)},{round(100 - up.at(b), 2)}" for a, b in pairs)


def smooth(y: NDArray[Any]) -> NDArray[np.float64]:
    """(N,) running mean of the finite values over a fortieth of the line; NaN where a window holds none.

    At the start, where losses fall steeply, the window shrinks so as not to hide the fall; at the end it is cut, as a
    shrinking one would end on the noise of the last step.
    """
    y = np.asarray(y, dtype=np.float64)
    finite = np.isfinite(y)
    i, half = np.arange(len(y)), len(y) // 80
    first, last = i - np.minimum(half, i), np.minimum(i + np.minimum(half, i), len(y) - 1)
    total, count = (np.concatenate([[0.0], np.cumsum(x)]) for x in (np.where(finite, y, 0.0), finite))
    n = count[last + 1] - count[first]
    return np.where(n > 0, (total[last + 1] - total[first]) / np.maximum(n, 1), np.nan)


def thin(n: int) -> NDArray[np.int64]:
    """At most some hundred places of 0..n-1, ends included: more would be drawn onto the same pixels."""
    return np.unique(np.linspace(0, max(n - 1, 0), min(n, _POINTS)).round().astype(np.int64))

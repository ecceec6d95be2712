"""Numbers as they are read, and how a learner is shown everywhere."""

from __future__ import annotations

from dataclasses import dataclass

from regard.evaluation.intervals import Interval
from regard.evaluation.result import Count
from regard.report.charts import Axis
from regard.report.content import ReportContent, TrainingCurve

SHARES = {"accuracy": "accuracy", "precision": "precision", "recall": "recall", "f1": "F1"}
"""Metrics shown in percent, with their names on the page."""

N_COLOURS = 5
MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Series:
    """A learner as it is shown everywhere: one name, one colour, and one kind of dashes for those who see no colour."""

    name: str
    colour: int


@dataclass(frozen=True)
class Whisker:
    """A mean and its interval, as text and as three places on an axis."""

    name: str
    mean: str
    interval: str
    places: tuple[float, float, float]


def count_text(count: Count) -> str:
    return str(count) if isinstance(count, int) else f"{count[0]} to {count[1]}"


def number(value: float) -> str:
    """With a thin comma from a thousand on, and no more digits than are read."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def seconds_text(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes >= 2 else f"{round(seconds)} s"


def emphasis(text: str) -> list[tuple[str, bool]]:
    """Cut at `**` into (part, whether it is emphasised)."""
    return [(part, i % 2 == 1) for i, part in enumerate(text.split("**")) if part]


def signed(value: float, digits: int) -> str:
    text = f"{abs(value):.{digits}f}"
    return text if not float(text) else f"{'+' if value > 0 else MINUS}{text}"


def bounds(x: Interval, scale: float, digits: int) -> str:
    low, high = (f"{scale * end:.{digits}f}".replace("-", MINUS) for end in (x.low, x.high))
    return f"[{low}, {high}]"


def all_series(content: ReportContent) -> dict[str, Series]:
    """Every learner that is named, the page's own first."""
    named = [r.learner for r in content.results] + [c.name for c in content.curves]
    first = [content.learner] if content.learner is not None else []
    return {name: Series(name, i % N_COLOURS) for i, name in enumerate(dict.fromkeys(first + named))}


def places(x: Interval, axis: Axis) -> tuple[float, float, float]:
    return axis.at(x.low), axis.at(x.mean), axis.at(x.high)


def curve_text(curve: TrainingCurve) -> str:
    """How long a learner was trained."""
    steps = f"{int(curve.step[-1]):,} steps in " if len(curve.step) else ""
    return f"{steps}{seconds_text(curve.seconds)}"

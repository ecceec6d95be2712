"""Content to what the template draws: texts already written, positions already in percent, pictures already encoded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.evaluation.compare import LOWER_IS_BETTER, Comparison
from regard.evaluation.intervals import Interval
from regard.evaluation.metrics import Calibration
from regard.evaluation.result import Count, Result
from regard.recipes.report.charts import Axis, points, smooth, thin
from regard.recipes.report.content import ConfusionPicture, Curve, Look, ReportContent
from regard.recipes.report.pictures import heat, picture

SHARES = {"accuracy": "accuracy", "precision": "precision", "recall": "recall", "f1": "F1"}
"""Metrics told in percent, with their names on the page."""

N_COLOURS = 5
_N_TOP = 3
_N_MIXES = 8
MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Series:
    """A learner as it is told everywhere: one name, one colour, and one kind of dashes for those who see no colour."""

    name: str
    colour: int


@dataclass(frozen=True)
class Whisker:
    """A mean and its interval, as text and as three places on an axis."""

    name: str
    mean: str
    interval: str
    places: tuple[float, float, float]


@dataclass(frozen=True)
class Row:
    series: Series
    transductive: bool
    shares: list[Whisker]
    ece: Whisker | None
    reliability: list[tuple[float, float, float]]
    seconds: str


@dataclass(frozen=True)
class Difference:
    a: str
    b: str
    metric: str
    verdict: str
    tie: bool
    whisker: Whisker


@dataclass(frozen=True)
class Block:
    """One setting: its table, the differences in accuracy that concern the page's learner, and all the others."""

    title: str
    note: str
    axis: Axis
    rows: list[Row]
    differences: list[Difference]
    difference_axis: Axis
    more: list[Difference]


@dataclass(frozen=True)
class Chip:
    """One support picture and the attention it got; `share` is relative to the most attended one."""

    number: int
    name: str
    ink: str
    heat: str
    weight: str
    share: float
    predicted: bool
    true: bool


@dataclass(frozen=True)
class Card:
    query: str
    query_heat: str | None
    right: bool
    predicted: str
    true: str
    probability: str
    chips: list[Chip]
    top: list[Chip]


@dataclass(frozen=True)
class Cell:
    row: int
    column: int
    right: bool
    strength: float
    text: str


@dataclass(frozen=True)
class Mix:
    true: int
    predicted: int
    share: str
    text: str


@dataclass(frozen=True)
class Matrix:
    title: str
    names: Sequence[str]
    pictures: list[str]
    cells: list[Cell]
    mixes: list[Mix]
    summary: str


@dataclass(frozen=True)
class Line:
    series: Series
    faint: str
    bold: str
    end: tuple[float, float]
    value: str


@dataclass(frozen=True)
class Panel:
    title: str
    across: Axis
    up: Axis
    percent: bool
    lines: list[Line]


# ---- texts -----------------------------------------------------------------------------------------------------------


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


def _signed(value: float, digits: int) -> str:
    text = f"{abs(value):.{digits}f}"
    return text if not float(text) else f"{'+' if value > 0 else MINUS}{text}"


def _bounds(x: Interval, scale: float, digits: int) -> str:
    low, high = (f"{scale * end:.{digits}f}".replace("-", MINUS) for end in (x.low, x.high))
    return f"[{low}, {high}]"


# ---- results ---------------------------------------------------------------------------------------------------------


def all_series(content: ReportContent) -> dict[str, Series]:
    """Every learner that is named, the page's own first."""
    named = [r.learner for r in content.results] + [c.name for c in content.curves]
    first = [content.learner] if content.learner is not None else []
    return {name: Series(name, i % N_COLOURS) for i, name in enumerate(dict.fromkeys(first + named))}


def blocks(content: ReportContent) -> list[Block]:
    """One block a setting, in the order in which the results name them."""
    series = all_series(content)
    settings = dict.fromkeys(_setting(r) for r in content.results)
    return [
        _block(
            [r for r in content.results if _setting(r) == setting],
            [c for c in content.comparisons if (c.data, c.n_way, c.n_shot) == setting],
            series,
        )
        for setting in settings
    ]


def _setting(result: Result) -> tuple[str, Count, Count]:
    return result.data, result.n_way, result.n_shot


def _block(results: list[Result], comparisons: list[Comparison], series: dict[str, Series]) -> Block:
    results = sorted(results, key=lambda r: list(series).index(r.learner))
    shares = [r.metrics[m] for r in results for m in SHARES if m in r.metrics]
    axis = Axis.around([end for x in shares for end in (x.low, x.high)], 5)
    mine = next(iter(series))
    chosen = [c for c in comparisons if c.metric == "accuracy" and mine in (c.a, c.b)]
    difference_axis = Axis.around([0.0, *(end for c in chosen for end in _seen_from(mine, c))], 6)
    first = results[0]
    return Block(
        title=f"{count_text(first.n_way)}-way {count_text(first.n_shot)}-shot",
        note=_note(first),
        axis=axis,
        rows=[_row(r, series, axis) for r in results],
        differences=[_difference(c, mine, difference_axis) for c in chosen],
        difference_axis=difference_axis,
        more=[_difference(c, mine, difference_axis) for c in comparisons if c not in chosen],
    )


def _seen_from(mine: str, comparison: Comparison) -> tuple[float, float, float]:
    """(low, mean, high) of the difference, turned around where `mine` is the second of the two."""
    x = comparison.difference
    return (-x.high, -x.mean, -x.low) if comparison.b == mine else (x.low, x.mean, x.high)


def _note(result: Result) -> str:
    chance = f"; guessing gives {1 / result.n_way:.0%}" if isinstance(result.n_way, int) and result.n_way else ""
    return (
        f"{result.episodes:,} episodes of {result.data}, {result.n_query} queries a class, seed {result.seed}{chance}"
    )


def _row(result: Result, series: dict[str, Series], axis: Axis) -> Row:
    ece = result.metrics.get("ece")
    return Row(
        series=series[result.learner],
        transductive=result.transductive,
        shares=[_share(label, result.metrics[m], axis) for m, label in SHARES.items() if m in result.metrics],
        ece=None if ece is None else Whisker("ECE", f"{ece.mean:.3f}", _bounds(ece, 1, 3), (0, 0, 0)),
        reliability=_reliability(result.calibration),
        seconds=seconds_text(result.seconds),
    )


def _share(name: str, x: Interval, axis: Axis) -> Whisker:
    return Whisker(name, f"{x.mean:.1%}", _bounds(x, 100, 1), _places(x, axis))


def _places(x: Interval, axis: Axis) -> tuple[float, float, float]:
    return axis.at(x.low), axis.at(x.mean), axis.at(x.high)


def _reliability(calibration: Calibration | None) -> list[tuple[float, float, float]]:
    """(promised, kept, share of the queries) of every bin that holds some, in percent and up being less."""
    if calibration is None:
        return []
    share = calibration.count / max(float(calibration.count.sum()), 1.0)
    kept = zip(calibration.confidence, calibration.accuracy, share, strict=True)
    return [(round(100 * float(c), 1), round(100 - 100 * float(a), 1), round(float(s), 3)) for c, a, s in kept if s > 0]


def _difference(comparison: Comparison, mine: str, axis: Axis) -> Difference:
    """Told from the page's learner's side where it is one of the two."""
    c = comparison
    a, b = (c.b, c.a) if c.b == mine else (c.a, c.b)
    low, mean, high = _seen_from(mine, c)
    x = Interval(mean, low, high)
    share = c.metric in SHARES
    scale, digits = (100, 1) if share else (1, 3)
    told = _signed(scale * mean, digits) + (" points" if share else "")
    verdict = "a tie" if c.better is None else f"{c.better} is better"
    better_low = " (lower is better)" if c.metric in LOWER_IS_BETTER else ""
    name = SHARES.get(c.metric, c.metric.upper() if c.metric in ("ece", "nll") else c.metric)
    whisker = Whisker(name, told, _bounds(x, scale, digits), _places(x, axis))
    return Difference(a, b, name + better_low, verdict, c.better is None, whisker)


# ---- looks -----------------------------------------------------------------------------------------------------------


def card(look: Look) -> Card:
    chips = _chips(look)
    return Card(
        query=picture(look.query),
        query_heat=None if look.query_heat is None else heat(look.query_heat),
        right=look.predicted == look.true,
        predicted=look.names[look.predicted],
        true=look.names[look.true],
        probability=f"{look.probability:.0%}",
        chips=chips,
        top=sorted(chips, key=lambda chip: -chip.share)[:_N_TOP],
    )


def _chips(look: Look) -> list[Chip]:
    weight = np.asarray(look.weight, dtype=np.float64)
    share = weight / max(float(weight.max(initial=0)), 1e-12)
    return [
        Chip(
            number=s,
            name=look.names[int(label)],
            ink=picture(look.support[s]),
            heat=heat(look.heat[s]),
            weight=f"{weight[s] / max(weight.sum(), 1e-12):.0%}",
            share=round(float(share[s]), 3),
            predicted=label == look.predicted,
            true=label == look.true,
        )
        for s, label in enumerate(np.asarray(look.support_label).tolist())
    ]


# ---- confusions ------------------------------------------------------------------------------------------------------


def matrix(confusion: ConfusionPicture) -> Matrix:
    counts, names = np.asarray(confusion.matrix, dtype=np.float64), confusion.names
    asked = counts.sum(1, keepdims=True)
    share = counts / np.where(asked > 0, asked, 1)
    found = [(int(i), int(j)) for i, j in zip(*np.nonzero(counts), strict=True)]
    right, total = float(np.trace(counts)), max(float(counts.sum()), 1)
    return Matrix(
        title=confusion.title,
        names=names,
        pictures=[picture(image) for image in confusion.images],
        cells=[_cell(i, j, counts, share, names) for i, j in found],
        mixes=_mixes(counts, share, names),
        summary=f"{len(names)} classes, {total:,.0f} queries, {right / total:.1%} right",
    )


def _cell(i: int, j: int, counts: NDArray[Any], share: NDArray[Any], names: Sequence[str]) -> Cell:
    told = f"{names[i]} answered right" if i == j else f"{names[i]} taken for {names[j]}"
    text = f"{told}: {counts[i, j]:.0f} of {counts[i].sum():.0f}"
    # The square root lets a rare mistake be seen beside a diagonal near 1; the page says so.
    return Cell(i, j, i == j, round(float(np.sqrt(share[i, j])), 3), text)


def _mixes(counts: NDArray[Any], share: NDArray[Any], names: Sequence[str]) -> list[Mix]:
    off = share * (1 - np.eye(len(names)))
    order = np.argsort(-off, axis=None, kind="stable")[:_N_MIXES]
    pairs = [(int(k) // len(names), int(k) % len(names)) for k in order if off.flat[k] > 0]
    return [Mix(i, j, f"{share[i, j]:.0%}", _cell(i, j, counts, share, names).text) for i, j in pairs]


# ---- curves ----------------------------------------------------------------------------------------------------------


def panels(content: ReportContent) -> list[Panel]:
    """Loss and validation accuracy, side by side over the same steps."""
    series, curves = all_series(content), content.curves
    across = Axis.up_to(float(s) for c in curves for s in (*c.step, *c.validation_step))
    loss = [(series[c.name], np.asarray(c.step), np.asarray(c.loss, dtype=np.float64)) for c in curves]
    seen = [(series[c.name], np.asarray(c.validation_step), np.asarray(c.validation_accuracy)) for c in curves]
    found = [
        _panel("Training loss", loss, across, Axis.up_to(_smoothed(y for _, _, y in loss)), percent=False),
        _panel("Validation accuracy", seen, across, Axis.around(v for _, _, y in seen for v in y), percent=True),
    ]
    return [panel for panel in found if panel.lines]


def _smoothed(lines: Iterable[NDArray[Any]]) -> list[float]:
    return [float(v) for y in lines for v in smooth(y)]


def _panel(
    title: str, data: list[tuple[Series, NDArray[Any], NDArray[Any]]], across: Axis, up: Axis, *, percent: bool
) -> Panel:
    lines = [_line(s, x, y, across, up, percent) for s, x, y in data if np.isfinite(y).any()]
    return Panel(title, across, up, percent, lines)


def _line(series: Series, x: NDArray[Any], y: NDArray[Any], across: Axis, up: Axis, percent: bool) -> Line:
    """Accuracies as they are; losses smoothed, over the faint raw line."""
    kept, bold = thin(len(x)), y if percent else smooth(y)
    known = np.flatnonzero(np.isfinite(bold))[-1]
    last = float(bold[known])
    return Line(
        series=series,
        faint="" if percent else points(x[kept], np.minimum(y[kept], up.high), across, up),
        bold=points(x[kept], bold[kept], across, up),
        end=(across.at(float(x[known])), round(100 - up.at(last), 2)),
        value=f"{last:.1%}" if percent else f"{last:.3f}",
    )


def curve_text(curve: Curve) -> str:
    """How long a learner practised."""
    steps = f"{int(curve.step[-1]):,} steps in " if len(curve.step) else ""
    return f"{steps}{seconds_text(curve.seconds)}"

"""How often each learner was right: a block a setting, whiskers on one axis, paired differences."""

from __future__ import annotations

from dataclasses import dataclass

from regard.evaluation.compare import LOWER_IS_BETTER, Comparison
from regard.evaluation.intervals import Interval
from regard.evaluation.result import Count, Result
from regard.report.charts import Axis
from regard.report.content import ReportContent
from regard.report.view.texts import (
    SHARES,
    Series,
    Whisker,
    all_series,
    bounds,
    count_text,
    places,
    seconds_text,
    signed,
)


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
    note = f"{first.episodes:,} episodes of {first.data}, {first.n_query} queries per class, seed {first.seed}"
    chance = f"; guessing gives {1 / first.n_way:.0%}" if isinstance(first.n_way, int) and first.n_way else ""
    return Block(
        title=f"{count_text(first.n_way)}-way {count_text(first.n_shot)}-shot",
        note=note + chance,
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


def _row(result: Result, series: dict[str, Series], axis: Axis) -> Row:
    ece, calibration = result.metrics.get("ece"), result.calibration
    # (promised, kept, share of the queries) of every bin that holds some, in percent and up being less.
    reliability = []
    if calibration is not None:
        share = calibration.count / max(float(calibration.count.sum()), 1.0)
        bins = zip(calibration.confidence, calibration.accuracy, share, strict=True)
        reliability = [
            (round(100 * float(c), 1), round(100 - 100 * float(a), 1), round(float(s), 3)) for c, a, s in bins if s > 0
        ]
    return Row(
        series=series[result.learner],
        transductive=result.transductive,
        shares=[
            Whisker(label, f"{x.mean:.1%}", bounds(x, 100, 1), places(x, axis))
            for metric, label in SHARES.items()
            if (x := result.metrics.get(metric)) is not None
        ],
        ece=None if ece is None else Whisker("ECE", f"{ece.mean:.3f}", bounds(ece, 1, 3), (0, 0, 0)),
        reliability=reliability,
        seconds=seconds_text(result.seconds),
    )


def _difference(comparison: Comparison, mine: str, axis: Axis) -> Difference:
    """Seen from the page's learner where it is one of the two."""
    c = comparison
    a, b = (c.b, c.a) if c.b == mine else (c.a, c.b)
    low, mean, high = _seen_from(mine, c)
    x = Interval(mean, low, high)
    share = c.metric in SHARES
    scale, digits = (100, 1) if share else (1, 3)
    text = signed(scale * mean, digits) + (" points" if share else "")
    verdict = "a tie" if c.better is None else f"{c.better} is better"
    better_low = " (lower is better)" if c.metric in LOWER_IS_BETTER else ""
    name = SHARES.get(c.metric, c.metric.upper() if c.metric in ("ece", "nll") else c.metric)
    whisker = Whisker(name, text, bounds(x, scale, digits), places(x, axis))
    return Difference(a, b, name + better_low, verdict, c.better is None, whisker)

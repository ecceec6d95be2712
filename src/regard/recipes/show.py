"""Results in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from regard.evaluation import Comparison, Interval, Result


def show_results(results: Sequence[Result], comparisons: Sequence[Comparison], console: Console | None = None) -> None:
    """A table of metrics with intervals, and a table of paired differences of accuracy."""
    console = console or Console()
    table = Table("learner", "episodes", "accuracy %", "precision %", "recall %", "F1 %", "ECE", "seconds", box=None)
    for result in results:
        figures = [_percent(result.metrics[name]) for name in ("accuracy", "precision", "recall", "f1")]
        marked = f"{result.learner}{' (transductive)' if result.transductive else ''}"
        asked = f"{result.n_way}-way {result.n_shot}-shot"
        table.add_row(marked, asked, *figures, f"{result.metrics['ece'].mean:.3f}", f"{result.seconds:.1f}")
    console.print(table)
    shown = [c for c in comparisons if c.metric == "accuracy"]
    if shown:
        paired = Table("paired difference of accuracy", "episodes", "points", "", box=None)
        for c in shown:
            verdict = "tie" if c.tie else f"{c.better} is better"
            paired.add_row(
                f"{c.a} - {c.b}", f"{c.n_way}-way {c.n_shot}-shot", _percent(c.difference, sign=True), verdict
            )
        console.print(paired)
    console.print("[dim]95% intervals over episodes.[/dim]")


def _percent(interval: Interval, *, sign: bool = False) -> str:
    form = "+.1f" if sign else ".1f"
    low, high = (format(100 * v, form) for v in (interval.low, interval.high))
    return f"{format(100 * interval.mean, form)} [{low}, {high}]"

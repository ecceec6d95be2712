"""Results in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from regard.evaluation import Comparison, Interval, Result


def show_results(results: Sequence[Result], comparisons: Sequence[Comparison], console: Console | None = None) -> None:
    """A table for each kind of episodes: metrics with intervals, then the paired differences of accuracy."""
    console = console or Console()
    settings = dict.fromkeys((r.data, r.n_way, r.n_shot) for r in results)
    for setting in settings:
        inside = [r for r in results if (r.data, r.n_way, r.n_shot) == setting]
        console.print(_metrics(inside))
        paired = [c for c in comparisons if (c.data, c.n_way, c.n_shot) == setting and c.metric == "accuracy"]
        for c in paired:
            verdict = "a tie" if c.tie else f"{c.better} is better"
            console.print(f"  {c.a} - {c.b}: {_percent(c.difference, '+.1f')} points, {verdict}", highlight=False)
        console.print()
    console.print("[dim]Per cent, mean ± half of the 95% interval over episodes; differences are paired.[/dim]")


def _metrics(results: Sequence[Result]) -> Table:
    first = results[0]
    title = f"{first.n_way}-way {first.n_shot}-shot, {first.episodes} episodes of {first.data}"
    table = Table(
        "learner", "accuracy", "precision", "recall", "F1", "ECE", "s", title=title, title_justify="left", box=None
    )
    for result in results:
        figures = [_percent(result.metrics[name]) for name in ("accuracy", "precision", "recall", "f1")]
        marked = f"{result.learner}{' (transductive)' if result.transductive else ''}"
        table.add_row(marked, *figures, _percent(result.metrics["ece"]), f"{result.seconds:.1f}")
    return table


def _percent(interval: Interval, form: str = ".1f") -> str:
    return f"{format(100 * interval.mean, form)} ±{50 * (interval.high - interval.low):.1f}"

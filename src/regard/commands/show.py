"""Results in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Column, Table

from regard.evaluation import Comparison, Interval, Result

_OF_CLASSES = {"accuracy": "accuracy", "precision": "precision", "recall": "recall", "f1": "F1", "ece": "ECE"}
_OF_ROLLOUTS = {"success": "success"}
_OF_SENTENCES = {"chrf": "chrF", "bleu": "BLEU"}
_OF_TARGETS = {"mse": "MSE", "mae": "MAE", "nll": "NLL", "crps": "CRPS", "coverage": "coverage"}


def show_results(results: Sequence[Result], comparisons: Sequence[Comparison], console: Console | None = None) -> None:
    """A table for each kind of episodes: metrics with intervals, then the paired differences of the first metric."""
    console = console or Console()
    settings = dict.fromkeys((r.data, r.n_way, r.n_shot) for r in results)
    for setting in settings:
        inside = [r for r in results if (r.data, r.n_way, r.n_shot) == setting]
        first = inside[0]
        way = f"{first.n_way}-way " if first.n_way else ""
        title = f"{way}{first.n_shot}-shot, {first.episodes} episodes of {first.data}"
        is_share = bool(first.n_way) or "success" in first.metrics
        kinds = [_OF_CLASSES] if first.n_way else [_OF_ROLLOUTS, _OF_SENTENCES, _OF_TARGETS]
        headings = next(kind for kind in kinds if next(iter(kind)) in first.metrics)
        write = _percent if is_share else _number
        # Eighty columns hold it all; long names go on in the next line, and none is cut off.
        name = Column("learner", overflow="fold", min_width=16)
        table = Table(
            name, *headings.values(), "s", "adapt", padding=(0, 1, 0, 0), title=title, title_justify="left", box=None
        )
        for result in inside:
            adaptation = ""
            if result.adaptation_seconds is not None:
                ms = 1000 * result.adaptation_seconds
                adaptation = f"{ms:.0f} ms" if ms >= 10 else f"{ms:.1f} ms"
            marked = f"{result.learner}{' (transductive)' if result.transductive else ''}"
            table.add_row(
                marked,
                *(write(result.metrics[name]) for name in headings),
                f"{result.seconds:.1f}",
                adaptation,
            )
        console.print(table)
        metric = next(iter(headings))
        paired = [c for c in comparisons if (c.data, c.n_way, c.n_shot) == setting and c.metric == metric]
        for c in paired:
            verdict = "a tie" if c.tie else f"{c.better} is better"
            difference = f"{_percent(c.difference, '+.1f')} points" if is_share else _number(c.difference, "+.3g")
            console.print(f"  {c.a} - {c.b}: {difference}, {verdict}", highlight=False)
        console.print()
    unit = "Percent, mean" if any(r.n_way or "success" in r.metrics for r in results) else "Mean"
    console.print(f"[dim]{unit} ± half-width of the 95% interval over episodes; differences are paired.[/dim]")


def _percent(interval: Interval, form: str = ".1f") -> str:
    return f"{format(100 * interval.mean, form)} ±{50 * (interval.high - interval.low):.1f}"


def _number(interval: Interval, form: str = ".3g") -> str:
    return f"{format(interval.mean, form)} ±{interval.half_width:.2g}"

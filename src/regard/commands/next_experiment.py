"""Which of a user's candidates to measure next, as a table, a JSON file and a page."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from regard.commands.numbers import as_numbers
from regard.commands.terminal import cells
from regard.domains.base import Domain
from regard.errors import DataError
from regard.estimators.next_experiment import Suggestion, next_experiment
from regard.files import write_whole
from regard.numbers import readable
from regard.recipes.trained import TrainedLearner

_STYLE = """
:root { color-scheme: light dark; --ink: #1f1c18; --page: #faf8f3; --quiet: #6a6359; --rule: #e4ddd0; --mark: #3f46c4; }
@media (prefers-color-scheme: dark) { :root { --ink: #ece7de; --page: #151418; --quiet: #a49d92; --rule: #34323a;
  --mark: #a0a6ff; } }
body { margin: 2rem auto; max-width: 60rem; padding: 0 1rem; font: 16px/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--page); font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: right; padding: .35rem .6rem;
  border-bottom: 1px solid var(--rule); } th:nth-child(2), td:nth-child(2) { text-align: left; }
th { color: var(--quiet); font-weight: 500; } svg { width: 16rem; height: 1.4rem; display: block; }
.best { stroke: var(--quiet); stroke-dasharray: 3 3; } .bar { stroke: var(--mark); stroke-width: 2; }
.dot { fill: var(--mark); }
"""


@dataclass(frozen=True)
class ExperimentPlan:
    """What to measure next.

    Args:
        domain: of the candidates.
        suggestions: best first.
        best: value measured so far.
        n_measured, n_candidates: how many there were.
        maximise: whether large values are wanted.
    """

    domain: Domain
    suggestions: list[Suggestion]
    best: float
    n_measured: int
    n_candidates: int
    maximise: bool


def plan_experiments(
    model: str, measured: Path | str, candidates: Path | str, *, n: int = 5, maximise: bool = True
) -> ExperimentPlan:
    """Choose from files, read as the domain of the model reads them.

    Args:
        model: the name of a model that ships, such as materials; a checkpoint, or the folder of a run.
        measured: what was measured, with its values.
        candidates: what could be measured; those measured already are left out.
        n: how many to choose, at most 100.
        maximise: large values are wanted; else small ones.

    Raises:
        DataError: files that are missing, damaged or without numbers; no candidate that is not yet measured.
        ConfigError: no such model, or more than there are candidates.
    """
    domain = TrainedLearner.shared(model, regression=True).domain
    read = domain.read_files(Path(measured), Path(candidates))
    values = as_numbers(read)
    known = set(map(str, read.support))
    pool = [thing for thing in dict.fromkeys(map(str, read.queries)) if thing not in known]
    if not pool:
        raise DataError(f"{candidates} has nothing that is not measured already: expected at least one candidate.")
    found = next_experiment(model, list(read.support), values, pool, n=min(n, len(pool)), maximise=maximise)
    best = max(values) if maximise else min(values)
    return ExperimentPlan(domain, found, best, len(values), len(pool), maximise)


def show_plan(plan: ExperimentPlan, console: Console | None = None) -> None:
    """A table: candidate, predicted value, interval and expected improvement."""
    table = Table("", "measure next", "predicted", "95% interval", "expected improvement", box=None)
    for rank, s in enumerate(plan.suggestions, 1):
        low, high = s.interval
        row = (rank, s.candidate, readable(s.mean), f"{readable(low)} to {readable(high)}", readable(s.improvement, 3))
        table.add_row(*cells(*row))
    (console or Console()).print(table)


def write_plan(plan: ExperimentPlan, *, page: Path | None = None, json_file: Path | None = None) -> None:
    """Write the page, and a JSON list of objects, where they are wanted.

    Raises:
        StorageError: a file cannot be written; an old one is untouched.
    """
    if page is not None:
        write_plan_page(page, plan)
    if json_file is not None:
        rows = [
            {
                "candidate": str(s.candidate),
                "predicted": s.mean,
                "deviation": s.deviation,
                "interval": list(s.interval),
                "expected_improvement": s.improvement,
            }
            for s in plan.suggestions
        ]
        write_whole(json_file, json.dumps(rows, indent=1, allow_nan=False).encode())


def write_plan_page(path: Path, plan: ExperimentPlan) -> None:
    """One HTML page that asks nothing of the network: each candidate with its interval, beside the best so far."""
    aim = "largest" if plan.maximise else "smallest"
    lead = (
        f"From {plan.n_measured} measured {plan.domain.items}, {plan.n_candidates} candidates; the {aim} measured "
        f"value is {readable(plan.best)}. Ordered by expected improvement; each choice takes those above as measured."
    )
    rows = [
        f"<tr><td>{rank}</td><td>{plan.domain.render(s.candidate).html}</td><td>{readable(s.mean)}</td>"
        f"<td>{readable(s.interval[0])} to {readable(s.interval[1])}</td><td>{readable(s.improvement, 3)}</td>"
        f"<td>{_bar(s, plan.suggestions, plan.best)}</td></tr>"
        for rank, s in enumerate(plan.suggestions, 1)
    ]
    heads = "".join(f"<th>{h}</th>" for h in ("", "measure next", "predicted", "95% interval", "improvement", ""))
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width"><title>Next experiment</title><style>{_STYLE}</style></head><body>'
        f"<h1>Next experiment</h1><p>{html.escape(lead)} The dashed line is that value.</p>"
        f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></body></html>\n"
    )
    write_whole(path, page.encode())


def _bar(s: Suggestion, all_of_them: Sequence[Suggestion], best: float) -> str:
    """The interval of one candidate on an axis shared by all."""
    ends = [e for other in all_of_them for e in other.interval] + [best]
    low, size = min(ends), (max(ends) - min(ends)) or 1.0
    left, right, dot, line = (round(2 + 196 * (v - low) / size, 1) for v in (*s.interval, s.mean, best))
    return (
        f'<svg viewBox="0 0 200 20" role="img" aria-label="{readable(s.interval[0])} to {readable(s.interval[1])}">'
        f'<line class="best" x1="{line}" x2="{line}" y1="0" y2="20"></line>'
        f'<line class="bar" x1="{left}" x2="{right}" y1="10" y2="10"></line>'
        f'<circle class="dot" cx="{dot}" cy="10" r="4"></circle></svg>'
    )

"""The outcome of a suite: in the terminal, as the JSON of all results, and as a page."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from regard.evaluation import Interval, Result, write_results
from regard.evaluation.provenance import command_line, machine, versions
from regard.files import write_whole
from regard.report import (
    AttentionExample,
    Figure,
    ReportContent,
    TextTable,
    attention_examples,
    training_curve,
    write_report,
)
from regard.suite.hunger import curve_lines, curve_picture
from regard.suite.run import Cost, Suite
from regard.suite.verdict import Placed, milliseconds

_HEADS = ("training s", "adapt ms", "file MB", "peak MB")


def show_suite(suite: Suite, console: Console | None = None) -> None:
    """One table per setting, the verdict, and the command that uses the winner."""
    console = console or Console()
    for here in suite.verdict.placed.values():
        console.print(_table(suite, here))
        console.print()
    for line in curve_lines(suite.curve):
        console.print(line, highlight=False)
    for name, why in suite.failed.items():
        console.print(f"{name} diverged: {why}", highlight=False)
    for sentence in suite.verdict.sentences:
        console.print(sentence, highlight=False)
    console.print(f"\n[bold]Use {suite.verdict.learner}:[/bold] {command(suite)}", highlight=False, soft_wrap=True)
    console.print(
        "[dim]Percent, mean ± half-width of the 95% interval over episodes of one training run; behind: the paired "
        "difference to the first; equal ranks: no clear difference. Validation chose the checkpoints, not the "
        "test.[/dim]"
    )


def command(suite: Suite) -> str:
    """How the recommended learner is used."""
    path = suite.entries[suite.verdict.learner].path.parent
    hint = suite.data.domain.file_hint
    if hint is None:
        return f"regard.FewShotClassifier({str(path)!r})"
    return f"regard predict {path} --support {hint[0]} --query {hint[1]}"


def _table(suite: Suite, here: Sequence[Placed]) -> Table:
    r = here[0].result
    title = f"{r.n_way}-way {r.n_shot}-shot, {r.episodes} episodes of {r.data}"
    learner = Column("learner", overflow="fold", min_width=24)
    heads = ("training\ns", "adapt\nms", "file\nMB", "peak\nMB")
    table = Table("", learner, "accuracy", "behind", *(Column(h, justify="right") for h in heads), padding=(0, 1, 0, 0))
    table.box, table.title, table.title_justify = None, title, "left"
    for one in here:
        table.add_row(*_row(one, suite.entries[one.result.learner].cost))
    return table


def _row(one: Placed, cost: Cost) -> list[str]:
    r = one.result
    name = f"{r.learner}{' (transductive)' if r.transductive else ''}"
    return [str(one.rank), name, _percent(r.metrics["accuracy"]), _behind(one.behind), *_costs(r, cost)]


def _costs(result: Result, cost: Cost) -> list[str]:
    memory = "" if cost.peak_bytes is None else f"{cost.peak_bytes / 2**20:,.0f}"
    seconds = f"{cost.training_seconds:.0f}" if cost.steps else "none"
    return [seconds, milliseconds(result.adaptation_seconds or 0.0), f"{cost.file_bytes / 2**20:.2g}", memory]


def _behind(behind: Interval | None) -> str:
    if behind is None:
        return ""
    return "a tie" if behind.low <= 0 else f"{100 * behind.mean:.1f} ±{100 * behind.half_width:.1f}"


def _percent(x: Interval) -> str:
    return f"{100 * x.mean:.1f} ±{100 * x.half_width:.1f}"


# ---- files -----------------------------------------------------------------------------------------------------------


def publish(suite: Suite, json: Path | None = None) -> Path:
    """Show it in the terminal and write it to its folder, the results also to `json`; returns the page's path.

    Raises:
        StorageError: as `write_suite`.
    """
    show_suite(suite)
    if json is not None:
        write_json(json, suite)
    return write_suite(suite)


def write_suite(suite: Suite, *, raw: bool = False) -> Path:
    """results.json, report.html and, with a curve, data_hunger.png into the suite's folder; returns the page.

    Raises:
        StorageError: one of them cannot be written.
    """
    write_json(suite.folder / "results.json", suite, raw=raw)
    figures = []
    if len(suite.curve) > 1:
        picture = curve_picture(suite.curve, suite.baselines)
        write_whole(suite.folder / "data_hunger.png", picture)
        figures.append(Figure("More classes to train on", _HUNGER, picture))
    page = suite.folder / "report.html"
    write_report(page, _content(suite, figures))
    return page


_HUNGER = (
    "Accuracy on the test classes against the number of training classes, with 95% intervals over "
    "episodes. Baselines were not trained."
)


def write_json(path: Path, suite: Suite, *, raw: bool = False) -> None:
    """Results and comparisons by the schema; costs, verdict and curve in its settings.

    Raises:
        StorageError: it cannot be written.
    """
    fewer = [(n, r) for n, results in list(suite.curve.items())[:-1] for r in results]
    renamed = [replace(r, learner=f"{r.learner}, {n} classes") for n, r in fewer]
    settings = {
        "recommended": suite.verdict.learner,
        "why": list(suite.verdict.sentences),
        "use": command(suite),
        "costs": {name: asdict(entry.cost) for name, entry in suite.entries.items()},
        "classes": list(suite.curve),
        "failed": suite.failed,
        "fitted": suite.notes,
    }
    write_results(path, [*suite.results, *renamed], suite.comparisons, settings=settings, raw=raw)


def _content(suite: Suite, figures: Sequence[Figure]) -> ReportContent:
    best = suite.verdict.learner
    facts = {**{k: str(v) for k, v in machine().items()}, **{k: str(v) for k, v in versions().items()}}
    facts |= {"command": command_line(), "date": datetime.date.today().isoformat(), "to use it": command(suite)}
    rows = [
        [name, *_costs(_first(suite, name), entry.cost), f"{entry.cost.parameters:,}", f"{entry.cost.steps:,}"]
        for name, entry in suite.entries.items()
    ]
    return ReportContent(
        title=f"Which learner for {suite.title}?",
        sentence=f"Use **{best}**. {' '.join(suite.verdict.sentences)}",
        results=suite.results,
        comparisons=suite.comparisons,
        learner=best,
        examples=_examples(suite),
        curves=[
            curve
            for entry in suite.entries.values()
            if (curve := training_curve(entry.name, entry.path.parent)) is not None
        ],
        tables=[TextTable("What each costs", _COSTS, ("learner", *_HEADS, "parameters", "steps"), rows)],
        figures=figures,
        facts=facts,
        caveats=(
            "Intervals say how sure the mean over tasks is for these trained learners; another training run differs.",
            "Of several learners the first is a little lucky: trust the differences more than its own accuracy.",
            "Equal time is not equal effort: a learner that adapts slowly takes fewer steps, and longer training may "
            "change the order.",
            *suite.notes,
            *(f"{name} diverged: {why}" for name, why in suite.failed.items()),
        ),
    )


_COSTS = (
    "Training is the time spent on the training classes; memory the most that the process held meanwhile, libraries "
    "and data included. The linear probe's training is that of the learner whose encoder it takes."
)


def _first(suite: Suite, name: str) -> Result:
    return next(r for r in suite.results if r.learner == name)


def _examples(suite: Suite) -> Sequence[AttentionExample]:
    """Queries of the recommended learner."""
    entry = suite.entries[suite.verdict.learner]
    episodes = next((e for e in entry.trained.require_recipe().evaluation if isinstance(e.n_way, int)), None)
    if episodes is None:
        return ()
    return attention_examples(entry.trained, suite.data, episodes, 1, unknown=False, split=suite.split)

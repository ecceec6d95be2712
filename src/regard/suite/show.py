"""The outcome of a suite: in the terminal, as the JSON of all results, and as a page."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from regard.evaluation import Result, write_results
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
from regard.suite.jobs import Cost
from regard.suite.run import Suite
from regard.suite.verdict import milliseconds

_HEADS = ("training s", "adapt ms", "file MB", "peak MB")


def show_suite(suite: Suite, console: Console | None = None) -> None:
    """One table per setting, the verdict, and the command that uses the winner."""
    console = console or Console()
    for here in suite.verdict.placed.values():
        first = here[0].result
        learner = Column("learner", overflow="fold", min_width=24)
        heads = (Column(head, justify="right") for head in ("training\ns", "adapt\nms", "file\nMB", "peak\nMB"))
        table = Table("", learner, "accuracy", "behind", *heads, padding=(0, 1, 0, 0), box=None, title_justify="left")
        table.title = f"{first.n_way}-way {first.n_shot}-shot, {first.episodes} episodes of {first.data}"
        for one in here:
            r, accuracy, behind = one.result, one.result.metrics["accuracy"], ""
            if one.behind is not None:
                behind = f"{100 * one.behind.mean:.1f} ±{100 * one.behind.half_width:.1f}"
                behind = "a tie" if one.behind.low <= 0 else behind
            table.add_row(
                str(one.rank),
                f"{r.learner}{' (transductive)' if r.transductive else ''}",
                f"{100 * accuracy.mean:.1f} ±{100 * accuracy.half_width:.1f}",
                behind,
                *_costs(r, suite.entries[r.learner].cost),
            )
        console.print(table)
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


def _costs(result: Result, cost: Cost) -> list[str]:
    memory = "" if cost.peak_bytes is None else f"{cost.peak_bytes / 2**20:,.0f}"
    seconds = f"{cost.training_seconds:.0f}" if cost.steps else "none"
    return [seconds, milliseconds(result.adaptation_seconds or 0.0), f"{cost.file_bytes / 2**20:.2g}", memory]


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
    first = {r.learner: r for r in reversed(suite.results)}
    rows = [
        [name, *_costs(first[name], entry.cost), f"{entry.cost.parameters:,}", f"{entry.cost.steps:,}"]
        for name, entry in suite.entries.items()
    ]
    # Queries of the recommended learner.
    trained = suite.entries[best].trained
    episodes = next((e for e in trained.require_recipe().evaluation if isinstance(e.n_way, int)), None)
    examples: Sequence[AttentionExample] = ()
    if episodes is not None:
        examples = attention_examples(trained, suite.data, episodes, 1, unknown=False, split=suite.split)
    return ReportContent(
        title=f"Which learner for {suite.title}?",
        sentence=f"Use **{best}**. {' '.join(suite.verdict.sentences)}",
        results=suite.results,
        comparisons=suite.comparisons,
        learner=best,
        examples=examples,
        curves=[
            curve
            for entry in suite.entries.values()
            if (curve := training_curve(entry.name, entry.path.parent)) is not None
        ],
        tables=[TextTable("What each costs", _COSTS, ("learner", *_HEADS, "parameters", "steps"), rows)],
        figures=figures,
        facts=facts,
        caveats=(
            "Intervals are of the mean over tasks, for these trained learners; another training run differs.",
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

"""The leaks of a trained learner, looked for on the data of its own recipe."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from regard.commands.terminal import cells
from regard.domains.acting.simulated import SimulatedData
from regard.domains.data import LabelledData
from regard.errors import ConfigError
from regard.evaluation.leaks import OF_ANSWERS, OF_ENGLISH, Finding, find_leaks
from regard.evaluation.leaks.goals import goal_is_hidden
from regard.files import write_whole
from regard.recipes.trained import TrainedLearner

_SIGNS = {"passed": "[green]passed[/green]", "failed": "[bold red]FAILED[/bold red]", "does not apply": "[dim]-[/dim]"}


def run_checks(
    checkpoint: Path | str, settings: Sequence[str] = (), *, n_episodes: int = 50, seed: int = 0
) -> list[Finding]:
    """Every check, on the first kind of episodes that the checkpoint's recipe evaluates.

    Raises:
        CheckpointError, ConfigError, DataError: as `TrainedLearner.load` and the data do.
    """
    trained = TrainedLearner.load(checkpoint, settings)
    data = trained.data()
    if isinstance(data, SimulatedData):
        return _checks_of_demonstrations(trained, data, n_episodes, seed)
    splits = data.splits if isinstance(data, LabelledData) else {}
    if data.english_sides is not None:
        source = data.source("test", trained.require_recipe().evaluation[0], seed)
        english = data.english_sides
        return find_leaks(trained.learner, source, n_episodes=n_episodes, checks=OF_ENGLISH, english=english)
    if not splits and not data.task_labels:
        raise ConfigError(f"{data.title} has no items that could leak: expected a recipe on a data set.")
    sampler = data.source("test", trained.require_recipe().evaluation[0], seed)
    return find_leaks(
        trained.learner,
        sampler,
        splits,
        n_episodes=n_episodes,
        domain=data.domain,
        tables=data.task_labels,
        item_ids=data.item_ids,
    )


def _checks_of_demonstrations(
    trained: TrainedLearner, data: SimulatedData, n_episodes: int, seed: int
) -> list[Finding]:
    """What is asked of answers, and whether the goal can be seen without a demonstration."""
    recipe = trained.require_recipe()
    test = data.source("test", recipe.evaluation[0], seed)
    findings = find_leaks(trained.learner, test, n_episodes=n_episodes, checks=OF_ANSWERS)
    return [goal_is_hidden(trained.learner, data.training(recipe.episodes, seed), test, n_episodes), *findings]


def show_findings(findings: Sequence[Finding], console: Console | None = None) -> None:
    """A table in the terminal: each check, its verdict and the proof."""
    table = Table("check", "", "proof", box=None)
    for finding in findings:
        table.add_row(finding.check, _SIGNS[finding.verdict], *cells(finding.proof))
    (console or Console()).print(table)


def write_findings(path: Path, findings: Sequence[Finding]) -> None:
    """The findings as JSON.

    Raises:
        StorageError: the file cannot be written.
    """
    content = {"findings": [asdict(finding) for finding in findings]}
    write_whole(path, json.dumps(content, indent=2).encode())

"""Calibrate a trained learner: set on the validation split, measured on the test split, kept in its checkpoint."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from regard.domains.data import Data, LabelledData
from regard.errors import ConfigError
from regard.evaluation.confidence import Confidence, ConfidenceReport, fit_confidence, measure_confidence
from regard.evaluation.intervals import Interval
from regard.files import write_whole
from regard.recipes.trained import TrainedLearner
from regard.training.checkpoint import load_checkpoint, save_checkpoint


@dataclass(frozen=True)
class Calibrated:
    """What `calibrate` set, and how it does on test episodes.

    Args:
        confidence: now in the checkpoint.
        report: of test episodes.
        n_known: classes per episode with examples.
        n_unknown: further classes per episode, which the support lacked.
        path: the checkpoint.
    """

    confidence: Confidence
    report: ConfidenceReport
    n_known: int
    n_unknown: int
    path: Path

    def to_dict(self) -> dict[str, object]:
        """As JSON holds it."""
        return {"confidence": self.confidence.to_dict(), "n_unknown": self.n_unknown, "report": asdict(self.report)}


def calibrate(
    path: Path | str,
    settings: tuple[str, ...] = (),
    *,
    target_error: float = 0.05,
    n_unknown: int | None = None,
    n_episodes: int = 200,
    seed: int = 0,
    data: Data | None = None,
) -> Calibrated:
    """Set temperature and threshold on validation episodes, and write them into the checkpoint.

    Args:
        path: a checkpoint for use, or the folder of a run.
        settings: changes to its recipe, such as data.folder=elsewhere.
        target_error: largest share of wrong answers among those given.
        n_unknown: classes per episode that the support lacks; a quarter of the ways by default.
        n_episodes: of validation, and twice as many of test.
        seed: of the episodes.
        data: of the recipe, where it is at hand; read again by default.

    Raises:
        ConfigError: a checkpoint to resume training from, or a learner for regression.
    """
    trained = TrainedLearner.load(path, settings)
    file, recipe = trained.path, trained.require_recipe()
    assert file is not None
    data, checkpoint = data or trained.data(), load_checkpoint(file)
    if checkpoint.training is not None:
        raise ConfigError(f"{file} is for resuming training: expected the best one; calibrate that.")
    if not isinstance(data, LabelledData):
        raise ConfigError(
            f"{trained.name} was trained on {data.title}, which has no classes: only answers that are "
            "classes can be refused."
        )
    kind = recipe.evaluation[0]
    samplers = {split: data.source(split, kind, seed) for split in ("validation", "test")}
    unknown = max(1, samplers["test"].n_way[1] // 4) if n_unknown is None else n_unknown
    confidence = fit_confidence(
        trained.learner, samplers["validation"], target_error=target_error, n_unknown=unknown, n_episodes=n_episodes
    )
    report = measure_confidence(
        trained.learner, samplers["test"], confidence, n_unknown=unknown, n_episodes=2 * n_episodes
    )
    save_checkpoint(
        file,
        trained.learner,
        spec={**checkpoint.spec, "confidence": confidence.to_dict()},
        step=checkpoint.step,
        metrics=checkpoint.metrics,
    )
    return Calibrated(confidence, report, samplers["test"].n_way[1], unknown, file)


def show_calibrated(calibrated: Calibrated, console: Console | None = None) -> None:
    """Before and after, in the terminal."""
    console, report, found = console or Console(), calibrated.report, calibrated.confidence
    table = Table("test episodes", "before", "after", box=None)
    for name in ("ece", "brier", "nll"):
        table.add_row(name, _three(report.before[name]), _three(report.after[name]))
    console.print(table)
    console.print(
        f"\nTemperature {found.temperature:.3g}. With {calibrated.n_unknown} unknown classes per episode and a target "
        f"of {100 * found.target_error:g}% error, the learner answers {_percent(report.answered)} of queries of "
        f"known classes, refuses {_percent(report.refused)} of those of unknown ones, and errs in "
        f"{_percent(report.error)} of its answers (known from unknown: AUROC {report.auroc:.3f}).",
        highlight=False,
    )
    console.print(f"[dim]Set on validation episodes, measured on test episodes; kept in {calibrated.path}.[/dim]")


def write_calibrated(path: Path, calibrated: Calibrated) -> None:
    """As JSON.

    Raises:
        StorageError: the file cannot be written.
    """
    write_whole(path, json.dumps(calibrated.to_dict(), indent=2).encode())


def _three(interval: Interval) -> str:
    return f"{interval.mean:.3f} ±{interval.half_width:.3f}"


def _percent(interval: Interval) -> str:
    return f"{100 * interval.mean:.1f}% ±{100 * interval.half_width:.1f}"

"""Numbers for a user's own files, from a few examples whose numbers are known."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from regard.commands.terminal import cells
from regard.domains.base import LabelledFiles
from regard.errors import DataError
from regard.estimators import FewShotRegressor
from regard.files import write_whole
from regard.numbers import NORMAL_95, readable
from regard.recipes.trained import TrainedLearner


@dataclass(frozen=True)
class PredictedNumber:
    """The number of one query.

    Args:
        query: its file, or the thing itself.
        value: that is expected.
        interval: where 95% of the values are expected; None for a learner that predicts no deviation.
    """

    query: str
    value: float
    interval: tuple[float, float] | None


def as_numbers(read: LabelledFiles) -> list[float]:
    """Labels as numbers.

    Raises:
        DataError: one that is none, or is not finite.
    """
    numbers: list[float] = []
    for row, (name, label) in enumerate(zip(read.support_names, read.labels, strict=True)):
        try:
            number = float(label)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise DataError(
                f"row {row}, {name!r:.60}: {str(label)!r:.40} is no number: expected a number for each example; leave "
                "--regression out for classes."
            )
        numbers.append(number)
    if not numbers:
        raise DataError("there are no examples: expected at least one with its number.")
    return numbers


def predict_numbers(
    learner: Path | str, support: Path | str, query: Path | str, take_away: Path | None = None
) -> list[PredictedNumber]:
    """Adapt a trained learner for regression to `support` and predict the numbers of `query`.

    Args:
        learner: the name of a model that ships, such as materials; a file, or the folder of a run.
        support, query: as the domain of the learner reads them, with numbers for labels.
        take_away: also write the adapted learner here, as `FewShotRegressor.export` does.

    Raises:
        DataError: files that are missing, damaged or without numbers.
        ExportError: the learner cannot be taken away.
        ConfigError: no such model, or one whose items are not files.
    """
    domain = TrainedLearner.shared(learner, regression=True).domain
    read = domain.read_files(Path(support), Path(query))
    model = FewShotRegressor(learner).fit(read.support, as_numbers(read))
    if take_away is not None:
        model.export(take_away, queries=read.queries, columns=read.columns)
    value, deviation = model.predictions_of(model._pass(read.queries))
    low, high = value - NORMAL_95 * deviation, value + NORMAL_95 * deviation
    return [
        PredictedNumber(name, float(value[row]), None if np.isnan(low[row]) else (float(low[row]), float(high[row])))
        for row, name in enumerate(read.query_names)
    ]


def show_numbers(predictions: Sequence[PredictedNumber], console: Console | None = None) -> None:
    """A table: query, predicted number, interval."""
    table = Table("query", "predicted", "95% interval", box=None)
    for p in predictions:
        interval = "" if p.interval is None else f"{readable(p.interval[0])} to {readable(p.interval[1])}"
        table.add_row(*cells(p.query, readable(p.value), interval))
    (console or Console()).print(table)


def write_numbers(path: Path, predictions: Sequence[PredictedNumber]) -> None:
    """As a JSON list of objects."""
    write_whole(path, json.dumps([asdict(p) for p in predictions], indent=1).encode())

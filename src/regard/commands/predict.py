"""Name a user's own files from a few labelled ones."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from regard.errors import ConfigError, DataError
from regard.estimators import FewShotClassifier
from regard.estimators.finding import find
from regard.files import write_whole
from regard.learners.base import AttendingLearner


@dataclass(frozen=True)
class Prediction:
    """One query named.

    Args:
        query: its file, or the sentence.
        label: the most probable class.
        probability: of that class.
        attended: the support example that carried most of the answer, where the learner attends.
        share: how much of the attention it had.
        answered: False where the query may be none of the classes, by what `regard calibrate` set.
    """

    query: str
    label: str
    probability: float
    attended: str | None = None
    share: float | None = None
    answered: bool = True


def predict_files(checkpoint: Path | str, support: Path | str, query: Path | str) -> list[Prediction]:
    """Adapt a trained learner to `support` and name `query`.

    Args:
        checkpoint: the name of a model that ships, such as characters; a file, or the folder of a run.
        support: images: a folder with a sub-folder a class. Texts: a CSV file with the columns text and label.
        query: images: a folder, or one file. Texts: a file with one text a line.

    Raises:
        DataError: files that are missing, damaged or not as above.
        ConfigError: no such model, or one of other things than files.
        CheckpointError: a file that holds no learner.
    """
    found = find(checkpoint, numbers=False)
    kind = found.items.get("kind")
    if kind not in _READERS:
        raise ConfigError(
            f"{checkpoint} is a learner of items of kind {kind!r}: expected one of {', '.join(_READERS)}; use "
            "regard.FewShotClassifier for the others."
        )
    things, labels, asked, names = _READERS[kind](Path(support), Path(query))
    model = FewShotClassifier(checkpoint).fit(things, labels)
    probability = model.predict_proba(asked)
    best = probability.argmax(1)
    predictions = [
        Prediction(name, str(model.classes_[k]), float(p[k]), answered=bool(answered))
        for name, k, p, answered in zip(names, best, probability, model.answers(asked), strict=True)
    ]
    if not isinstance(found.learner, AttendingLearner):
        return predictions
    attention = model.attention(asked)
    top = attention.argmax(1)
    return [
        replace(p, attended=str(things[s]), share=float(row[s]))
        for p, s, row in zip(predictions, top, attention, strict=True)
    ]


def show_predictions(predictions: Sequence[Prediction], console: Console | None = None) -> None:
    """A table: query, its name, how sure, and the example most looked at."""
    table = Table("query", "named", "probability", "looked at", box=None)
    for p in predictions:
        looked = "" if p.attended is None else f"{Path(p.attended).name} ({100 * (p.share or 0):.0f}%)"
        label = p.label if p.answered else f"none of these? ({p.label})"
        table.add_row(p.query, label, f"{p.probability:.2f}", looked)
    (console or Console()).print(table)


def write_predictions(path: Path, predictions: Sequence[Prediction]) -> None:
    """As a JSON list of objects."""
    write_whole(path, json.dumps([asdict(p) for p in predictions], indent=1).encode())


Read = tuple[list[Any], list[str], list[Any], list[str]]
"""Support things, their labels, query things, and the queries' names."""


def _images(support: Path, query: Path) -> Read:
    from regard.domains.images.folder import class_files, image_files

    by_class = class_files(support)
    things = [file for files in by_class.values() for file in files]
    labels = [name for name, files in by_class.items() for _ in files]
    asked = [query] if query.is_file() else image_files(query)
    root = query.parent if query.is_file() else query
    return things, labels, asked, [str(file.relative_to(root)) for file in asked]


def _texts(support: Path, query: Path) -> Read:
    for file in (support, query):
        if not file.is_file():
            raise DataError(f"{file} is not a file: this learner reads texts; expected a CSV file and a text file.")
    with support.open(newline="", encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    if not rows or not {"text", "label"} <= set(rows[0]):
        raise DataError(f"{support} has the columns {list(rows[0]) if rows else []}: expected a first line text,label.")
    asked = [line for line in query.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [row["text"] for row in rows], [row["label"] for row in rows], asked, asked


_READERS = {"images": _images, "texts": _texts}

"""Label a user's own files from a few labelled ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from regard.commands.terminal import cells
from regard.estimators import FewShotClassifier
from regard.files import write_whole
from regard.recipes.trained import TrainedLearner

_LONGEST_SHOWN = 200
"""Characters of a text in the table; the JSON file has all."""


@dataclass(frozen=True)
class Prediction:
    """The label of one query.

    Args:
        query: its file, or the text.
        label: the most probable class.
        probability: of that class.
        attended: the support example that carried most of the answer, where the learner attends.
        share: how much of the attention it had.
        answered: False where the query may be none of the classes, by what `regard calibrate` set, or is blank.
        blank: the query holds nothing to go by, such as a page without ink.
    """

    query: str
    label: str
    probability: float
    attended: str | None = None
    share: float | None = None
    answered: bool = True
    blank: bool = False


def predict_files(
    checkpoint: Path | str, support: Path | str, query: Path | str, take_away: Path | None = None
) -> list[Prediction]:
    """Adapt a trained learner to `support` and label `query`, reading and encoding each file once.

    Args:
        checkpoint: the name of a model that ships, such as characters; a file, or the folder of a run.
        support, query: as the domain of the learner reads them. Images: a folder with a sub-folder per class, and a
            folder or one file. Texts: a CSV file with the columns text and label, and a file with one text per line.
        take_away: also write the adapted learner here, as `FewShotClassifier.export` does: .onnx, or .html.

    Raises:
        DataError: files that are missing, damaged or not as above.
        ExportError: the learner cannot be taken away.
        ConfigError: no such model, or one whose items are not files.
        CheckpointError: a file that holds no learner.
    """
    domain = TrainedLearner.shared(checkpoint, regression=False).domain
    read = domain.read_files(Path(support), Path(query))
    model = FewShotClassifier(checkpoint).fit(read.support, read.labels)
    if take_away is not None:
        model.export(take_away, queries=read.queries, columns=read.columns)
    found = model.predict_all(read.queries)
    predictions = []
    for row, name in enumerate(read.query_names):
        attended, share = None, None
        if found.attention is not None:
            top = int(found.attention[row].argmax())
            attended, share = read.support_names[top], float(found.attention[row, top])
        probability = float(found.probability[row].max())
        answered, blank = bool(found.answered[row]), bool(found.blank[row])
        predictions.append(Prediction(name, str(found.label[row]), probability, attended, share, answered, blank))
    return predictions


def show_predictions(predictions: Sequence[Prediction], console: Console | None = None) -> None:
    """A table: query, label, probability, and the example most attended to, if any; long texts shortened."""
    attends = any(p.attended is not None for p in predictions)
    table = Table("query", "label", "probability", *(("attended to",) if attends else ()), box=None)
    for p in predictions:
        attended = "" if p.attended is None else f"{_shortened(p.attended)} ({100 * (p.share or 0):.0f}%)"
        label = "none (blank)" if p.blank else p.label if p.answered else f"none of these? ({p.label})"
        row = (_shortened(p.query), label, "" if p.blank else f"{p.probability:.2f}", "" if p.blank else attended)
        table.add_row(*cells(*row[: len(table.columns)]))
    (console or Console()).print(table)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."


def write_predictions(path: Path, predictions: Sequence[Prediction]) -> None:
    """As a JSON list of objects."""
    write_whole(path, json.dumps([asdict(p) for p in predictions], indent=1).encode())

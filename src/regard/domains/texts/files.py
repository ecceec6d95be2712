"""A user's own texts: labelled ones from a CSV file, others from a file with one text per line."""

from __future__ import annotations

import csv
from pathlib import Path

from regard.errors import DataError


def read_labelled(path: Path) -> tuple[list[str], list[str]]:
    """Texts and labels of a CSV file whose first line names the columns text and label.

    Raises:
        DataError: no such file, or other columns.
    """
    _require_file(path)
    with path.open(newline="", encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    if not rows or not {"text", "label"} <= set(rows[0]):
        raise DataError(f"{path} has the columns {list(rows[0]) if rows else []}: expected a first line text,label.")
    return [row["text"] for row in rows], [row["label"] for row in rows]


def read_lines(path: Path) -> list[str]:
    """The lines of a file that are not blank.

    Raises:
        DataError: no such file.
    """
    _require_file(path)
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise DataError(f"{path} is not a file: this learner reads texts; expected a CSV file and a text file.")

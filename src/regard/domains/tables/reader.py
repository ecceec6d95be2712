"""Rows of a table, as people keep them, to items: numbers, and which of them are missing.

What each column holds (`kinds.py`) is told from the rows that the reader is fitted to; a column that was not read just
as it was written is named in one warning. A category that was not there then is missing.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.domains.base import LabelledFiles, Reader
from regard.domains.csv_rows import read_csv_rows
from regard.domains.tables.frames import split_columns
from regard.domains.tables.kinds import Column, Words, column_from_dict, is_missing, learn_column
from regard.errors import ColumnWarning, ConfigError, DataError, EpisodeError
from regard.limits import TABLE_ROWS


@dataclass(frozen=True)
class TableReader(Reader):
    """Arrays, data frames and lists of rows to items {"x", "missing"}.

    Args:
        columns: what each holds; None for a reader that has seen no table, which takes the columns to be what the rows
            at hand say.
        warned: columns that had cells of another kind already in fit, which a warning has named.
    """

    columns: tuple[Column, ...] | None = None
    warned: tuple[int, ...] = ()

    def fit(self, things: Any) -> Self:
        return self.learn(things)

    @classmethod
    def learn(cls, rows: Any) -> Self:
        """A reader of tables like this one.

        Raises:
            EpisodeError: no table, infinite numbers, or something that is neither a number nor a word nor a date.

        Warns:
            ColumnWarning: columns that were read otherwise than written.
        """
        names, columns = split_columns(rows)
        learned = [learn_column(column, name) for name, column in zip(names, columns, strict=True)]
        _warn([f"column {name}: {found.how}" for name, found in zip(names, learned, strict=True) if found.how])
        return cls(
            tuple(found.column for found in learned), tuple(f for f, found in enumerate(learned) if found.has_gaps)
        )

    @property
    def categories(self) -> tuple[tuple[str, ...] | None, ...] | None:
        """For each column, its categories in order, or None where it holds no words."""
        if self.columns is None:
            return None
        return tuple(column.categories if isinstance(column, Words) else None for column in self.columns)

    def __call__(self, things: Any) -> dict[str, Tensor]:
        """(N, F) numbers in float64, and which of them are missing (where the number is 0).

        F is the number of columns where none holds dates, which become several numbers, and none is without a value.

        Raises:
            EpisodeError: as `learn`, or another number of columns.

        Warns:
            ColumnWarning: cells that are not of the kind of their column; they are missing.
        """
        if self.columns is None:
            return self.learn(things)(things)
        names, columns = split_columns(things)
        if len(columns) != len(self.columns):
            raise EpisodeError(f"rows have {len(columns)} columns: expected {len(self.columns)}, as in fit.")
        parts, notes = [], []
        for f, (name, kind, column) in enumerate(zip(names, self.columns, columns, strict=True)):
            if column.dtype.kind == "c":
                raise EpisodeError("Complex data not supported: X has complex numbers; expected real numbers or words.")
            cells, unread = kind.read(column)
            if bool(np.isinf(cells).any()):
                raise EpisodeError(
                    f"column {name} of X has an infinite value (inf), or one too large for float64: expected finite "
                    "numbers, or NaN for what is missing."
                )
            parts.append(cells)
            if unread and f not in self.warned:
                notes.append(
                    f"column {name}: held {kind.kind} in fit, and {len(unread)} cells do not, such as "
                    f"{unread[0][:30]!r}; they are missing"
                )
        _warn(notes)
        cells = np.concatenate(parts, 1)
        if cells.shape[1] == 0:
            cells = np.full((len(cells), 1), np.nan)
        missing = np.isnan(cells)
        return {"x": torch.from_numpy(np.where(missing, 0.0, cells)), "missing": torch.from_numpy(missing)}

    def to_dict(self) -> dict[str, Any]:
        if self.columns is None:
            return {}
        return {"columns": [column.to_dict() for column in self.columns], "warned": list(self.warned)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Undo `to_dict`.

        Raises:
            ConfigError: a description that is none.
        """
        if "columns" not in content:
            return cls()
        try:
            columns = tuple(column_from_dict(column) for column in content["columns"])
            return cls(columns, tuple(int(f) for f in content.get("warned", ())))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ConfigError(f"the columns of a table are described in an unknown way ({error!r:.100}).") from error


def _warn(notes: list[str]) -> None:
    if notes:
        shown = "; ".join(notes[:10]) + (f"; and {len(notes) - 10} more" if len(notes) > 10 else "")
        # The user's own line: it calls fit or predict, which come here by way of the reader.
        warnings.warn(f"columns of X read otherwise than written: {shown}.", ColumnWarning, stacklevel=6)


def read_csv(path: Path | str, *, header: bool | None = None) -> tuple[list[str], list[list[str]]]:
    """Names of the columns and rows of words, from a CSV file, which may be gzipped.

    Args:
        path: of the file.
        header: whether the first line names the columns; detected by default (no cell of it is a number).

    Raises:
        DataError: no such file, none in UTF-8, no rows, too many, or rows of different lengths.
    """
    lines = read_csv_rows(Path(path), TABLE_ROWS)
    widths = sorted({len(line) for line in lines})
    if len(widths) != 1:
        raise DataError(
            f"{path} has lines of {widths or 'no'} cells: expected a table; each line as long as the first."
        )
    if header is None:
        header = len(lines) > 1 and not any(_is_number(cell) for cell in lines[0])
    names = lines[0] if header else [f"column {f}" for f in range(widths[0])]
    return names, lines[int(header) :]


LABEL_COLUMNS = ("label", "target", "class", "y")


def read_examples(support: Path, query: Path) -> LabelledFiles:
    """Labelled rows of one table, and rows of another to be labelled, matched by the names of their columns.

    Args:
        support: CSV with a header; labels stand in the first column called label, target, class or y, or in the last.
        query: CSV with a header and the other columns, in any order; more columns are left alone.

    Raises:
        DataError: files that cannot be read, one column only, or queries that lack a column.
    """
    names, rows = read_csv(support, header=True)
    if len(names) < 2 or not rows:
        raise DataError(
            f"{support} holds no row, or one column only: expected a header, a label and something to go by."
        )
    lower = [name.strip().casefold() for name in names]
    label = next((lower.index(name) for name in LABEL_COLUMNS if name in lower), len(names) - 1)
    others, queries = read_csv(query, header=True)
    place = {name.strip().casefold(): i for i, name in enumerate(others)}
    wanted = [name for i, name in enumerate(lower) if i != label]
    missing = [name for name in wanted if name not in place]
    if missing:
        raise DataError(
            f"{query} has the columns {others[:20]}: expected those of {support}, and {missing[:5]} are missing. The "
            f"labels are taken from {names[label]!r}."
        )
    if not queries:
        raise DataError(f"{query} holds no row: expected at least one to label.")
    return LabelledFiles(
        list(numbers_and_words([[c for i, c in enumerate(row) if i != label] for row in rows])),
        [row[label].strip() for row in rows],
        [f"row {i}" for i in range(1, len(rows) + 1)],
        list(numbers_and_words([[row[place[name]] for name in wanted] for row in queries])),
        [f"row {i}" for i in range(1, len(queries) + 1)],
        [name.strip() for i, name in enumerate(names) if i != label],
    )


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def numbers_and_words(rows: Sequence[Sequence[str]]) -> NDArray[Any]:
    """(N, F) object array of the words of a file: floats, NaN and words."""
    return np.array([[np.nan if is_missing(c) else float(c) if _is_number(c) else c for c in r] for r in rows], object)

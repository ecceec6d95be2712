"""Rows of a table, as people keep them, to items: numbers, and which of them are missing.

A column is read as numbers where every known cell is one, else as categories, whose codes are their places in sorted
order. A category that was not there when the reader was made is missing. Codes are enough: the learner sees how common
a value is and can look for its like, so no column for each category is needed.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.domains.base import Reader
from regard.errors import DataError, EpisodeError

_MISSING_WORDS = frozenset({"", "?", "NA", "NaN", "nan", "N/A", "null", "None"})


@dataclass(frozen=True)
class TableReader(Reader):
    """Arrays, data frames and lists of rows to items {"x", "missing"}.

    Args:
        categories: for each column, its categories in order, or None where it holds numbers; None for a reader that
            has seen no table, which takes the columns to be what the rows at hand say.
    """

    categories: tuple[tuple[str, ...] | None, ...] | None = None

    def fit(self, things: Any) -> Self:
        return self.learn(things)

    @classmethod
    def learn(cls, rows: Any) -> Self:
        """A reader of tables like this one.

        Raises:
            EpisodeError: no table, infinite numbers, or something that is neither a number nor a word.
        """
        return cls(tuple(_categories(column) for column in _columns(rows)))

    def __call__(self, things: Any) -> dict[str, Tensor]:
        """(N, F) cells in float64, and which of them are missing (where the cell is 0).

        Raises:
            EpisodeError: as `learn`, another number of columns, or words in a column of numbers.
        """
        if self.categories is None:
            return self.learn(things)(things)
        columns = _columns(things)
        if len(columns) != len(self.categories):
            raise EpisodeError(f"rows have {len(columns)} columns: expected {len(self.categories)}, as in fit.")
        cells = np.stack(
            [_cells(c, known, f) for f, (c, known) in enumerate(zip(columns, self.categories, strict=True))], 1
        )
        missing = np.isnan(cells)
        return {"x": torch.from_numpy(np.where(missing, 0.0, cells)), "missing": torch.from_numpy(missing)}

    def to_dict(self) -> dict[str, Any]:
        if self.categories is None:
            return {}
        return {"categories": [None if c is None else list(c) for c in self.categories]}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Undo `to_dict`."""
        if "categories" not in content:
            return cls()
        return cls(tuple(None if c is None else tuple(c) for c in content["categories"]))


def read_csv(path: Path | str, *, header: bool | None = None) -> tuple[list[str], list[list[str]]]:
    """Names of the columns and rows of words, from a CSV file, which may be gzipped.

    Args:
        path: of the file.
        header: whether the first line names the columns; detected by default (no cell of it is a number).

    Raises:
        DataError: no such file, no rows, or rows of different lengths.
    """
    path = Path(path)
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", newline="", encoding="utf-8") as file:
            lines = [line for line in csv.reader(file, skipinitialspace=True) if line]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}): expected a CSV file.") from error
    widths = sorted({len(line) for line in lines})
    if len(widths) != 1:
        raise DataError(
            f"{path} has lines of {widths or 'no'} cells: expected a table; each line as long as the first."
        )
    if header is None:
        header = len(lines) > 1 and not any(_is_number(cell) for cell in lines[0])
    names = lines[0] if header else [f"column {f}" for f in range(widths[0])]
    return names, lines[int(header) :]


def _columns(rows: Any) -> list[NDArray[Any]]:
    """The columns of whatever holds rows; data frames by their own types, so that numbers stay numbers."""
    if isinstance(rows, Tensor):
        rows = rows.detach().cpu().numpy()
    if hasattr(rows, "iloc"):
        return [np.asarray(rows.iloc[:, f]) for f in range(rows.shape[1])]
    if hasattr(rows, "toarray"):
        raise EpisodeError("X is sparse: expected a dense table; use X.toarray().")
    table = _array(rows)
    if table.ndim != 2:
        raise EpisodeError(
            f"X has shape {table.shape}: expected (rows, features). Reshape your data: X.reshape(-1, 1) for one "
            "feature, X.reshape(1, -1) for one row."
        )
    for size, what in zip(table.shape, ("sample", "feature"), strict=True):
        if size == 0:
            # scikit-learn's own words, which its users look for.
            raise EpisodeError(
                f"X has 0 {what}(s) (shape={table.shape}) while a minimum of 1 is required: it is empty; give a row "
                "and a feature at least."
            )
    return list(table.T)


def _array(rows: Any) -> NDArray[Any]:
    try:
        table = np.asarray(rows)
    except ValueError as error:
        raise EpisodeError(f"X is ragged ({error}): expected rows of one length.") from error
    # Numbers and words in one list become words in NumPy: kept as they are, they can be told apart.
    return np.asarray(rows, dtype=object) if table.dtype.kind in "US" and not isinstance(rows, np.ndarray) else table


def _categories(column: NDArray[Any]) -> tuple[str, ...] | None:
    """None for a column of numbers, else its words in order."""
    if column.dtype.kind in "biuf":
        return None
    known = [str(cell) for cell in column.tolist() if not _is_missing(cell)]
    return None if all(map(_is_number, known)) else tuple(sorted(set(known)))


def _cells(column: NDArray[Any], categories: tuple[str, ...] | None, f: int) -> NDArray[np.float64]:
    """Numbers or codes; NaN where missing."""
    if column.dtype.kind == "c":
        raise EpisodeError("Complex data not supported: X has complex numbers; expected real numbers or words.")
    if categories is None:
        cells = _numbers(column, f)
    else:
        code = {word: float(place) for place, word in enumerate(categories)}
        cells = np.array([np.nan if _is_missing(c) else code.get(str(c), np.nan) for c in column.tolist()])
    if bool(np.isinf(cells).any()):
        raise EpisodeError(
            f"column {f} of X has an infinite value (inf), or one too large for float64: expected finite numbers, or "
            "NaN for what is missing."
        )
    return cells


def _numbers(column: NDArray[Any], f: int) -> NDArray[np.float64]:
    if column.dtype.kind in "biuf":
        return column.astype(np.float64)
    try:
        return np.array([np.nan if _is_missing(cell) else float(cell) for cell in column.tolist()])
    except (TypeError, ValueError) as error:
        raise EpisodeError(
            f"column {f} of X held numbers in fit, and now {error}: expected a number (an argument must be a string or "
            "a real number), or NaN for what is missing."
        ) from error


def _is_missing(cell: Any) -> bool:
    return cell is None or (isinstance(cell, float) and cell != cell) or str(cell) in _MISSING_WORDS | {"<NA>", "NaT"}


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def numbers_and_words(rows: Sequence[Sequence[str]]) -> NDArray[Any]:
    """(N, F) object array of the words of a file: floats, NaN and words."""
    return np.array([[np.nan if _is_missing(c) else float(c) if _is_number(c) else c for c in r] for r in rows], object)

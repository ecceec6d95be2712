"""CSV files of every domain but texts, line by line: a file of far too many rows is one error, not a full memory."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Sized
from itertools import islice
from pathlib import Path
from typing import Any

from regard.errors import DataError


def read_csv_rows(path: Path, most: int) -> list[list[str]]:
    """The lines of a CSV file, gzipped or not, the header first; blank ones are left out, those of empty cells are not.

    A byte order mark, as Excel writes one, and blanks after a comma are no part of a cell.

    Args:
        path: of the file.
        most: rows under the header; reading ends at the first beyond.

    Raises:
        DataError: no such file, not CSV in UTF-8, or more rows.
    """
    if not path.is_file():
        raise DataError(f"{path} cannot be read (it is not there): expected a CSV file.")
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", newline="", encoding="utf-8-sig") as file:
            rows = list(islice(filter(None, csv.reader(file, skipinitialspace=True)), most + 2))
    except (OSError, UnicodeDecodeError, csv.Error, EOFError) as error:
        raise DataError(f"{path} cannot be read ({error}): expected a CSV in UTF-8.") from error
    if len(rows) > most + 1:
        raise DataError(f"{path} has more than {most:,} rows: expected at most as many; cut it into pieces.")
    return rows


def as_list(things: Any, most: int, what: str) -> list[Any]:
    """Things one by one; of an endless iterator no more than are allowed are taken.

    Args:
        things: in hand, or an iterator.
        most: that are read at once.
        what: they are, for the message.

    Raises:
        DataError: more, or nothing that can be gone through.
    """
    if not isinstance(things, Iterable):
        raise DataError(f"{things!r:.60}: expected a list or a column of {what}.")
    size = len(things) if isinstance(things, Sized) else None
    rows = list(islice(things, most + 1)) if size is None or size <= most else []
    if max(len(rows), size or 0) > most:
        count = f"{size:,}" if size else f"more than {most:,}"
        raise DataError(f"{count} {what} at once: expected at most {most:,}; give them in pieces.")
    return rows

"""A user's own texts: CSV, TSV, JSON or JSON lines of text and label, and files with one text per line.

Files may be packed by gzip (rows.jsonl.gz). They are UTF-8, UTF-16 with a byte order mark, or else Windows-1252, of
which a warning says so. Cells are separated by commas, semicolons, tabs or bars: what gives the columns that are
wanted, or else as many cells in each line. Between tabs, quotation marks are of the text, unless they enclose a cell.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import warnings
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from regard.errors import DataError, did_you_mean
from regard.limits import TEXT_BYTES, TEXT_FIELD

_DELIMITERS = ",;\t|"
_TABLES = (".csv", ".tsv", ".tab")
_WITH_TABS = (".tsv", ".tab")
_LINES_LOOKED_AT = 50
_QUOTED = re.compile('"((?:[^"]|"")*)"')
_JSON = (".json", ".jsonl", ".ndjson")
_LISTED = 5
Row = tuple[str, dict[Any, Any]]
"""Where it stands, such as "line 3", and its cells by column."""


def read_labelled(
    path: Path, text: str = "text", label: str = "label", encoding: str | None = None
) -> tuple[list[str], list[str]]:
    """Texts and labels of a table or of JSON objects.

    Args:
        path: a CSV file whose first line names the columns, or JSON: a list of objects, or one object per line.
        text, label: names of the columns.
        encoding: of the file; found out by default.

    Raises:
        DataError: no such file, other columns, or rows without text or label: each with its line.
    """
    rows = read_rows(path, (text, label), encoding)
    names = {column for _, cells in rows for column in cells if column is not None}
    columns = []
    for option, wanted in (("text", text), ("label", label)):
        found = [name for name in names if name == wanted] or [
            name for name in names if name.strip().casefold() == wanted.strip().casefold()
        ]
        if not found:
            raise DataError(
                f"{path} has the columns {sorted(names)[:20]}: expected {text!r} and {label!r}; "
                f"{did_you_mean(wanted, names) if names else 'the file holds no row.'} A recipe names them by "
                f"data.{option}."
            )
        columns.append(found[0])
    texts, labels, mistakes = [], [], []
    for where, cells in rows:
        values = [cells.get(column) for column in columns]
        if None in cells:  # where Python's reader keeps what is beyond the first line's columns
            mistakes.append(f"{where} has more cells than the first line; put text with separators into quotes")
        elif not isinstance(values[0], str) or not values[0].strip():
            mistakes.append(f"{where} has no {text}, but {values[0]!r:.40}")
        elif isinstance(values[1], dict | list | None) or not str(values[1]).strip():
            mistakes.append(f"{where} has no {label}, but {values[1]!r:.40}")
        else:
            texts.append(values[0])
            labels.append(str(values[1]).strip())
    _complain(path, mistakes)
    return texts, labels


def read_rows(path: Path, wanted: Sequence[str], encoding: str | None = None) -> list[Row]:
    """The rows of a table or of JSON objects, each with where it stands.

    Args:
        path: a CSV file whose first line names the columns, or JSON: a list of objects, or one object per line.
        wanted: names of columns by which the separator of cells is recognised.
        encoding: of the file; found out by default.

    Raises:
        DataError: no such file, or neither a table nor JSON.
    """
    content = _read(path, encoding)
    return _json_rows(path, content) if _suffix(path) in _JSON else _table_rows(path, content, wanted)


def read_cells(path: Path, wanted: Sequence[str] = ()) -> list[tuple[str, list[str]]] | None:
    """The cells of each line of a table, its first line too, with where they stand; None of a file of JSON.

    Args:
        path: a table, packed by gzip or not.
        wanted: names of columns by which the separator of cells is recognised.

    Raises:
        DataError: no such file, or no table.
    """
    return None if _suffix(path) in _JSON else _cells(path, _read(path), wanted)


def read_lines(path: Path) -> list[str]:
    """The lines of a file that are not blank; of a table or of JSON that has a column "text", its cells.

    Raises:
        DataError: no such file, or none with a text.
    """
    content, suffix = _read(path), _suffix(path)
    lines = [line for line in content.split("\n") if line.strip()]
    rows: Sequence[Row] = ()
    if suffix in _JSON:
        rows = _json_rows(path, content)
    elif suffix in _TABLES and lines and "text" in next(csv.reader([lines[0]], delimiter=_delimiter(path, lines, ()))):
        rows = _table_rows(path, content, ("text",))
    if rows:
        missing = [f"{where} has no text" for where, cells in rows if not isinstance(cells.get("text"), str)]
        _complain(path, missing)
        lines = [cells["text"] for _, cells in rows]
    if not lines:
        raise DataError(f"{path} holds no text: expected one per line.")
    return lines


def _complain(path: Path, mistakes: Sequence[str]) -> None:
    if mistakes:
        more = f"; and {len(mistakes) - _LISTED} more" if len(mistakes) > _LISTED else ""
        raise DataError(f"{path}: {'; '.join(mistakes[:_LISTED])}{more}. Fill or remove these rows.")


def _suffix(path: Path) -> str:
    """Of the file, or of what is packed in it."""
    return Path(path.stem if path.suffix.lower() == ".gz" else path.name).suffix.lower()


def _read(path: Path, encoding: str | None = None) -> str:
    """The text of a file, lines ended by newlines."""
    if not path.is_file():
        raise DataError(
            f"{path} is not a file: expected texts, as CSV, JSON lines or plain text, packed by gzip or not."
        )
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            content = file.read(TEXT_BYTES + 1)
    except (gzip.BadGzipFile, EOFError) as error:
        raise DataError(f"{path} is no gzip file that can be unpacked ({error}): take another copy.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): change its permissions.") from error
    if len(content) > TEXT_BYTES:
        raise DataError(f"{path} has more than {TEXT_BYTES >> 20} MiB: split it.")
    try:
        text = content.decode(encoding) if encoding is not None else _decoded(path, content)
    except LookupError:
        raise DataError(f"encoding is {encoding!r}: expected one that Python knows, such as gb18030.") from None
    except UnicodeError as error:
        reason = str(error)[:100]
        raise DataError(
            f"{path} is not text that can be read ({reason}): save it as UTF-8, or name its encoding by data.encoding."
        ) from None
    if "\0" in text:
        raise DataError(f"{path} holds zero characters: save it as text.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _decoded(path: Path, content: bytes) -> str:
    if content.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return content.decode("utf-32")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16")
    if b"\0" in content:
        raise DataError(f"{path} holds zero bytes, as UTF-16 without a byte order mark does: save it as UTF-8.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        # In Western text accented letters stand alone; two-byte encodings of Chinese and Japanese have runs of them.
        high = [byte > 127 for byte in content]
        alone = sum(a and not b and not c for a, b, c in zip(high, [False, *high], [*high[1:], False], strict=False))
        if 2 * alone < sum(high):
            raise
        text = content.decode("cp1252")
        warnings.warn(f"{path} is not UTF-8: read as Windows-1252; save it as UTF-8.", UserWarning, stacklevel=5)
        return text


def _delimiter(path: Path, lines: Sequence[str], wanted: Sequence[str]) -> str:
    """The separator by which the first line has the columns that are wanted; where it names none, that of the file's
    name, or one that gives as many cells in each line, or the most in the first.
    """

    def score(delimiter: str) -> tuple[int, bool, bool, int]:
        names = [name.strip().strip('"').casefold() for name in lines[0].split(delimiter)]
        n_found = sum(name.strip().casefold() in names for name in wanted)
        counts = {line.count(delimiter) for line in lines[:_LINES_LOOKED_AT]}
        of_name = delimiter == "\t" and _suffix(path) in _WITH_TABS and len(names) > 1
        return n_found, of_name, len(counts) == 1 and len(names) > 1, len(names)

    return max(_DELIMITERS, key=score)


def _table_rows(path: Path, content: str, wanted: Sequence[str]) -> list[Row]:
    lines = _cells(path, content, wanted)
    names = lines[0][1] if lines else []
    return [
        (
            where,
            {
                **dict(zip_longest(names, cells[: len(names)])),
                **({None: cells[len(names) :]} if cells[len(names) :] else {}),
            },
        )
        for where, cells in lines[1:]
    ]


def _cells(path: Path, content: str, wanted: Sequence[str]) -> list[tuple[str, list[str]]]:
    """The cells of each line that is not blank, with where it stands."""
    first, _, rest = content.partition("\n")
    if first[:4].lower() == "sep=" and len(first) == 5:  # as Excel writes it
        delimiter, content = first[4], rest
    else:
        delimiter = _delimiter(path, [line for line in content.split("\n") if line.strip()] or [""], wanted)
    if delimiter == "\t":
        numbered = [(i, line.split("\t")) for i, line in enumerate(content.split("\n"), 1) if line.strip()]
        # Where no cell goes on in the next line, a quotation mark without its other half does no harm.
        if all(len(cells) > 1 for _, cells in numbered):
            return [(f"line {i}", [_without_quotes(cell) for cell in cells]) for i, cells in numbered]
    previous = csv.field_size_limit(TEXT_FIELD)
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter)
    try:
        return [(f"line {reader.line_num}", cells) for cells in reader if cells]
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}; mend its quotes.") from error
    finally:
        csv.field_size_limit(previous)


def _without_quotes(cell: str) -> str:
    enclosed = _QUOTED.fullmatch(cell)
    return enclosed[1].replace('""', '"') if enclosed else cell


def _json_rows(path: Path, content: str) -> list[Row]:
    try:
        if content.lstrip().startswith("["):
            values = [(f"object {i}", value) for i, value in enumerate(json.loads(content))]
        else:
            values = [(f"line {i}", json.loads(line)) for i, line in enumerate(content.split("\n"), 1) if line.strip()]
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path} is not JSON ({str(error)[:100]}): expected a list of objects, or one object per line."
        ) from None
    for where, value in values:
        if not isinstance(value, dict):
            raise DataError(f"{path}, {where} is {value!r:.40}: expected an object such as {{text: ..., label: ...}}.")
    return values

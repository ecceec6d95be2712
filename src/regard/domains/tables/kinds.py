"""What a column holds: numbers, words or dates, told from its cells, and how such cells become numbers.

    numbers   as they are; written ones with thousands, decimal commas, one unit or currency      1 number
    words     places in sorted order                                                              1 number
    times     the year with its fraction, and what varies of month, day, weekday and hour         1 to 5 numbers
    nothing   no cell has a value in fit: such a column teaches nothing                           none

Cells that do not fit the kind of their column are missing. Codes of words are enough: the learner sees how common a
value is and can look for its like, so no column for each category is needed.
"""

from __future__ import annotations

import datetime
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from numbers import Complex, Real
from typing import Any, ClassVar, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from regard.domains.tables.written import (
    date_format,
    date_parser,
    has_decimal_comma,
    is_day_unclear,
    parse_digits,
    split_number,
)
from regard.errors import EpisodeError

_MISSING = frozenset({"", "?", "NA", "NaN", "nan", "N/A", "null", "None", "<NA>", "NaT", "n/a", "NULL", "#N/A", "N.A."})
_MISSING_AMONG_NUMBERS = frozenset(
    {"-", "--", "---", "\u2013", "\u2014", ".", "..", "...", "*", "na", "n.a.", "n.a", "n/a", "none", "nil", "missing"}
    | {"unknown", "nan", "null", "<na>", "#na", "#n/a", "#value!", "#ref!", "#div/0!", "#null!", "#num!", "#name?"}
)
_DAY = np.timedelta64(1, "D")
PARTS = ("year", "month", "day", "weekday", "hour")


class Column(ABC):
    """Abstract: what a column holds."""

    kind: ClassVar[str]

    @property
    @abstractmethod
    def width(self) -> int:
        """Numbers that a cell becomes."""

    @abstractmethod
    def read(self, column: NDArray[Any]) -> tuple[NDArray[np.float64], list[str]]:
        """(N, width) numbers, NaN where missing, and the cells that hold something else."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"kind": self.kind}


@final
@dataclass(frozen=True)
class Numbers(Column):
    """Numbers.

    Args:
        unit: with which they were written, such as "%" or "kg"; other units are not read.
        decimal_comma: whether fractions stand behind a comma.
    """

    unit: str = ""
    decimal_comma: bool = False
    kind: ClassVar[str] = "numbers"

    @property
    def width(self) -> int:
        return 1

    def read(self, column: NDArray[Any]) -> tuple[NDArray[np.float64], list[str]]:
        if column.dtype.kind in "biuf":
            return column.astype(np.float64)[:, None], []
        if column.dtype.kind == "m":
            return (column / _DAY)[:, None], []
        cells, unread = np.full(len(column), np.nan), []
        for i, cell in enumerate(plain_cells(column)):
            if is_missing(cell):
                continue
            number = self._number(cell)
            if number is not None:
                cells[i] = number
            elif not (isinstance(cell, str) and cell.strip().lower() in _MISSING_AMONG_NUMBERS):
                unread.append(str(cell))
        return cells[:, None], unread

    def _number(self, cell: Any) -> float | None:
        if not isinstance(cell, str):
            return _real(cell)
        if not self.decimal_comma:
            try:
                return float(cell)
            except ValueError:
                pass
        split = split_number(cell)
        if split is None or split[1] not in ("", self.unit):
            return None
        try:
            return split[2] * parse_digits(split[0], decimal_comma=self.decimal_comma)
        except ValueError:
            return None

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "unit": self.unit, "decimal_comma": self.decimal_comma}


@final
@dataclass(frozen=True)
class Words(Column):
    """Categories.

    Args:
        categories: in order; others are missing.
    """

    categories: tuple[str, ...]
    kind: ClassVar[str] = "words"

    @property
    def width(self) -> int:
        return 1

    def read(self, column: NDArray[Any]) -> tuple[NDArray[np.float64], list[str]]:
        code = {word: float(i) for i, word in enumerate(self.categories)}
        cells = (np.nan if is_missing(c) else code.get(_word(c), np.nan) for c in plain_cells(column))
        return np.array(list(cells), dtype=np.float64)[:, None], []

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "categories": list(self.categories)}


@final
@dataclass(frozen=True)
class Times(Column):
    """Points of time.

    Args:
        parts: of `PARTS`, what a cell becomes; "year" has the fraction of the year with it.
        format: of dates that are written; "" where they are not.
    """

    parts: tuple[str, ...] = PARTS
    format: str = ""
    kind: ClassVar[str] = "times"

    @property
    def width(self) -> int:
        return len(self.parts)

    def read(self, column: NDArray[Any]) -> tuple[NDArray[np.float64], list[str]]:
        moments, unread = self.moments(column)
        return np.stack([_part(moments, part) for part in self.parts], 1), unread

    def moments(self, column: NDArray[Any]) -> tuple[NDArray[Any], list[str]]:
        """(N,) points of time in UTC, and the cells that are none."""
        if column.dtype.kind == "M":
            return column.astype("datetime64[us]"), []
        if column.dtype.kind != "O" and column.dtype.kind not in "US":
            column = column.astype(object)
        parse = date_parser(self.format)
        moments, unread = np.full(len(column), np.datetime64("NaT", "us")), []
        for i, cell in enumerate(plain_cells(column)):
            if is_missing(cell):
                continue
            moment = parse(cell) if isinstance(cell, str) and self.format else _moment(cell)
            if moment is not None:
                moments[i] = moment
            elif not (isinstance(cell, str) and cell.strip().lower() in _MISSING_AMONG_NUMBERS):
                unread.append(str(cell))
        return moments, unread

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "parts": list(self.parts), "format": self.format}


@final
@dataclass(frozen=True)
class Nothing(Column):
    """No cell had a value in fit."""

    kind: ClassVar[str] = "nothing"

    @property
    def width(self) -> int:
        return 0

    def read(self, column: NDArray[Any]) -> tuple[NDArray[np.float64], list[str]]:
        return np.empty((len(column), 0)), []


def column_from_dict(content: Mapping[str, Any]) -> Column:
    """Undo `Column.to_dict`.

    Raises:
        KeyError, TypeError, ValueError: a description that is none.
    """
    match content["kind"]:
        case "numbers":
            return Numbers(str(content["unit"]), bool(content["decimal_comma"]))
        case "words":
            return Words(tuple(str(word) for word in content["categories"]))
        case "times":
            parts = tuple(content["parts"])
            if not parts or not set(parts) <= set(PARTS):
                raise ValueError(f"parts of a date are {parts}")
            return Times(parts, str(content["format"]))
        case "nothing":
            return Nothing()
        case other:
            raise ValueError(f"a column has the kind {other!r}")


class Learned(NamedTuple):
    """What a column holds.

    Args:
        column: how to read it.
        how: it is read otherwise than written; "" where it is not.
        has_gaps: whether some cells did not fit, and are missing.
    """

    column: Column
    how: str = ""
    has_gaps: bool = False


def learn_column(column: NDArray[Any], name: str) -> Learned:
    """What a column holds, told from its cells.

    Raises:
        EpisodeError: complex numbers, or cells that hold lists and the like.
    """
    if column.dtype.kind == "c":
        raise EpisodeError("Complex data not supported: X has complex numbers; expected real numbers or words.")
    if column.dtype.kind in "biuf":
        return Learned(Nothing() if bool(np.isnan(column).all()) else Numbers())
    if column.dtype.kind in "mM" and bool(np.isnat(column).all()):
        return Learned(Nothing())
    if column.dtype.kind == "m":
        return Learned(Numbers())
    if column.dtype.kind == "M":
        return Learned(_with_parts(Times(), column))
    cells = plain_cells(column)
    for row, cell in enumerate(cells):
        if isinstance(cell, Complex) and not isinstance(cell, Real):
            raise EpisodeError("Complex data not supported: X has complex numbers; expected real numbers or words.")
        if isinstance(cell, Collection) and not isinstance(cell, str):
            raise EpisodeError(
                f"column {name} of X holds a {type(cell).__name__} in row {row}: expected a number, a word or a date "
                "(an argument must be a string or a real number)."
            )
    present = [cell for cell in cells if not is_missing(cell)]
    if not present:
        return Learned(Nothing())
    numbers = _learn_numbers(present)
    if numbers is not None:
        how = [f"numbers with the unit {numbers.unit!r}"] if numbers.unit else []
        how += ["numbers with a decimal comma"] if numbers.decimal_comma else []
        return _learned(numbers, how, "numbers", column)
    format = _learn_dates(present)
    if format is not None:
        how = [f"dates of the format {format}"] if format else []
        if format and is_day_unclear(format, [cell for cell in present if isinstance(cell, str)]):
            how[0] += " (days before months: give dates as such where it is the other way round)"
        return _learned(_with_parts(Times(format=format), column), how, "dates", column)
    return Learned(Words(tuple(sorted({_word(cell) for cell in present}))))


def _learned(kind: Column, how: list[str], what: str, column: NDArray[Any]) -> Learned:
    """With what is said of cells that do not fit."""
    unread = kind.read(column)[1]
    if unread:
        how = [*how, f"{what}, with {len(unread)} of {len(column)} cells missing, such as {_short(unread[0])}"]
    return Learned(kind, " and ".join(how), bool(unread))


def _learn_numbers(cells: list[Any]) -> Numbers | None:
    """How to read the cells as numbers, where most are."""
    words = [cell for cell in cells if isinstance(cell, str)]
    plain = Numbers()
    readable = [cell for cell in cells if plain._number(cell) is not None]
    if len(readable) == len(cells):
        written = [split[0] for word in words if (split := split_number(word)) is not None]
        return Numbers(decimal_comma=has_decimal_comma(written) if any("," in d for d in written) else False)
    splits = [split for word in words if (split := split_number(word)) is not None]
    units = Counter(unit for _, unit, _ in splits if unit)
    unit = units.most_common(1)[0][0] if units else ""
    ours = [digits for digits, of, _ in splits if of in ("", unit)]
    found = Numbers(unit, has_decimal_comma(ours))
    n_read = sum(found._number(cell) is not None for cell in cells)
    among = sum(isinstance(c, str) and c.strip().lower() in _MISSING_AMONG_NUMBERS for c in cells)
    return found if n_read > 0 and 2 * n_read >= len(cells) - among else None


def _learn_dates(cells: list[Any]) -> str | None:
    """The format of written dates, "" for objects that are dates; None where most cells are neither."""
    words = [cell for cell in cells if isinstance(cell, str)]
    format = date_format(words) if 2 * len(words) > len(cells) else None
    if format is None and 2 * sum(_moment(cell) is not None for cell in cells) > len(cells):
        return ""
    return format


def _with_parts(times: Times, column: NDArray[Any]) -> Times:
    """Only those parts that vary here; always the year."""
    moments = times.moments(column)[0]
    moments = moments[~np.isnat(moments)]
    varies = [part for part in PARTS[1:] if len(np.unique(_part(moments, part))) > 1]
    return Times((PARTS[0], *varies), times.format)


def _part(moments: NDArray[Any], part: str) -> NDArray[np.float64]:
    """One part of points of time; NaN where there is none."""
    missing = np.isnat(moments)
    moments = np.where(missing, np.datetime64(0, "us"), moments)
    day = moments.astype("datetime64[D]")
    month = moments.astype("datetime64[M]")
    number: NDArray[Any]
    match part:
        case "year":
            number = 1970 + moments.astype(np.int64) / (365.2425 * 86_400e6)
        case "month":
            number = month.astype(np.int64) % 12 + 1
        case "day":
            number = (day - month.astype("datetime64[D]")).astype(np.int64) + 1
        case "weekday":
            number = (day.astype(np.int64) + 3) % 7
        case _:
            number = (moments - day.astype("datetime64[us]")).astype(np.int64) / 3600e6
    return np.where(missing, np.nan, number.astype(np.float64))


def plain_cells(column: NDArray[Any]) -> list[Any]:
    """Cells as Python's own numbers, words and dates, bytes as words."""
    if column.dtype.kind in "mM":
        return column.astype(object).tolist() if column.dtype.kind == "m" else list(column)
    cells = column.tolist()
    return [c.decode("utf-8", "replace") if isinstance(c, bytes) else c for c in cells]


def is_missing(cell: Any) -> bool:
    """Whether a cell has no value, whatever says so."""
    if cell is None or cell is np.ma.masked:
        return True
    if isinstance(cell, str):
        return cell in _MISSING or cell.strip() in _MISSING
    if isinstance(cell, float | np.floating | Decimal):
        return bool(cell != cell)
    if isinstance(cell, np.datetime64 | np.timedelta64):
        return bool(np.isnat(cell))
    return type(cell).__name__ in ("NAType", "NaTType")


def _word(cell: Any) -> str:
    """1 and 1.0 are the same category."""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _real(cell: Any) -> float | None:
    if isinstance(cell, datetime.timedelta):
        return cell / datetime.timedelta(days=1)
    if isinstance(cell, np.timedelta64):
        return float(cell / _DAY)
    if isinstance(cell, datetime.time):
        return cell.hour + cell.minute / 60 + cell.second / 3600
    if isinstance(cell, Real | Decimal | np.bool_):
        try:
            return float(cell)
        except OverflowError:
            return float("inf")
    return None


def _moment(cell: Any) -> np.datetime64 | None:
    """A date object as a point of time in UTC."""
    if hasattr(cell, "to_timestamp") and hasattr(cell, "ordinal"):  # a Period of pandas
        cell = cell.to_timestamp()
    if isinstance(cell, datetime.datetime) and cell.tzinfo is not None:
        cell = cell.astimezone(datetime.UTC).replace(tzinfo=None)
    if isinstance(cell, np.datetime64):
        return cell.astype("datetime64[us]")
    if isinstance(cell, datetime.datetime | datetime.date):
        return np.datetime64(cell, "us")
    return None


def _short(word: str) -> str:
    return repr(word if len(word) <= 30 else f"{word[:27]}...")

"""Numbers and dates as people write them: marks of thousands and decimals, units, currencies, days before months."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

# ---- numbers ---------------------------------------------------------------------------------------------------------

_NUMBER = re.compile(r"([^\d.,]*)([.,]?\d(?:[\d.,'\u2019_\s]*\d)?[.,]?(?:[eE][+-]?\d+)?)([^\d]*)")
_BEFORE = re.compile(
    r"[<>≤≥~≈=±#]{0,2}|(?:US|A|C|R|NZ|HK)?[$€£¥₹₽₩]|USD|EUR|GBP|CHF|JPY|CNY|RMB|INR|AUD|CAD|NZD|SEK|NOK|DKK|BRL|PLN|kr|Rs\.?|Fr\.?",
    re.IGNORECASE,
)
_AFTER = re.compile(r"\+?|[%‰€£¥₹₽₩$]|\+?\s*[^\W\d_][^\W\d_.]{0,11}|°\s*[CF]?|\+?\s*[^\W\d_]{1,5}\s*[/²³^].{0,5}|\"|'")
_MULTIPLES = {"k": 1e3, "K": 1e3, "M": 1e6, "mn": 1e6, "B": 1e9, "bn": 1e9}
_CLOCK = re.compile(r"([01]?\d|2[0-4]):([0-5]\d)(?::([0-5]\d)(?:\.\d+)?)?")
_THOUSANDS = re.compile(r"[1-9]\d{0,2}[.,]\d{3}")


def split_number(word: str) -> tuple[str, str, float] | None:
    """Digits with their marks, unit or currency (in lower case, "" where there is none), and a factor; None for words.

    >>> split_number("-$1,234.50"), split_number("12 kg"), split_number("3 apples a day")
    (('1,234.50', '$', -1.0), ('12', 'kg', 1.0), None)
    """
    word = word.strip().replace("\u2212", "-")
    in_brackets = word[:1] == "(" and word[-1:] == ")"
    clock = _CLOCK.fullmatch(word)
    if clock:
        hour, minute, second = (int(part or 0) for part in clock.groups())
        return repr(hour + minute / 60 + second / 3600), "hours:minutes", 1.0
    if len(word) > 60:
        return None
    match = _NUMBER.fullmatch(word[1:-1] if in_brackets else word)
    if match is None:
        return None
    before, digits, after = (part.strip() for part in match.groups())
    factor = -1.0 if in_brackets or "-" in before else 1.0
    if before.count("-") + before.count("+") > 1:
        return None
    before = before.replace("-", "").replace("+", "").strip()
    if after in _MULTIPLES:
        factor, after = factor * _MULTIPLES[after], ""
    if _BEFORE.fullmatch(before) is None or _AFTER.fullmatch(after) is None:
        return None
    unit = (before.strip("<>≤≥~≈=±#") + after.strip("+ ")).lower()
    return digits, unit.removesuffix("s") if len(unit) > 2 else unit, factor


def has_decimal_comma(digits: Iterable[str]) -> bool:
    """Whether a column of such numbers has its fractions behind a comma: more of them show it than show a point."""
    votes = Counter(mark for d in digits if (mark := _decimal_mark(d)) is not None)
    return votes[","] > votes["."]


def _decimal_mark(digits: str) -> str | None:
    """What stands before the fraction; None where it cannot be told: 1,234 may be one and a bit."""
    points, commas = digits.count("."), digits.count(",")
    if points and commas:
        return max(".,", key=digits.rfind)
    if points > 1 or commas > 1:
        return "," if points else "."
    if points + commas == 0 or _THOUSANDS.fullmatch(digits):
        return None
    return "." if points else ","


def parse_digits(digits: str, *, decimal_comma: bool) -> float:
    """The number; a mark that can only be meant otherwise than the column's is taken so.

    Raises:
        ValueError: marks in places where no number has them.
    """
    digits = re.sub(r"['\u2019_\s]", "", digits)
    mark = _decimal_mark(digits) or ("," if decimal_comma else ".")
    whole, *fraction = digits.split(mark) if mark in digits else [digits]
    groups = whole.split("." if mark == "," else ",")
    # Thousands, or hundreds and thousands as in India; 1.2.3.4 and 31.12.2024 are no numbers.
    if len(fraction) > 1 or (
        len(groups) > 1 and (len(groups[-1]) != 3 or not all(len(g) in (2, 3) for g in groups[1:]))
    ):
        raise ValueError(f"{digits} is no number")
    return float("".join(groups) + "." + "".join(fraction) if fraction else "".join(groups))


# ---- dates -----------------------------------------------------------------------------------------------------------

ISO = "ISO 8601"
_DAYS = (
    *("%Y/%m/%d", "%Y.%m.%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%d/%m/%y", "%m/%d/%y"),
    *("%d.%m.%y", "%d-%m-%y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%d-%b-%Y", "%d-%b-%y"),
    *("%d. %B %Y", "%a, %d %b %Y", "%A, %d %B %Y", "%A, %B %d, %Y", "%Y-%m", "%Y/%m", "%m/%Y", "%m-%Y", "%b %Y"),
    *("%B %Y", "%b-%y", "%b-%Y", "%b %y", "%d %b %y", "%Y-%m-%d", "%Y%m%d", "%a %b %d %Y"),
)
_CLOCKS = (
    "",
    " %H:%M",
    " %H:%M:%S",
    " %I:%M %p",
    " %I:%M:%S %p",
    " %H:%M:%S.%f",
    "T%H:%M:%S",
    ", %H:%M",
    " %H:%M:%S %z",
)
FORMATS = (ISO, *(day + clock for clock in _CLOCKS for day in _DAYS), "%a %b %d %H:%M:%S %Y")
_QUARTER = re.compile(r"(\d{4})\s*-?\s*Q([1-4])|Q([1-4])\s*[-/]?\s*(\d{4})")
_LIKELY = re.compile(r"(?=.*\d).{6,40}", re.DOTALL)
_N_SAMPLE = 40


def date_parser(format: str) -> Callable[[str], datetime | None]:
    """Words to points of time in UTC, None for what is none."""

    def parse(word: str) -> datetime | None:
        word = word.strip()
        if not _LIKELY.fullmatch(word):
            return None
        quarter = _QUARTER.fullmatch(word)
        if quarter:
            year, number = (quarter[1], quarter[2]) if quarter[1] else (quarter[4], quarter[3])
            return datetime(max(int(year), 1), 3 * int(number) - 2, 1)
        for zone in (" UTC", " GMT"):
            word = word.removesuffix(zone)
        try:
            moment = datetime.fromisoformat(word) if format == ISO else datetime.strptime(word, format)
            return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
        except (ValueError, OverflowError):
            return None

    return parse


def date_format(words: list[str]) -> str | None:
    """The format that most of the words have; None where most have none."""
    distinct = sorted(set(words))
    sample = distinct[:: max(1, len(distinct) // _N_SAMPLE)]
    if sum(_LIKELY.fullmatch(word.strip()) is not None for word in sample) * 2 < len(sample):
        return None
    counts = {}
    for format in FORMATS:
        parse = date_parser(format)
        counts[format] = sum(parse(word) is not None for word in sample)
        if counts[format] == len(sample):
            return format
    best = max(counts, key=counts.__getitem__)
    return best if 2 * counts[best] > len(sample) else None


def is_day_unclear(format: str, words: Iterable[str]) -> bool:
    """Whether days and months could as well change places."""
    other = format.replace("%d", "%?").replace("%m", "%d").replace("%?", "%m")
    parse = date_parser(other)
    return other != format and other in FORMATS and all(parse(word) for word in words)

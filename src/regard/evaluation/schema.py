"""The one JSON in which results are kept: read, written, and checked. `docs/results-schema.md` describes it.

Every command that measures something writes this, so that one reader serves them all. Keys are checked by name, not
ignored when unknown: a misspelt key would otherwise be a number that nobody reads.

Left out: migration. A file of another format is refused by name.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regard.errors import DataError, did_you_mean
from regard.evaluation.compare import Comparison
from regard.evaluation.intervals import Interval
from regard.evaluation.metrics import Calibration, Confusion
from regard.evaluation.provenance import command_line, machine, versions
from regard.evaluation.result import Count, Result
from regard.files import write_whole

FORMAT = "regard.results.1"

Json = dict[str, Any]


# ---- writing ---------------------------------------------------------------------------------------------------------


def to_json(
    results: Sequence[Result],
    comparisons: Sequence[Comparison] = (),
    *,
    command: str | None = None,
    settings: Mapping[str, Any] | None = None,
    raw: bool = False,
) -> Json:
    """The document as plain Python values.

    Args:
        results, comparisons: what was found.
        command: what made it; this process's command line where left out.
        settings: of the run, in any shape that JSON holds.
        raw: keep per-episode values, reliability curve and confusions too.
    """
    document: Json = {
        "format": FORMAT,
        "results": [_result_json(result, raw) for result in results],
        "comparisons": [_comparison_json(comparison) for comparison in comparisons],
        "versions": versions(),
        "machine": machine(),
        "command": command_line() if command is None else command,
    }
    return document if settings is None else {**document, "settings": dict(settings)}


def write_results(
    path: Path | str,
    results: Sequence[Result],
    comparisons: Sequence[Comparison] = (),
    *,
    command: str | None = None,
    settings: Mapping[str, Any] | None = None,
    raw: bool = False,
) -> None:
    """Check and write, whole or not at all. Arguments as `to_json`.

    Raises:
        DataError: what would be written is not of the schema.
        StorageError: it could not be written.
    """
    document = to_json(results, comparisons, command=command, settings=settings, raw=raw)
    validate(document)
    # Raw values are lists of thousands of numbers: one a line would be a long file.
    text = json.dumps(document, indent=None if raw else 1, allow_nan=False)
    write_whole(Path(path), f"{text}\n".encode())


def _result_json(result: Result, raw: bool) -> Json:
    plain: Json = {
        "learner": result.learner,
        "data": result.data,
        "n_way": _count_json(result.n_way),
        "n_shot": _count_json(result.n_shot),
        "n_query": _count_json(result.n_query),
        "episodes": result.episodes,
        "seed": result.seed,
        "transductive": result.transductive,
        "metrics": {name: _interval_json(interval) for name, interval in result.metrics.items()},
        "seconds": round(result.seconds, 3),
        "digest": result.digest,
    }
    if result.adaptation_seconds is not None:
        plain["adaptation_seconds"] = round(result.adaptation_seconds, 6)
    if raw:
        plain["per_episode"] = {name: values.tolist() for name, values in result.per_episode.items()}
        if result.calibration is not None:
            plain["calibration"] = _arrays_json(result.calibration, _CALIBRATION)
        if result.confusion is not None:
            pairs = _arrays_json(result.confusion, _CONFUSION[1:])
            plain["confusion"] = {"class_names": list(result.confusion.class_names), **pairs}
    return plain


def _comparison_json(comparison: Comparison) -> Json:
    return {
        "a": comparison.a,
        "b": comparison.b,
        "data": comparison.data,
        "n_way": _count_json(comparison.n_way),
        "n_shot": _count_json(comparison.n_shot),
        "metric": comparison.metric,
        "difference": _interval_json(comparison.difference),
    }


def _interval_json(interval: Interval) -> Json:
    return {"mean": interval.mean, "low": interval.low, "high": interval.high}


def _count_json(count: Count) -> int | list[int]:
    return list(count) if isinstance(count, tuple) else count


def _arrays_json(value: object, names: Sequence[str]) -> Json:
    return {name: getattr(value, name).tolist() for name in names}


# ---- reading ---------------------------------------------------------------------------------------------------------


def read_results(path: Path | str) -> tuple[list[Result], list[Comparison]]:
    """Read and check a file.

    Raises:
        DataError: not JSON, or not of the schema; all mistakes at once.
    """
    try:
        document = json.loads(Path(path).read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not JSON ({error}): expected a file written by regard --json.") from error
    return from_json(document)


def from_json(document: Json) -> tuple[list[Result], list[Comparison]]:
    """The values of a document, checked first.

    Raises:
        DataError: not of the schema.
    """
    validate(document)
    results = [_result(entry) for entry in document["results"]]
    comparisons = [
        Comparison(
            **{name: entry[name] for name in ("a", "b", "data", "metric")},
            n_way=_count(entry["n_way"]),
            n_shot=_count(entry["n_shot"]),
            difference=Interval(**entry["difference"]),
        )
        for entry in document["comparisons"]
    ]
    return results, comparisons


def _result(entry: Json) -> Result:
    plain = ("learner", "data", "episodes", "seed", "transductive", "seconds")
    calibration, confusion = entry.get("calibration"), entry.get("confusion")
    return Result(
        **{name: entry[name] for name in plain},
        n_way=_count(entry["n_way"]),
        n_shot=_count(entry["n_shot"]),
        n_query=_count(entry["n_query"]),
        metrics={name: Interval(**interval) for name, interval in entry["metrics"].items()},
        per_episode={name: np.array(values) for name, values in entry.get("per_episode", {}).items()},
        calibration=calibration and Calibration(*(np.array(calibration[name]) for name in _CALIBRATION)),
        confusion=confusion
        and Confusion(
            tuple(confusion["class_names"]), *(np.array(confusion[name], dtype=np.int64) for name in _CONFUSION[1:])
        ),
        adaptation_seconds=entry.get("adaptation_seconds"),
        digest=entry.get("digest", ""),
    )


def _count(value: int | list[int]) -> Count:
    return (value[0], value[1]) if isinstance(value, list) else value


# ---- checking --------------------------------------------------------------------------------------------------------

Check = Callable[[Any, str], list[str]]
"""A value and where it stands, to the mistakes in it."""


def validate(document: Any) -> None:
    """Raise unless the document is of the schema.

    Raises:
        DataError: says every mistake, where it stands, and what was expected.
    """
    if isinstance(document, dict) and document.get("format", FORMAT) != FORMAT:
        raise DataError(f"format is {document['format']!r}: this version of regard reads {FORMAT!r}.")
    mistakes = _DOCUMENT(document, "")
    if mistakes:
        raise DataError("not a results document:\n" + "\n".join(mistakes))


def _mistake(where: str, value: object, expected: str) -> list[str]:
    shown = repr(value)
    return [f"{where or 'the document'} is {shown[:60]}{'...' if len(shown) > 60 else ''}: expected {expected}."]


def _is(test: Callable[[Any], bool], expected: str) -> Check:
    return lambda value, where: [] if test(value) else _mistake(where, value, expected)


def _object(required: dict[str, Check], optional: dict[str, Check] | None = None) -> Check:
    known = {**required, **(optional or {})}

    def check(value: Any, where: str) -> list[str]:
        if not isinstance(value, dict):
            return _mistake(where, value, f"an object with {', '.join(required)}")
        dot = f"{where}." if where else ""
        wrong = [f"{dot}{key} is unknown: {did_you_mean(str(key), known)}" for key in value if key not in known]
        wrong += [f"{dot}{key} is missing: expected it here." for key in required if key not in value]
        return wrong + [line for key in value if key in known for line in known[key](value[key], f"{dot}{key}")]

    return check


def _list(item: Check) -> Check:
    def check(value: Any, where: str) -> list[str]:
        if not isinstance(value, list):
            return _mistake(where, value, "a list")
        return [line for i, entry in enumerate(value) for line in item(entry, f"{where}[{i}]")]

    return check


def _map(item: Check) -> Check:
    def check(value: Any, where: str) -> list[str]:
        if not isinstance(value, dict):
            return _mistake(where, value, "an object")
        return [line for key, entry in value.items() for line in item(entry, f"{where}.{key}")]

    return check


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    pair = value if isinstance(value, list) else [value, value]
    return len(pair) == 2 and all(map(_is_whole, pair)) and 1 <= pair[0] <= pair[1]


def _interval(value: Any, where: str) -> list[str]:
    wrong = _object({"mean": _NUMBER, "low": _NUMBER, "high": _NUMBER})(value, where)
    if wrong or value["low"] <= value["mean"] <= value["high"]:
        return wrong
    return _mistake(where, value, "low <= mean <= high")


def _raw_lengths(value: Any, where: str) -> list[str]:
    """A result whose raw values are as many as its episodes."""
    wrong = _RESULT_FIELDS(value, where)
    if wrong:
        return wrong
    return [
        f"{where}.per_episode.{name} has {len(values)} values: expected one for each of {value['episodes']} episodes."
        for name, values in value.get("per_episode", {}).items()
        if len(values) != value["episodes"]
    ]


_CALIBRATION = ("count", "confidence", "accuracy")
_CONFUSION = ("class_names", "true", "predicted", "count")

_TEXT = _is(lambda v: isinstance(v, str), "text")
_FLAG = _is(lambda v: isinstance(v, bool), "true or false")
_NUMBER = _is(_is_number, "a finite number")
_WHOLE = _is(_is_whole, "a whole number")
_POSITIVE = _is(lambda v: _is_whole(v) and v >= 1, "a whole number of at least 1")
_COUNT = _is(_is_count, "a whole number of at least 1, or [low, high]")
_WAYS = _is(lambda v: _is_count(v) or (_is_whole(v) and v == 0), "a whole number, [low, high], or 0 for regression")
_ANY = _is(lambda v: isinstance(v, dict), "an object")

_RESULT_FIELDS = _object(
    {
        "learner": _TEXT,
        "data": _TEXT,
        "n_way": _WAYS,
        "n_shot": _COUNT,
        "n_query": _COUNT,
        "episodes": _POSITIVE,
        "seed": _WHOLE,
        "transductive": _FLAG,
        "metrics": _map(_interval),
        "seconds": _NUMBER,
    },
    {
        "adaptation_seconds": _NUMBER,
        "digest": _TEXT,
        "per_episode": _map(_list(_NUMBER)),
        "calibration": _object({name: _list(_NUMBER) for name in _CALIBRATION}),
        "confusion": _object({"class_names": _list(_TEXT), **{name: _list(_WHOLE) for name in _CONFUSION[1:]}}),
    },
)

_COMPARISON = _object(
    {
        "a": _TEXT,
        "b": _TEXT,
        "data": _TEXT,
        "n_way": _WAYS,
        "n_shot": _COUNT,
        "metric": _TEXT,
        "difference": _interval,
    }
)

_DOCUMENT = _object(
    {
        "format": _TEXT,
        "results": _list(_raw_lengths),
        "comparisons": _list(_COMPARISON),
        "versions": _object({"regard": _TEXT, "python": _TEXT, "torch": _TEXT, "numpy": _TEXT}),
        "machine": _object(
            {"cpu": _TEXT, "cores": _POSITIVE, "threads": _POSITIVE, "memory_gib": _NUMBER, "system": _TEXT},
            {"accelerator": _TEXT},
        ),
        "command": _TEXT,
    },
    {"settings": _ANY},
)

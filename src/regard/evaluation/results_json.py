"""Results and comparisons as JSON: written, and read again. `regard.evaluation.schema` declares the keys."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from regard.errors import DataError, StorageError
from regard.evaluation.compare import Comparison
from regard.evaluation.intervals import Interval
from regard.evaluation.metrics import Calibration, Confusion
from regard.evaluation.provenance import command_line, machine, versions
from regard.evaluation.result import Count, Result
from regard.evaluation.schema import FORMAT, IntervalEntry, check_document, parse
from regard.files import write_whole

Json = dict[str, Any]


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
        results, comparisons: what was measured.
        command: what measured it; defaults to this process's command line.
        settings: of the run, in any shape that JSON holds.
        raw: keep per-episode values, calibration and confusion too.
    """
    document: Json = {
        "format": FORMAT,
        "results": [_result_json(result, raw) for result in results],
        "comparisons": [
            {**asdict(comparison), "n_way": _count_json(comparison.n_way), "n_shot": _count_json(comparison.n_shot)}
            for comparison in comparisons
        ],
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
        DataError: what would be written does not fit the schema, such as a mean that is not a number.
        StorageError: it could not be written.
    """
    document = to_json(results, comparisons, command=command, settings=settings, raw=raw)
    check_document(document)
    # Raw values are lists of thousands of numbers: one a line would be a long file.
    text = json.dumps(document, indent=None if raw else 1, allow_nan=False)
    write_whole(Path(path), f"{text}\n".encode())


def _result_json(result: Result, raw: bool) -> Json:
    entry: Json = {
        "learner": result.learner,
        "data": result.data,
        "n_way": _count_json(result.n_way),
        "n_shot": _count_json(result.n_shot),
        "n_query": _count_json(result.n_query),
        "episodes": result.episodes,
        "seed": result.seed,
        "transductive": result.transductive,
        "metrics": {name: asdict(interval) for name, interval in result.metrics.items()},
        "seconds": round(result.seconds, 3),
        "digest": result.digest,
    }
    if result.adaptation_seconds is not None:
        entry["adaptation_seconds"] = round(result.adaptation_seconds, 6)
    if raw:
        entry["per_episode"] = {name: values.tolist() for name, values in result.per_episode.items()}
        if result.calibration is not None:
            entry["calibration"] = {name: values.tolist() for name, values in asdict(result.calibration).items()}
        if result.confusion is not None:
            pairs = asdict(result.confusion)
            names = list(pairs.pop("class_names"))
            entry["confusion"] = {"class_names": names, **{name: values.tolist() for name, values in pairs.items()}}
    return entry


def _count_json(count: Count) -> int | list[int]:
    return list(count) if isinstance(count, tuple) else count


def read_results(path: Path | str) -> tuple[list[Result], list[Comparison]]:
    """Read and check a file.

    Raises:
        DataError: it is not JSON, or does not fit the schema; all mistakes at once.
        StorageError: it cannot be read.
    """
    try:
        document = json.loads(Path(path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON ({error}): expected a file written by regard --json.") from error
    except OSError as error:
        raise StorageError(
            error.errno, f"could not read {path} ({error.strerror}): expected a results file."
        ) from error
    return from_json(document)


def from_json(document: Any) -> tuple[list[Result], list[Comparison]]:
    """The values of a document, checked first.

    Raises:
        DataError: it does not fit the schema.
    """
    entries = parse(document)
    comparisons = [
        Comparison(
            a=entry.a,
            b=entry.b,
            data=entry.data,
            n_way=entry.n_way,
            n_shot=entry.n_shot,
            metric=entry.metric,
            difference=_interval(entry.difference),
        )
        for entry in entries.comparisons
    ]
    results: list[Result] = []
    for entry in entries.results:
        curve, pairs = entry.calibration, entry.confusion
        results.append(
            Result(
                learner=entry.learner,
                data=entry.data,
                n_way=entry.n_way,
                n_shot=entry.n_shot,
                n_query=entry.n_query,
                episodes=entry.episodes,
                seed=entry.seed,
                transductive=entry.transductive,
                metrics={name: _interval(interval) for name, interval in entry.metrics.items()},
                seconds=entry.seconds,
                per_episode={name: np.array(values) for name, values in entry.per_episode.items()},
                calibration=curve
                and Calibration(np.array(curve.count), np.array(curve.confidence), np.array(curve.accuracy)),
                confusion=pairs
                and Confusion(
                    tuple(pairs.class_names),
                    *(np.array(values, dtype=np.int64) for values in (pairs.true, pairs.predicted, pairs.count)),
                ),
                adaptation_seconds=entry.adaptation_seconds,
                digest=entry.digest,
            )
        )
    return results, comparisons


def _interval(entry: IntervalEntry) -> Interval:
    return Interval(entry.mean, entry.low, entry.high)

"""Results come back from JSON as they went; a document that is not one is refused with all its mistakes."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from regard.errors import DataError, StorageError
from regard.evaluation import (
    Comparison,
    Interval,
    Result,
    check_document,
    compare,
    evaluate,
    from_json,
    read_results,
    to_json,
    write_results,
)
from regard.evaluation.metrics import METRICS
from regard.evaluation.schema import ComparisonEntry, Document, Entry, Machine, ResultEntry
from regard.learners.prototypical import Prototypical
from regard.nn.conv4 import Conv4
from regard.sampling import Dataset, EpisodeSampler

RAW = Path(__file__).parents[2] / "benchmarks" / "results"
DOCS = Path(__file__).parents[2] / "docs" / "results-schema.md"


@pytest.fixture(scope="module")
def found() -> tuple[list[Result], list[Comparison]]:
    torch.manual_seed(0)
    x = torch.randint(256, (60, 8, 8), dtype=torch.uint8)
    sampler = EpisodeSampler(Dataset.of(x, torch.arange(10).repeat_interleave(6)), (2, 5), 1, 2)
    learner = Prototypical(Conv4(n_filters=4, n_halvings=2, image_size=8))
    results = [evaluate(learner, sampler, 4, name=name, data="noise") for name in ("a", "b")]
    return results, compare(results)


def example() -> dict[str, Any]:
    block = re.search(r"```json\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert block
    return json.loads(block[1])


def test_round_trip(found: tuple[list[Result], list[Comparison]], tmp_path: Path) -> None:
    results, comparisons = found
    path = tmp_path / "deep" / "results.json"
    write_results(path, results, comparisons, command="regard compare", settings={"seed": 0}, raw=True)
    back, differences = read_results(path)
    assert differences == comparisons
    for ours, theirs in zip(back, results, strict=True):
        assert ours.metrics == theirs.metrics
        assert (ours.n_way, ours.n_shot, ours.digest) == ((2, 5), 1, theirs.digest)
        assert all(np.array_equal(ours.per_episode[name], theirs.per_episode[name]) for name in METRICS)
        assert ours.calibration is not None and theirs.calibration is not None
        assert ours.calibration.ece == theirs.calibration.ece
        assert ours.confusion is not None and theirs.confusion is not None
        assert np.array_equal(ours.confusion.matrix(), theirs.confusion.matrix())
    # What was read can be compared again: raw results are enough to make the tables again.
    assert compare(back) == comparisons


def test_without_raw_values_the_file_is_small_and_still_reads(
    found: tuple[list[Result], list[Comparison]], tmp_path: Path
) -> None:
    write_results(tmp_path / "r.json", *found)
    results, _ = read_results(tmp_path / "r.json")
    assert results[0].per_episode == {}
    assert results[0].calibration is results[0].confusion is None


def test_says_what_made_it(found: tuple[list[Result], list[Comparison]]) -> None:
    document = to_json(*found)
    assert document["versions"]["torch"] == torch.__version__
    assert document["machine"]["cores"] >= 1
    assert document["machine"]["cpu"]
    assert "/" not in document["command"].split()[0]


def test_the_documented_example_is_valid() -> None:
    check_document(example())


@pytest.mark.parametrize("entry", [Document, ResultEntry, ComparisonEntry, Machine])
def test_every_key_is_documented_as_it_is_declared(entry: type[Entry]) -> None:
    text = DOCS.read_text()
    for name, field in entry.model_fields.items():
        assert field.description
        row = f"| `{name}` | {'' if field.is_required() else 'optional: '}{field.description} |"
        assert row in text, row


def test_published_results_fit_the_schema() -> None:
    contents = [json.loads(path.read_text()) for path in sorted(RAW.glob("*.json"))]
    documents = [content for content in contents if content.get("format", "").startswith("regard.results")]
    assert len(documents) >= 11  # the other files hold timings and the like, in shapes of their own
    for document in documents:
        results, comparisons = from_json(document)
        assert [result.learner for result in results] == [entry["learner"] for entry in document["results"]]
        assert len(results) > 0 and len(comparisons) == len(document["comparisons"])


def change(path: list[str | int], value: object) -> dict[str, Any]:
    document = deepcopy(example())
    entry: Any = document
    for step in path[:-1]:
        entry = entry[step]
    if value is None:
        del entry[path[-1]]
    else:
        entry[path[-1]] = value
    return document


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["results", 0, "n_ways"], 5, r"results\[0\].n_ways is unknown: did you mean 'n_way'\?"),
        (["resluts"], [], r"resluts is unknown: did you mean 'results'\?"),
        (["results", 0, "seed"], None, r"results\[0\].seed is missing"),
        (["results", 0, "seed"], 0.5, r"results\[0\].seed is 0.5: expected a whole number"),
        (["results", 0, "seed"], True, "expected a whole number"),
        (["results", 0, "n_shot"], [5, 1], r"expected a whole number of at least 1, or \[low, high\]"),
        (["results", 0, "transductive"], "no", "expected true or false"),
        (["results", 0, "metrics", "accuracy"], {"mean": 0.5, "low": 0.6, "high": 0.7}, "expected low <= mean <= high"),
        (["results", 0, "metrics", "accuracy", "hihg"], 1, r"did you mean 'high'\?"),
        (["results", 0, "metrics", "accuracy", "mean"], float("nan"), "expected a finite number"),
        (
            ["results", 0, "per_episode"],
            {"accuracy": [0.5]},
            "has 1 values for 'accuracy': expected one for each of 1000",
        ),
        (["comparisons", 0, "difference"], 0.1, "expected an object with mean, low, high"),
        (["results"], {}, "results is {}: expected a list"),
        (["format"], "regard.results.9", "this version of regard reads 'regard.results.1'"),
        (["machine", "cores"], 0, "machine.cores is 0: expected a whole number of at least 1"),
        (["results", 0, "n_way"], True, r"n_way is True: expected a whole number, \[low, high\], or 0 for regression"),
        (["results", 0, "n_shot"], [1, 2, 3], r"n_shot is \[1, 2, 3\]: expected a whole number of at least 1"),
        (["results", 0, "seconds"], 10**400, r"seconds is 10+\.\.\.: expected a finite number"),
        (["results", 0, "metrics"], [], r"results\[0\].metrics is \[\]: expected an object"),
        (["results", 0, "calibration"], {"count": [1], "confidence": [], "accuracy": []}, "of one length"),
        (["results", 0, "calibration"], {"counts": []}, r"results\[0\].calibration.counts is unknown: did you mean"),
        (
            ["results", 0, "confusion"],
            {"class_names": ["a"], "true": [0], "predicted": [1], "count": [3]},
            "expected true and predicted below the number of class_names",
        ),
        (
            ["results", 0, "confusion"],
            {"class_names": ["a"], "true": [0], "predicted": [0], "count": [2**63]},
            r"confusion.count\[0\] is 9223372036854775808: expected a whole number below",
        ),
        (["settings"], [], r"settings is \[\]: expected an object"),
    ],
)
def test_refuses_what_is_wrong(path: list[str | int], value: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_document(change(path, value))


def test_all_mistakes_are_listed_at_once() -> None:
    document = change(["results", 0, "seed"], "x")
    document["results"][0]["n_query"] = 0
    document["commnad"] = document.pop("command")
    with pytest.raises(DataError) as error:
        check_document(document)
    assert all(
        word in str(error.value) for word in ("seed", "n_query", "did you mean 'command'?", "command is missing")
    )


def test_a_number_too_long_to_be_shown_is_refused_all_the_same() -> None:
    document = example()
    document["format"] = 10**5000
    with pytest.raises(DataError, match="format is a number of too many digits"):
        check_document(document)


def test_what_is_no_document_is_refused(tmp_path: Path, found: tuple[list[Result], list[Comparison]]) -> None:
    (tmp_path / "torn.json").write_text('{"results": [')
    with pytest.raises(DataError, match=r"torn.json is not JSON"):
        read_results(tmp_path / "torn.json")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "huge.json").write_text("1" * 5_000)
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\xff")
    for name in ("deep", "huge", "bytes"):
        with pytest.raises(DataError, match=f"{name}.json is not JSON"):
            read_results(tmp_path / f"{name}.json")
    for name in ("", "absent.json"):
        with pytest.raises(StorageError, match="could not read"):
            read_results(tmp_path / name)
    with pytest.raises(DataError, match=r"the document is \[\]: expected an object with format, results"):
        check_document([])
    bad = Comparison("a", "b", "d", 5, 1, "accuracy", Interval(0.0, float("nan"), 1.0))
    with pytest.raises(DataError, match="finite"):
        write_results(tmp_path / "bad.json", found[0], [bad])
    assert not (tmp_path / "bad.json").exists()

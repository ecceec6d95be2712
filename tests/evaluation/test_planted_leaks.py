"""Some of the planted leaks are found, and some clean pairs pass; all of them: `python benchmarks/doctor.py`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from regard.evaluation.leaks import CHECKS, answers, classes, data, english, features, find_leaks, tasks
from regard.evaluation.leaks.data import plain_name


def _planted() -> ModuleType:
    spec = importlib.util.spec_from_file_location("planted_leaks", Path(__file__).with_name("planted_leaks.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["planted_leaks"] = module
    spec.loader.exec_module(module)
    return module


planted = _planted()
CASES = {case.name: case for case in (*planted.leaks(), *planted.clean())}

LEAKS = (
    "pictures: copies in train and test, 1 pixel right",
    "pictures: copies in train and test, mirrored",
    "pictures: copies in validation and test, 1 pixel right",
    "vectors: copies in train and test, noise of 1%",
    "texts: copies in train and test, one word changed",
    "pictures: the label in a pixel",
    "texts: the label in a token",
    "vectors: queries are support items",
    "a learner: Weightless",
    "a learner: Centred",
)
CLEAN = ("vectors: seed 1", "texts: seed 1", "points of the plane", "transductive, badly conditioned")


@pytest.mark.parametrize("name", LEAKS)
def test_a_planted_leak_is_found(name: str) -> None:
    found = find_leaks(*CASES[name].make(), n_episodes=16)
    assert [f for f in found if f.verdict == "failed"]


@pytest.mark.parametrize("name", CLEAN)
def test_a_clean_pair_is_no_alarm(name: str) -> None:
    found = find_leaks(*CASES[name].make(), n_episodes=16)
    assert [f for f in found if f.verdict == "failed"] == []


def test_there_are_as_many_cases_as_promised() -> None:
    assert sum(case.leak for case in CASES.values()) >= 50
    assert sum(not case.leak for case in CASES.values()) >= 20


@pytest.mark.parametrize(("a", "b"), [("Hot dog", "hot-dog"), ("hotdog", " HOT DOG "), ("caf\u00e9", "cafe\u0301")])
def test_names_that_differ_by_accident_are_one(a: str, b: str) -> None:
    assert plain_name(a) == plain_name(b)


@pytest.mark.parametrize(("a", "b"), [("a", "A"), ("C", "C++"), ("1.0", "10"), ("-5", "5"), ("Greek/a", "Greek/A")])
def test_names_that_differ_by_meaning_are_two(a: str, b: str) -> None:
    assert plain_name(a) != plain_name(b)


def test_every_check_is_listed_once() -> None:
    modules = (answers, classes, data, english, features, tasks)
    named = {f for module in modules for f in vars(module).values() if callable(f) and f in CHECKS}
    assert named == set(CHECKS) and len(set(CHECKS)) == len(CHECKS)

"""One reader of YAML: plain values of version 1.2, in one line of error."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from regard.errors import ConfigError
from regard.recipes.components import build_learner
from regard.recipes.config import Recipe
from regard.recipes.data import load_data
from regard.recipes.yaml import read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 1e5),
        ("-1.5e+3", -1500.0),
        (".5", 0.5),
        ("7.", 7.0),
        ("010", 10),
        ("0o17", 15),
        ("0xFF", 255),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2024-13-45", "2024-13-45"),
        ("yes", "yes"),
        ("off", "off"),
        ("TRUE", True),
        ("~", None),
        ("", None),
        ("'1e-3'", "1e-3"),
        ("[1, {a: b}]", [1, {"a": "b"}]),
        ("{a: &x [1], b: *x}", {"a": [1], "b": [1]}),
    ],
)
def test_values_are_those_of_the_core_schema(text: str, value: object) -> None:
    read = read_yaml(text, "t")
    assert read == value and type(read) is type(value)
    assert read_yaml(text.encode("utf-16"), "t") == value
    assert read_yaml(b"\xef\xbb\xbf" + text.encode(), "t") == value


BOMB = "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (BOMB, "aliases expanded"),
        ("a: &a [*a]", "alias of what it lies in"),
        ("a: *a", "undefined alias"),
        ("[" * 100_000, "within each other"),
        ("a: " + "x" * 300_000, "expected at most"),
        ("{a: 1, a: 2}", "'a' stands twice"),
        ("{1: 2}", "is not a word"),
        ("{? [a] : 2}", "is not a word"),
        ("!!python/object/apply:os.system [ls]", "tag"),
        ("!!binary aGk=", "tag"),
        ("!!timestamp 2024-01-01", "tag"),
        ("!!int abc", "not a whole number"),
        ("!!map 3", "expected a mapping"),
        ("!!seq 3", "expected a list"),
        ("9" * 5000, "whole number"),
        (str(2**63), "63 bits"),
        ("1e999", "not a finite number"),
        (".nan", "not a finite number"),
        ('"\\ud800"', "character"),
        ("\0", "special characters"),
        ("a: [1,", "line 1"),
        ("- 1\n---\n- 2", "another document"),
        (b"caf\xe9: 1", "UTF-8"),
        (b"\xff\xfea", "UTF-8"),
    ],
)
def test_what_is_not_plain_is_refused_in_one_line_and_soon(content: str | bytes, message: str) -> None:
    began = time.process_time()
    with pytest.raises(ConfigError, match=message) as caught:
        read_yaml(content, "mine.yaml")
    assert str(caught.value).startswith("mine.yaml") and "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400 and time.process_time() - began < 5


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("evaluation.5.n_way=3", r"list of 2; expected a number from evaluation\.0 to evaluation\.1"),
        ("evaluation.-1.n_way=3", "list of 2"),
        ("evaluation.².n_way=3", "list of 2"),
        ("evaluation.0.n_way.2=3", "evaluation.0.n_way is 20, which has no keys"),
        ("train.steps=[1,", "not YAML"),
        ("=3", "expected key=value"),
        ("train..steps=3", "expected key=value"),
        (".".join("a" * 50) + "=3", "at most 32 keys"),
        ("data=null", "expected the name of a data set"),
        ("data.name=3", "expected the name of a data set"),
        ("train=3", "train: "),
        ("learner=[a]", "learner: "),
        ("episodes.n_way=[1, 2, 3]", "episodes.n_way: "),
        ("train.learning_rate=1e-", "train.learning_rate: "),
    ],
)
def test_a_slip_in_a_setting_is_one_line(setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Recipe.read("glyphs", [setting])
    assert "\n" not in str(caught.value)


def test_numbers_reach_learners_and_data_as_numbers() -> None:
    recipe = Recipe.read("sinusoid", ["learner.inner_lr=1e-3", "train.learning_rate=1e-4"])
    assert recipe.learner.options()["inner_lr"] == 0.001 and recipe.train.learning_rate == 1e-4


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("learner.d_head=abc", "d_head is 'abc', expected a valid integer"),
        ("learner.d_head=1e3", "d_head is 1000.0"),
        ("learner.d_head=-3", "cannot be built with"),
        ("learner.encoder=3", "encoder is 3"),
        ("learner.encoder.n_filters=x", "n_filters is 'x'"),
        ("data.drawings=x", "drawings is 'x', expected a valid integer"),
        ("data.symbols=yes", "symbols is 'yes', expected a valid boolean"),
    ],
)
def test_options_of_a_wrong_type_are_one_line(setting: str, message: str) -> None:
    recipe = Recipe.read("glyphs", [setting])
    with pytest.raises(ConfigError, match=message) as caught:
        load_data(recipe.data) if setting.startswith("data") else build_learner(recipe.learner.spec())
    assert "\n" not in str(caught.value)


def test_files_that_are_no_recipes(tmp_path: Path) -> None:
    for content, message in ((b"caf\xe9: 1", "UTF-8"), (b"- 1", "holds a list"), (b"", "holds a NoneType")):
        (tmp_path / "mine.yaml").write_bytes(content)
        with pytest.raises(ConfigError, match=message):
            Recipe.read(str(tmp_path / "mine.yaml"))
    if os.name == "posix":
        os.mkfifo(tmp_path / "pipe.yaml")
        with pytest.raises(ConfigError, match="no recipe is called"):
            Recipe.read(str(tmp_path / "pipe.yaml"))
    for name in (str(tmp_path), "x" * 5000, "a\0b"):
        with pytest.raises(ConfigError, match="no recipe is called"):
            Recipe.read(name)

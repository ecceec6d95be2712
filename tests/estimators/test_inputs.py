"""What users give as y and weights: the values that come out, and the message for each thing that cannot be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.exceptions import DataConversionWarning

from regard.domains.base import Reader
from regard.errors import ConfigError, EpisodeError
from regard.estimators.inputs import (
    Prepared,
    blank_rows,
    named,
    other_shape,
    plain_label,
    require_count,
    shapes,
    to_labels,
    to_numbers,
    to_weight,
)


def test_labels_keep_type_and_order() -> None:
    for given in (["b", "a", "b"], [2, 0, 2], [True, False, True], [-1.0, 3.0, -1.0]):
        labels = to_labels(given, 3)
        assert labels.tolist() == given and labels.shape == (3,)
    assert to_labels(torch.tensor([4, 4, 1], requires_grad=False), 3).tolist() == [4, 4, 1]
    assert to_labels(torch.tensor([4.0, 4.0, 1.0], requires_grad=True), 3).tolist() == [4, 4, 1]


def test_a_column_of_labels_is_flattened_with_a_warning_and_two_columns_are_not() -> None:
    with pytest.warns(DataConversionWarning, match="column-vector"):
        assert to_labels([["a"], ["b"]], 2).tolist() == ["a", "b"]
    with pytest.raises(EpisodeError, match=r"y has shape \(2, 2\) and X 2 rows"):
        to_labels([["a", "b"], ["c", "d"]], 2)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (["a", "b"], r"y has shape \(2,\) and X 3 rows"),
        (None, "target y is None"),
        (np.array(["a", None, None], dtype=object), r"no label for 2 row\(s\), first row 1"),
        ([0.0, np.nan, 1.0], r"no label for 1 row\(s\), first row 1"),
        (["a", "", " "], r"no label for 2 row\(s\), first row 1"),
        ([0.0, np.inf, 1.0], r"infinity \(inf\)"),
        ([0.0, -np.inf, 1.0], r"infinity \(inf\)"),
        (np.array(["a", 1, 2.5], dtype=object), "float and int and str"),
        ([0.0, 0.5, 1.0], "fractions"),
    ],
)
def test_labels_that_cannot_be_say_why(y: object, message: str) -> None:
    with pytest.raises(EpisodeError, match=message):
        to_labels(y, 3)


def test_numbers_are_columns_of_float64() -> None:
    assert to_numbers([1, 2, 3], 3).tolist() == [[1.0], [2.0], [3.0]]
    two = to_numbers(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], dtype=torch.float32, requires_grad=True), 3)
    assert two.dtype == np.float64 and two.tolist() == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    assert to_numbers(["1.5", "2"], 2).tolist() == [[1.5], [2.0]]


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([1.0, 2.0], r"y has shape \(2,\) and X 3 rows"),
        (np.zeros((3, 1, 1)), r"y has shape \(3, 1, 1\)"),
        (3.0, r"y has shape \(\)"),
        ([1j, 2j, 3j], "Complex data"),
        (["a", "b", "c"], "no number"),
        ([1.0, np.nan, 2.0], "expected finite"),
        ([1.0, np.inf, 2.0], "expected finite"),
        (None, "target y is None"),
    ],
)
def test_numbers_that_cannot_be_say_why(y: object, message: str) -> None:
    with pytest.raises(EpisodeError, match=message):
        to_numbers(y, 3)


def test_weights_are_ones_or_as_given() -> None:
    assert to_weight(None, 3).tolist() == [1.0, 1.0, 1.0]
    assert to_weight([0, 2, 0.5], 3).tolist() == [0.0, 2.0, 0.5]
    for wrong, message in (([1.0, 2.0], r"shape \(2,\)"), ([0, 0, 0], "zero for every row"), (1.0, r"shape \(\)")):
        with pytest.raises(EpisodeError, match=message):
            to_weight(wrong, 3)


def test_items_are_named_and_measured_without_their_rows() -> None:
    one, two = torch.zeros(5, 2, 3), {"ids": torch.zeros(5, 7), "n": torch.zeros(5)}
    assert list(named(one)) == ["X"] and named(two) is two
    assert shapes(one) == {"X": (2, 3)} and shapes(two) == {"ids": (7,), "n": ()}
    assert "X has 3 features, but M is expecting 2 features" in other_shape((3,), (2,), "M")
    assert other_shape((3, 3), (2,), "M").startswith("X has items of shape (3, 3): expected (2,)")
    assert other_shape((3,), (2, 2), "M").startswith("X has items of shape (3,): expected (2, 2)")


def test_a_users_function_gets_a_list_and_no_file_holds_it() -> None:
    given = []

    def prepare(things: list[str]) -> np.ndarray:
        given.append(things)
        return np.array([[float(len(t))] for t in things], dtype=np.float32)

    reader = Prepared(prepare)
    assert reader(("a", "bcd")).tolist() == [[1.0], [3.0]]
    assert given == [["a", "bcd"]] and reader.fit(["x"]) is reader
    with pytest.raises(ConfigError, match="made in Python"):
        reader.to_dict()


def test_weights_that_sum_to_one_are_shares_unless_one_row_has_them_all() -> None:
    assert to_weight([0.25, 0.75], 2).tolist() == [0.5, 1.5]
    assert to_weight([0.5, 0.5, 0.0], 3).tolist() == [1.0, 1.0, 0.0]
    assert to_weight([1.0, 0.0], 2).tolist() == [1.0, 0.0]
    assert to_weight([0.5, 0.25], 2).tolist() == [0.5, 0.25]
    assert to_weight([1.5, -0.5], 2).tolist() == [1.5, -0.5], "negative ones are refused later, as they came"
    with pytest.raises(EpisodeError, match="no number"):
        to_weight(["a", "b"], 2)


def test_whole_floats_among_whole_numbers_are_whole_numbers() -> None:
    mixed = to_labels(np.array([1, 2.0, 1], dtype=object), 3)
    assert mixed.tolist() == [1, 2, 1] and mixed.dtype.kind == "i"
    for wrong in ([1, 2.5, 1], [1, 2.0**60, 1]):
        with pytest.raises(EpisodeError, match="float and int"):
            to_labels(np.array(wrong, dtype=object), 3)


def test_labels_too_large_for_int64_stay_numbers() -> None:
    for label, kind in ((2**63 - 1, "i"), (-(2**63), "i"), (2**63, "O"), (-(2**63) - 1, "O")):
        labels = to_labels(np.array([label, 0], dtype=object), 2)
        assert labels.tolist() == [label, 0] and labels.dtype.kind == kind


def test_a_gap_among_words_of_a_list_is_missing_and_no_word() -> None:
    for gap in (None, float("nan")):
        with pytest.raises(EpisodeError, match=r"no label for 1 row\(s\), first row 1"):
            to_labels(["a", gap, "b"], 3)
    assert to_labels(np.array(["a", "nan", "b"]), 3).tolist() == ["a", "nan", "b"]


def test_a_label_is_pythons_own() -> None:
    for given, kind in ((np.str_("a"), str), (np.int64(3), int), (np.float32(0.5), float), (np.bool_(True), bool)):
        assert type(plain_label(given)) is kind and plain_label(given) == given


class Blanks(Reader):
    """Items of zeros are blank."""

    def __call__(self, things: Any) -> torch.Tensor:
        return torch.as_tensor(things)

    def to_dict(self) -> dict[str, Any]:
        return {}

    def is_blank(self, items: Any) -> np.ndarray:
        return (items == 0).all(1).numpy()


@pytest.mark.parametrize(
    ("x", "what", "message"),
    [
        (["a.png", "b.png", "c.png"], "queries", "2 of 3 queries blank, first 'b.png': these are not answered"),
        (["a.png", "b.png", "c.png"], "examples", "2 of 3 examples blank, first 'b.png': replace or drop these"),
        (np.zeros((3, 1)), "queries", "2 of 3 queries blank, first row 1: these"),
        ([1, 2, 3], "queries", "first row 1: these"),
    ],
)
def test_blank_rows_are_named_once(x: Any, what: str, message: str) -> None:
    with pytest.warns(UserWarning, match=message):
        assert blank_rows(Blanks(), x, torch.tensor([[1.0], [0.0], [0.0]]), what).tolist() == [False, True, True]
    assert not blank_rows(Blanks(), x, torch.ones(3, 1), what).any()


def test_counts_are_whole_numbers_within_their_limits() -> None:
    assert require_count(np.int64(3), "n", 3) == 3 and require_count(1, "n", 1) == 1
    for wrong in (0, 4, True, 2.0, "2", None):
        with pytest.raises(ConfigError, match=r"n is .*: expected a whole number, at least 1 and at most 3"):
            require_count(wrong, "n", 3)

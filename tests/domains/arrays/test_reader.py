"""Arrays to items: types kept, memory not shared, and a message for each thing that is no array of items."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from regard.domains.arrays.reader import ArrayReader, NumberReader, to_items
from regard.errors import EpisodeError


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (np.uint8, torch.uint8), (np.uint16, torch.int64), (np.uint32, torch.int64), (np.int16, torch.int16),
        (np.int64, torch.int64), (np.float32, torch.float32), (np.float64, torch.float64), (np.bool_, torch.bool),
    ],
)  # fmt: skip
def test_types_are_kept_where_torch_has_them(given: type, kept: torch.dtype) -> None:
    x = np.array([[0, 1], [1, 0]]).astype(given)
    items = to_items(x)
    assert isinstance(items, torch.Tensor) and items.dtype == kept
    assert items.tolist() == x.tolist()


def test_arrays_are_copied_and_tensors_are_not() -> None:
    array, tensor = np.zeros((2, 2)), torch.zeros(2, 2)
    items = to_items(array)
    array[:] = 1
    assert items.tolist() == [[0, 0], [0, 0]]  # type: ignore[union-attr]
    assert to_items(tensor) is tensor
    backwards = to_items(np.arange(6).reshape(2, 3)[:, ::-1])
    assert backwards.tolist() == [[2, 1, 0], [5, 4, 3]]  # type: ignore[union-attr]


def test_dicts_and_lists() -> None:
    items = to_items({"ids": [[1, 2], [3, 4]], 7: np.zeros((2, 1))})
    assert set(items) == {"ids", "7"} and items["ids"].tolist() == [[1, 2], [3, 4]]  # type: ignore[call-overload]
    assert ArrayReader()([[1.5, 2.5]]).tolist() == [[1.5, 2.5]] and ArrayReader().to_dict() == {}


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ({"a": np.zeros((2, 1)), "b": np.zeros((3, 1))}, "different numbers of rows (a 2, b 3)"),
        (np.zeros((0, 3)), "X is empty, 0 sample(s)"),
        (np.zeros(3), "X has shape (3,): expected rows of items"),
        (torch.zeros(()), "X has shape (): expected rows of items"),
        ([["a", "b"]], "values: expected numbers"),
        ([[1j, 2j]], "complex128 values"),
        ([[None, 1]], "object values"),
        ([[1, 2], [3]], "X is ragged"),
        ({"a": csr_array(np.eye(2))}, "a is sparse: expected a dense array; use a.toarray()"),
    ],
)
def test_what_is_no_array_of_items_says_why(x: object, message: str) -> None:
    with pytest.raises(EpisodeError) as caught:
        to_items(x)
    assert message in str(caught.value)


def test_numbers_become_rows_of_floats() -> None:
    assert NumberReader()([1, 2, 3]).tolist() == [[1.0], [2.0], [3.0]]
    assert NumberReader()([[1, 2], [3, 4]]).shape == (2, 2)
    assert NumberReader()([1]).dtype == torch.get_default_dtype()

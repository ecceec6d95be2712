"""Handles are the hash of their content, and outlive the process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from regard.errors import RegardError
from regard.serve.handles import HandleStore, TooManyHandles, UnknownHandle

ROWS = np.random.default_rng(0).normal(size=(12, 3)).round(3).tolist()
CONTENT = {"examples": ROWS, "labels": ["a", "b", "c"] * 4}


def store(folder: Path, max_handles: int = 2, max_adapted_bytes: int = 2**29) -> HandleStore:
    return HandleStore("tables", False, folder, max_handles=max_handles, max_adapted_bytes=max_adapted_bytes)


def test_equal_examples_have_one_handle_and_others_another(tmp_path: Path) -> None:
    handles = store(tmp_path)
    first, _ = handles.add(CONTENT)
    assert handles.add(dict(reversed(CONTENT.items())))[0] == first
    assert handles.add({**CONTENT, "weights": [2.0] * 12})[0] != first
    assert len(handles) == 2


def test_a_restart_keeps_handles_and_answers(tmp_path: Path) -> None:
    handle, model = store(tmp_path).add(CONTENT)
    again = store(tmp_path).get(handle)
    np.testing.assert_array_equal(again.predict(ROWS), model.predict(ROWS))


def test_what_is_no_longer_in_memory_adapts_when_asked(tmp_path: Path) -> None:
    handles = store(tmp_path, max_adapted_bytes=1)
    first, model = handles.add(CONTENT)
    handles.add({**CONTENT, "labels": ["x", "y", "z"] * 4})
    again = handles.get(first)
    assert again is not model
    np.testing.assert_array_equal(again.predict(ROWS), model.predict(ROWS))


def test_there_is_a_largest_number(tmp_path: Path) -> None:
    handles = store(tmp_path, max_handles=1)
    handle, _ = handles.add(CONTENT)
    with pytest.raises(TooManyHandles, match="1 handles are kept"):
        handles.add({**CONTENT, "weights": [2.0] * 12})
    assert handles.add(CONTENT)[0] == handle
    handles.delete(handle)
    handles.add({**CONTENT, "weights": [2.0] * 12})


@pytest.mark.parametrize("handle", ["", "../../etc/passwd", "0" * 32, "A" * 32, "0" * 10_000])
def test_an_unknown_handle_is_said_to_be_one(tmp_path: Path, handle: str) -> None:
    handles = store(tmp_path)
    with pytest.raises(UnknownHandle):
        handles.get(handle)
    with pytest.raises(UnknownHandle):
        handles.delete(handle)


def test_examples_that_cannot_be_are_not_kept(tmp_path: Path) -> None:
    handles = store(tmp_path)
    with pytest.raises(RegardError):
        handles.add({"examples": ROWS, "labels": ["a"]})
    assert len(handles) == 0

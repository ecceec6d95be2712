"""A cache is taken only as it was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from regard.domains.cached import cached

ARRAYS = {"images": np.arange(48, dtype=np.uint8).reshape(3, 4, 4), "names": np.array(["a", "b", "c"])}
FAULTS = {
    "inverted": lambda held: held | {"images": 255 - held["images"]},
    "an array is missing": lambda held: {name: array for name, array in held.items() if name != "names"},
    "an array too many": lambda held: held | {"more": held["names"]},
    "another shape": lambda held: held | {"images": held["images"].reshape(4, 3, 4)},
    "another type": lambda held: held | {"images": held["images"].view(np.int8)},
    "another name": lambda held: {("title" if name == "names" else name): array for name, array in held.items()},
    "no digest": lambda held: {name: array for name, array in held.items() if name != "sha256"},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_cache_is_made_again(tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture) -> None:
    made: list[int] = []

    def make() -> dict[str, np.ndarray]:
        made.append(1)
        return dict(ARRAYS)

    for _ in range(2):
        found = cached("glyphs", {"size": 4}, make, tmp_path)
    assert len(made) == 1 and found.keys() == ARRAYS.keys() and not caplog.records
    (file,) = tmp_path.glob("*.npz")
    with np.load(file) as held:
        damaged = FAULTS[fault](dict(held))
    np.savez_compressed(file, **damaged)
    found = cached("glyphs", {"size": 4}, make, tmp_path)
    assert len(made) == 2 and "SHA-256" in caplog.text
    for name, array in ARRAYS.items():
        assert np.array_equal(found[name], array)
    cached("glyphs", {"size": 4}, make, tmp_path)
    assert len(made) == 2, "it was not written again"


def test_other_settings_are_another_file(tmp_path: Path) -> None:
    for size in (4, 5):
        cached("glyphs", {"size": size}, lambda: dict(ARRAYS), tmp_path)
    assert len(list(tmp_path.glob("*.npz"))) == 2

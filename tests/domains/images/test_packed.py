"""Images packed into one file, with a split beside it, and what is said of files that are something else."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from regard.domains.data import LabelledData
from regard.domains.images.packed import packed_images, packed_parts
from regard.domains.npz import read_npz
from regard.domains.options import EpisodeOptions
from regard.errors import DataError
from regard.recipes.config import Component
from regard.recipes.data import load_data
from regard.sampling.splits import check_disjoint

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
LABELS = np.repeat(np.arange(6, dtype=np.uint8), 2)
NAMES = np.array(list("abcdef"))


def packed(folder: Path, **changes: Any) -> Path:
    arrays = {"images": IMAGES, "labels": LABELS, "class_names": NAMES, **changes}
    np.savez(folder / "images.npz", **{name: value for name, value in arrays.items() if value is not None})
    return folder / "images.npz"


def split(folder: Path, **parts: Any) -> Path:
    (folder / "splits.json").write_text(json.dumps(parts))
    return folder / "splits.json"


def test_images_labels_and_names_come_as_they_were_packed(tmp_path: Path) -> None:
    data = packed_images(packed(tmp_path))
    assert torch.equal(data.x, torch.from_numpy(IMAGES)) and data.class_names == tuple("abcdef")  # type: ignore[arg-type]
    assert data.y.tolist() == LABELS.tolist()


def test_files_of_pictures_are_decoded(tmp_path: Path) -> None:
    contents = []
    for image in IMAGES:
        Image.fromarray(image).save(file := io.BytesIO(), "PNG")
        contents.append(file.getvalue())
    offsets = np.cumsum([0, *map(len, contents)])
    files = {"jpeg": np.frombuffer(b"".join(contents), np.uint8), "offsets": offsets, "images": None}
    assert torch.equal(packed_images(packed(tmp_path, **files)).x, torch.from_numpy(IMAGES))  # type: ignore[arg-type]
    broken = {**files, "jpeg": files["jpeg"][: offsets[-1] // 2]}
    with pytest.raises(DataError, match="a picture that cannot be read"):
        packed_images(packed(tmp_path, **broken))


def test_one_image_of_a_track_is_its_last_and_ids_are_looked_up(tmp_path: Path) -> None:
    arrays = {"train_images": IMAGES[:7], "train_labels": np.array([9, 9, 4, 9, 4, 4, 9]), "images": None}
    arrays |= {"labels": None, "class_names": np.array(["four", "nine"]), "class_ids": np.array([4, 9])}
    file = packed(tmp_path, **arrays, train_track=np.array([0, 0, 0, 1, 0, 1, 1]))
    data = packed_images(file, prefix="train_", one_a_track=True)
    # Track 0 of four and track 0 of nine are two signs.
    assert data.y.tolist() == [1, 0, 0, 1]
    assert torch.equal(data.x, torch.from_numpy(IMAGES[[1, 4, 5, 6]]))  # type: ignore[arg-type]
    assert len(packed_images(file, prefix="train_")) == 7


def test_a_recipe_names_the_file_and_without_test_classes_the_validation_is_the_test(tmp_path: Path) -> None:
    listed = split(tmp_path, train=list("abcd"), val=["e", "f"])
    file = packed(tmp_path)
    data = load_data(Component(name="packed", file=str(file), split=str(listed), validation=0.25))  # type: ignore[call-arg]
    assert isinstance(data, LabelledData) and data.title == tmp_path.name
    assert data.splits["test"].class_names == ("e", "f")
    assert (data.splits["train"].n_classes, data.splits["validation"].n_classes) == (3, 1)
    check_disjoint(data.splits)
    episode = data.source("test", EpisodeOptions(n_way=2, n_shot=1, n_query=1), 0)([0])
    assert episode.query_x.shape == (1, 2, 8, 8, 3)  # type: ignore[union-attr]
    assert data.encoder == {"n_channels": 3, "image_size": 8}
    whole = load_data(Component(name="packed", file=str(file)))  # type: ignore[call-arg]
    assert isinstance(whole, LabelledData) and whole.splits.keys() == {"test"}
    split(tmp_path, train=list("abcd"), val=["e"], test=["f"])
    told = packed_parts(packed_images(file), listed)
    assert {name: part.class_names for name, part in told.items()}["test"] == ("f",)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labels": None}, "labels is missing"),
        ({"images": None, "class_names": None}, "class_names, images is missing"),
        ({"images": IMAGES.astype(np.float32)}, "images are float32"),
        ({"images": IMAGES[:5]}, "expected uint8"),
        ({"labels": LABELS + 1}, "name none of its 6 classes"),
        ({"class_ids": np.arange(1, 7)}, "name none of its 6 classes"),
        ({"labels": LABELS.astype(np.float32)}, "labels float32"),
        ({"labels": LABELS[:, None]}, r"labels uint8 \(12, 1\)"),
        ({"class_names": np.arange(6)}, "class_names int64"),
        ({"class_ids": np.arange(5)}, r"class_ids \(5,\)"),
        ({"track": np.arange(5)}, r"track \(5,\)"),
        ({"images": None, "jpeg": LABELS, "offsets": np.arange(3)}, r"offsets \(3,\)"),
        ({"images": IMAGES[..., :2]}, "expected uint8"),
        ({"images": np.array([None] * 12)}, "Python objects"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        packed_images(packed(tmp_path, **changes))


def test_files_that_are_none_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected packed images"):
        packed_images(tmp_path / "missing.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(DataError, match="damaged or of another kind"):
        packed_images(tmp_path / "text.npz")
    with pytest.raises(DataError, match="no track"):
        packed_images(packed(tmp_path), one_a_track=True)
    for content in ('{"train": "a"}', "[]", "{", '{"train": 3}'):
        (tmp_path / "splits.json").write_text(content)
        with pytest.raises(DataError, match="could not read the split"):
            packed_parts(packed_images(packed(tmp_path)), tmp_path / "splits.json")


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "images.npz", images=np.zeros((2**19, 28, 28), np.uint8), labels=LABELS)
    assert (tmp_path / "images.npz").stat().st_size < 2**20
    monkeypatch.setattr(np, "empty", lambda *_: pytest.fail("unpacked"))
    with pytest.raises(DataError, match=r"unpacks from \d+ to 41104\d+ bytes, and expected"):
        packed_images(tmp_path / "images.npz")


def test_arrays_come_back_in_their_order_and_type(tmp_path: Path) -> None:
    arrays = {"a": np.asfortranarray(IMAGES[..., 0].astype(">i4")), "b": np.array(3.5), "c": NAMES[:0]}
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "x.npz", **arrays)
        found, names = read_npz(tmp_path / "x.npz")
        assert names == ["a", "b", "c"]
        for name, array in arrays.items():
            assert found[name].dtype == array.dtype and np.array_equal(found[name], array)
    assert read_npz(tmp_path / "x.npz", lambda name: name == "b")[0].keys() == {"b"}

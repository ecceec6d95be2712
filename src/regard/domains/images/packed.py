"""Images packed into one .npz file, with the classes of each split in a JSON beside it.

    images (N, H, W) or (N, H, W, 3) uint8     or jpeg and offsets: file i is jpeg[offsets[i]:offsets[i + 1]]
    labels (N,)                                a position in class_names, or one of class_ids where these are given
    class_names (C,), perhaps class_ids (C,)
    track (N,), perhaps                        images of one class and track show the very same thing

The JSON names the classes of each split: {"train": [...], "val": [...], "test": [...]}.

With `one_a_track` only the last image of each track is kept, so that support and query never share one.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from regard.domains.npz import Arrays, read_npz
from regard.errors import DataError
from regard.sampling.dataset import Dataset
from regard.sampling.splits import split_by_name

_SHARED = ("class_names", "class_ids")
_KINDS = {"labels": "iu", "class_names": "US", "class_ids": "iu", "track": "iuUS", "offsets": "iu", "jpeg": "u"}
_SHORT = {"val": "validation", "valid": "validation"}


def packed_images(path: Path | str, *, prefix: str = "", one_a_track: bool = False) -> Dataset:
    """All images of the file: uint8 (N, H, W) or (N, H, W, 3).

    Args:
        path: of the .npz file.
        prefix: of the names of the arrays, such as "train_"; class_names and class_ids have none.
        one_a_track: keep the last image of each track only.

    Raises:
        DataError: no such file, or one that holds something else.
    """
    file = Path(path).expanduser()
    arrays = _read(file, prefix)
    names = [str(name) for name in arrays["class_names"]]
    n_classes = len(names)
    y = arrays["labels"].astype(np.int64)
    if "class_ids" in arrays:
        position = {int(number): i for i, number in enumerate(arrays["class_ids"].tolist())}
        y = np.array([position.get(label, -1) for label in y.tolist()], dtype=np.int64)
    if y.size and not 0 <= y.min() <= y.max() < n_classes:
        raise DataError(
            f"{file} has labels that name none of its {n_classes} classes: expected 0..{n_classes - 1}, or numbers "
            "listed in class_ids."
        )
    rows = np.arange(len(y))
    if one_a_track:
        if "track" not in arrays:
            raise DataError(f"{file} has no track, and one_a_track needs it: set one_a_track to false.")
        last = {key: row for row, key in enumerate(zip(y.tolist(), arrays["track"].tolist(), strict=True))}
        rows = np.array(sorted(last.values()), dtype=np.int64)
    if "jpeg" in arrays:
        images = _decoded(file, arrays, rows)
    else:
        images, n = arrays["images"], len(y)
        if (
            images.dtype != np.uint8
            or images.ndim not in (3, 4)
            or len(images) != n
            or images.shape[3:] not in ((), (3,))
        ):
            raise DataError(
                f"{file}: images are {images.dtype} {images.shape} beside {n} labels: expected uint8 (N, H, W) or "
                "(N, H, W, 3), and a label for each."
            )
        images = images[rows]
    return Dataset(torch.from_numpy(images), torch.from_numpy(y[rows]), tuple(names))


def packed_parts(dataset: Dataset, path: Path | str) -> dict[str, Dataset]:
    """The splits that a JSON file names: "train", "validation" and "test", as far as it does.

    Raises:
        DataError: no such file, another kind of content, or classes that the data does not have.
    """
    file = Path(path).expanduser()
    try:
        content = json.loads(file.read_text())
        if not all(isinstance(names, list) for names in content.values()):
            raise TypeError("a split that is no list")
        listed = {_SHORT.get(str(split), str(split)): [str(name) for name in names] for split, names in content.items()}
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise DataError(
            f"could not read the split from {file} ({type(error).__name__}: {error}): expected JSON such as "
            '{"train": ["cat", ...], "val": [...], "test": [...]}, lists of class names.'
        ) from error
    return split_by_name(dataset, listed)


def _read(file: Path, prefix: str) -> Arrays:
    try:
        arrays, held = read_npz(file, lambda name: name.startswith(prefix) or name in _SHARED)
    except FileNotFoundError as error:
        raise DataError(f"no file {file}: expected packed images, an .npz with images, labels, class_names.") from error
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}): expected packed images, an .npz.") from error
    arrays = {name if name in _SHARED else name.removeprefix(prefix): array for name, array in arrays.items()}
    missing = [f"{prefix}labels"] if "labels" not in arrays else []
    missing += [] if "class_names" in arrays else ["class_names"]
    missing += [] if "images" in arrays or {"jpeg", "offsets"} <= arrays.keys() else [f"{prefix}images"]
    if missing:
        raise DataError(
            f"{file} holds {', '.join(held)}, and {', '.join(missing)} is missing: expected images (or jpeg and "
            "offsets), labels and class_names; where they have a prefix such as train_, give prefix."
        )
    wrong = [
        f"{name} {arrays[name].dtype} {arrays[name].shape}"
        for name, kinds in _KINDS.items()
        if name in arrays and (arrays[name].ndim != 1 or arrays[name].dtype.kind not in kinds)
    ]
    n, n_classes = len(arrays["labels"]) if not wrong else 0, len(arrays["class_names"]) if not wrong else 0
    sizes = {"track": n, "offsets": n + 1, "class_ids": n_classes}
    wrong += [
        f"{name} {arrays[name].shape}"
        for name, size in sizes.items()
        if not wrong and name in arrays and len(arrays[name]) != size
    ]
    if wrong:
        raise DataError(
            f"{file} has {'; '.join(wrong)}: expected one axis; integers, and strings as class_names; as many tracks "
            "as labels, one more offsets, and as many class_ids as class_names."
        )
    return arrays


def _decoded(file: Path, arrays: Arrays, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    from PIL import Image

    content, offsets = arrays["jpeg"].tobytes(), arrays["offsets"].tolist()
    try:
        pictures = [Image.open(io.BytesIO(content[offsets[i] : offsets[i + 1]])).convert("RGB") for i in rows.tolist()]
        return np.stack([np.asarray(picture) for picture in pictures])
    except Exception as error:
        # Pillow's decoders raise OSError, SyntaxError, ValueError ... on a damaged file; sizes may differ, too.
        raise DataError(f"{file} holds a picture that cannot be read ({error}): copy it again.") from error

"""Omniglot: 1,623 handwritten characters of 50 alphabets, 20 drawings each, from files in a user's folder.

The folder may hold any one of these, looked for in this order:

    omniglot28_shared.npz, omniglot105_shared.npz         packed files
    images_background/ALPHABET/characterNN/NNNN_DD.png    the unpacked official folders, and images_evaluation/
    images_background.zip, images_evaluation.zip          the official files, which `download` fetches

Lake, Salakhutdinov, Tenenbaum 2015, "Human-level concept learning through probabilistic program induction", Science
350, 1332-1338.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import logging
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import numpy as np
import torch
from numpy.typing import NDArray

from regard.domains.images.folder import ImageReader
from regard.errors import DataError, StorageError, did_you_mean
from regard.sampling.dataset import Dataset
from regard.sampling.splits import split_by_group, split_by_name

URL = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python"
CHECKSUMS = {
    "images_background.zip": "68d2efa1b9178cc56df9314c21c6e718",
    "images_evaluation.zip": "6b91aef0f799c5bb55b94e3f2daec811",
}
"""MD5 of the official files."""

BACKGROUND = (
    "Alphabet_of_the_Magi",
    "Anglo-Saxon_Futhorc",
    "Arcadian",
    "Armenian",
    "Asomtavruli_(Georgian)",
    "Balinese",
    "Bengali",
    "Blackfoot_(Canadian_Aboriginal_Syllabics)",
    "Braille",
    "Burmese_(Myanmar)",
    "Cyrillic",
    "Early_Aramaic",
    "Futurama",
    "Grantha",
    "Greek",
    "Gujarati",
    "Hebrew",
    "Inuktitut_(Canadian_Aboriginal_Syllabics)",
    "Japanese_(hiragana)",
    "Japanese_(katakana)",
    "Korean",
    "Latin",
    "Malay_(Jawi_-_Arabic)",
    "Mkhedruli_(Georgian)",
    "N_Ko",
    "Ojibwe_(Canadian_Aboriginal_Syllabics)",
    "Sanskrit",
    "Syriac_(Estrangelo)",
    "Tagalog",
    "Tifinagh",
)
"""The thirty alphabets that Lake et al. train on; all others are for evaluation."""

SMALL_BACKGROUNDS = {
    "small1": ("Balinese", "Early_Aramaic", "Greek", "Korean", "Latin"),
    "small2": ("Greek", "Japanese_(katakana)", "Latin", "Sanskrit", "Tagalog"),
}
"""The two sets of five alphabets of Lake et al.'s minimal setting: about as much as a person has seen."""

_SIDE = 105
_SETS = ("images_background", "images_evaluation")
_CHUNK = 1 << 16
_logger = logging.getLogger(__name__)

Split = Literal["vinyals", "background"]
Reduce = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""A drawing as it came, ink 255, to one of the size that is wanted."""


def omniglot(folder: Path | str, *, size: int = 28, box: float | None = None) -> Dataset:
    """All characters found in the folder: uint8 (N, size, size), ink 255 on 0, named "Alphabet/characterNN".

    The class group is the alphabet. A class's drawings stand in the order of their drawers. Another size than 105 is
    made by LANCZOS from the original drawings; with `box`, the longer side of the ink is that share of the picture, as
    `ImageReader` has it.

    Raises:
        DataError: nothing of Omniglot in the folder, or files that cannot be read.
    """
    root = Path(folder).expanduser()
    reduce: Reduce = ImageReader(size, 1, "light", box).read if box else partial(_reduced, size=size)
    for side in (_SIDE,) if box else (size, _SIDE):
        packed = root / f"omniglot{side}_shared.npz"
        if packed.is_file():
            return _from_packed(packed, reduce)
    drawings = sorted((name, file, picture) for name, file, picture in _official(root, reduce))
    if not drawings:
        raise DataError(_what_to_put(root))
    names = sorted({name for name, _, _ in drawings})
    number = {name: i for i, name in enumerate(names)}
    y = torch.tensor([number[name] for name, _, _ in drawings])
    x = torch.from_numpy(np.stack([np.frombuffer(picture, np.uint8) for _, _, picture in drawings]))
    return Dataset(x.view(-1, size, size), y, tuple(names), tuple(name.split("/")[0] for name in names))


def omniglot_split(dataset: Dataset, split: Split, folder: Path | str) -> dict[str, Dataset]:
    """Published splits of the classes.

    Args:
        dataset: what `omniglot` returned.
        split: "vinyals" for "train", "validation" and "test" of Vinyals et al. 2016, read from the folder's
            splits.json; "background" for "background" and "evaluation" of Lake et al. 2015, whole alphabets.
        folder: where splits.json lies.

    Raises:
        DataError: no splits.json, or one that names other classes than the data.
    """
    if split == "background":
        present = sorted(set(dataset.class_groups))
        background = [alphabet for alphabet in present if alphabet in BACKGROUND]
        evaluation = [alphabet for alphabet in present if alphabet not in BACKGROUND]
        if not background or not evaluation:
            raise DataError(
                f"the data has {len(background)} background and {len(evaluation)} evaluation alphabets: expected some "
                "of both; is one of images_background.zip and images_evaluation.zip missing?"
            )
        return split_by_group(dataset, {"background": background, "evaluation": evaluation})
    if split != "vinyals":
        raise DataError(f"no split {split!r} of Omniglot: {did_you_mean(str(split), ('vinyals', 'background'))}")
    path = Path(folder).expanduser() / "splits.json"
    try:
        listed = json.loads(path.read_text())["vinyals_minus_lake"]
        names = {"train": listed["train"], "validation": listed["val"], "test": listed["test"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"could not read the split from {path} ({type(error).__name__}: {error}): expected JSON with "
            'vinyals_minus_lake: {"train": [...], "val": [...], "test": [...]} of names such as "Greek/character01".'
        ) from error
    return split_by_name(dataset, names)


def _from_packed(path: Path, reduce: Reduce) -> Dataset:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            names, groups = file["class_names"].tolist(), file["class_alphabet"].tolist()
            y = torch.from_numpy(file["labels"].astype(np.int64))
            if "images_packed" in file:
                bits = np.unpackbits(file["images_packed"], axis=1)[:, : _SIDE**2].reshape(-1, _SIDE, _SIDE)
                images = np.stack([reduce(ink * np.uint8(255)) for ink in bits])
            else:
                images = file["images"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is damaged or of another kind ({error}): copy it again.") from error
    return Dataset(torch.from_numpy(images), y, tuple(names), tuple(groups))


def _reduced(ink: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    from PIL import Image

    if ink.shape == (size, size):
        return ink
    return np.array(Image.fromarray(ink).resize((size, size), Image.Resampling.LANCZOS))


def _official(root: Path, reduce: Reduce) -> Iterator[tuple[str, str, bytes]]:
    """Class name, file name and pixels of every drawing of the official files."""
    for part in _SETS:
        if (root / part).is_dir():
            for path in (root / part).rglob("*.png"):
                if not path.name.startswith("."):
                    yield _drawing(path.as_posix(), path.read_bytes(), str(path), reduce)
        elif (root / f"{part}.zip").is_file():
            yield from _zipped(root / f"{part}.zip", reduce)


def _zipped(path: Path, reduce: Reduce) -> Iterator[tuple[str, str, bytes]]:
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(".png") and "__MACOSX" not in name:
                    yield _drawing(name, archive.read(name), f"{path}:{name}", reduce)
    except (zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"{path} is damaged ({error}): remove it and run `download` of this module again.") from error


def _drawing(name: str, content: bytes, where: str, reduce: Reduce) -> tuple[str, str, bytes]:
    from PIL import Image

    parts = name.split("/")
    if len(parts) < 3:
        raise DataError(f"{where} lies at the wrong depth: expected ALPHABET/characterNN/NNNN_DD.png.")
    try:
        with Image.open(io.BytesIO(content)) as picture:
            grey = np.array(picture.convert("L"))
    except Exception as error:
        # Pillow's decoders raise OSError, SyntaxError, ValueError ... on a damaged file.
        raise DataError(f"{where} is not a picture ({error}): unpack or download it again.") from error
    return f"{parts[-3]}/{parts[-2]}", parts[-1], reduce(255 - grey).tobytes()


def _what_to_put(folder: Path, url: str = URL) -> str:
    return (
        f"put {' and '.join(CHECKSUMS)} into {folder}, from {url}/ or any copy of github.com/brendenlake/omniglot "
        "(python/), zipped or unpacked; with a network, `regard.domains.images.omniglot.download(folder)` does it."
    )


@dataclass(frozen=True)
class _Source:
    """A file on a server: its address, what it must hold, and where it goes."""

    url: str
    checksum: str
    path: Path

    @property
    def partial(self) -> Path:
        """What came so far."""
        return self.path.with_name(self.path.name + ".part")


def download(
    folder: Path | str, *, url: str = URL, checksums: dict[str, str] | None = None, timeout: float = 30.0
) -> None:
    """Fetch the official files. One that is there and whole is left alone; one that came in part is continued.

    Args:
        folder: where to put them; made where absent.
        url: the folder on the server.
        checksums: MD5 by file name, where other files than the official ones are wanted.
        timeout: seconds to wait for the server.

    Raises:
        DataError: no network, a server that refuses, or a file that is not the expected one. What came is kept.
        StorageError: the folder cannot be written or the disk is full.
    """
    root = Path(folder).expanduser()
    try:
        root.mkdir(parents=True, exist_ok=True)
        for name, checksum in (checksums or CHECKSUMS).items():
            _fetch(_Source(f"{url}/{name}", checksum, root / name), timeout)
    except (URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
        raise DataError(
            f"could not download from {url} ({error}): check the network and call again to continue, or "
            f"{_what_to_put(root, url)}"
        ) from error
    except OSError as error:
        raise StorageError(
            error.errno, f"could not write to {root} ({error}): free some space or choose another folder."
        ) from error


def _fetch(source: _Source, timeout: float) -> None:
    if source.path.is_file() and _md5(source.path) == source.checksum:
        return
    if not _complete(source):
        _receive(source, timeout)
    if not _complete(source):
        found = _md5(source.partial)
        source.partial.unlink()
        raise DataError(
            f"{source.url} has the MD5 {found}: expected {source.checksum}. It was removed; call again, and if it "
            "comes the same, the server holds another file."
        )
    source.partial.replace(source.path)


def _complete(source: _Source) -> bool:
    return source.partial.is_file() and _md5(source.partial) == source.checksum


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        # It guards against accidents of transport, not against forgery.
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _receive(source: _Source, timeout: float) -> None:
    """Append what is missing, or start from scratch where the server does not know how to continue."""
    have = source.partial.stat().st_size if source.partial.is_file() else 0
    request = Request(source.url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urlopen(request, timeout=timeout) as answer:
            continued = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            _logger.info("%s %s", "continuing" if continued else "downloading", source.url)
            with source.partial.open("ab" if continued else "wb") as file:
                length = answer.headers.get("Content-Length")
                received = 0
                while chunk := answer.read(_CHUNK):
                    file.write(chunk)
                    received += len(chunk)
                if length is not None and received < int(length):
                    raise ConnectionError(f"the connection ended after {received} of {length} bytes")
    except HTTPError as error:
        if error.code != 416 or not have:
            raise
        # More is here than the server has: something else came before.
        source.partial.unlink()
        _receive(source, timeout)

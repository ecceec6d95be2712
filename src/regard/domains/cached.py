"""Arrays that take a while to make, made once and kept in a file with a digest of what it holds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from regard.domains.npz import Arrays, read_npz
from regard.errors import DataError, StorageError
from regard.files import cache_folder, write_whole

_DIGEST = "sha256"
_logger = logging.getLogger(__name__)


def cached(
    what: str,
    settings: Mapping[str, object],
    make: Callable[[], Arrays],
    folder: Path | str | None = None,
    packages: Sequence[str] = ("matplotlib", "pillow", "torch"),
) -> Arrays:
    """What `make` returns, or what it returned when it was last called with these settings.

    A file that is damaged, or whose arrays have not the digest that was written with them, is made again.

    Args:
        what: for the file's name and for people, such as "glyphs".
        settings: all that the arrays depend on, a number of their format among it.
        make: makes them; no array may be of objects.
        folder: of the file; defaults to `cache_folder()`. One that cannot be written costs a warning.
        packages: whose versions the arrays depend on; by default those of pictures: the fonts' carrier, and who
            reduces and distorts them.
    """
    versions = tuple(version(package) for package in packages)
    key = sha256(repr((versions, sorted(settings.items()))).encode()).hexdigest()[:16]
    path = Path(folder or cache_folder()) / f"{what}-{key}.npz"
    try:
        arrays, _ = read_npz(path)
        digest = arrays.pop(_DIGEST, None)
        if digest is not None and digest.tobytes() == _digest(arrays):
            return arrays
        _logger.warning("The cached %s %s has not the SHA-256 written with it: making it again.", what, path)
    except FileNotFoundError:
        pass
    except (DataError, OSError) as error:
        _logger.warning("Could not read the cached %s %s (%s): making them again.", what, path, error)
    arrays = make()

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            held: dict[str, Any] = {**arrays, _DIGEST: np.frombuffer(_digest(arrays), np.uint8)}
            np.savez_compressed(file, **held)

    # A full disk or a read-only folder must not stop anybody's work.
    try:
        write_whole(path, write)
    except StorageError as error:
        _logger.warning(
            "Could not cache the %s (%s): they will be made again next time; set REGARD_CACHE to a folder that can be "
            "written.",
            what,
            error,
        )
    return arrays


def _digest(arrays: Arrays) -> bytes:
    digest = sha256()
    for name, array in sorted(arrays.items()):
        digest.update(repr((name, array.dtype.str, array.shape)).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.digest()

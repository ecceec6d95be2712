"""Arrays that take a while to make, made once and kept in a file."""

from __future__ import annotations

import logging
import zipfile
import zlib
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.errors import StorageError
from regard.files import cache_folder, write_whole

Arrays = dict[str, NDArray[Any]]
_logger = logging.getLogger(__name__)


def cached(
    what: str, settings: Mapping[str, object], make: Callable[[], Arrays], folder: Path | str | None = None
) -> Arrays:
    """What `make` returns, or what it returned when it was last asked with these settings.

    Args:
        what: for the file's name and for people, such as "glyphs".
        settings: all that the arrays depend on, a number of their format among it.
        make: makes them; no array may be of objects.
        folder: of the file; `cache_folder()` by default. One that cannot be written costs a warning.
    """
    path = Path(folder or cache_folder()) / f"{what}-{_key(settings)}.npz"
    arrays = _read(path, what)
    if arrays is None:
        arrays = make()
        _store(path, arrays, what)
    return arrays


def _key(settings: Mapping[str, object]) -> str:
    """A digest of all that the pictures depend on: settings, the fonts' carrier, and who reduces and distorts them."""
    import matplotlib
    import PIL
    import torch

    versions = (matplotlib.__version__, PIL.__version__, torch.__version__)
    return sha256(repr((versions, sorted(settings.items()))).encode()).hexdigest()[:16]


def _read(path: Path, what: str) -> Arrays | None:
    """The cached arrays, or None where there are none that can be read."""
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        _logger.warning("Could not read the cached %s %s (%s): making them again.", what, path, error)
        return None


def _store(path: Path, arrays: Arrays, what: str) -> None:
    """Cache the arrays where possible: a full disk or a read-only folder must not stop anybody's work."""

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]

    try:
        write_whole(path, write)
    except StorageError as error:
        _logger.warning(
            "Could not cache the %s (%s): they will be made again next time; set REGARD_CACHE to a folder that can be "
            "written.",
            what,
            error,
        )

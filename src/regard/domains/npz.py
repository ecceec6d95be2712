"""Arrays of an .npz file, with its sizes checked before anything is unpacked.

NumPy allocates what an array's header claims and zip unpacks what deflate makes of three megabytes. Here both are held
against `regard.limits` first.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.errors import DataError
from regard.limits import ARRAY_HEADER_BYTES, UNPACKED_BYTES, UNPACKED_FREE_BYTES, UNPACKED_RATIO

Arrays = dict[str, NDArray[Any]]


def read_npz(path: Path, wanted: Callable[[str], bool] = lambda name: True) -> tuple[Arrays, list[str]]:
    """The wanted arrays by name, and the names of all.

    Raises:
        FileNotFoundError: no such file.
        DataError: a damaged file, one of another kind, or one that unpacks to more than the limits.
    """
    if path.exists() and not path.is_file():
        raise DataError(f"{path} is not a file: expected an .npz.")
    try:
        with path.open("rb") as opened, zipfile.ZipFile(opened) as archive:
            infos = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            if len(infos) != len(archive.infolist()):
                raise ValueError("two arrays have one name")
            chosen = {name: info for name, info in infos.items() if wanted(name)}
            check_unpacked(sum(info.file_size for info in chosen.values()), path.stat().st_size)
            arrays: Arrays = {}
            for name, info in chosen.items():
                with archive.open(info) as file:
                    arrays[name] = _array(file, info.file_size)
            return arrays, list(infos)
    except FileNotFoundError:
        raise
    except DataError as error:
        raise DataError(f"{path} was not read: {error}.") from error
    except Exception as error:
        # zipfile, zlib, lzma, struct, ast and numpy raise a dozen kinds between them on changed bytes.
        raise DataError(f"{path} is damaged or of another kind ({error}): copy it again.") from error


def check_unpacked(unpacked: int, packed: int) -> None:
    """Raise unless an archive of `packed` bytes may unpack to so many.

    Raises:
        DataError: beyond the limits.
    """
    most = min(UNPACKED_BYTES, UNPACKED_FREE_BYTES + UNPACKED_RATIO * packed)
    if unpacked > most:
        raise DataError(
            f"it unpacks from {packed} to {unpacked} bytes, and expected were at most {most}; if it is meant so, raise "
            "the limits in regard.limits"
        )


def _array(file: Any, size: int) -> NDArray[Any]:
    """One .npy of `size` bytes."""
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(file)
    if version not in read:
        raise ValueError(f"an array of .npy version {version}")
    shape, fortran, dtype = read[version](file, max_header_size=ARRAY_HEADER_BYTES)
    if dtype.hasobject:
        raise ValueError("an array of Python objects, which was not read, since that can run any code")
    n_bytes = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or n_bytes != size - file.tell():
        raise ValueError(f"an array of {n_bytes} bytes in {size - file.tell()}")
    flat = np.empty(math.prod(shape), dtype)
    view, done = flat.view(np.uint8) if n_bytes else np.empty(0, np.uint8), 0
    while done < n_bytes:
        chunk = file.read(min(2**24, n_bytes - done))
        if not chunk:
            raise EOFError("an array ends early")
        view[done : done + len(chunk)] = np.frombuffer(chunk, np.uint8)
        done += len(chunk)
    if file.read(1):  # and the checksum of the archive is compared at its end
        raise ValueError("an array goes on after its end")
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)

"""Files written whole or not at all, and folders for caches."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from regard.errors import StorageError

_UMASK = threading.Lock()


def write_whole(path: Path, content: bytes | Callable[[Path], None]) -> None:
    """Write next to `path`, flush to the disk, then rename: a reader sees the old file or the new one, never half.

    Args:
        path: where to; its folder is made.
        content: the bytes, or a function that writes the file it is given.

    Raises:
        StorageError: the folder cannot be written or the disk is full; the old file, if any, is untouched.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        if isinstance(content, bytes):
            temporary.write_bytes(content)
        else:
            content(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        with _UMASK:  # there is no way to read it but to set it, and two threads would leave it at 0
            umask = os.umask(0)
            os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        reason = error.strerror or error
        remedy = "nothing was changed; free some space or choose another folder."
        raise StorageError(error.errno, f"could not write {path} ({reason}): {remedy}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def make_folder(folder: Path, what: str = "the folder") -> Path:
    """Make a folder, and those that it lies in.

    Raises:
        StorageError: something else has its name, or it may not be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        taken = isinstance(error, FileExistsError | NotADirectoryError)
        reason = "a file has this name" if taken else error.strerror or error
        raise StorageError(error.errno, f"{what} {folder} cannot be made ({reason}): choose another.") from error
    return folder


def _sync_folder(folder: Path) -> None:
    """Flush the renaming itself, which a power cut could otherwise undo; not possible on Windows."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def clear_temporary(folder: Path, *names: str) -> None:
    """Delete what interrupted calls of `write_whole` for these names left in the folder."""
    for name in names:
        for stale in folder.glob(f".{name}.*"):
            stale.unlink(missing_ok=True)


def cache_folder() -> Path:
    """$REGARD_CACHE, else $XDG_CACHE_HOME/regard, else ~/.cache/regard. Not made here."""
    chosen = os.environ.get("REGARD_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "regard"

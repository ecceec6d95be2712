"""What a frozen body makes of items, kept on disk: encoded once, however many runs need it.

One SQLite file: safe with several processes, and an interrupted write leaves nothing half. A row is a float16 array by
its key, with a checksum; a row that is damaged is dropped and encoded again, a damaged file is begun again. When the
rows outgrow the limit, the oldest go.

A key says everything that the array depends on: the space (body, layers, processor) and the content of the item.
"""

from __future__ import annotations

import sqlite3
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from regard.errors import StorageError
from regard.files import cache_folder, make_folder

_TABLE = """CREATE TABLE IF NOT EXISTS encodings
    (number INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB UNIQUE, shape TEXT, content BLOB, digest BLOB)"""
_SECONDS = 60.0
"""How long a process waits for another one that writes."""
_AT_ONCE = 256


class EncodingCache:
    """Arrays by key, on disk.

    Args:
        file: of the cache; by default encodings.sqlite in `regard.files.cache_folder`.
        most_bytes: that the arrays may take together.

    Raises:
        StorageError: the folder cannot be made.

    Examples:
        >>> import tempfile, torch
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     cache = EncodingCache(Path(folder) / "cache.sqlite")
        ...     cache.put([b"a"], [torch.ones(2, 3)])
        ...     [found if found is None else tuple(found.shape) for found in cache.get([b"a", b"b"])]
        [(2, 3), None]
    """

    def __init__(self, file: Path | None = None, most_bytes: int = 4 << 30) -> None:
        self.file = file or cache_folder() / "encodings.sqlite"
        self.most_bytes = most_bytes
        make_folder(self.file.parent, "the cache of encoded items")

    def get(self, keys: Sequence[bytes]) -> list[Tensor | None]:
        """The float16 arrays of these keys; None for those that are not there."""
        found: dict[bytes, Tensor] = {}
        damaged: list[tuple[bytes]] = []
        with self._connection() as connection:
            for first in range(0, len(keys), _AT_ONCE):
                some = list(keys[first : first + _AT_ONCE])
                marks = ",".join("?" * len(some))
                query = f"SELECT key, shape, content, digest FROM encodings WHERE key IN ({marks})"
                for key, shape, content, digest in connection.execute(query, some):
                    if blake2b(content, digest_size=16).digest() != digest:
                        damaged.append((key,))
                        continue
                    array = np.frombuffer(content, dtype=np.float16).reshape([int(n) for n in shape.split()])
                    found[key] = torch.from_numpy(array.copy())
            if damaged:
                connection.executemany("DELETE FROM encodings WHERE key = ?", damaged)
        return [found.get(key) for key in keys]

    def put(self, keys: Sequence[bytes], arrays: Sequence[Tensor]) -> None:
        """Keep arrays, as float16; a key that is there already keeps its own."""
        rows = []
        for key, tensor in zip(keys, arrays, strict=True):
            content = tensor.detach().to("cpu", torch.float16).contiguous().numpy().tobytes()
            shape = " ".join(str(n) for n in tensor.shape)
            rows.append((key, shape, content, blake2b(content, digest_size=16).digest()))
        with self._connection() as connection:
            insert = "INSERT OR IGNORE INTO encodings (key, shape, content, digest) VALUES (?, ?, ?, ?)"
            connection.executemany(insert, rows)
            (size,) = connection.execute("SELECT COALESCE(SUM(LENGTH(content)), 0) FROM encodings").fetchone()
            while size > self.most_bytes:
                oldest = connection.execute(
                    "SELECT number, LENGTH(content) FROM encodings ORDER BY number LIMIT ?", (_AT_ONCE,)
                ).fetchall()
                for number, length in oldest:
                    connection.execute("DELETE FROM encodings WHERE number = ?", (number,))
                    size -= length
                    if size <= self.most_bytes:
                        break

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """One transaction; a file that is no database is begun again."""
        try:
            with closing(self._open()) as connection, connection:
                yield connection
        except sqlite3.OperationalError as error:
            raise StorageError(
                f"the cache {self.file} cannot be used ({error}): free some space, or set REGARD_CACHE to a folder "
                "that can be written."
            ) from error

    def _open(self) -> sqlite3.Connection:
        for attempt in range(2):
            connection = sqlite3.connect(self.file, timeout=_SECONDS)
            try:
                connection.execute(_TABLE)
                return connection
            except sqlite3.OperationalError:
                connection.close()
                raise
            except sqlite3.DatabaseError as error:
                connection.close()
                if attempt:
                    raise
                warnings.warn(f"the cache {self.file} is damaged ({error}): begun again.", UserWarning, stacklevel=5)
                self.file.unlink(missing_ok=True)
        raise AssertionError


def encode_cached(
    cache: EncodingCache | None,
    space: str,
    contents: Sequence[bytes],
    encode: Callable[[list[int]], Sequence[Tensor]],
    *,
    sizes: Sequence[int] | None = None,
    batch: int = 64,
    title: str = "encoding",
) -> list[Tensor]:
    """One float16 array per item: from the cache, or encoded and kept.

    Args:
        cache: None keeps nothing.
        space: what the arrays depend on besides the items, such as the body's hash, the layer and the processor.
        contents: N items as bytes; equal items are encoded once.
        encode: numbers of items to their arrays.
        sizes: of the items, such as their numbers of tokens: items of like size are encoded together.
        batch: items at once.
        title: of the progress bar, which a terminal shows.

    Returns:
        N tensors.
    """
    keys = [
        blake2b(content, key=blake2b(space.encode()).digest()[:32], digest_size=24).digest() for content in contents
    ]
    found = dict(zip(keys, cache.get(keys), strict=True)) if cache is not None else dict.fromkeys(keys)
    first = {key: i for i, key in reversed(list(enumerate(keys)))}
    missing = [i for key, i in first.items() if found[key] is None]
    missing.sort(key=lambda i: sizes[i] if sizes is not None else 0, reverse=True)
    batches = [missing[start : start + batch] for start in range(0, len(missing), batch)]
    shown = len(batches) > 1 and sys.stderr.isatty()
    for rows in track(batches, title, console=Console(stderr=True), disable=not shown):
        arrays = [array.detach().to("cpu", torch.float16) for array in encode(rows)]
        some = [keys[i] for i in rows]
        found.update(zip(some, arrays, strict=True))
        if cache is not None:
            cache.put(some, arrays)
    result = [found[key] for key in keys]
    return [array for array in result if array is not None]

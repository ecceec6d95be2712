"""The cache of encoded items: what was kept comes back, whatever is damaged does not, and two processes share it."""

from __future__ import annotations

import multiprocessing
import sqlite3
from pathlib import Path

import pytest
import torch

from regard.nn.encoding_cache import EncodingCache, encode_cached


def keys(*numbers: int) -> list[bytes]:
    return [bytes([n]) for n in numbers]


def test_what_was_put_is_got(tmp_path: Path) -> None:
    cache = EncodingCache(tmp_path / "c.sqlite")
    arrays = [torch.randn(n, 4).half() for n in (1, 5, 3)]
    cache.put(keys(1, 2, 3), arrays)
    found = EncodingCache(tmp_path / "c.sqlite").get(keys(3, 9, 1))
    assert found[1] is None
    assert found[0] is not None and torch.equal(found[0], arrays[2])
    assert found[2] is not None and torch.equal(found[2], arrays[0])


def test_a_damaged_row_is_dropped_and_a_damaged_file_begun_again(tmp_path: Path) -> None:
    file = tmp_path / "c.sqlite"
    cache = EncodingCache(file)
    cache.put(keys(1, 2), [torch.ones(2), torch.ones(2)])
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE encodings SET content = x'00003c00' WHERE key = ?", (b"\x01",))
    connection.close()
    found = cache.get(keys(1, 2))
    assert found[0] is None and found[1] is not None
    file.write_bytes(b"this is no database, and long enough for a header of one" * 20)
    with pytest.warns(UserWarning, match="is damaged"):
        assert cache.get(keys(2)) == [None]


def test_the_oldest_rows_go_first(tmp_path: Path) -> None:
    cache = EncodingCache(tmp_path / "c.sqlite", most_bytes=50)
    for n in range(5):
        cache.put(keys(n), [torch.zeros(10)])
    assert [found is not None for found in cache.get(keys(0, 1, 2, 3, 4))] == [False, False, False, True, True]


def put_many(file: Path, first: int) -> None:
    cache = EncodingCache(file)
    for n in range(first, first + 20):
        cache.put(keys(n), [torch.full((3,), float(n))])


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=put_many, args=(tmp_path / "c.sqlite", first)) for first in (0, 10)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    found = EncodingCache(tmp_path / "c.sqlite").get(keys(*range(30)))
    assert [None if t is None else float(t[0]) for t in found] == list(range(30))


def test_items_are_encoded_once(tmp_path: Path) -> None:
    calls: list[list[int]] = []

    def encode(rows: list[int]) -> list[torch.Tensor]:
        calls.append(rows)
        return [torch.tensor([float(contents[row][0])]) for row in rows]

    contents = keys(7, 8, 7, 9)
    cache = EncodingCache(tmp_path / "c.sqlite")
    for _ in range(2):
        got = encode_cached(cache, "body/2", contents, encode, sizes=[1, 3, 1, 2], batch=2)
        assert [float(t) for t in got] == [7, 8, 7, 9]
    assert calls == [[1, 3], [0]]  # long ones first, equal ones once, and nothing the second time
    encode_cached(cache, "body/3", contents[:1], encode)
    assert len(calls) == 3
    encode_cached(None, "body/2", contents[:1], encode)
    assert len(calls) == 4

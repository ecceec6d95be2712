"""Whole files or none: the file and its folder are flushed, in that order, and nothing half written stays."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from regard.errors import StorageError
from regard.files import cache_folder, clear_temporary, write_whole


def test_the_file_is_flushed_before_it_is_renamed_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            done.append("folder")
        else:
            assert os.fstat(handle).st_size == 3, "flushed before it was written"
            done.append("file")
        fsync(handle)

    def noted_replace(self: Path, target: Path) -> Path:
        done.append("renamed")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    write_whole(tmp_path / "new" / "a", b"abc")
    assert done == ["file", "renamed", "folder"]
    assert (tmp_path / "new" / "a").read_bytes() == b"abc"


def test_it_is_as_readable_as_any_new_file(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", lambda path: path.write_text("x") and None)
    (tmp_path / "b").write_text("x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")

    def fail(path: Path) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match=r"No space left.*nothing was changed") as caught:
        write_whole(tmp_path / "a", fail)
    assert caught.value.errno == 28
    assert [path.name for path in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_text() == "old"


def test_what_a_kill_left_is_cleared_by_name(tmp_path: Path) -> None:
    for name in (".a.x1", ".a.x2", ".b.x1", "a", ".a"):
        (tmp_path / name).write_text("x")
    clear_temporary(tmp_path, "a")
    assert {path.name for path in tmp_path.iterdir()} == {".b.x1", "a", ".a"}


def test_caches_lie_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGARD_CACHE", "/x")
    monkeypatch.setenv("XDG_CACHE_HOME", "/y")
    assert cache_folder() == Path("/x")
    monkeypatch.delenv("REGARD_CACHE")
    assert cache_folder() == Path("/y/regard")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert cache_folder() == Path.home() / ".cache" / "regard"

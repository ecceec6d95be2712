"""The page on Keras runs, block by block, on each backend."""

from __future__ import annotations

from pathlib import Path

import pytest

from pages import ROOT, code_blocks

pytest.importorskip("keras", reason="needs the extra keras")


def test_blocks_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = list(code_blocks((ROOT / "docs" / "how-to" / "keras.md").read_text(), "py"))
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks:
        exec(compile(block, "keras.md", "exec"), names)
    assert len(blocks) == 4

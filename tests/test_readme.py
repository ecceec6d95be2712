"""What the README says is executed: its Python runs, and its two commands are the ones CI relies on."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from pages import ROOT, code_blocks, local_links

README = (ROOT / "README.md").read_text()


def test_the_two_commands_are_marked_and_pinned() -> None:
    for mark in ("main-job", "tests"):
        found = re.search(rf"<!-- run: {mark} -->\n```sh\n(.*?)\n```", README, re.S)
        assert found is not None and "--constraint constraints.txt" in found[1]
        assert found[1].count("\n") == 0, "one command each"
    assert "torch==" in (ROOT / "constraints.txt").read_text()


def test_python_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    drawings = rng.integers(0, 255, (4, 28, 28), dtype=np.uint8)
    names = {"drawings": drawings, "labels": ["a", "b", "c", "d"], "new_drawings": drawings[:2]}
    for block in code_blocks(README, "python"):
        exec(block, names)  # the reader's own images and labels are given, nothing else
    assert names["model"].attention(drawings).shape == (4, 4)  # type: ignore[attr-defined]
    assert names["logits"].shape == (1, 75, 5)  # type: ignore[attr-defined]


def test_the_library_example_is_short_and_offline() -> None:
    [block] = [block for block in code_blocks(README, "python") if "EpisodeSampler" in block]
    assert len([line for line in block.splitlines() if line.strip()]) <= 18
    assert "http" not in block and "download" not in block


def test_every_file_that_the_readme_links_to_is_there() -> None:
    for target in local_links(README):
        assert (ROOT / target).exists(), target

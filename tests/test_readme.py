"""What the README says is executed: its Python runs, and its two commands are the ones CI relies on."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from regard.recipes.config import Recipe
from regard.recipes.run import train_recipe

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)\n```", README, re.S)


def test_the_two_commands_are_marked_and_pinned() -> None:
    for mark in ("main-job", "tests"):
        found = re.search(rf"<!-- run: {mark} -->\n```sh\n(.*?)\n```", README, re.S)
        assert found is not None and "--constraint constraints.txt" in found[1]
        assert found[1].count("\n") == 0, "one command each"
    assert "torch==" in (ROOT / "constraints.txt").read_text()


def test_python_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = ["train.steps=2", "train.max_minutes=null", "train.validation_episodes=2", "train.tensorboard=false"]
    train_recipe(Recipe.read("glyphs", [*small, "learner.encoder.n_filters=8"]), tmp_path / "quickstart")
    rng = np.random.default_rng(0)
    drawings = rng.integers(0, 255, (4, 28, 28), dtype=np.uint8)
    known = {"drawings": drawings, "names": ["a", "b", "c", "d"], "new_drawings": drawings[:2]}
    for block in blocks("python"):
        exec(block, known)  # the reader's own names are given, nothing else
    model = known["model"]
    assert model.attention(drawings).shape == (4, 4)  # type: ignore[attr-defined]


def test_every_file_that_the_readme_links_to_is_there() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target

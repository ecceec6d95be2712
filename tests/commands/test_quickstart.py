"""The quickstart trains a fixed number of steps: the same seed gives the same figures, however busy the machine."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from regard.commands import quickstart as module
from regard.commands.quickstart import ATTENTION, BASELINE, quickstart
from regard.evaluation.confidence import Confidence
from regard.training import load_checkpoint


def figures(folder: Path) -> list[dict[str, object]]:
    """What the page reports, without the seconds that it took."""
    results = json.loads((folder / "results.json").read_text())["results"]
    return [{k: v for k, v in r.items() if "seconds" not in k} for r in results]


def test_the_same_seed_gives_the_same_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = {ATTENTION: 3, BASELINE: 4}
    monkeypatch.setattr(module, "STEPS", steps)
    # The page and what only it shows have tests of their own.
    monkeypatch.setattr(module, "calibrate", lambda *_, **__: SimpleNamespace(confidence=Confidence()))
    for name in ("show_calibrated", "attention_examples", "faithfulness", "_content", "write_report"):
        monkeypatch.setattr(module, name, lambda *_, **__: None)
    pages = [quickstart(tmp_path / name, n_episodes=4, seed=1, console=Console(quiet=True)) for name in "ab"]
    a, b = (figures(page.parent) for page in pages)
    assert a == b and {r["learner"] for r in a} >= {ATTENTION, BASELINE}
    for name, count in steps.items():
        one, two = (load_checkpoint(page.parent / name / "best.safetensors") for page in pages)
        assert one.step == count
        assert all(one.all_tensors[key].equal(two.all_tensors[key]) for key in one.all_tensors)

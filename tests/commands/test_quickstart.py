"""The quickstart trains a fixed number of steps: the same seed gives the same figures, however busy the machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from regard.commands import quickstart as module
from regard.commands.quickstart import ATTENTION, BASELINE, STEPS, quickstart
from regard.training import load_checkpoint


def figures(folder: Path) -> list[dict[str, object]]:
    """What the page reports, without the seconds that it took."""
    results = json.loads((folder / "results.json").read_text())["results"]
    return [{k: v for k, v in r.items() if "seconds" not in k} for r in results]


def test_the_same_seed_gives_the_same_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEPS", {ATTENTION: 3, BASELINE: 4})
    console = Console(quiet=True)
    pages = [quickstart(tmp_path / name, n_episodes=4, seed=1, console=console) for name in "ab"]
    a, b = (figures(page.parent) for page in pages)
    assert a == b and {r["learner"] for r in a} >= {ATTENTION, BASELINE}
    for name, steps in module.STEPS.items():
        one, two = (load_checkpoint(page.parent / name / "best.safetensors") for page in pages)
        assert one.step == steps
        assert all(one.all_tensors[key].equal(two.all_tensors[key]) for key in one.all_tensors)


def test_the_default_is_a_number_of_steps_and_minutes_may_cut_it() -> None:
    assert module._length(ATTENTION, None) == (f"train.steps={STEPS[ATTENTION]}", "train.max_minutes=null")
    assert module._length(BASELINE, 0.5) == ("train.max_minutes=0.5",)

"""Every script in examples/ runs as a user runs it, in seconds, and prints what it promises."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from pages import ROOT

SCRIPTS = sorted((ROOT / "examples").glob("*.py"))
ARGUMENTS = {"maml_on_your_module": ["20"], "compare_two_methods": ["20"]}
EXPECTED = {
    "compare_two_methods": "Prototypical - Matching: ",
    "explain_an_answer": "contribution for query 0:",
    "maml_on_your_module": "squared error after: ",
    "own_images": "K/64.png: K, from K/48.png",
    "own_table": "[155, 'red', 7.9]: apple",
    "own_texts": "'change the flight to Monday': travel",
    "resume_and_many_processes": "resumed equals uninterrupted: True",
    "write_a_learner": "keeps all laws",
}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_an_example_runs(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(script), *ARGUMENTS.get(script.stem, [])])
    runpy.run_path(str(script), run_name="__main__")
    assert EXPECTED[script.stem] in capsys.readouterr().out


def test_each_example_is_short_and_says_how_to_run_it() -> None:
    for script in SCRIPTS:
        text = script.read_text()
        assert f"python examples/{script.name}" in text and len(text.splitlines()) <= 80

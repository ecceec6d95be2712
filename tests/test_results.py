"""What is published is what was measured."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

TABLES = Path(__file__).parents[1] / "benchmarks" / "tables.py"


def test_the_pages_are_made_from_the_raw_results_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(TABLES.parent)
    monkeypatch.setattr(sys, "argv", [str(TABLES), "--check"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(TABLES), run_name="__main__")
    assert not ended.value.code, ended.value.code


def test_a_stale_page_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(TABLES.parent)
    tables = runpy.run_path(str(TABLES))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "results.md").write_text("# Results of last year\n")
    (tmp_path / "README.md").write_text((TABLES.parents[1] / "README.md").read_text())
    monkeypatch.setitem(tables["main"].__globals__, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", [str(TABLES), "--check"])
    with pytest.raises(SystemExit, match=r"out of date: results\.md"):
        tables["main"]()


def test_the_page_on_choosing_has_no_figure_of_its_own() -> None:
    docs = TABLES.parents[1] / "docs"
    told = (docs / "choosing.md").read_text()
    known = (docs / "results.md").read_text() + (TABLES.parents[1] / "README.md").read_text()
    figures = set(re.findall(r"\d+(?:\.\d+)? ± \d+(?:\.\d+)?|\d+\.\d+", told)) - {"1.2"}  # a difference of two of them
    stale = [figure for figure in figures if figure not in known]
    assert len(figures) > 40 and not stale, f"docs/choosing.md says {stale}, docs/results.md does not: take its figures"

"""What is published is what was measured, and every script that measured it starts."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
DOCS = ROOT / "docs"
SCRIPTS = sorted(p.stem for p in BENCHMARKS.glob("*.py") if p.stem not in ("common", "peers", "published"))
FIGURE = r"\d+(?:\.\d+)? ± \d+(?:\.\d+)?|\d+\.\d+"


@pytest.fixture(autouse=True, scope="module")
def importable() -> Iterator[None]:
    """The scripts as modules, each loaded once; afterwards their plain names are free again."""
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(BENCHMARKS)):
            del sys.modules[name]


def script(name: str) -> dict[str, Any]:
    return vars(import_module(name))


def pages() -> str:
    """All that is rendered."""
    results = "".join(path.read_text() for path in sorted((DOCS / "results").glob("*.md")))
    return results + (ROOT / "README.md").read_text()


def test_the_pages_are_rendered_from_the_raw_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["render.py", "--check"])
    with pytest.raises(SystemExit) as ended:
        script("render")["main"]()
    assert not ended.value.code, ended.value.code


def test_a_stale_page_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shutil.copytree(DOCS / "results", tmp_path / "docs" / "results")
    shutil.copy(ROOT / "README.md", tmp_path)
    for page in (tmp_path / "docs" / "results" / "characters.md", tmp_path / "README.md"):
        page.write_text(page.read_text().replace("98.8 ± 0.2", "99.9 ± 0.2"))
    monkeypatch.setattr(sys, "argv", ["render.py", "--check"])
    with pytest.raises(SystemExit, match=r"out of date: README\.md, characters\.md"):
        script("render")["main"](tmp_path)


def test_a_section_without_a_page_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    with pytest.raises(SystemExit, match="'bf16_cost' stands on 0 pages"):
        script("common")["rendered"](script("bf16_cost")["SECTIONS"], tmp_path)


def test_every_file_of_raw_results_is_rendered() -> None:
    rendered = {section.raw for section in script("render")["sections"]()}
    assert rendered == {path.name for path in (BENCHMARKS / "results").glob("*.json")}


def test_every_script_with_sections_is_rendered() -> None:
    listed = set(script("render")["SCRIPTS"]) - {"published"}  # the sections of paper_tables
    having = {name for name in SCRIPTS if name != "render" and script(name)["SECTIONS"]}
    assert having - {"paper_tables"} == listed


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "results.md").read_text()
    assert all(f"(results/{page.name})" in index for page in (DOCS / "results").glob("*.md"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_starts_and_the_readme_has_a_line_for_it(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        script(name)["main"]()
    assert ended.value.code == 0 and "usage" in capsys.readouterr().out
    assert re.search(rf"^\| `{name}\.py` ", (BENCHMARKS / "README.md").read_text(), re.MULTILINE)


def commands(content: Any) -> Iterator[str]:
    """Every command that a file of raw results names."""
    if isinstance(content, str):
        if content.startswith("python benchmarks/"):
            yield content
    elif isinstance(content, dict | list):
        for value in content.values() if isinstance(content, dict) else content:
            yield from commands(value)


@pytest.mark.parametrize("path", sorted((BENCHMARKS / "results").glob("*.json")), ids=lambda path: path.stem)
def test_the_commands_that_made_the_results_still_parse(path: Path) -> None:
    for command in set(commands(json.loads(path.read_text()))):
        _, file, *rest = shlex.split(command)
        script(Path(file).stem)["parser"]().parse_args(rest)


def test_wilsons_interval_of_lakes_runs_comes_from_the_raw_errors() -> None:
    lake = script("lake")
    raw = json.loads((BENCHMARKS / "results" / "lake_runs.json").read_text())["errors"]
    shipped = raw[lake["SHIPPED"]][lake["LAKES_RUNS"]]
    assert lake["n_errors"](shipped, 8) == (4, 400) and lake["n_errors"](shipped, 1) == (3, 400)
    for views in (1, 8):
        # The bounds are the shares p0 from which the share found is 1.96 standard errors of p0 away.
        found, n = np.mean(shipped[str(views)]), 400
        p0 = np.linspace(1e-6, 0.1, 1_000_001)
        inside = p0[np.abs(found - p0) <= 1.959964 * np.sqrt(p0 * (1 - p0) / n)]
        interval = lake["wilson"](shipped, views)
        assert [interval.low, interval.high] == pytest.approx([100 * inside[0], 100 * inside[-1]], abs=2e-4)
    s = lake["wilson"](shipped, 8)
    assert f"{s.mean:.1f} {s.low:.1f} {s.high:.1f}" == "1.0 0.4 2.5"


def test_a_command_is_told_without_folders_of_this_machine() -> None:
    command_line = script("common")["command_line"]
    typed = [
        "/home/me/lake.py",
        "--data",
        "/my/data",
        "--only",
        "fonts",
        "small1",
        "--out=x.json",
        "--test=/t",
        "--runs",
        "r",
    ]
    assert command_line(typed) == "python benchmarks/lake.py --data FOLDER --only fonts small1 --test TEST"


def test_contenders_are_timed_in_turns() -> None:
    common, calls = script("common"), list[str]()
    steps = {name: lambda name=name: calls.append(name) for name in "ab"}
    seconds = common["interleaved"](steps, 2, warm_up=1, repeats={"b": 2})
    assert "".join(calls) == "ab" + 2 * "abb" and all(len(values) == 2 for values in seconds.values())
    assert common["times_as_fast"]({"a": [1.0, 4.0, 3.0], "b": [0.5, 1.0, 1.0]}, "a") == {"a": 1.0, "b": 3.0}


def test_the_page_on_choosing_has_no_figure_of_its_own() -> None:
    text, known = (DOCS / "choosing.md").read_text(), pages()
    figures = set(re.findall(FIGURE, text)) - {"1.2"}  # a difference of two of them
    stale = [figure for figure in figures if figure not in known]
    assert len(figures) > 40 and not stale, f"docs/choosing.md says {stale}, docs/results does not: take its figures"


def test_the_page_on_choosing_names_sections_that_exist() -> None:
    known = pages()
    text = " ".join((DOCS / "choosing.md").read_text().split())
    named = re.findall(r"\(\*([^*]+)\*\)", text)
    missing = [name for name in named if not re.search(rf"^## {re.escape(name)}", known, re.MULTILINE)]
    assert len(named) > 5 and not missing, f"docs/choosing.md names {missing}: take the headings of docs/results"


@pytest.mark.parametrize("name", ["characters", "tables", "tables-regression"])
def test_the_figures_of_a_card_are_those_of_the_results(name: str) -> None:
    card = (ROOT / "src" / "regard" / "models" / f"{name}.md").read_text()
    known = (DOCS / "results" / ("characters.md" if name == "characters" else "tables.md")).read_text()
    figures = re.findall(r"\*\*(\d+\.\d+)%", card)
    figures += re.findall(r"\[[+-]?\d+\.\d+, [+-]?\d+\.\d+\]", card)
    figures += [cell for row in re.findall(r"^ *\|(.*)\|$", card, re.MULTILINE) for cell in re.findall(FIGURE, row)]
    stale = [figure for figure in figures if figure not in known]
    assert len(figures) > 4 and not stale

"""Documentation is executed: docstring examples, and the Python blocks of every page."""

from __future__ import annotations

import doctest
import re
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from pages import ROOT, code_blocks, local_links
from regard.learners import LEARNERS

SOURCE = ROOT / "src"
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "CONTRIBUTING.md"])
EXAMPLES = sorted(
    path
    for path in (SOURCE / "regard").rglob("*.py")
    if "\n    >>> " in path.read_text().replace("        >>> ", "    >>> ")
)


def _module(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", EXAMPLES, ids=_module)
def test_docstring_examples_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "doctest: +SKIP" not in path.read_text(), "an example that is not executed proves nothing"
    for package in re.findall(r'import_extra\("(\w+)', path.read_text()):
        pytest.importorskip(package, reason=f"examples with {package} run with the extra that brings it")
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    result = doctest.testmod(import_module(_module(path)), optionflags=flags)
    assert result.attempted > 0 and result.failed == 0


def test_there_are_docstring_examples() -> None:
    assert sum(path.read_text().count(">>> ") for path in EXAMPLES) >= 60


ORIGINALS = [
    page for page in PAGES if "zh" not in page.parts
]  # translations have the same blocks, see test_translations


@pytest.mark.parametrize("page", ORIGINALS, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_blocks_of_a_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order and in one namespace, as a reader would type them. A block in `py` instead of `python` is a sketch."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for block in code_blocks(page.read_text(), "python"):
        exec(compile(block, str(page), "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_links_to_is_there(page: Path) -> None:
    for target in local_links(page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_site_has_every_page_once_and_every_learner() -> None:
    site = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]
    listed = list(_targets(site["nav"]))
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert len(listed) == len(set(listed)) and set(listed) == pages
    reference = (ROOT / "docs" / "reference" / "learners.md").read_text().split()
    for row in LEARNERS:
        assert f"regard.learners.{row.module}" in reference, row.name


def test_the_demo_of_the_site_is_made_where_its_page_looks_for_it() -> None:
    page, made = (ROOT / "docs" / "demo.md").read_text(), "regard export characters --html docs/demo/letters.html"
    assert 'data="demo/letters.html"' in page and made in (ROOT / ".ci" / "run").read_text()
    assert "/docs/demo/" in (ROOT / ".gitignore").read_text().split(), "7 MB are no part of the repository"


def _targets(nav: list[Any]) -> Iterator[str]:
    """The files that the site's navigation names, at any depth."""
    for entry in nav:
        if isinstance(entry, str):
            yield entry
        else:
            [target] = entry.values()
            yield from [target] if isinstance(target, str) else _targets(target)

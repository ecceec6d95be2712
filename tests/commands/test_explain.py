"""`regard explain` says what removing examples does, and whether to believe its pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from regard.commands.explain import explain_files
from regard.domains.base import Rendering
from regard.errors import DataError
from regard.report.explanations import ExampleEffect, ExplainedAnswer, write_explanations


def letters(folder: Path, names: str) -> None:
    folder.mkdir(parents=True)
    for number, name in enumerate(names):
        picture = Image.new("L", (40, 40), 255)
        ImageDraw.Draw(picture).text((10 + number, 6), name, fill=0, font_size=26)
        picture.save(folder / f"{name}{number}.png")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name in "OT":
        letters(tmp_path / "support" / name, name * 2)
    letters(tmp_path / "query", "OT")
    return tmp_path


def test_the_page_shows_each_answer_and_its_examples(files: Path) -> None:
    page = files / "page.html"
    sentence = explain_files("characters", files / "support", files / "query", page)
    text = page.read_text()
    assert sentence in text.replace("&#39;", "'")
    assert text.count('<section class="why"') == 2
    assert text.count('class="heat"') >= 2, "CrossTransformer says where it looked"
    assert "O/O0.png" in text
    assert "spoke for it" in text
    assert "http" not in text.replace("http-equiv", "")


def test_numbers_are_explained_in_their_own_unit(tmp_path: Path) -> None:
    rows = [f"{x},{x % 3},{100 * x}" for x in range(12)]
    (tmp_path / "support.csv").write_text("\n".join(["a,b,price", *rows]))
    (tmp_path / "query.csv").write_text("a,b\n2.5,1\n8,2\n")
    sentence = explain_files(
        "tables", tmp_path / "support.csv", tmp_path / "query.csv", tmp_path / "page.html", regression=True
    )
    assert "changes the answer by" in sentence
    text = (tmp_path / "page.html").read_text()
    assert "the answer would be" in text and "Without 'a' " in text.replace("&#39;", "'") and "±" in text
    assert "raises it" in text and "spoke for it" not in text
    (tmp_path / "support.csv").write_text("a,b,price\n1,2,dear\n2,2,cheap\n")
    with pytest.raises(DataError, match="expected a number"):
        explain_files("tables", tmp_path / "support.csv", tmp_path / "query.csv", tmp_path / "p.html", regression=True)


def test_fewer_queries_are_explained_where_it_is_said(files: Path) -> None:
    explain_files("characters", files / "support", files / "query", files / "page.html", most=1)
    assert (files / "page.html").read_text().count('<section class="why"') == 1


def test_a_folder_without_queries_is_refused(files: Path) -> None:
    (files / "empty").mkdir()
    with pytest.raises(DataError, match="empty"):
        explain_files("characters", files / "support", files / "empty", files / "page.html")
    assert not (files / "page.html").exists()


def test_names_from_folders_are_escaped(tmp_path: Path) -> None:
    item = Rendering("<b>item</b>", "item")
    effect = ExampleEffect("<script>", "<i>", item, -0.5, 1.0)
    answer = ExplainedAnswer("<q>", item, "<a>", None, [effect], ["If <x> were gone"])
    write_explanations(tmp_path / "page.html", "<learner>", "<trust>", False, [answer])
    text = (tmp_path / "page.html").read_text()
    for raw in ("<script>", "<i>", "<q>", "<a>", "<x>", "<learner>", "<trust>"):
        assert raw not in text
    assert "<b>item</b>" in text
    assert "without it +0.5" in text

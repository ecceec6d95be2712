"""A row of a table is shown by the names of its columns, those that mattered first."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from regard.domains.tables.domain import TABLES
from regard.domains.tables.render import MOST_COLUMNS, render_row


def test_columns_have_their_names_and_the_strongest_comes_first() -> None:
    found = render_row([1.5, "red", np.nan], np.array([0.0, 0.25, 1.0]), ["size", "<colour>", "age"])
    assert found.text == "size 1.5, <colour> red, age missing"
    assert found.html.index(">age<") < found.html.index("&lt;colour&gt;") < found.html.index(">size<")
    assert "--saliency:1.00" in found.html and "<colour>" not in found.html


def test_of_many_columns_some_are_shown_and_the_others_counted() -> None:
    found = TABLES.render(np.arange(20.0))
    assert found.html.count("<th") == MOST_COLUMNS and f"and {20 - MOST_COLUMNS} more" in found.html
    assert "column 1 0," in found.text and found.text.endswith("column 20 19")


def test_names_come_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "support.csv").write_text("kind, width ,height\na,1,2\nb,3,4\n")
    (tmp_path / "query.csv").write_text("height,kind,width\n2,a,1\n")
    read = TABLES.read_files(tmp_path / "support.csv", tmp_path / "query.csv")
    assert list(read.columns) == ["kind", "width"]
    assert TABLES.render_from(read, read.queries[0]).text == "kind a, width 1"

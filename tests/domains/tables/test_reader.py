"""Tables as people keep them become numbers: words, dates, units, gaps, data frames, masked arrays, any scale."""

from __future__ import annotations

import datetime
import json
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from regard import FewShotClassifier
from regard.domains.tables.reader import TableReader, read_examples
from regard.domains.tables.views import TableViews
from regard.errors import ColumnWarning, ConfigError, DataError, EpisodeError

MOMENTS = np.array(["2024-01-31T06:00", "2024-02-29T18:30", "2023-12-24T00:00"], dtype="datetime64[m]")


def one(cells: Any) -> np.ndarray:
    """A table of one column of any cells."""
    column = np.empty((len(cells), 1), dtype=object)
    column[:, 0] = cells
    return column


def read(cells: Any) -> np.ndarray:
    """A column as the reader that was fitted to it reads it, with NaN where missing; it also survives files."""
    table = cells if isinstance(cells, np.ndarray) and cells.ndim == 2 else one(cells)
    reader = TableReader.learn(table)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # named once, in fit
        items = reader(table)
    content = json.loads(json.dumps(reader.to_dict()))
    for again in (TableReader.from_dict(content), pickle.loads(pickle.dumps(reader))):
        assert again == reader
    return np.where(items["missing"], np.nan, items["x"]).squeeze(1)


def test_words_are_categories_and_what_is_not_known_is_missing() -> None:
    rows = np.array([[1.5, "red", None], ["2", "blue", 3], [np.nan, "?", 4]], dtype=object)
    reader = TableReader.learn(rows)
    assert reader.categories == (None, ("blue", "red"), None)
    items = reader(rows)
    np.testing.assert_array_equal(items["x"], [[1.5, 1, 0], [2, 0, 3], [0, 0, 4]])
    np.testing.assert_array_equal(items["missing"], [[0, 0, 1], [0, 0, 0], [1, 1, 0]])
    again = TableReader.from_dict(reader.to_dict())
    other = again([[0, "green", 1]])
    assert other["missing"].tolist() == [[False, True, False]]
    with pytest.warns(ColumnWarning, match=r"column 0: held numbers in fit, and 1 cells do not, such as 'red'"):
        assert again([["red", "red", 1]])["missing"].tolist() == [[True, False, False]]
    with pytest.raises(EpisodeError, match="expected 3, as in fit"):
        again([[1, 2]])
    with pytest.raises(EpisodeError, match="infinite"):
        again([[np.inf, "red", 1]])


@pytest.mark.parametrize("word", ["n/a", "NA", "-", ".", "NULL", " ", "", "?", "#N/A", "none", "\u2014", None, np.nan])
def test_a_gap_in_a_column_of_numbers_is_missing_whatever_it_says(word: Any) -> None:
    np.testing.assert_array_equal(read([1.5, word, "2", -3]), [1.5, np.nan, 2, -3])


WRITTEN = {
    "percent": (["12%", "7.5 %", "-3%"], [12, 7.5, -3]),
    "currency": (["$1,200.50", "-$3", "$ 4", "($5)"], [1200.5, -3, 4, -5]),
    "code of a currency": (["EUR 5", "7 EUR", "EUR1"], [5, 7, 1]),
    "decimal comma": (["1,5", "-0,123", "2", "1.234,5"], [1.5, -0.123, 2, 1234.5]),
    "thousands": (["1,234", "1,234,567.5", "12"], [1234, 1234567.5, 12]),
    "thousands with points": (["1.234.567", "12,5", "1.250"], [1234567, 12.5, 1250]),
    "thousands with blanks": (["1 234,5", "2\u00a0000,25"], [1234.5, 2000.25]),
    "unit": (["12 kg", "3.5kg", "7"], [12, 3.5, 7]),
    "another unit among many": (["12 kg", "3 kg", "7 g", "1 kg"], [12, 3, np.nan, 1]),
    "multiples": (["1.5k", "900", "2M"], [1500, 900, 2e6]),
    "clock": (["10:30", "0:15", "23:00:36"], [10.5, 0.25, 23.01]),
    "signs of comparison": (["<5", ">10", "7"], [5, 10, 7]),
    "a word": (["1", 2, "broken", 4], [1, 2, np.nan, 4]),
    "minus": (["\u22121.5", "2"], [-1.5, 2]),
}


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.filterwarnings("ignore::regard.errors.ColumnWarning")
def test_written_numbers_are_numbers(name: str) -> None:
    cells, wanted = WRITTEN[name]
    np.testing.assert_allclose(read(cells), wanted)


@pytest.mark.parametrize("cells", [["A1", "B2", "C3"], ["3 rue A", "4 rue B"], ["1.2.3.4", "1.2.3.5"], ["a", "b", "7"]])
def test_words_with_digits_stay_words(cells: list[str]) -> None:
    assert TableReader.learn(one(cells)).categories == (tuple(sorted(cells)),)


def test_a_column_read_otherwise_than_written_is_named_once() -> None:
    rows = np.array([["1%", "1.5", "oops"], ["2%", "2", "3"], ["4%", "3", "4"]], dtype=object)
    with pytest.warns(ColumnWarning) as caught:
        reader = TableReader.learn(rows)
        reader(rows)
    assert len(caught) == 1
    said = str(caught[0].message)
    assert "column 0: numbers with the unit '%'" in said
    assert "column 1" not in said
    assert "column 2: numbers, with 1 of 3 cells missing, such as 'oops'" in said


PARTS = np.array([[1970 + days / 365.2425 for days in (19753.25, 19782 + 18.5 / 24, 19715)], [1, 2, 12], [31, 29, 24]])


@pytest.mark.parametrize(
    "cells",
    [
        MOMENTS[:, None],
        one([m.item() for m in MOMENTS]),
        one([m.item().replace(tzinfo=datetime.UTC).astimezone() for m in MOMENTS]),
        one(list(MOMENTS)),
    ],
    ids=["datetime64", "datetime", "with a zone", "objects of NumPy"],
)
def test_dates_are_read_as_time_and_its_parts(cells: np.ndarray) -> None:
    x = TableReader.learn(cells)(cells)["x"].numpy()
    np.testing.assert_allclose(x[:, :3].T, PARTS, rtol=1e-12)
    np.testing.assert_array_equal(x[:, 3:], [[2, 6], [3, 18.5], [6, 0]])


FORMATS = (
    *("%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d %b %Y", "%B %d, %Y"),
    *("%Y/%m/%d %H:%M", "%Y-%m-%dT%H:%M:%SZ"),
)


@pytest.mark.parametrize("format", FORMATS)
def test_written_dates_are_dates(format: str) -> None:
    moments = [datetime.datetime(2024, month, day) for month, day in ((1, 31), (12, 24), (7, 13))]
    words = one([moment.strftime(format) for moment in moments])
    with pytest.warns(ColumnWarning, match="column 0: dates of the format"):
        reader = TableReader.learn(words)
    wanted = np.array([[m.year + 0, m.month, m.day] for m in moments])
    np.testing.assert_array_equal(reader(words)["x"][:, 1:3], wanted[:, 1:])
    with pytest.warns(ColumnWarning, match="held times in fit"):
        assert reader(one(["soon", words[0, 0]]))["missing"].any(1).tolist() == [True, False]


def test_a_day_that_may_be_a_month_is_said() -> None:
    with pytest.warns(ColumnWarning, match="days before months"):
        TableReader.learn(one(["01/02/2024", "03/04/2024"]))


def test_only_parts_that_vary_are_kept_and_missing_dates_are_missing() -> None:
    days = np.array(["2024-01-01", "NaT", "2024-01-08"], dtype="datetime64[D]")[:, None]
    items = TableReader.learn(days)(days)
    assert items["x"].shape == (3, 2)  # the year with its fraction, and the day of the month; both are Mondays
    assert items["missing"].tolist() == [[False] * 2, [True] * 2, [False] * 2]


def test_masked_cells_are_missing() -> None:
    table = np.ma.masked_array([[1.0, 2.0], [1e20, 4.0]], mask=[[False, False], [True, False]])
    for rows in (table, list(table), table.astype(object)):
        items = TableReader.learn(rows)(rows)
        assert items["missing"].tolist() == [[False, False], [True, False]]


def test_a_column_without_a_value_in_fit_is_left_out() -> None:
    reader = TableReader.learn([[1.0, None, "?"], [2.0, None, ""]])
    items = reader([[3.0, "late", 5]])
    assert items["x"].tolist() == [[3.0]]
    assert reader([[1.0, None, None]])["missing"].tolist() == [[False]]
    assert TableReader.learn([[None], [None]])([[1]])["missing"].tolist() == [[True]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[[1], 2.0], [3, 4.0]], "ragged|holds a list in row 0"),
        (one([1, {"a": 1}]), "column 0 of X holds a dict in row 1"),
        (np.zeros((0, 3)), "0 sample"),
        (np.zeros((3, 0)), "0 feature"),
        ([1, 2, 3], "Reshape"),
        (one([1, 2j]), "complex"),
    ],
)
def test_what_is_no_table_says_why(rows: Any, message: str) -> None:
    with pytest.raises(EpisodeError, match=message):
        TableReader.learn(rows)


def test_data_frames_by_their_types() -> None:
    pandas = pytest.importorskip("pandas")
    when = pandas.Series(MOMENTS.astype("datetime64[ns]"))
    frame = pandas.DataFrame(
        {
            "when": when,
            "zone": when.dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo"),
            "whole": pandas.Series([1, None, 3], dtype="Int64"),
            "kind": pandas.Categorical(["b", "a", "b"]),
            "length": pandas.to_timedelta([1, 2, 3], unit="D"),
        }
    )
    x, missing = (value.numpy() for value in TableReader.learn(frame)(frame).values())
    np.testing.assert_array_equal(x[:, :5], x[:, 5:10])  # one clock
    np.testing.assert_array_equal(x[:, 10:], [[1, 1, 1], [0, 0, 2], [3, 1, 3]])
    assert missing.sum() == 1 and missing[1, 10]
    with pytest.raises(EpisodeError, match=r"0 sample.* \(shape=\(0, 5\)\)"):
        TableReader.learn(frame[:0])
    with pytest.raises(EpisodeError, match="more than one column of the name 'a'"):
        TableReader.learn(pandas.DataFrame([[1, 2]], columns=["a", "a"]))
    with pytest.raises(EpisodeError, match="to_frame"):
        TableReader.learn(frame["whole"])
    with pytest.warns(ColumnWarning, match="column 'price': numbers with the unit"):
        TableReader.learn(pandas.DataFrame({"price": ["$1", "$2"]}))


def test_frames_of_polars() -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"when": [m.item() for m in MOMENTS], "n": [1.5, None, 2], "word": ["b", None, "a"]})
    items = TableReader.learn(frame)(frame)
    np.testing.assert_array_equal(items["x"][:, 5:], [[1.5, 1], [0, 0], [2, 0]])
    assert items["missing"][:, 5:].tolist() == [[False, False], [True, True], [False, False]]
    with pytest.raises(EpisodeError, match="collect"):
        TableReader.learn(frame.lazy())


@pytest.mark.parametrize(
    "content", [{"columns": 3}, {"columns": [{}]}, {"columns": [{"kind": "x"}]}, {"columns": [None]}]
)
def test_a_description_that_is_none_is_refused(content: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="unknown way"):
        TableReader.from_dict(content)


@pytest.mark.parametrize("unit", [1e-300, 1e-160, 1e-13, 1e13, 1e160, 1e300])
def test_no_unit_of_a_column_is_too_large_or_small(unit: float) -> None:
    x = torch.randn(20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    missing, weight = torch.zeros(20, 2, dtype=torch.bool), torch.ones(20, dtype=torch.float64)

    def seen(scale: float) -> torch.Tensor:
        cells = {"x": x * torch.tensor([scale, 1.0], dtype=torch.float64), "missing": missing}
        return TableViews(1, cells, weight, 2).support(cells)["x"]

    torch.testing.assert_close(seen(unit), seen(1.0), rtol=1e-9, atol=1e-12)


def test_a_constant_column_is_not_blown_up_and_far_queries_stay_finite() -> None:
    cells = {"x": torch.tensor([[0.1, 1.0]] * 3).double(), "missing": torch.zeros(3, 2, dtype=torch.bool)}
    views = TableViews(1, cells, torch.ones(3).double(), 2)
    assert views.support(cells)["x"].abs().max() < 1e-9
    far = {"x": torch.full((1, 2), 1e300, dtype=torch.float64), "missing": torch.zeros(1, 2, dtype=torch.bool)}
    assert torch.isfinite(views.queries(far)["x"].float()).all()


def test_examples_and_queries_are_matched_by_the_names_of_columns(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("height,Label,weight\n1.5,cat,3\n?,dog,30\n")
    (tmp_path / "q.csv").write_text("weight,note,height\n29,big,4.1\n")
    read = read_examples(tmp_path / "s.csv", tmp_path / "q.csv")
    assert list(read.labels) == ["cat", "dog"] and read.support[0].tolist() == [1.5, 3.0]
    assert np.isnan(read.support[1][0]) and read.queries[0].tolist() == [4.1, 29.0]
    assert FewShotClassifier("tables").fit(read.support, read.labels).predict(read.queries).tolist() == ["dog"]


@pytest.mark.parametrize(
    ("support", "query", "message"),
    [
        ("a\n1\n", "a\n1\n", "one column only"),
        ("a,label\n", "a\n1\n", "no row"),
        ("a,b,label\n1,2,x\n", "a\n1\n", r"\['b'\] are missing"),
        ("a,label\n1,x\n", "a\n", "at least one to label"),
    ],
)
def test_tables_that_do_not_match_are_refused(tmp_path: Path, support: str, query: str, message: str) -> None:
    (tmp_path / "s.csv").write_text(support)
    (tmp_path / "q.csv").write_text(query)
    with pytest.raises(DataError, match=message):
        read_examples(tmp_path / "s.csv", tmp_path / "q.csv")

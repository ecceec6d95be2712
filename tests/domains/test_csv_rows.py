"""Rows of files and lists: as many as are allowed, and one error, early, for more."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from regard.domains.acting.files import read_demonstrations
from regard.domains.csv_rows import as_list, read_csv_rows
from regard.domains.materials.data import read_property
from regard.domains.materials.reader import MOST_ROWS, read_fractions
from regard.domains.molecules.assays import read_smiles_column
from regard.domains.tables.reader import read_csv, read_examples
from regard.errors import DataError


def test_rows_are_read_up_to_the_limit(tmp_path: Path) -> None:
    text = 'smiles,y\r\nCCO, 1\r\n\r\n"C,C",0\r\n'
    (tmp_path / "a.csv").write_text("\ufeff" + text, encoding="utf-8")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(text.encode()))
    expected = [["smiles", "y"], ["CCO", "1"], ["C,C", "0"]]
    for name in ("a.csv", "a.csv.gz"):
        assert read_csv_rows(tmp_path / name, 2) == expected
        with pytest.raises(DataError, match=r"more than 1 rows.*cut it into pieces"):
            read_csv_rows(tmp_path / name, 1)


def test_a_row_of_empty_cells_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n,\n\n3,4\n")
    assert read_csv_rows(tmp_path / "a.csv", 3) == [["a", "b"], ["1", "2"], ["", ""], ["3", "4"]]


READERS: list[Callable[[Path], object]] = [read_csv, read_property, read_smiles_column, read_demonstrations]
DAMAGED = {
    "not packed": b"not packed",
    "cut off": gzip.compress(b"a,b\n1,2\n" * 1000)[:-9],
    "not UTF-8": gzip.compress("a,b\ncaf\xe9,1\n".encode("latin-1")),
    "one cell of a megabyte": gzip.compress(b'a,b\n"' + b"x" * 2**20 + b'",1\n'),
}


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_file_is_one_error_in_every_domain(
    read: Callable[[Path], object], content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "a.csv.gz").write_bytes(content)
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path / "a.csv.gz")


def test_the_mark_of_excel_is_no_part_of_a_name(tmp_path: Path) -> None:
    support, query = tmp_path / "support.csv", tmp_path / "query.csv"
    support.write_text("label,a,b\nyes,1,2\nno,3,4\n", encoding="utf-8-sig")
    query.write_text("a,b\n1,2\n", encoding="utf-8-sig")
    assert list(read_examples(support, query).labels) == ["yes", "no"]
    shown = tmp_path / "shown.csv"
    shown.write_text("demonstration,obs_0,act_0\none,1,1\none,2,1\n", encoding="utf-8-sig")
    assert len(read_demonstrations(shown)) == 1


def test_a_file_of_far_too_many_rows_is_not_read_to_its_end(tmp_path: Path) -> None:
    damaged_end = gzip.compress(b"formula,target\n" + b"NaCl,1\n" * 200_000)[:-8]
    (tmp_path / "a.csv.gz").write_bytes(damaged_end)
    with pytest.raises(DataError, match="more than 1,000 rows"):
        read_csv_rows(tmp_path / "a.csv.gz", 1000)
    with pytest.raises(DataError, match="cannot be read"):
        read_csv_rows(tmp_path / "a.csv.gz", 10**6)


def test_an_endless_iterator_is_left_after_the_limit() -> None:
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        for _ in itertools.count():
            taken += 1
            yield "NaCl"

    with pytest.raises(DataError, match=r"more than 100 formulas at once.*in pieces"):
        as_list(endless(), 100, "formulas")
    assert taken == 101
    assert as_list(iter("ab"), 2, "letters") == as_list(np.array(["a", "b"]), 2, "letters") == ["a", "b"]


def test_ten_million_formulas_are_one_error() -> None:
    class Huge(list[str]):
        def __len__(self) -> int:
            return 10_000_000

        def __iter__(self) -> Iterator[str]:
            raise AssertionError("looked at")

    with pytest.raises(DataError, match=rf"10,000,000 formulas at once: expected at most {MOST_ROWS:,}"):
        read_fractions(Huge())
    with pytest.raises(DataError, match="expected a list or a column of formulas"):
        read_fractions(7)

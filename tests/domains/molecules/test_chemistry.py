"""SMILES become molecules, or the row that is none is named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from regard.domains.molecules.chemistry import (
    as_column,
    invalid_rows,
    largest_fragments,
    read_molecule,
    read_molecules,
    scaffold,
)
from regard.errors import DataError


def test_salts_lose_their_counter_ion_and_stereo_and_isotopes_stay() -> None:
    assert largest_fragments(["CC(=O)[O-].[Na+]", "C[C@H](N)C(=O)O.Cl"]) == ["CC(=O)[O-]", "C[C@H](N)C(=O)O"]
    left, right = largest_fragments(["C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O"])
    assert left != right
    assert largest_fragments(["[2H]C([2H])([2H])O"]) == ["[2H]C([2H])([2H])O"]


def test_one_molecule_written_in_two_ways_is_one() -> None:
    assert len(set(largest_fragments(["OCC", "CCO", "C(O)C"]))) == 1


def test_what_is_no_molecule_is_named_with_its_row_and_nothing_is_dropped() -> None:
    with pytest.raises(DataError, match=r"2 of 4 SMILES.*row 1, 'C1CC': not valid SMILES; row 3, 'None': a NoneType"):
        read_molecules(["CCO", "C1CC", "c1ccccc1", None])
    assert invalid_rows(["CCO", "", "xx"]) == {1: "empty", 2: "not valid SMILES"}


def test_a_mixture_is_refused_unless_the_largest_is_wanted() -> None:
    mixture = "Oc1ccccc1.CCCCCCN"
    with pytest.raises(DataError, match="a mixture of Oc1ccccc1 and CCCCCCN"):
        read_molecules([mixture])
    assert read_molecule(mixture, "largest").smiles == "Oc1ccccc1"
    assert read_molecules(["OC(=O)CCC.OC(=O)CCC"])[0].smiles == "CCCC(=O)O"  # twice the same is no mixture


def test_columns_of_every_kind() -> None:
    expected = ["CCO", "CC"]
    for things in (expected, tuple(expected), np.array(expected), pd.Series(expected), pd.DataFrame({"s": expected})):
        assert as_column(things) == expected
    with pytest.raises(DataError, match=r"write \[smiles\]"):
        as_column("CCO")
    with pytest.raises(DataError, match="SMILES alone"):
        as_column(pd.DataFrame({"s": expected, "y": [0, 1]}))


def test_too_many_at_once_are_refused_before_they_are_looked_at() -> None:
    class Huge(list[str]):
        def __len__(self) -> int:
            return 10_000_000

    with pytest.raises(DataError, match=r"10,000,000 molecules at once.*in pieces"):
        read_molecules(Huge())


def test_scaffolds_of_rings_and_of_chains() -> None:
    assert scaffold(read_molecule("CCc1ccccc1")) == scaffold(read_molecule("Oc1ccccc1")) == "c1ccccc1"
    assert scaffold(read_molecule("CCO")) == "CCO"

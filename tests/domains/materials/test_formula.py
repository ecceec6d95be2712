"""Formulas are read as chemists write them, and what is no formula says why."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from regard.domains.materials.formula import ELEMENTS, chemical_system, find_unreadable, parse_formula
from regard.domains.materials.reader import FormulaReader
from regard.errors import DataError


@pytest.mark.parametrize(
    ("formula", "amounts"),
    [
        ("La2Sr0CuO4", {"La": 2, "Cu": 1, "O": 4}),
        ("Fe2O3", {"Fe": 2, "O": 3}),
        ("Ni3(PbSe)2", {"Ni": 3, "Pb": 2, "Se": 2}),
        ("[Co(NH3)6]Cl3", {"Co": 1, "N": 6, "H": 18, "Cl": 3}),
        ("Ca0.4Ba1.25La1.25Cu3O6.98", {"Ca": 0.4, "Ba": 1.25, "La": 1.25, "Cu": 3, "O": 6.98}),
        ("CuSO4·5H2O", {"Cu": 1, "S": 1, "O": 9, "H": 10}),
        ("CuSO4*5H2O", {"Cu": 1, "S": 1, "O": 9, "H": 10}),
        ("Fe₂ O₃", {"Fe": 2, "O": 3}),
        ("CO", {"C": 1, "O": 1}),
        ("Co", {"Co": 1}),
        ("HOH", {"H": 2, "O": 1}),
        ("FeNi0", {"Fe": 1}),
        ({"Fe": 0.7, "Ni": "0.3"}, {"Fe": 0.7, "Ni": 0.3}),
    ],
)
def test_a_formula_is_read(formula: object, amounts: dict[str, float]) -> None:
    assert parse_formula(formula) == pytest.approx(amounts)


@pytest.mark.parametrize(
    ("formula", "reason"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("Fe2Xx3", "'Xx', which is no element"),
        ("D2O", "hydrogen's isotopes"),
        ("fe2o3", "has 'f' at position 1"),
        ("Fe3+", "charges"),
        ("SO4^2-", "charges"),
        ("LaO7-x", "charges and unknown amounts"),
        ("YBa2Cu3Ox", "check capitals"),
        ("YBa2Cu3O7δ", "an amount .δ. that is not known"),
        ("13C", "begins with a number"),
        ("2H2O", "begins with a number"),
        ("CuSO4.5H2O", "full stop before water"),
        ("CuSO4·", "nothing on one side"),
        ("(FeO", "leaves '(' open"),
        ("FeO)2", "was not opened"),
        ("(FeO]2", "was not opened"),
        ("Fe0", "no element with an amount above 0"),
        ("Fe1e9", "has 'e' at position 4"),
        ("Fe99999999", "expected an amount from 0"),
        ({"Fe": -1}, "expected an amount from 0"),
        ({"Fe": "much"}, "expected numbers"),
        ({"Qq": 1}, "no element"),
        ({}, "no element with an amount above 0"),
        (3.0, "is a float"),
        (None, "is a NoneType"),
        ("Fe" * 600, "expected at most 1000"),
    ],
)
def test_what_is_no_formula_says_why(formula: object, reason: str) -> None:
    with pytest.raises(DataError, match=reason.replace("(", r"\(").replace("^", r"\^")):
        parse_formula(formula)


def test_the_table_of_elements() -> None:
    assert len(set(ELEMENTS)) == 118
    assert [ELEMENTS[z - 1] for z in (1, 26, 79, 92, 118)] == ["H", "Fe", "Au", "U", "Og"]
    assert chemical_system(parse_formula("O3Fe2")) == "Fe-O"


def test_rows_are_named_and_can_be_left_out_on_purpose() -> None:
    formulas = ["Fe2O3", "Fe2Qq3", "NaCl", ""]
    with pytest.raises(DataError, match=r"2 of 4 rows are no formula:\n  row 1: 'Fe2Qq3' has 'Qq'") as caught:
        FormulaReader()(formulas)
    assert "find_unreadable" in str(caught.value)
    wrong = find_unreadable(formulas)
    assert sorted(wrong) == [1, 3]
    kept = [f for row, f in enumerate(formulas) if row not in wrong]
    assert FormulaReader()(kept).shape == (2, 118)


def test_fractions_do_not_depend_on_how_a_compound_is_written() -> None:
    x = FormulaReader()(["Fe2O3", "O6Fe4", "Fe0.4O0.6", {"O": 3, "Fe": 2}])
    torch.testing.assert_close(x, x[:1].expand(4, -1))
    torch.testing.assert_close(x.sum(1), torch.ones(4))


@pytest.mark.parametrize(
    "things",
    [
        ("Fe2O3", "NaCl"),
        np.array(["Fe2O3", "NaCl"]),
        np.array([["Fe2O3"], ["NaCl"]]),
        pd.Series(["Fe2O3", "NaCl"], index=[7, 3]),
        pd.DataFrame({"formula": ["Fe2O3", "NaCl"], "source": ["a", "b"]}),
        pd.DataFrame({"compound": ["Fe2O3", "NaCl"]}),
    ],
)
def test_whatever_holds_formulas_is_read(things: object) -> None:
    torch.testing.assert_close(FormulaReader()(things), FormulaReader()(["Fe2O3", "NaCl"]))


def test_what_holds_none_is_refused() -> None:
    for things, reason in (
        ("Fe2O3", "put it into a list"),
        (np.zeros((3, 2)), "expected one formula per row"),
        (pd.DataFrame({"a": ["Fe"], "b": ["Ni"]}), "expected one named 'formula'"),
    ):
        with pytest.raises(DataError, match=reason):
            FormulaReader()(things)


def test_amounts_that_do_not_sum_are_told() -> None:
    with pytest.warns(UserWarning, match=r"do not sum to 1, first row 1, 'Fe0.5Ni0.3' \(0.8\)"):
        x = FormulaReader()(["Fe0.5Ni0.5", "Fe0.5Ni0.3"])
    torch.testing.assert_close(x[1, ELEMENTS.index("Fe")], torch.tensor(0.625))

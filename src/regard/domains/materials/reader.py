"""Formulas to fractions of elements, which is what encoders of compositions take."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.domains.base import Reader
from regard.domains.csv_rows import as_list
from regard.domains.materials.formula import ELEMENTS, fractions_do_not_sum, parse_formula
from regard.errors import DataError

_INDEX = {element: i for i, element in enumerate(ELEMENTS)}
_SHOWN = 5
MOST_ROWS = 2_000_000
"""Of one call: 118 numbers each, in single precision, are one gigabyte."""


@dataclass(frozen=True)
class FormulaReader(Reader):
    """A list, array, series or column named `formula` of formulas, or of mappings of element to amount, to (N, 118)."""

    def __call__(self, things: Any) -> Tensor:
        """(N, 118) fractions of the elements, which sum to 1.

        Raises:
            DataError: rows that are no formula, the first of them named with their reasons; or too many rows.
        """
        return torch.from_numpy(read_fractions(things))

    def to_dict(self) -> dict[str, Any]:
        return {}


def formulas_of(things: Any) -> list[Any]:
    """One formula per row, whatever holds them.

    Raises:
        DataError: a table without a column `formula`, a single text, numbers, or too many rows.
    """
    if isinstance(things, str):
        raise DataError(f"expected a list of formulas, and got one text: put it into a list, [{things!r:.40}].")
    if hasattr(things, "columns"):
        names = [str(c) for c in things.columns]
        if "formula" not in names and len(names) != 1:
            raise DataError(f"the table has columns {', '.join(names)[:200]}: expected one named 'formula'.")
        things = things["formula"] if "formula" in names else things.iloc[:, 0]
    if isinstance(things, Tensor | np.ndarray) and (things.ndim != 1 or not isinstance(things, np.ndarray)):
        if isinstance(things, np.ndarray) and things.ndim == 2 and things.shape[1] == 1:
            things = things[:, 0]
        else:
            raise DataError(
                f"X has shape {tuple(things.shape)}: expected one formula per row, such as ['Fe2O3', 'NaCl']."
            )
    return as_list(things, MOST_ROWS, "formulas")


def read_fractions(things: Any) -> NDArray[np.float32]:
    """As `FormulaReader`, to an array."""
    rows, wrong, odd = formulas_of(things), dict[int, str](), list[int]()
    found = np.zeros((len(rows), len(ELEMENTS)), dtype=np.float64)
    for row, formula in enumerate(rows):
        try:
            amounts = parse_formula(formula)
        except DataError as error:
            wrong[row] = str(error)
            continue
        if fractions_do_not_sum(amounts):
            odd.append(row)
        found[row, [_INDEX[element] for element in amounts]] = list(amounts.values())
    if wrong:
        listed = "".join(f"\n  row {row}: {reason}" for row, reason in list(wrong.items())[:_SHOWN])
        more = f"\n  and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise DataError(
            f"{len(wrong)} of {len(rows)} rows are no formula:{listed}{more}\nMend them, or leave out the rows of "
            "regard.domains.materials.formula.find_unreadable."
        )
    if odd:
        total = found[odd[0]].sum()
        warnings.warn(
            f"{len(odd)} formula(s) have fractions that do not sum to 1, first row {odd[0]}, {rows[odd[0]]!r:.60} "
            f"({total:.3g}): they are taken as proportions.",
            UserWarning,
            stacklevel=3,
        )
    return (found / found.sum(1, keepdims=True)).astype(np.float32)

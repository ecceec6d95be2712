"""Tables as people have them (arrays, rows, data frames of pandas, polars or Arrow) to columns and their names."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from regard.errors import EpisodeError


def split_columns(rows: Any) -> tuple[list[str], list[NDArray[Any]]]:
    """Names and cells of the columns, each column by its own type, so that numbers stay numbers and dates dates.

    Masked cells become NaN, NaT or None.

    Raises:
        EpisodeError: no table, an empty one, or a data frame with two columns of one name.
    """
    if isinstance(rows, Tensor):
        rows = rows.detach().cpu().numpy()
    if hasattr(rows, "collect_schema") and hasattr(rows, "collect"):
        raise EpisodeError("X is a lazy frame: expected a table in memory; use X.collect().")
    names = _frame_names(rows)
    if names is not None:
        _require_cells(tuple(rows.shape))
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise EpisodeError(
                f"X has more than one column of the name {twice[0]!r}: expected a name of its own for each column; "
                "rename them, or give X.to_numpy()."
            )
        return [repr(name) for name in names], [_frame_column(rows, f) for f in range(len(names))]
    if hasattr(rows, "iloc") or (hasattr(rows, "to_frame") and not hasattr(rows, "columns")):
        raise EpisodeError(
            "X is a single column (a Series): expected a table. Reshape your data: X.to_frame() for one feature."
        )
    if hasattr(rows, "toarray"):
        raise EpisodeError("X is sparse: expected a dense table; use X.toarray().")
    table = _array(rows)
    if table.ndim != 2:
        raise EpisodeError(
            f"X has shape {table.shape}: expected (rows, features). Reshape your data: X.reshape(-1, 1) for one "
            "feature, X.reshape(1, -1) for one row."
        )
    _require_cells(table.shape)
    return [str(f) for f in range(table.shape[1])], list(table.T)


def _frame_names(rows: Any) -> list[str] | None:
    """Of a data frame of pandas, polars or Arrow; None for anything else."""
    names = getattr(rows, "column_names", None) or getattr(rows, "columns", None)
    if names is None or len(getattr(rows, "shape", ())) != 2 or isinstance(rows, np.ndarray):
        return None
    return [name if isinstance(name, str) else str(name) for name in names]


def _frame_column(rows: Any, f: int) -> NDArray[Any]:
    if not hasattr(rows, "iloc"):
        # polars and Arrow
        return np.asarray((rows[:, f] if hasattr(rows, "get_columns") else rows.column(f)).to_numpy())
    column = rows.iloc[:, f]
    if getattr(column.dtype, "tz", None) is not None:
        # One clock for all tables.
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    return np.asarray(column)


def _require_cells(shape: tuple[int, ...]) -> None:
    for size, what in zip(shape, ("sample", "feature"), strict=True):
        if size == 0:
            # scikit-learn's own words, which its users look for.
            raise EpisodeError(
                f"X has 0 {what}(s) (shape={shape}) while a minimum of 1 is required: it is empty; give a row "
                "and a feature at least."
            )


def _array(rows: Any) -> NDArray[Any]:
    if isinstance(rows, list | tuple) and any(isinstance(row, np.ma.MaskedArray) for row in rows):
        rows = np.ma.stack(rows)
    if isinstance(rows, np.ma.MaskedArray):
        return unmask(rows)
    try:
        table = np.asarray(rows)
        # Numbers and words in one list become words in NumPy: kept as they are, they can be told apart.
        mixed = table.dtype.kind in "US" and not isinstance(rows, np.ndarray)
        return np.asarray(rows, dtype=object) if mixed else table
    except ValueError as error:
        raise EpisodeError(f"X is ragged ({error}): expected rows of one length.") from error


def unmask(array: np.ma.MaskedArray[Any, Any]) -> NDArray[Any]:
    """What is masked, as NaN, NaT or None."""
    mask = np.ma.getmaskarray(array)
    if array.dtype.kind in "biuf" and not mask.any():
        return array.data
    kind = array.dtype if array.dtype.kind in "mM" else np.float64 if array.dtype.kind in "biuf" else object
    plain: NDArray[Any] = array.data.astype(kind)
    plain[mask] = np.nan if kind is np.float64 else None if kind is object else np.array("NaT", kind)
    return plain

"""A row of a table for people: its columns by name, those that mattered first and shaded."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.domains.base import Rendering

MOST_COLUMNS = 6
"""Shown; of the others it says how many there are."""


def render_row(thing: Any, saliency: NDArray[np.floating[Any]] | None = None, names: Sequence[str] = ()) -> Rendering:
    """One row.

    Args:
        thing: (F,) cells: numbers and words, None or NaN where one is missing.
        saliency: (F,) how much each column mattered, in 0..1; the strongest are shown first.
        names: of the columns; by default they are numbered from 1.
    """
    cells = [_cell(cell) for cell in np.asarray(thing, dtype=object).ravel().tolist()]
    called = list(names) if len(names) == len(cells) else [f"column {f}" for f in range(1, len(cells) + 1)]
    strength = np.zeros(len(cells)) if saliency is None else np.clip(np.asarray(saliency, float).ravel(), 0, 1)
    shown = np.argsort(-strength, kind="stable")[:MOST_COLUMNS].tolist()
    rows = [
        f'<tr style="--saliency:{strength[f]:.2f}"><th scope="row">{html.escape(called[f])}</th>'
        f"<td>{html.escape(cells[f])}</td></tr>"
        for f in shown
    ]
    if len(cells) > len(shown):
        rows.append(f'<tr><td colspan="2">and {len(cells) - len(shown):,} more</td></tr>')
    text = ", ".join(f"{name} {cell}" for name, cell in zip(called, cells, strict=True))
    return Rendering(f'<table class="cells">{"".join(rows)}</table>', text)


def _cell(cell: Any) -> str:
    if cell is None or (isinstance(cell, float) and np.isnan(cell)):
        return "missing"
    return f"{cell:.6g}" if isinstance(cell, float) else str(cell)

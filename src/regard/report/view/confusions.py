"""Which classes were mistaken for which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.domains.base import Rendering
from regard.report.content import ConfusionMatrix

_N_MIXES = 8


@dataclass(frozen=True)
class Cell:
    row: int
    column: int
    right: bool
    strength: float
    text: str


@dataclass(frozen=True)
class Mix:
    true: int
    predicted: int
    share: str
    text: str


@dataclass(frozen=True)
class Matrix:
    title: str
    names: Sequence[str]
    pictures: Sequence[Rendering]
    cells: list[Cell]
    mixes: list[Mix]
    summary: str


def matrix(confusion: ConfusionMatrix) -> Matrix:
    counts, names = np.asarray(confusion.matrix, dtype=np.float64), confusion.names
    queries = counts.sum(1, keepdims=True)
    share = counts / np.where(queries > 0, queries, 1)
    filled = [(int(i), int(j)) for i, j in zip(*np.nonzero(counts), strict=True)]
    right, total = float(np.trace(counts)), max(float(counts.sum()), 1)
    # The most frequent confusions.
    off = share * (1 - np.eye(len(names)))
    order = np.argsort(-off, axis=None, kind="stable")[:_N_MIXES]
    pairs = [(int(k) // len(names), int(k) % len(names)) for k in order if off.flat[k] > 0]
    return Matrix(
        title=confusion.title,
        names=names,
        pictures=confusion.pictures,
        cells=[_cell(i, j, counts, share, names) for i, j in filled],
        mixes=[Mix(i, j, f"{share[i, j]:.0%}", _cell(i, j, counts, share, names).text) for i, j in pairs],
        summary=f"{len(names)} classes, {total:,.0f} queries, {right / total:.1%} correct",
    )


def _cell(i: int, j: int, counts: NDArray[Any], share: NDArray[Any], names: Sequence[str]) -> Cell:
    what = f"{names[i]} correct" if i == j else f"{names[i]} mistaken for {names[j]}"
    text = f"{what}: {counts[i, j]:.0f} of {counts[i].sum():.0f}"
    # The square root lets a rare mistake be seen beside a diagonal near 1; the page says so.
    return Cell(i, j, i == j, round(float(np.sqrt(share[i, j])), 3), text)

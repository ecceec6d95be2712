"""What was taken for what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.domains.images.render import data_uri as picture
from regard.report.content import ConfusionPicture

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
    pictures: list[str]
    cells: list[Cell]
    mixes: list[Mix]
    summary: str


def matrix(confusion: ConfusionPicture) -> Matrix:
    counts, names = np.asarray(confusion.matrix, dtype=np.float64), confusion.names
    asked = counts.sum(1, keepdims=True)
    share = counts / np.where(asked > 0, asked, 1)
    found = [(int(i), int(j)) for i, j in zip(*np.nonzero(counts), strict=True)]
    right, total = float(np.trace(counts)), max(float(counts.sum()), 1)
    return Matrix(
        title=confusion.title,
        names=names,
        pictures=[picture(image) for image in confusion.images],
        cells=[_cell(i, j, counts, share, names) for i, j in found],
        mixes=_mixes(counts, share, names),
        summary=f"{len(names)} classes, {total:,.0f} queries, {right / total:.1%} right",
    )


def _cell(i: int, j: int, counts: NDArray[Any], share: NDArray[Any], names: Sequence[str]) -> Cell:
    told = f"{names[i]} answered right" if i == j else f"{names[i]} taken for {names[j]}"
    text = f"{told}: {counts[i, j]:.0f} of {counts[i].sum():.0f}"
    # The square root lets a rare mistake be seen beside a diagonal near 1; the page says so.
    return Cell(i, j, i == j, round(float(np.sqrt(share[i, j])), 3), text)


def _mixes(counts: NDArray[Any], share: NDArray[Any], names: Sequence[str]) -> list[Mix]:
    off = share * (1 - np.eye(len(names)))
    order = np.argsort(-off, axis=None, kind="stable")[:_N_MIXES]
    pairs = [(int(k) // len(names), int(k) % len(names)) for k in order if off.flat[k] > 0]
    return [Mix(i, j, f"{share[i, j]:.0%}", _cell(i, j, counts, share, names).text) for i, j in pairs]

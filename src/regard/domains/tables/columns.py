"""Columns as people keep them: transformed, rounded, turned into categories, with cells missing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regard.domains.tables.draws import Draws, Floats
from regard.domains.tables.mechanisms import binned, column_ranks, standardised

_N_CATEGORIES = 12


def as_kept(draws: Draws, x: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """(B, R, F) features to the cells of a table, and which of them are missing (where the cell is 0)."""
    n_rows, n_features = x.shape[1:]
    out = _transformed(draws, x)
    often = draws.choice((5, 3, 1), 1)
    share = np.choose(often, [np.zeros_like(often, dtype=np.float32), draws.uniform(1), np.ones_like(often)])
    category = draws.chance(share, n_features)[:, None]
    # Bins of the ranks, two of them or more, even or not, their codes in order or shuffled.
    count = np.where(draws.chance(0.4, n_features), 2, 2 + draws.below(_N_CATEGORIES - 1, n_features))
    shares = np.exp(0.8 * draws.normal(n_features, _N_CATEGORIES))
    shares = (shares * (np.arange(_N_CATEGORIES) < count[..., None])).astype(np.float32)
    code = binned(column_ranks(x), shares)
    shuffled = np.take_along_axis(draws.order(_N_CATEGORIES, n_features), code.swapaxes(1, 2), 2).swapaxes(1, 2)
    out = np.where(category, np.where(draws.chance(0.5, 1, n_features), shuffled, code).astype(np.float32), out)
    rate = draws.chance(0.2, 1) * draws.uniform(1, high=0.4)
    column = draws.chance(draws.uniform(1), n_features) * rate
    missing = draws.chance(column[:, None], n_rows, n_features)
    return np.where(missing, np.float32(0), out).astype(np.float32), missing


def _transformed(draws: Draws, x: Floats) -> Floats:
    """A monotone transform, rounding or neither."""
    n_features = x.shape[2]
    # Most tables have columns of one make, some of every make.
    kind = draws.choice((8, 2, 2, 1, 1, 1, 2), n_features)[:, None]
    kind = np.where(draws.chance(0.35, 1, 1), 0, kind)
    bend = draws.uniform(1, n_features, low=0.3, high=1.3)
    size = np.abs(x)
    bent = [
        lambda: x,
        lambda: np.exp(bend * x),
        lambda: np.sign(x) * np.power(size, 1 + bend),
        lambda: np.sign(x) * np.power(size, 1 / (1 + 2 * bend)),
        lambda: np.tanh(2 * bend * x),
        lambda: np.log1p(np.exp(np.minimum(3 * bend * x, 30))),
        lambda: np.round(x * (1 + 3 * bend)),
    ]
    out = x
    for number, function in enumerate(bent[1:], 1):
        if bool((kind == number).any()):
            out = np.where(kind == number, function(), out)
    return standardised(np.clip(out, -1e4, 1e4))

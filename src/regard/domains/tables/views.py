"""Tables seen in several ways. A table learner has marks for columns and classes that mean nothing, and averaging over
their order removes what little they do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from regard.domains.views import Views
from regard.episode import Items
from regard.errors import EpisodeError

_FAR = 1e30
"""Standard deviations beyond which a query's cell lies no farther: single precision holds it."""


@dataclass(frozen=True)
class _View:
    """One way to see a table.

    Args:
        columns: (F,) which column stands where.
        class_order: (C,) the index of each class; empty for regression.
        ranked: whether numbers are replaced by normal scores of their ranks.
    """

    columns: Tensor
    class_order: Tensor
    ranked: bool


@final
class TableViews(Views):
    """The first is the table as it is; every second is ranked; classes are rotated, so that each has each index.

    All cells are scaled by column in double precision first: what is left of 1e9 + 0.1 in single precision is 1e9.

    Args:
        n: E.
        items: the examples, {"x": (N, F), "missing": (N, F)}; ranks are among them.
        weight: (N,) of them.
        n_classes: C; 0 for regression.
        seed: of the orders.
    """

    def __init__(self, n: int, items: Items, weight: Tensor, n_classes: int, *, seed: int = 0) -> None:
        cells = _cells(items)
        self.n = n
        mass = weight[:, None] * ~cells["missing"]
        total = mass.sum(0).clamp_min(torch.finfo(torch.float64).tiny)
        # Powers of two change no digit, and keep squares of numbers such as 1e200 and 1e-200 within what floats hold.
        self._unit = power_of_two((cells["x"] * (mass > 0)).abs().amax(0))
        x = cells["x"] / self._unit
        self._centre = (mass * x).sum(0) / total
        spread = ((mass * (x - self._centre).square()).sum(0) / total).sqrt()
        # Rounding leaves a constant column a little spread, which must not be blown up.
        self._spread = torch.where(spread > 1e-12 * self._centre.abs(), spread, 1.0)
        self._support, self._weight = self._scaled(cells), weight
        n_features = cells["x"].shape[1]
        rng = np.random.default_rng(seed)
        self._views = [_View(torch.arange(n_features), torch.arange(n_classes), False)]
        for i in range(1, n):
            order = (np.arange(n_classes) + i) % max(n_classes, 1)
            columns = torch.from_numpy(rng.permutation(n_features))
            self._views.append(_View(columns, torch.from_numpy(order), i % 2 == 1))

    def support(self, items: Items) -> Items:
        """(N, F) cells to (E, N, F)."""
        cells = self._scaled(_cells(items))
        ranked = normal_scores(cells, self._support, self._weight) if self.n > 1 else cells["x"]
        x = torch.stack([(ranked if view.ranked else cells["x"])[:, view.columns] for view in self._views])
        return {"x": x, "missing": torch.stack([cells["missing"][:, view.columns] for view in self._views])}

    queries = support

    def class_order(self, n_classes: int) -> Tensor:
        return torch.stack([view.class_order for view in self._views])

    def _scaled(self, cells: dict[str, Tensor]) -> dict[str, Tensor]:
        x = ((cells["x"] / self._unit - self._centre) / self._spread).clamp(-_FAR, _FAR)
        return {**cells, "x": x.masked_fill(cells["missing"], 0.0)}


def power_of_two(size: Tensor) -> Tensor:
    """The power of two next above each number; 1 where it is 0."""
    _, exponent = torch.frexp(size)
    # 2^1024 is infinite, and the inverse of 2^-1024 too.
    return torch.where(size > 0, torch.ldexp(torch.ones_like(size), exponent.clamp(-1021, 1023)), 1.0)


def _cells(items: Items) -> dict[str, Tensor]:
    if not isinstance(items, dict):
        raise EpisodeError("X became one tensor: expected cells and which are missing, as a TableReader gives them.")
    return items


def normal_scores(cells: dict[str, Tensor], support: dict[str, Tensor], weight: Tensor) -> Tensor:
    """(N, F) cells to the normal quantiles of their weighted ranks among the support rows, kept off infinity."""
    mass = weight[:, None] * ~support["missing"]
    x, rows = cells["x"], support["x"]
    columns = []
    for f in range(x.shape[1]):
        below = (rows[None, :, f] < x[:, None, f]).to(mass.dtype) @ mass[:, f]
        equal = (rows[None, :, f] == x[:, None, f]).to(mass.dtype) @ mass[:, f]
        total = mass[:, f].sum() + 1
        columns.append(torch.special.ndtri((below + equal / 2 + 0.5) / total))
    return torch.stack(columns, 1)

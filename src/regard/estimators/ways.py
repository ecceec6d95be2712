"""One question asked in several ways, the answers averaged. Each way is a task of one batch; the cost grows with them.

    tables     columns in another order, classes under other names, columns by their ranks: a table's learner has marks
               for columns and classes that mean nothing, and averaging removes what little they do
    drawings   support and queries a little turned, stretched and bent: what a hand leaves to chance

A way is fixed beforehand. What it does to a row depends on no other query, so that asking in chunks changes nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from regard.domains.images.distort import Distortion
from regard.episode import Items, map_items
from regard.sampling.random import uniform

SMALL = Distortion(rotation=8, scale=0.1, shear=0.1, translation=0.04, elastic=0.015, thickness=0.3)
"""How far the views of a drawing go: about half of what such a learner practises with."""

_VIEWS_SEED = 0


class Ways(ABC):
    """Abstract: E ways to ask."""

    n: int

    @abstractmethod
    def support(self, items: Items) -> Items:
        """(N, *item) examples to (E, N, *item)."""

    @abstractmethod
    def queries(self, items: Items) -> Items:
        """(N, *item) queries to (E, N, *item)."""

    def names(self, n_classes: int) -> Tensor:
        """(E, C): what each way calls each class."""
        return torch.arange(n_classes).expand(self.n, -1)


@final
class AsItIs(Ways):
    """One way."""

    n = 1

    def support(self, items: Items) -> Items:
        return map_items(lambda t: t[None], items)

    queries = support


@final
class Views(Ways):
    """Drawings, (N, H, W) uint8, each as it is in the first way and slightly distorted in the others.

    Within a way all examples are distorted alike, and all queries alike but otherwise.
    """

    def __init__(self, n: int) -> None:
        self.n = n

    def support(self, items: Items) -> Items:
        return self._views(items, 0)

    def queries(self, items: Items) -> Items:
        return self._views(items, 1)

    def _views(self, x: Items, stream: int) -> Tensor:
        assert isinstance(x, Tensor)
        noise = torch.from_numpy(uniform(_VIEWS_SEED, stream, np.arange(self.n - 1), SMALL.n_noise))
        return torch.stack([x, *(SMALL(x, each.expand(len(x), -1)) for each in noise)])


@dataclass(frozen=True)
class _Member:
    """One way to see a table.

    Args:
        columns: (F,) which column stands where.
        names: (C,) the name of each class; empty for regression.
        ranked: whether numbers are replaced by normal scores of their ranks.
    """

    columns: Tensor
    names: Tensor
    ranked: bool


@final
class TableViews(Ways):
    """The first is the table as it is; every second is ranked; names are turned round, so that each class has each.

    Args:
        n: E.
        known: the examples, which ranks are among.
        weight: (N,) of them.
        n_classes: C; 0 for regression.
    """

    def __init__(self, n: int, known: dict[str, Tensor], weight: Tensor, n_classes: int, *, seed: int = 0) -> None:
        self.n, self._known, self._weight = n, known, weight
        self._members = _make_members(n, known["x"].shape[1], n_classes, seed)

    def support(self, items: Items) -> Items:
        """(N, F) cells as each member sees them, (E, N, F)."""
        assert isinstance(items, dict)
        ranked = normal_scores(items, self._known, self._weight)
        x = torch.stack([(ranked if m.ranked else items["x"])[:, m.columns] for m in self._members])
        return {"x": x, "missing": torch.stack([items["missing"][:, m.columns] for m in self._members])}

    queries = support

    def names(self, n_classes: int) -> Tensor:
        return torch.stack([m.names for m in self._members])


def _make_members(n_members: int, n_features: int, n_classes: int, seed: int) -> tuple[_Member, ...]:
    rng = np.random.default_rng(seed)
    members = [_Member(torch.arange(n_features), torch.arange(n_classes), False)]
    for i in range(1, n_members):
        names = (np.arange(n_classes) + i) % max(n_classes, 1)
        members.append(_Member(torch.from_numpy(rng.permutation(n_features)), torch.from_numpy(names), i % 2 == 1))
    return tuple(members)


def normal_scores(cells: dict[str, Tensor], known: dict[str, Tensor], weight: Tensor) -> Tensor:
    """(N, F) cells to the normal quantiles of their weighted ranks among the known rows, kept off infinity."""
    mass = weight[:, None] * ~known["missing"]
    x, rows = cells["x"], known["x"]
    columns = []
    for f in range(x.shape[1]):
        below = (rows[None, :, f] < x[:, None, f]).to(mass.dtype) @ mass[:, f]
        equal = (rows[None, :, f] == x[:, None, f]).to(mass.dtype) @ mass[:, f]
        total = mass[:, f].sum() + 1
        columns.append(torch.special.ndtri((below + equal / 2 + 0.5) / total))
    return torch.stack(columns, 1)

"""One question asked in several ways: columns in another order, classes under other names, columns by their ranks.

A table's learner has marks for columns and classes that mean nothing; averaging over several removes what little they
do. Each way is a task of one batch, so the cost grows with their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Member:
    """One way to ask.

    Args:
        columns: (F,) which column stands where.
        names: (C,) the name of each class; empty for regression.
        ranked: whether numbers are replaced by normal scores of their ranks.
    """

    columns: Tensor
    names: Tensor
    ranked: bool


def make_members(n_members: int, n_features: int, n_classes: int, seed: int = 0) -> tuple[Member, ...]:
    """The first is the table as it is; every second is ranked; names are turned round, so that each class has each."""
    rng = np.random.default_rng(seed)
    members = [Member(torch.arange(n_features), torch.arange(n_classes), False)]
    for i in range(1, n_members):
        names = (np.arange(n_classes) + i) % max(n_classes, 1)
        members.append(Member(torch.from_numpy(rng.permutation(n_features)), torch.from_numpy(names), i % 2 == 1))
    return tuple(members)


def as_members(
    members: Sequence[Member], cells: dict[str, Tensor], known: dict[str, Tensor], weight: Tensor
) -> dict[str, Tensor]:
    """(N, F) cells as each member sees them, (E, N, F); ranks are those among the `known` rows."""
    ranked = normal_scores(cells, known, weight) if any(m.ranked for m in members) else cells["x"]
    x = torch.stack([(ranked if m.ranked else cells["x"])[:, m.columns] for m in members])
    return {"x": x, "missing": torch.stack([cells["missing"][:, m.columns] for m in members])}


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

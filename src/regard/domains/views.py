"""Several views of one task, whose answers are averaged: test-time augmentation, and what a domain does to its items
before a learner sees them. The cost grows with the number of views, since each is a task of one batch.

A view is fixed when the estimator is fitted. What it does to a query depends on no other query, so that answering in
chunks changes nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor

from regard.episode import Items, map_items


class Views(ABC):
    """Abstract: E views.

    Attributes:
        n: E.
    """

    n: int

    @abstractmethod
    def support(self, items: Items) -> Items:
        """(N, *item) examples to (E, N, *item)."""

    @abstractmethod
    def queries(self, items: Items) -> Items:
        """(N, *item) queries to (E, N, *item)."""

    def class_order(self, n_classes: int) -> Tensor:
        """(E, C): the index that each view gives to each class."""
        return torch.arange(n_classes).expand(self.n, -1)


@final
class Identity(Views):
    """One view: the task as it is."""

    n = 1

    def support(self, items: Items) -> Items:
        return map_items(lambda t: t[None], items)

    queries = support

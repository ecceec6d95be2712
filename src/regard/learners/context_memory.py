"""Learners that keep unlabelled items of their training set, encoded, and compare new items with them."""

from __future__ import annotations

from typing import Protocol, Self, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from regard.episode import Items, first_tensor, map_items
from regard.errors import EpisodeError
from regard.learners.base import EncodingLearner
from regard.nn.encoder import Encoder


@runtime_checkable
class RemembersItems(Protocol):
    """A learner or an encoder that keeps `n_context` unlabelled items of its training set, given to `remember`."""

    @property
    def n_context(self) -> int: ...

    def remember(self, items: Items) -> None: ...


class ContextLearner(EncodingLearner):
    """Abstract: M unlabelled items, whose vectors are a buffer of the checkpoint.

    `remember` gives the items. As long as the learner trains they are encoded in every step, since the encoder moves;
    when it is put into eval mode their vectors are kept, and those alone are saved. Before that the memory is empty.

    Args:
        encoder: items to vectors (N, D).
        n_context: M.
    """

    context: Tensor
    context_weight: Tensor

    def __init__(self, encoder: Encoder, n_context: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("context", torch.zeros(n_context, encoder.n_features))
        self.register_buffer("context_weight", torch.zeros(n_context))
        self._context_items: Items | None = None

    @property
    def n_context(self) -> int:
        """M."""
        return len(self.context)

    def remember(self, items: Items) -> None:
        """Fill the memory.

        Args:
            items: (M, *item), unlabelled, of the training set.

        Raises:
            EpisodeError: another number of them.
        """
        if len(first_tensor(items)) != self.n_context:
            raise EpisodeError(f"{len(first_tensor(items))} items of context: expected n_context, {self.n_context}.")
        self._context_items = map_items(torch.clone, items)
        self.context_weight.fill_(1.0)
        self._keep()

    def train(self, mode: bool = True) -> Self:
        """As of every module; leaving training mode, the vectors of the memory are encoded once more and kept."""
        left_training = self.training and not mode
        super().train(mode)
        if left_training:
            self._keep()
        return self

    def context_vectors(self) -> tuple[Float[Tensor, "M D"], Float[Tensor, " M"]]:
        """The memory's vectors and their weights, all 0 before `remember`."""
        if self.training and self._context_items is not None:
            with torch.no_grad():
                return self._encoded(self._context_items), self.context_weight
        return self.context, self.context_weight

    def _keep(self) -> None:
        if self._context_items is not None:
            with torch.no_grad():
                self.context.copy_(self._encoded(self._context_items))

    def _encoded(self, items: Items) -> Tensor:
        like = self.context
        return self.encode(map_items(lambda t: t.to(like.device, like.dtype if t.is_floating_point() else None), items))

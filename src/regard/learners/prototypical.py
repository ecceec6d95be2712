"""Prototypical networks: a class is the mean of its examples, and the nearest class wins.

    c_k = sum_s w_s [y_s = k] f(x_s) / sum_s w_s [y_s = k]        logit_k(x) = -|f(x) - c_k|^2

Snell, Swersky, Zemel 2017, "Prototypical Networks for Few-shot Learning", arXiv:1703.05175.

Differs from the paper: nothing in the method; examples may be weighted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from regard.episode import Support, Value
from regard.learners.base import EncodingLearner, hide_absent
from regard.nn.attention import Compare, scores
from regard.nn.encoder import Encoder


@dataclass(frozen=True)
class Prototypes(Value):
    """centre: (B, C, D) class means; mass: (B, C) summed support weight."""

    centre: Tensor
    mass: Tensor


def class_means(z: Tensor, support: Support) -> Prototypes:
    """Weighted mean of the rows of each class; zeros for a class without weight.

    Args:
        z: (B, S, D).
        support: its labels and weights.
    """
    membership = support.membership().to(z.dtype)
    mass = membership.sum(1)
    total = membership.mT @ z
    # max(mass, tiny) would make the mean of a tiny weight wrong; only an exact 0 is replaced.
    return Prototypes(total / torch.where(mass > 0, mass, 1.0)[..., None], mass)


@final
class Prototypical(EncodingLearner):
    """Nearest class mean in a learned space.

    Args:
        encoder: items to vectors.
        compare: "distance" as in the paper, or "cosine", which wants a higher `scale`.
        scale: logits are multiplied by it.

    Examples:
        >>> from regard.nn.flat import Flat
        >>> support = Support(torch.tensor([[[0.0], [2.0], [9.0]]]), torch.tensor([[0, 0, 1]]))
        >>> learner = Prototypical(Flat())
        >>> state = learner.adapt(support)
        >>> state.centre.flatten()
        tensor([1., 9.])
        >>> learner.predict(state, torch.tensor([[[3.0]]]))
        tensor([[[ -4., -36.]]])
    """

    def __init__(self, encoder: Encoder, *, compare: Compare = "distance", scale: float = 1.0) -> None:
        super().__init__()
        self.encoder, self.scale = encoder, scale
        self.compare: Compare = compare

    def adapt_encoded(self, support: Support) -> Prototypes:
        return class_means(support.x, support)

    def predict_encoded(self, state: Prototypes, query_z: Tensor) -> Tensor:
        return hide_absent(self.scale * scores(query_z, state.centre, self.compare), state.mass)

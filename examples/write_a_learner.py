"""Write a learner of your own in one class, and hold it to the laws that every learner keeps.

    python examples/write_a_learner.py

The method: nearest class mean, where the distance is scaled by each class's own spread.
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

import regard
from regard.episode import Support
from regard.learners.base import EncodingLearner, hide_absent
from regard.nn.attention import scores  # twice differentiable, which torch.cdist is not
from regard.nn.mlp import MLP
from regard.testing import check_learner, random_episode


@dataclass(frozen=True)
class Gaussians:
    """mean: (B, C, D), variance: (B, C), mass: (B, C) summed weight of the examples."""

    mean: Tensor
    variance: Tensor
    mass: Tensor


@final
class SpreadMeans(EncodingLearner):
    """logit_k(x) = -|f(x) - mean_k|^2 / (2 variance_k); no way, shot or query count, no state on the module."""

    def __init__(self, encoder: nn.Module, floor: float = 1.0) -> None:
        super().__init__()
        self.encoder, self.floor = encoder, floor

    def adapt_encoded(self, support: Support) -> Gaussians:
        """Vectors (B, S, D) to class means; `membership` holds the weights, so rows of weight 0 are absent."""
        z, membership = support.x, support.membership().to(support.x.dtype)
        mass = membership.sum(1)
        total = torch.where(mass > 0, mass, 1.0)
        mean = membership.mT @ z / total[..., None]
        square = -scores(z, mean, "distance")  # (B, S, C)
        return Gaussians(mean, self.floor + (membership * square).sum(1) / total, mass)

    def predict_encoded(self, state: Gaussians, query_z: Tensor) -> Tensor:
        """(B, Q, D) to (B, Q, C) logits; minus infinity for a class without examples."""
        square = -scores(query_z, state.mean, "distance")
        return hide_absent(-square / (2 * state.variance[:, None]), state.mass)


check_learner(lambda: SpreadMeans(MLP(6, 4, [8])), random_episode)  # raises, and names every law that is broken
print("keeps all laws")

items = torch.randn(40, 1, 16) + torch.randn(40, 20, 16)
data = regard.Dataset.of(items.flatten(0, 1), torch.arange(40).repeat_interleave(20))
source = regard.EpisodeSampler(data, n_way=5, n_shot=5)
print("accuracy before training:", regard.evaluate(SpreadMeans(MLP(16)), source, 100).metrics["accuracy"])

"""Relation network: learn the comparison too, by a small network on the maps of class and query side by side.

    c_k = mean of the feature maps of class k        r_k(x) = sigmoid( g([c_k, f(x)]) ),  trained by (r_k - [y = k])^2

Sung, Yang, Zhang, Xiang, Torr, Hospedales 2018, "Learning to Compare: Relation Network for Few-Shot Learning",
arXiv:1711.06025.

Differs from the paper: class maps are means, not sums, so that shots do not change their size; the head ends in the
mean over places, so that any map size will do, and its norm is by policy, "group" by default (theirs is batch norm);
scores start at a fifth.
With an encoder to vectors the head is a perceptron. Logits are g, before the sigmoid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.episode import Episode, Support, Value
from regard.errors import ConfigError
from regard.learners.base import EncodingLearner, hide_absent, task_mean
from regard.nn.encoder import Encoder
from regard.nn.norm import Norm, norm_2d

_FIRST_LOGIT = -math.log(4)
"""Of a score of a fifth: one class in five is the right one in the paper's tasks."""


@dataclass(frozen=True)
class ClassMaps(Value):
    """maps: (B, C, D) or (B, C, P, D) class means; mass: (B, C) summed support weight."""

    maps: Tensor
    mass: Tensor


class _Head(nn.Module):
    """g: (N, D, side, side) pairs of class and query to (N,).

    The first convolution of two maps side by side is the sum of a convolution of each. So it is done once a class and
    once a query, and only the sum is done for every pair. A vector is a map of one place.
    """

    def __init__(self, n_features: int, width: int, norm: Norm, size: int) -> None:
        super().__init__()
        self.of_class = nn.Conv2d(n_features, width, size, padding=size // 2, bias=False)
        self.of_query = nn.Conv2d(n_features, width, size, padding=size // 2)
        self.rest = nn.Sequential(
            norm_2d(norm, width), nn.ReLU(), nn.Conv2d(width, width, size, padding=size // 2), norm_2d(norm, width)
        )
        last = nn.Linear(8, 1)
        self.verdict = nn.Sequential(nn.Linear(width, 8), nn.ReLU(), last)
        # Most pairs do not belong together. From a score of a half the way down is so long that the eight units die on
        # it, and all answers stay the same: on 8x8 maps that was seen at each rate tried.
        nn.init.constant_(last.bias, _FIRST_LOGIT)

    def forward(self, class_map: Tensor, query_map: Tensor) -> Tensor:
        """(B, C, D, h, w) and (B, Q, D, h, w) to (B, Q, C)."""
        of_class = self.of_class(class_map.flatten(0, 1)).unflatten(0, class_map.shape[:2])
        of_query = self.of_query(query_map.flatten(0, 1)).unflatten(0, query_map.shape[:2])
        pair = of_query[:, :, None] + of_class[:, None]
        z = self.rest(pair.flatten(0, 2)).relu().mean((2, 3))
        return self.verdict(z).view(pair.shape[:3])


@final
class Relation(EncodingLearner):
    """A learned comparison of class mean and query.

    Args:
        encoder: items to parts (N, P, D) with P = side * side, or to vectors (N, D).
        width: channels of the head.
        norm: of the head, see `regard.nn.norm`; "none" for an encoder to vectors.
    """

    def __init__(self, encoder: Encoder, *, width: int = 64, norm: Norm = "group") -> None:
        super().__init__()
        self.encoder = encoder
        n_features = encoder.n_features
        on_maps = bool(getattr(encoder, "parts", False))
        self.head = _Head(n_features, width, norm, 3) if on_maps else _Head(n_features, width, "none", 1)

    def adapt_encoded(self, support: Support) -> ClassMaps:
        z: Tensor = support.x
        membership = support.membership().to(z.dtype)
        mass = membership.sum(1)
        mean = membership.mT @ z.flatten(2) / torch.where(mass > 0, mass, 1.0)[..., None]
        return ClassMaps(mean.unflatten(2, z.shape[2:]), mass)

    def predict_encoded(self, state: ClassMaps, query_z: Float[Tensor, "B Q *D"]) -> Float[Tensor, "B Q C"]:
        return hide_absent(self.head(_as_map(state.maps), _as_map(query_z)), state.mass)

    def loss(self, episode: Episode) -> Float[Tensor, " B"]:
        """(B,) squared error of the relation scores, summed over the classes of the task."""
        support, query_z = self.encode_episode(episode)
        state = self.adapt_encoded(support)
        score = self.predict_encoded(state, query_z).sigmoid()
        wanted = (episode.query_y[..., None] == torch.arange(score.shape[-1], device=score.device)).to(score.dtype)
        error = (score - wanted).square() * (state.mass > 0)[:, None]
        return task_mean(error.sum(-1), episode.query_weight)


def _as_map(z: Tensor) -> Tensor:
    """(B, R, P, D) to (B, R, D, side, side); (B, R, D) to (B, R, D, 1, 1)."""
    if z.ndim == 3:
        return z[..., None, None]
    side = math.isqrt(z.shape[2])
    if side * side != z.shape[2]:
        raise ConfigError(
            f"the encoder gives {z.shape[2]} parts: expected a square map (1, 4, 9, ...) for Relation's convolutions; "
            "use square images, or an encoder to vectors."
        )
    return z.mT.unflatten(-1, (side, side))

"""Triplet network: an item lies nearer to its own kind than to any other, by a margin; nearer examples count more.

    d(x, x') = | g(x) - g(x') |^2,   g = f / |f|
    loss     = mean of [ d(anchor, positive) - d(anchor, negative) + margin ]_+      anchor: query, others: support rows
    p_s      = weight_s exp( -d(x, x_s) / temperature ), normalised over the support rows

"semi-hard" mining takes for each anchor and positive the nearest negative that is farther than the positive, and the
farthest of all where none is; "all" takes every negative.

Schroff, Kalenichenko, Philbin 2015, "FaceNet: A Unified Embedding for Face Recognition and Clustering",
arXiv:1503.03832.

Differs from the paper: triplets are drawn within an episode; the prediction by attention is ours (theirs is a nearest
neighbour). For regression, our own: of two rows the one nearer in target is the positive, and the margin is scaled by
how much more alike it is (`regard.learners.row_attention.alike`); classes are the special case of 1 and 0.
"""

from __future__ import annotations

from typing import Literal, final, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from regard.episode import Episode, Support
from regard.errors import ConfigError, did_you_mean
from regard.learners.base import require_vectors, task_mean
from regard.learners.row_attention import RowAttentionLearner, alike
from regard.nn.attention import scores
from regard.nn.encoder import Encoder

Mining = Literal["semi-hard", "all"]


@final
class Triplet(RowAttentionLearner):
    """Attention by distance on the unit sphere, trained on triplets.

    Args:
        encoder: items to vectors (N, D).
        margin: how much nearer a positive has to be, in squared distance (0 to 4).
        mining: which negatives are trained on.
        temperature: squared distances are divided by it for the prediction.
        noise: the smallest standard deviation of a predicted target.

    Raises:
        ConfigError: an encoder that gives parts, or an unknown mining.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        margin: float = 0.2,
        mining: Mining = "semi-hard",
        temperature: float = 0.1,
        noise: float = 0.1,
    ) -> None:
        super().__init__()
        require_vectors(encoder, "Triplet")
        if mining not in get_args(Mining):
            raise ConfigError(f"mining is {mining!r}: {did_you_mean(str(mining), get_args(Mining))}")
        self.encoder, self.margin, self.mining = encoder, margin, mining
        self.temperature, self.noise = temperature, noise

    def score(self, state: Support, query_z: Float[Tensor, "B Q D"]) -> Float[Tensor, "B Q S"]:
        return -self._distance(state, query_z) / self.temperature

    def loss(self, episode: Episode) -> Float[Tensor, " B"]:
        """(B,) mean hinge over the triplets of each task; holds (B, Q, S, S) numbers."""
        support, query_z = self.encode_episode(episode)
        far, similar = self._distance(support, query_z), alike(episode)
        # Last axes: positive, negative.
        gap = similar[..., :, None] - similar[..., None, :]
        hinge = (far[..., :, None] - far[..., None, :] + self.margin * gap).clamp_min(0)
        anchor_positive = episode.query_weight[..., None] * support.weight[:, None]
        negative = (gap > 0) * support.weight[:, None, None, :]
        if self.mining == "all":
            return task_mean(hinge, anchor_positive[..., None] * negative)
        # The nearest negative beyond the positive, or the farthest where none is beyond: (B, Q, S, 1).
        is_negative = negative > 0
        far_negative = far[..., None, :].expand(is_negative.shape)
        beyond = is_negative & (far_negative > far[..., :, None])
        nearest_beyond = torch.where(beyond, far_negative, torch.inf).argmin(-1, keepdim=True)
        farthest = torch.where(is_negative, far_negative, -torch.inf).argmax(-1, keepdim=True)
        chosen = torch.where(beyond.any(-1, keepdim=True), nearest_beyond, farthest)
        return task_mean(hinge.gather(-1, chosen).squeeze(-1), anchor_positive * is_negative.any(-1))

    def _distance(self, state: Support, query_z: Tensor) -> Tensor:
        """(B, Q, S) squared distances between unit vectors, which are 2 - 2 cos."""
        key: Tensor = state.x
        return 2 - 2 * scores(query_z, key, "cosine")

"""Siamese network: learn to say whether two items are of one kind, then ask it about the query and every example.

    P(same | x, x') = sigmoid( w . |f(x) - f(x')| + b )                 the pair's logit is also the score of a row
    p_s = weight_s P / (1 - P), normalised over the support rows        the odds that the query is of row s's kind

Trained on pairs: binary cross-entropy, where the pairs of one kind count as much in total as those of different kinds.

Koch, Zemel, Salakhutdinov 2015, "Siamese Neural Networks for One-shot Image Recognition", ICML Deep Learning Workshop.

Differs from the paper: pairs are query with support row of an episode; any shot, by the odds summed over a class (the
paper takes the best of one example each); any encoder (theirs is a convolution net that ends in 4096 sigmoids).
For regression, our own: a pair is alike by degrees (`regard.learners.row_attention.alike`), the cross-entropy has that
degree as its label, and the targets are averaged with p.
"""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from regard.episode import Episode, Support
from regard.learners.base import require_vectors, task_mean
from regard.learners.row_attention import RowAttentionLearner, alike
from regard.nn.encoder import Encoder


@final
class Siamese(RowAttentionLearner):
    """Attention by a learned verdict on pairs.

    Args:
        encoder: items to vectors (N, D).
        noise: the smallest standard deviation of a predicted target.

    Raises:
        ConfigError: an encoder that gives parts.
    """

    def __init__(self, encoder: Encoder, *, noise: float = 0.1) -> None:
        super().__init__()
        require_vectors(encoder, "Siamese")
        self.encoder, self.noise = encoder, noise
        n_features = encoder.n_features
        self.verdict = nn.Linear(n_features, 1)
        # Far apart means different from the first step on; the paper's random signs would have to unlearn the reverse.
        nn.init.constant_(self.verdict.weight, -(n_features**-0.5))

    def score(self, state: Support, query_z: Float[Tensor, "B Q D"]) -> Float[Tensor, "B Q S"]:
        """(B, Q, S) logits of "same"."""
        key: Tensor = state.x
        return self.verdict((query_z[:, :, None] - key[:, None]).abs()).squeeze(-1)

    def loss(self, episode: Episode) -> Float[Tensor, " B"]:
        """(B,) balanced binary cross-entropy over the pairs of query and support row."""
        support, query_z = self.encode_episode(episode)
        logit = self._wide_score(support, query_z)
        same = alike(episode).to(logit.dtype)
        pair = episode.query_weight[..., None] * support.weight[:, None]
        together = task_mean(F.softplus(-logit), pair * same)
        apart = task_mean(F.softplus(logit), pair * (1 - same))
        return torch.add(together, apart) / 2

"""FEAT: the class means of a task look at each other, and move, before the nearest one wins.

    c'_k = norm( c_k + attention over all class means of the task )        logit_k(x) = - |f(x) - c'_k|^2 / temperature

Ye, Hu, Zhan, Sha 2020, "Few-Shot Learning via Embedding Adaptation with Set-to-Set Functions", arXiv:1812.03664.

The auxiliary loss is the paper's: the same attention is applied within all examples of a class (support and query), and
every example has to be nearest to the mean of its own adapted class. It is used in training only.

Differs from the paper: no dropout, one temperature for both losses, and an encoder that is pretrained only where the
recipe says so (`start`, with a run of SimpleShot for the paper's classifier).
"""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.episode import Episode, Support
from regard.learners.base import EncodingLearner, hide_absent, query_loss, require_vectors
from regard.learners.prototypical import Prototypes, class_means
from regard.nn.attention import MultiHeadAttention, scores
from regard.nn.encoder import Encoder


@final
class FEAT(EncodingLearner):
    """Nearest class mean after self-attention over the class means.

    Args:
        encoder: items to vectors (N, D).
        n_heads: of the self-attention; divides D.
        temperature: squared distances are divided by it; None is D (the paper's 64 for its vectors of 64).
        contrast: how much the auxiliary loss counts; 0 leaves it out.

    Raises:
        ConfigError: an encoder that gives parts, or heads that do not divide D.
    """

    def __init__(
        self, encoder: Encoder, *, n_heads: int = 1, temperature: float | None = None, contrast: float = 0.1
    ) -> None:
        super().__init__()
        require_vectors(encoder, "FEAT")
        n_features = encoder.n_features
        self.encoder, self.contrast = encoder, contrast
        self.temperature = float(n_features) if temperature is None else temperature
        self.attention = MultiHeadAttention(n_features, n_heads)
        self.norm = nn.LayerNorm(n_features)

    def adapt_encoded(self, support: Support) -> Prototypes:
        means = class_means(support.x, support)
        # A class is in the task or not: how many examples it has does not make the others look at it more.
        return Prototypes(self._adapted(means.centre, (means.mass > 0).to(means.centre.dtype)), means.mass)

    def predict_encoded(self, state: Prototypes, query_z: Float[Tensor, "B Q D"]) -> Float[Tensor, "B Q C"]:
        return hide_absent(scores(query_z, state.centre, "distance") / self.temperature, state.mass)

    def loss(self, episode: Episode) -> Float[Tensor, " B"]:
        """(B,) negative log-likelihood of the queries, plus the auxiliary loss."""
        support, query_z = self.encode_episode(episode)
        loss = query_loss(self.predict_encoded(self.adapt_encoded(support), query_z), episode)
        if not self.contrast:
            return loss
        z = torch.cat([support.x, query_z], 1)
        y = torch.cat([support.y, episode.query_y], 1)
        weight = torch.cat([support.weight, episode.query_weight], 1)
        same = (y[:, :, None] == y[:, None]) * weight[:, None]
        every_row = Support(self._adapted(z, same), y, weight, support.n_classes)
        centres = class_means(every_row.x, every_row)
        return loss + self.contrast * query_loss(self.predict_encoded(centres, z), Episode(every_row, z, y, weight))

    def _adapted(self, z: Tensor, weight: Tensor) -> Tensor:
        return self.norm(z + self.attention(z, z, weight)[0])

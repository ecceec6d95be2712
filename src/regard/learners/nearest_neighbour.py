"""Nearest neighbours: the k nearest examples vote, or their targets are averaged. Nothing is learned.

    p_s = 1/k for the k nearest rows, else 0

Cover, Hart 1967, "Nearest neighbor pattern classification", IEEE Transactions on Information Theory 13(1).

With no encoder, the baseline that shows how hard a data set is: what raw pixels know. A row of weight 2 is two of the
k; a fraction of a row is that fraction of a vote.
"""

from __future__ import annotations

from typing import final

from jaxtyping import Float
from torch import Tensor

from regard.episode import Support
from regard.learners.base import require_vectors
from regard.learners.row_attention import RowAttentionLearner
from regard.nn.attention import Compare, How, scores
from regard.nn.encoder import Encoder
from regard.nn.flat import Flat


@final
class NearestNeighbour(RowAttentionLearner):
    """The nearest examples vote.

    Args:
        encoder: items to vectors (N, D); None compares items as they are (uint8 divided by 255).
        n_neighbours: k.
        compare: "distance" or "cosine".
        how: "hard" is k nearest neighbours; "soft" lets all vote, by exp(score).
        noise: the smallest standard deviation of a predicted target.

    Raises:
        ConfigError: an encoder that gives parts.
    """

    # Straight-through gradients, of encoders that have parameters, are no function's derivative.
    differentiates_twice = False

    def __init__(
        self,
        encoder: Encoder | None = None,
        *,
        n_neighbours: int = 1,
        compare: Compare = "distance",
        how: How = "hard",
        noise: float = 0.1,
    ) -> None:
        super().__init__()
        self.encoder = Flat() if encoder is None else encoder
        require_vectors(self.encoder, "NearestNeighbour")
        self.n_neighbours, self.noise = n_neighbours, noise
        self.compare: Compare = compare
        self.how: How = how

    def score(self, state: Support, query_z: Float[Tensor, "B Q D"]) -> Float[Tensor, "B Q S"]:
        return scores(query_z, state.x, self.compare)

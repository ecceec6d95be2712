"""IterRefLSTM: query and support vectors refine each other's view of the task, iteration by iteration.

    support  r_s = sum_j a( z_s + q_s, z_j ) z_j        q_s = LSTM(r_s, q_s)        z_s = r_s, for the next iteration
    query    s   = sum_j a( x + p, z_j ) z_j            p   = LSTM(s, p)
    answer   attention by cosine of x + p over the first z_s + q_s, as matching networks

Matching networks read the support by an LSTM in an order; here both sides only ever attend, so no order matters.

Altae-Tran, Ramsundar, Pappu, Pande 2017, "Low Data Drug Discovery with One-Shot Learning", ACS Central Science 3(4),
arXiv:1611.03199.

Differs from the paper: cosines of the answer are multiplied by a learned scale; the support does not depend on the
query, so it is refined once, in `adapt`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution

from regard.episode import Support, Value
from regard.errors import ConfigError
from regard.learners.base import EncodingAttendingLearner, require_vectors
from regard.learners.row_attention import class_logits, weighted_normal
from regard.nn.attention import attention, attention_weights, scores
from regard.nn.encoder import Encoder
from regard.nn.lstm_step import LSTMStep


@dataclass(frozen=True)
class Refined(Value):
    """reads: by iteration, what queries attend to, (B, S, D); support: with refined vectors for items."""

    reads: dict[str, Tensor]
    support: Support


@final
class IterRefLSTM(EncodingAttendingLearner):
    """Iterative refinement, then attention over the support rows.

    Args:
        encoder: items to vectors (N, D).
        n_iterations: of the refinement; the paper has 3.
        scale: where the learned factor of the cosines starts.
        noise: the smallest standard deviation of a predicted target.

    Raises:
        ConfigError: an encoder that gives parts, or no iteration.
    """

    regresses = True

    def __init__(self, encoder: Encoder, *, n_iterations: int = 3, scale: float = 10.0, noise: float = 0.1) -> None:
        super().__init__()
        require_vectors(encoder, "IterRefLSTM")
        if n_iterations < 1:
            raise ConfigError(f"n_iterations is {n_iterations}: expected at least 1.")
        self.encoder, self.n_iterations, self.noise = encoder, n_iterations, noise
        d = encoder.n_features
        self.of_support, self.of_query = LSTMStep(d, d, d), LSTMStep(d, d, d)
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))

    def adapt_encoded(self, support: Support) -> Refined:
        first: Tensor = support.x
        z, shift, cell = first, torch.zeros_like(first), torch.zeros_like(first)
        reads: dict[str, Tensor] = {}
        for iteration in range(self.n_iterations):
            reads[str(iteration)] = z
            read, _ = attention(z + shift, z, z, support.weight, compare="cosine")
            shift, cell = self.of_support(read, shift, cell)
            z = read
        return Refined(reads, Support(first + shift, support.y, support.weight, support.n_classes))

    def predict_encoded(self, state: Refined, query_z: Float[Tensor, "B Q D"]) -> Float[Tensor, "B Q C"] | Distribution:
        support = state.support
        if support.is_regression:
            return weighted_normal(self.attend_encoded(state, query_z), support.y, self.noise)
        return class_logits(self._score(state, query_z), support)

    def attend_encoded(self, state: Refined, query_z: Float[Tensor, "B Q D"]) -> Float[Tensor, "B Q S"]:
        return attention_weights(self._score(state, query_z), state.support.weight[:, None])

    def _score(self, state: Refined, query_z: Tensor) -> Tensor:
        shift, cell = torch.zeros_like(query_z), torch.zeros_like(query_z)
        for z in state.reads.values():
            read, _ = attention(query_z + shift, z, z, state.support.weight, compare="cosine")
            shift, cell = self.of_query(read, shift, cell)
        score = self.log_scale.exp() * scores(query_z + shift, state.support.x, "cosine")
        return score.to(torch.promote_types(score.dtype, state.support.weight.dtype))

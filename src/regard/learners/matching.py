"""Matching networks: the answer is the support's labels, averaged by attention.

    p_s = weight_s exp( scale cos(f(x), g(x_s)) ), normalised over the support rows         y = sum_s p_s y_s

With full context, g and f see the whole support set: a bidirectional LSTM reads it, and an LSTM with attention reads
its result K times for each query.

    g(x_s) = g'(x_s) + forward_s + backward_s
    h', c  = LSTM(f'(x), [h, r], c)    h = h' + f'(x)    r = sum_s a(h, g(x_s)) g(x_s)                K times

Vinyals, Blundell, Lillicrap, Kavukcuoglu, Wierstra 2016, "Matching Networks for One Shot Learning", arXiv:1606.04080.

Differs from the paper: cosines are multiplied by a learned scale (a softmax of bare cosines is nearly even); reading
attention is scaled by 1/sqrt(D); sparse and hard attention may be chosen. An LSTM reads in an order and has no half
rows, so full context gives up two laws, and says so: order matters, and a weight only counts in the attention.
"""

from __future__ import annotations

import math
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.episode import Support
from regard.learners.base import require_vectors
from regard.learners.row_attention import RowAttentionLearner
from regard.nn.attention import How, attention, scores
from regard.nn.encoder import Encoder
from regard.nn.lstm_step import LSTMStep


class _FullContext(nn.Module):
    """The two embeddings that see the whole support."""

    def __init__(self, d: int, n_reads: int) -> None:
        super().__init__()
        self.n_reads = n_reads
        self.forwards, self.backwards, self.reading = LSTMStep(d, d, d), LSTMStep(d, d, d), LSTMStep(d, 2 * d, d)

    def support(self, z_BSD: Tensor, weight_BS: Tensor) -> Tensor:
        steps = list(range(z_BSD.shape[1]))
        there = _sweep(self.forwards, z_BSD, weight_BS > 0, steps)
        back = _sweep(self.backwards, z_BSD, weight_BS > 0, steps[::-1])
        return z_BSD + there + back

    def query(self, z_BQD: Tensor, state: Support) -> Tensor:
        hidden = read = cell = torch.zeros_like(z_BQD)
        key: Tensor = state.x
        for k in range(self.n_reads):
            if k > 0:
                read, _ = attention(hidden, key, key, state.weight)
            out, cell = self.reading(z_BQD, torch.cat([hidden, read], -1), cell)
            hidden = out + z_BQD
        return hidden


@final
class Matching(RowAttentionLearner):
    """Attention over the support rows.

    Args:
        encoder: items to vectors (N, D); f' and g' are one.
        n_reads: K, at least 2, with full context; 0 leaves full context out.
        how: how scores become weights, see `regard.nn.attention`; "gumbel" draws from torch's global generator.
        n_neighbours: how many rows "hard" keeps.
        scale: where the learned factor of the cosines starts.
        noise: the smallest standard deviation of a predicted target.

    Raises:
        ConfigError: an encoder that gives parts.

    Examples:
        >>> from regard.nn.mlp import MLP
        >>> support = Support(torch.eye(3)[None], torch.tensor([[0, 1, 1]]))
        >>> learner = Matching(MLP(3))
        >>> weight = learner.attend(learner.adapt(support), torch.eye(3)[None])
        >>> tuple(weight.shape), bool(torch.allclose(weight.sum(-1), torch.ones(1, 3)))
        ((1, 3, 3), True)
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        n_reads: int = 0,
        how: How = "soft",
        n_neighbours: int = 1,
        scale: float = 10.0,
        noise: float = 0.1,
    ) -> None:
        super().__init__()
        require_vectors(encoder, "Matching")
        self.encoder, self.how, self.n_neighbours, self.noise = encoder, how, n_neighbours, noise
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.context = _FullContext(encoder.n_features, n_reads) if n_reads else None
        self.ignores_order = self.counts_weight = self.context is None

    def adapt_encoded(self, support: Support) -> Support:
        if self.context is None:
            return support
        z = self.context.support(support.x, support.weight)
        return Support(z, support.y, support.weight, support.n_classes)

    def score(self, state: Support, query_z: Float[Tensor, "B Q D"]) -> Float[Tensor, "B Q S"]:
        query = query_z if self.context is None else self.context.query(query_z, state)
        return self.log_scale.exp() * scores(query, state.x, "cosine")


def _sweep(step: LSTMStep, z_BSD: Tensor, present_BS: Tensor, order: list[int]) -> Tensor:
    """(B, S, D) hidden states; a row without weight is passed over, the state carried across it."""
    hidden = cell = torch.zeros_like(z_BSD[:, 0])
    seen: dict[int, Tensor] = {}
    for s in order:
        new_hidden, new_cell = step(z_BSD[:, s], hidden, cell)
        present = present_BS[:, s, None]
        hidden, cell = torch.where(present, new_hidden, hidden), torch.where(present, new_cell, cell)
        seen[s] = hidden
    return torch.stack([seen[s] for s in range(len(order))], 1)

"""Attentive neural process: each query reads the support rows by attention, where a plain one takes their mean.

    r_s    = h( f(x_s), y_s ), then self-attention over the rows
    r(x)   = attention( q(f(x)), k(f(x_s)), r_s )           keys and queries know x alone, values know y
    N( mean, sigma ) = g( f(x), r(x) )                       for each query by itself

Kim, Mnih, Schwarz, Garnelo, Eslami, Rosenbaum, Vinyals, Teh 2019, "Attentive Neural Processes", arXiv:1901.05761.

Differs from the paper: this is its deterministic path only, elsewhere called a conditional attentive neural process.
There is no latent variable, so queries are answered each by itself and no coherent function can be drawn. The rows'
self-attention is that of a pre-norm Transformer, and keys start as queries. Classes and targets are read column by
column (see `columns`).

`places="rotary"` tells no network of f(x): it turns queries, keys and values instead (see `nn.rotary`). So q and k are
one learned vector each, turned; attention knows of places only how they differ, and the answer moves with the function.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution

from regard.episode import Support, Value
from regard.learners.base import EncodingLearner, require_vectors
from regard.learners.columns import RowTokens, class_mass
from regard.nn.attention import How, MultiHeadAttention
from regard.nn.context import ContextLayer, alike_at_first, dense
from regard.nn.encoder import Encoder
from regard.nn.flat import Flat
from regard.nn.rotary import Places, Rotary, is_rotary, placed


@dataclass(frozen=True)
class AttendedRows(Value):
    """key: (B, 1, H, S, D / H); value: (B, C, H, S, D / H); weight: (B, 1, S); mass: (B, C) or (B, 0)."""

    key: Tensor
    value: Tensor
    weight: Tensor
    mass: Tensor


@final
class AttentiveNeuralProcess(EncodingLearner):
    """Attention of queries to support rows, and a decoder.

    Args:
        encoder: items to vectors (N, D); None takes items as they are.
        n_inputs: D, where there is no encoder.
        d_model: width of everything; as in the authors' code.
        n_heads: H; divides d_model; as in the authors' code.
        n_layers: of self-attention over the rows; our choice, and 0 leaves it out.
        n_embed, n_place, n_decode: layers of h, of the network under keys and queries, and of g; our choice.
        how: how scores of the queries' attention become weights, see `regard.nn.attention`; the paper's is "soft".
        n_targets: T, where all targets of a row are one token (see `columns`), for regression on T targets alone; 0, as
            in all published results, reads them column by column.
        places: what knows where a row is: networks that read its vector, a part of its "token", as in the paper, or
            attention, by "rotary" turns.
        min_sigma: the smallest standard deviation of a predicted target; as in the authors' code.

    Raises:
        ConfigError: an encoder that gives parts, n_heads that does not divide d_model, or unknown places.
    """

    regresses = True
    # How to use a support is learned from thousands of episodes.
    solves_separable = False

    def __init__(
        self,
        encoder: Encoder | None = None,
        *,
        n_inputs: int = 1,
        d_model: int = 128,
        n_heads: int = 8,
        n_layers: int = 2,
        n_embed: int = 3,
        n_place: int = 2,
        n_decode: int = 4,
        how: How = "soft",
        n_targets: int = 0,
        places: Places = "token",
        min_sigma: float = 0.1,
    ) -> None:
        super().__init__()
        self.encoder = Flat() if encoder is None else encoder
        require_vectors(self.encoder, "AttentiveNeuralProcess")
        n_features = n_inputs if encoder is None else encoder.n_features
        self.min_sigma, self.rows, self.classifies = min_sigma, RowTokens(n_targets), not n_targets
        self.differentiates_twice = how not in ("hard", "gumbel")  # trained straight-through
        self.rotary = Rotary(n_features, n_heads, d_model // n_heads) if is_rotary(places) else None
        n_told = n_features if self.rotary is None else 0
        self.embed = dense(n_told + self.rows.n_extra, *[d_model] * n_embed)
        self.layers = cast(
            "list[ContextLayer]", nn.ModuleList(ContextLayer(d_model, n_heads, 2 * d_model) for _ in range(n_layers))
        )
        self.place = dense(n_features, *[d_model] * n_place) if self.rotary is None else _Constant(d_model)
        self.attention = alike_at_first(MultiHeadAttention(d_model, n_heads, how=how))
        self.decode = dense(n_told + d_model, *[d_model] * (n_decode - 1), self.rows.n_outputs)

    def adapt_encoded(self, support: Support) -> AttendedRows:
        z: Tensor = support.x
        weight = support.weight[:, None].to(z.dtype)
        told, turn = placed(self.rotary, z)
        said_BCSD = self.embed(self.rows.support(told, support))
        for layer in self.layers:
            seen = layer.attention_norm(said_BCSD)
            said_BCSD = layer(said_BCSD, seen, *layer.attention.keys_values(seen, turn=turn), weight, turn)
        key, value = self.attention.keys_values(self.place(z)[:, None], said_BCSD, turn)
        return AttendedRows(key, value, weight, class_mass(support))

    def predict_encoded(
        self, state: AttendedRows, query_z: Float[Tensor, "B Q D"]
    ) -> Float[Tensor, "B Q C"] | Distribution:
        told, turn = placed(self.rotary, query_z)
        place = self.place(query_z)[:, None]
        read_BCQD, _ = self.attention.read(place, state.key, state.value, state.weight, turn)
        told = told[:, None].expand(*read_BCQD.shape[:3], -1)
        return self.rows.predictions(self.decode(torch.cat([told, read_BCQD], -1)), state.mass, self.min_sigma)


class _Constant(nn.Module):
    """(B, N, D) places to (B, N, d_model) of one learned vector: attention turns it by the place."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.vector = nn.Parameter(torch.randn(d_model))

    def forward(self, z: Float[Tensor, "B N D"]) -> Float[Tensor, "B N E"]:
        return self.vector.expand(*z.shape[:-1], -1)

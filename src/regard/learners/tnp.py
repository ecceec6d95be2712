"""Transformer neural process (TNP-D): support rows and queries are tokens of one Transformer, and nothing else.

    token of a row s     e( f(x_s), y_s )          rows attend to rows
    token of a query     e( f(x),   ?   )          queries attend to rows, not to each other
    prediction           N( mean, sigma ) = head( the query's token after L layers ),  each query by itself

Nguyen and Grover 2022, "Transformer Neural Processes: Uncertainty-Aware Meta Learning Via Sequence Modeling",
arXiv:2207.04179. This is their diagonal variant, TNP-D.

Differs from the paper: the encoded support is kept, so that a later query costs itself alone; norms stand before the
layers, which needs no careful learning rate, and GELU in them; keys start as queries; a flag says that a query's number
is missing, where the paper writes 0 for it; sigma has a floor, where the paper takes a bare exponential; classes and
targets are read column by column, or all targets of a row as one token (see `columns`).

An encoder of parts (objects of a scene, patches) makes every part of an item a token, with the row's targets beside
each. The tokens of a query are pooled by a learned attention before the head:

    part p of a row s    e( f(x_s)_p, y_s )         query = sum_p softmax_p( pool . token_p ) token_p

`places="rotary"` leaves f(x) out of the tokens and lets it turn queries, keys and values instead (see `nn.rotary`), so
that attention knows of places only how they differ: the answer moves with the function. That a neural process should do
so is the thought of Ashman et al. 2024, "Translation Equivariant Transformer Neural Processes", arXiv:2406.12409, who
feed differences to a network for each pair of rows, which costs more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution

from regard.episode import Support, Value
from regard.learners.base import EncodingAttendingLearner
from regard.learners.columns import RowTokens, class_mass
from regard.nn.attention import How, attention_weights
from regard.nn.context import Context, ContextTransformer, dense
from regard.nn.encoder import Encoder
from regard.nn.flat import Flat
from regard.nn.rotary import Places, Rotary, Turn, is_rotary, placed


@dataclass(frozen=True)
class Encoded(Value):
    """context: keys and values of each layer, (B, C, H, S, D / H); count: (B, C) zeros; mass: (B, C) or (B, 0).

    With an encoder of parts, S is the support rows times the parts of each.
    """

    context: Context
    count: Tensor
    mass: Tensor


@final
class TNPD(EncodingAttendingLearner):
    """A Transformer over support rows, read by queries. `attend` averages over layers and heads.

    Args:
        encoder: items to vectors (N, D), or to parts (N, P, D); None takes items as they are.
        n_inputs: D, where there is no encoder.
        d_model, n_layers, n_heads, d_feed: of the Transformer; as in the authors' code for Gaussian processes.
        n_embed: layers of the network e that makes tokens; as in the authors' code.
        how: how scores of attention become weights, in all layers; see `regard.nn.attention`. The paper's is "soft".
        n_targets: T, where all targets of a row are one token (see `columns`), for regression on T targets alone; 0, as
            in all published results, reads them column by column.
        places: what knows where a row is: its "token", as in the paper, or attention, by "rotary" turns.
        min_sigma: the smallest standard deviation of a predicted target.

    Raises:
        ConfigError: n_heads that does not divide d_model, or unknown places.
    """

    regresses = True
    rebuilds = False
    # How to use a support is learned from thousands of episodes.
    solves_separable = False

    def __init__(
        self,
        encoder: Encoder | None = None,
        *,
        n_inputs: int = 1,
        d_model: int = 64,
        n_layers: int = 6,
        n_heads: int = 4,
        d_feed: int = 128,
        n_embed: int = 4,
        how: How = "soft",
        n_targets: int = 0,
        places: Places = "token",
        min_sigma: float = 0.01,
    ) -> None:
        super().__init__()
        self.encoder = Flat() if encoder is None else encoder
        n_features = n_inputs if encoder is None else encoder.n_features
        self.min_sigma, self.rows, self.classifies = min_sigma, RowTokens(n_targets), not n_targets
        self.differentiates_twice = how not in ("hard", "gumbel")  # trained straight-through
        self.rotary = Rotary(n_features, n_heads, d_model // n_heads) if is_rotary(places) else None
        self.token = dense((n_features if self.rotary is None else 0) + self.rows.n_extra, *[d_model] * n_embed)
        self.transformer = ContextTransformer(d_model, n_layers, n_heads, d_feed, how)
        self.head = dense(d_model, d_feed, self.rows.n_outputs)
        # A bias would be a constant on every score, which no softmax feels.
        self.pool = nn.Linear(d_model, 1, bias=False) if self.encoder.parts else None

    def adapt_encoded(self, support: Support) -> Encoded:
        mass, support = class_mass(support), self._one_token_per_row(support)
        z: Tensor = support.x
        content, turn = placed(self.rotary, z)
        rows = self.rows.support(content, support)
        context = self.transformer.encode(self.token(rows), support.weight[:, None].to(z.dtype), turn)
        return Encoded(context, rows.new_zeros(rows.shape[:2]), mass)

    def predict_encoded(
        self, state: Encoded, query_z: Float[Tensor, "B Q *P D"]
    ) -> Float[Tensor, "B Q C"] | Distribution:
        token, turn = self._query_tokens(state, query_z)
        read = self.transformer.read(state.context, token, turn)
        if self.pool is not None:
            read = read.unflatten(2, query_z.shape[1:3])
            read = (self._pooling(read, query_z)[..., None] * read).sum(-2)
        return self.rows.predictions(self.head(read), state.mass, self.min_sigma)

    def attend_encoded(self, state: Encoded, query_z: Float[Tensor, "B Q *P D"]) -> Float[Tensor, "B Q S"]:
        token, turn = self._query_tokens(state, query_z)
        p = self.transformer.attended(state.context, token, turn).mean(0).mean(-3)
        if self.pool is not None:
            n_query, n_parts = query_z.shape[1:3]
            read = self.transformer.read(state.context, token, turn).unflatten(2, (n_query, n_parts))
            pooling = self._pooling(read, query_z)
            p = (p.unflatten(-1, (-1, n_parts)).sum(-1).unflatten(2, (n_query, n_parts)) * pooling[..., None]).sum(-2)
        return p.mean(1)

    def _query_tokens(self, state: Encoded, query_z: Tensor) -> tuple[Tensor, Turn | None]:
        """(B, C, Q, E), or (B, C, Q * P, E) of parts."""
        z = query_z if self.pool is None else query_z.flatten(1, 2)
        content, turn = placed(self.rotary, z)
        return self.token(self.rows.queries(content, state.count.shape[1])), turn

    def _one_token_per_row(self, support: Support) -> Support:
        """Each part as a row of its own, with the targets and the weight of its item."""
        z: Tensor = support.x
        if self.pool is None:
            return support
        n_parts, present = z.shape[2], self.encoder.part_weight(z)
        weight = support.weight[..., None].expand(-1, -1, n_parts)
        weight = weight if present is None else weight * present.to(weight.dtype)
        y = support.y.repeat_interleave(n_parts, 1)
        return Support(z.flatten(1, 2), y, weight.flatten(1), support.n_classes)

    def _pooling(self, read: Float[Tensor, "B C Q P E"], query_z: Float[Tensor, "B Q P D"]) -> Float[Tensor, "B C Q P"]:
        """How much each part of a query counts."""
        assert self.pool is not None
        present = self.encoder.part_weight(query_z)
        return attention_weights(self.pool(read).squeeze(-1), None if present is None else present[:, None])

"""Transformer neural process (TNP-D): support rows and queries are tokens of one Transformer, and nothing else.

    token of a row s     e( f(x_s), y_s )          rows attend to rows
    token of a query     e( f(x),   ?   )          queries attend to rows, not to each other
    prediction           N( mean, sigma ) = head( the query's token after L layers ),  each query by itself

Nguyen and Grover 2022, "Transformer Neural Processes: Uncertainty-Aware Meta Learning Via Sequence Modeling",
arXiv:2207.04179. This is their diagonal variant, TNP-D.

Differs from the paper: the encoded support is kept, so that a later query costs itself alone; norms stand before the
layers, which needs no careful learning rate, and GELU in them; keys start as queries; a flag says that a query's number
is missing, where the paper writes 0 for it; sigma has a floor, where the paper takes a bare exponential; classes and
targets are read column by column (see `columns`).

`places="rotary"` leaves f(x) out of the tokens and lets it turn queries, keys and values instead (see `nn.rotary`), so
that attention knows of places only how they differ: the answer moves with the function. That a neural process should do
so is the thought of Ashman et al. 2024, "Translation Equivariant Transformer Neural Processes", arXiv:2406.12409, who
feed differences to a network for each pair of rows, which costs more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from regard.episode import Support, Value
from regard.learners.base import EncodingLearner, require_vectors
from regard.learners.columns import beside, class_mass, column_predictions, columns, unknown
from regard.nn.context import Context, ContextTransformer, dense
from regard.nn.encoder import Encoder
from regard.nn.flat import Flat
from regard.nn.rotary import Places, Rotary, is_rotary, placed


@dataclass(frozen=True)
class Encoded(Value):
    """context: keys and values of each layer, (B, C, H, S, D / H); count: (B, C) zeros; mass: (B, C) or (B, 0)."""

    context: Context
    count: Tensor
    mass: Tensor


@final
class TNPD(EncodingLearner):
    """A Transformer over support rows, asked by queries.

    Args:
        encoder: items to vectors (N, D); None takes items as they are.
        n_inputs: D, where there is no encoder.
        d_model, n_layers, n_heads, d_feed: of the Transformer; as in the authors' code for Gaussian processes.
        n_embed: layers of the network e that makes tokens; as in the authors' code.
        places: what knows where a row is: its "token", as in the paper, or attention, by "rotary" turns.
        min_sigma: the smallest standard deviation of a predicted target.

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
        d_model: int = 64,
        n_layers: int = 6,
        n_heads: int = 4,
        d_feed: int = 128,
        n_embed: int = 4,
        places: Places = "token",
        min_sigma: float = 0.01,
    ) -> None:
        super().__init__()
        self.encoder = Flat() if encoder is None else encoder
        require_vectors(self.encoder, "TNPD")
        n_features = n_inputs if encoder is None else encoder.n_features
        self.min_sigma = min_sigma
        self.rotary = Rotary(n_features, n_heads, d_model // n_heads) if is_rotary(places) else None
        self.token = dense((n_features if self.rotary is None else 0) + 2, *[d_model] * n_embed)
        self.transformer = ContextTransformer(d_model, n_layers, n_heads, d_feed)
        self.head = dense(d_model, d_feed, 2)

    def adapt_encoded(self, support: Support) -> Encoded:
        z: Tensor = support.x
        column = columns(support, z.dtype)
        said, turn = placed(self.rotary, z)
        token = self.token(beside(said, column))
        context = self.transformer.encode(token, support.weight[:, None].to(z.dtype), turn)
        return Encoded(context, column.new_zeros(column.shape[:2]), class_mass(support))

    def predict_encoded(self, state: Encoded, query_z: Float[Tensor, "B Q D"]) -> Float[Tensor, "B Q C"] | Distribution:
        said, turn = placed(self.rotary, query_z)
        token = self.token(unknown(said, state.count.shape[1]))
        return column_predictions(
            self.head(self.transformer.read(state.context, token, turn)), state.mass, self.min_sigma
        )

"""A Transformer over the rows of a set: the context attends to itself, queries attend to the context only.

    layer:   z = z + attention(norm(z), norm(context)),   then   z = z + feed(norm(z))

These are two calls, not one square with a mask. `encode` runs the context and keeps the keys and values of each layer;
`read` runs queries against them. So another batch of queries costs the queries alone, no query sees another, and
chunking them changes nothing. Of its last layer the context is asked for keys and values only, nothing else is read.

Rows have no positions, so their order does not matter; where they stand in space, their places may turn queries, keys
and values (see `rotary`). Weights enter the attention, so a row of weight 0 is an absent row and a row of weight 2 is
the row twice. Keys start as queries, see `alike_at_first`.

References: Transformer, Vaswani et al. 2017 (arXiv:1706.03762), with the norm before each layer (Xiong et al. 2020,
arXiv:2002.04745).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.episode import Value
from regard.nn.attention import How, MultiHeadAttention
from regard.nn.rotary import Turn


@dataclass(frozen=True)
class Context(Value):
    """key, value: of each layer by its number, (..., H, S, D / H); weight: (..., S)."""

    key: dict[str, Tensor]
    value: dict[str, Tensor]
    weight: Tensor


class ContextTransformer(nn.Module):
    """Pre-norm layers over rows, and a norm at the end.

    Args:
        d_model: D.
        n_layers: how many.
        n_heads: H; divides D.
        d_feed: width inside the feed-forward layers; 4 D by default.
        how: how scores become weights, see `regard.nn.attention`.

    Raises:
        ConfigError: n_heads that does not divide d_model.
    """

    def __init__(
        self, d_model: int, n_layers: int, n_heads: int = 4, d_feed: int | None = None, how: How = "soft"
    ) -> None:
        super().__init__()
        self.layers = cast(
            "list[ContextLayer]",
            nn.ModuleList(ContextLayer(d_model, n_heads, d_feed or 4 * d_model, how) for _ in range(n_layers)),
        )
        self.norm = nn.LayerNorm(d_model)

    def encode(self, z: Float[Tensor, "*B S D"], weight: Float[Tensor, "*W S"], turn: Turn | None = None) -> Context:
        """The context, run through the layers.

        Args:
            z: (..., S, D).
            weight: (..., S), with all leading axes of `z` or axes of 1 in their place.
            turn: of the rows' places, where they have any; `read` then wants that of the queries.
        """
        keys: dict[str, Tensor] = {}
        values: dict[str, Tensor] = {}
        for number, layer in enumerate(self.layers):
            seen = layer.attention_norm(z)
            key, value = layer.attention.keys_values(seen, turn=turn)
            keys[str(number)], values[str(number)] = key, value
            if number + 1 < len(self.layers):
                z = layer(z, seen, key, value, weight, turn)
        return Context(keys, values, weight)

    def read(self, context: Context, z: Float[Tensor, "*B Q D"], turn: Turn | None = None) -> Float[Tensor, "*B Q D"]:
        """Queries (..., Q, D), after all layers and the norm."""
        for number, layer in enumerate(self.layers):
            key, value = context.key[str(number)], context.value[str(number)]
            z = layer(z, layer.attention_norm(z), key, value, context.weight, turn)
        return self.norm(z)

    def attended(
        self, context: Context, z: Float[Tensor, "*B Q D"], turn: Turn | None = None
    ) -> Float[Tensor, "L *B H Q S"]:
        """How much of each context row queries (..., Q, D) read: (L, ..., H, Q, S), a distribution for each head."""
        read: list[Tensor] = []
        for number, layer in enumerate(self.layers):
            key, value = context.key[str(number)], context.value[str(number)]
            seen = layer.attention_norm(z)
            p = layer.attention.read(seen, key, value, context.weight, turn, keep=True)[1]
            read.append(cast(Tensor, p))
            z = layer(z, seen, key, value, context.weight, turn)
        return torch.stack(read)


class ContextLayer(nn.Module):
    """Attention to given keys and values, and a feed-forward layer."""

    def __init__(self, d_model: int, n_heads: int, d_feed: int, how: How = "soft") -> None:
        super().__init__()
        self.attention_norm, self.feed_norm = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.attention = alike_at_first(MultiHeadAttention(d_model, n_heads, how=how))
        self.feed = nn.Sequential(nn.Linear(d_model, d_feed), nn.GELU(), nn.Linear(d_feed, d_model))

    def forward(
        self, z: Tensor, seen: Tensor, key: Tensor, value: Tensor, weight: Tensor, turn: Turn | None = None
    ) -> Tensor:
        z = z + self.attention.read(seen, key, value, weight, turn)[0]
        return z + self.feed(self.feed_norm(z))


def alike_at_first(attention: MultiHeadAttention) -> MultiHeadAttention:
    """Let keys start as queries, so that a new layer looks at what is like itself.

    With random keys it looks anywhere, and on functions training lingers on a plateau until it has learned to look
    near.
    """
    with torch.no_grad():
        attention.key.weight.copy_(attention.query.weight)
    return attention


def dense(*widths: int) -> nn.Sequential:
    """Linear, ReLU, ..., Linear over the last axis."""
    layers: list[nn.Module] = []
    for wide, narrow in pairwise(widths):
        layers += [nn.Linear(wide, narrow), nn.ReLU()]
    return nn.Sequential(*layers[:-1])

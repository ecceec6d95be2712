"""Token sequences to vectors or parts: an LSTM and a Transformer over the same embedding and pooling.

An item is a dict {"ids": (N, L) int64, "mask": (N, L)}; id 0 and mask 0 are padding, at any place. A token may also
be several ids, (N, L, G), padded with 0: a word beside its character n-grams (Bojanowski et al. 2017,
arXiv:1607.04606), whose embeddings are averaged, so that a word never seen in training still has a vector of its own.

An item may say how much each token tells, {"rarity": (N, L)}, such as the inverse document frequency of its word.

Padding changes nothing: the recurrence carries its state over it, attention gives it weight 0, pooling leaves it out,
and as a part it is exact zeros, which is how `part_weight` finds it again.

Everything is written in primitive operations, so that it can be differentiated twice and vmapped; nn.LSTM has no vmap
rule, and under functional_call it keeps using the parameters it was made with. The price, measured on one CPU core:
1.3 times the packed nn.LSTM.

References: LSTM, Hochreiter and Schmidhuber 1997; Transformer, Vaswani et al. 2017 (arXiv:1706.03762), with the norm
before each layer (Xiong et al. 2020, arXiv:2002.04745) and sinusoidal positions, which know no longest text.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from regard.episode import Items
from regard.errors import ConfigError, EpisodeError, did_you_mean
from regard.nn.attention import MultiHeadAttention, attention_weights, unit
from regard.nn.encoder import Encoder
from regard.nn.transforms import is_recorded

Pool = Literal["mean", "attention"]

_EMPHASIS = 1.5
"""Between the 1 of a sum of weighted words and the 2 of a scalar product of such sums."""


class TokenLSTM(Encoder):
    """Embedding, LSTM in one or both directions, pooling.

    Args:
        n_tokens: ids run from 0 (padding) to n_tokens - 1.
        d_embed: width of an embedding.
        d_hidden: width of the state of one direction; D is d_hidden times the directions.
        n_layers: LSTMs on top of each other.
        bidirectional: read from both ends.
        dropout: share of embedded and of output features set to 0 in training.
        vocabulary_size: only ids below this one are embedded, and of a token only its first; every other reads as id
            1, the unknown word. For texts about things never trained on: what a word of the training's own subjects
            means says nothing of other subjects. All ids by default.
        d_hash: put a `RandomTokenEmbedding` of this width before the state, which adds it to D, and the longer the
            rarer the token, so that a part's weight is rarity ** 1.5. A learner can then tell whether two texts share a
            word, also one that training never had. 0 for none.
        parts: give (N, L, D), a vector a token, instead of one vector.
        pool: one vector is the "mean" of the tokens, or their learned "attention" pooling.

    Raises:
        ConfigError: an unknown pool.
        EpisodeError: in `forward`, items without ids and mask.
    """

    def __init__(
        self,
        n_tokens: int,
        d_embed: int = 128,
        d_hidden: int = 128,
        *,
        n_layers: int = 1,
        bidirectional: bool = True,
        dropout: float = 0.0,
        vocabulary_size: int | None = None,
        d_hash: int = 0,
        parts: bool = False,
        pool: Pool = "mean",
    ) -> None:
        super().__init__()
        d_state = d_hidden * (1 + bidirectional)
        self.parts, self.vocabulary_size, self.n_fixed_features, self.n_features = (
            parts,
            vocabulary_size,
            d_hash,
            d_state + d_hash,
        )
        self.embed = TokenEmbedding(n_tokens if vocabulary_size is None else vocabulary_size, d_embed)
        # Small, so that words are alike until something is learned about them.
        nn.init.normal_(self.embed.table.weight, std=0.1)
        self.code = RandomTokenEmbedding(n_tokens, d_hash) if d_hash else None
        widths = [d_embed + bool(d_hash), *[d_state] * (n_layers - 1)]
        self.layers = nn.ModuleList(Recurrence(width, d_hidden, bidirectional=bidirectional) for width in widths)
        self.dropout = nn.Dropout(dropout)
        self.pool = None if parts else TokenPool(self.n_features, pool)

    def forward(self, x: Items) -> Float[Tensor, "N *L D"]:
        """Token items to (N, D) or (N, L, D)."""
        ids, real = tokens(x)
        z = self.dropout(self.embed(ids if self.vocabulary_size is None else known(ids, self.vocabulary_size)))
        rarity_NL = x.get("rarity") if isinstance(x, dict) else None
        rarity = z.new_ones(*z.shape[:2], 1) if rarity_NL is None else rarity_NL[..., None].to(z.dtype)
        if self.code is not None:
            z = torch.cat([z, rarity.log1p()], -1)
        for layer in self.layers:
            z = self.dropout(layer(z, real))
        if self.code is not None:
            z = torch.cat([self.code(ids) * rarity**_EMPHASIS, z], -1)
        return self.pool(z, real) if self.pool is not None else z * real[..., None]

    def part_weight(self, z: Float[Tensor, "*N L D"]) -> Float[Tensor, "*N L"]:
        # Codes are unit vectors times the weight.
        return z[..., : self.n_fixed_features].norm(dim=-1) if self.n_fixed_features else _nonzero(z)


class TokenTransformer(Encoder):
    """Embedding, positions, pre-norm self-attention layers, pooling.

    Args:
        n_tokens: ids run from 0 (padding) to n_tokens - 1.
        d_model: D.
        n_heads, n_layers: of self-attention.
        d_feed: width inside the feed-forward layers; 4 D by default.
        dropout: share of features set to 0 in training, at the end of each branch.
        parts, pool: as in `TokenLSTM`.

    Raises:
        ConfigError: an unknown pool, or n_heads that does not divide d_model.
        EpisodeError: in `forward`, items without ids and mask.
    """

    def __init__(
        self,
        n_tokens: int,
        d_model: int = 128,
        *,
        n_heads: int = 4,
        n_layers: int = 2,
        d_feed: int | None = None,
        dropout: float = 0.0,
        parts: bool = False,
        pool: Pool = "mean",
    ) -> None:
        super().__init__()
        self.parts, self.n_features = parts, d_model
        self.embed = TokenEmbedding(n_tokens, d_model)
        self.layers = nn.ModuleList(_Layer(d_model, n_heads, d_feed or 4 * d_model, dropout) for _ in range(n_layers))
        self.norm = nn.LayerNorm(d_model)
        self.pool = None if parts else TokenPool(d_model, pool)

    def forward(self, x: Items) -> Float[Tensor, "N *L D"]:
        """Token items to (N, D) or (N, L, D)."""
        ids, real = tokens(x)
        z = self.embed(ids)
        z = z + sinusoids(real, z.shape[-1]).to(z.dtype)
        for layer in self.layers:
            z = layer(z, real.to(z.dtype))
        z = self.norm(z)
        return self.pool(z, real) if self.pool is not None else z * real[..., None]

    def part_weight(self, z: Float[Tensor, "*N L D"]) -> Float[Tensor, "*N L"]:
        return _nonzero(z)


# ---- the parts they are made of --------------------------------------------------------------------------------------


class TokenEmbedding(nn.Module):
    """Ids (N, L) or (N, L, G) to (N, L, D): the embedding of the id, or the mean over the ids of a token."""

    def __init__(self, n_tokens: int, d_embed: int) -> None:
        super().__init__()
        self.table = nn.Embedding(n_tokens, d_embed)

    def forward(self, ids: Tensor) -> Tensor:
        if ids.ndim == 2:
            return self.table(ids)
        there = (ids[..., 1:] > 0).to(self.table.weight.dtype)
        # A matrix product, so that (N, L, G, D) is read once and no masked copy of it is kept.
        total = (there[..., None, :] @ self.table(ids[..., 1:])).squeeze(-2)
        return self.table(ids[..., 0]) + total / there.sum(-1, keepdim=True).clamp_min(1)


class RandomTokenEmbedding(nn.Module):
    """Ids (N, L) or (N, L, G) to (N, L, D): a unit vector that tells a token from others and is never trained.

    Each id has a random direction, so two tokens are as near as they share ids: the word counts as much as all its
    n-grams. Directions that were trained would be right for the words of training, and mean nothing for others.
    """

    table: Tensor

    def __init__(self, n_tokens: int, d_hash: int) -> None:
        super().__init__()
        table = torch.randn(n_tokens, d_hash) / math.sqrt(d_hash)
        # Neither padding nor being unknown is anything that two tokens could share.
        table[:2] = 0
        self.register_buffer("table", table)

    def forward(self, ids: Tensor) -> Tensor:
        if ids.ndim == 2:
            return unit(self.table[ids])
        n_grams = (ids[..., 1:] > 0).sum(-1, keepdim=True).clamp_min(1)
        return unit(self.table[ids[..., 0]] + self.table[ids[..., 1:]].sum(-2) / n_grams.sqrt())


def _scanned(
    step: Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]],
    start: tuple[Tensor, Tensor],
    inputs: tuple[Tensor, Tensor],
) -> Tensor:
    """(L, ...) states of a recurrence, as an operation that a file has, too."""
    from torch._higher_order_ops.scan import scan

    def once(carry: tuple[Tensor, Tensor], given: tuple[Tensor, Tensor]) -> tuple[tuple[Tensor, Tensor], Tensor]:
        h, c = step(*carry, *given)
        return (h, c), h.clone()

    return scan(once, start, inputs)[1]


def known(ids: Tensor, vocabulary_size: int) -> Tensor:
    """(N, L) or (N, L, G) to (N, L): the first id of each token, 1 in place of those from vocabulary_size on."""
    first = ids if ids.ndim == 2 else ids[..., 0]
    return torch.where(first < vocabulary_size, first, 1)


class Recurrence(nn.Module):
    """One LSTM layer over masked sequences, both directions in one batched product a step.

        i, f, o = sigmoid(.), g = tanh(.) of  W x_t + U h_{t-1} + b
        c_t = f c_{t-1} + i g        h_t = o tanh(c_t)        at padding: c and h stay as they were

    The bias of the forget gate starts at 1 (Gers et al. 2000), so that a new network remembers.
    """

    def __init__(self, n_inputs: int, d_hidden: int, *, bidirectional: bool = True) -> None:
        super().__init__()
        n = 1 + bidirectional
        self.d_hidden = d_hidden
        self.input = nn.Parameter(torch.empty(n, n_inputs, 4 * d_hidden))
        self.hidden = nn.Parameter(torch.empty(n, d_hidden, 4 * d_hidden))
        self.bias = nn.Parameter(torch.zeros(n, 1, 4 * d_hidden))
        bound = 1 / math.sqrt(d_hidden)
        nn.init.uniform_(self.input, -bound, bound)
        nn.init.uniform_(self.hidden, -bound, bound)
        nn.init.constant_(self.bias[..., d_hidden : 2 * d_hidden], 1.0)

    def forward(self, x: Float[Tensor, "N L I"], real: Bool[Tensor, "N L"]) -> Float[Tensor, "N L D"]:
        """Read N sequences; the state after each token, of both directions side by side."""
        x_LNI, real_LN = x.transpose(0, 1), real.transpose(0, 1)
        if self.input.shape[0] == 2:
            x_RLNI, real_RLN = torch.stack([x_LNI, x_LNI.flip(0)]), torch.stack([real_LN, real_LN.flip(0)])
        else:
            x_RLNI, real_RLN = x_LNI[None], real_LN[None]
        gates = (x_RLNI.flatten(1, 2) @ self.input + self.bias).unflatten(1, (x.shape[1], x.shape[0]))
        gates_LRNG, real_LRN1 = gates.transpose(0, 1), real_RLN.transpose(0, 1)[..., None]
        h, c = (gates_LRNG.new_zeros(*gates_LRNG.shape[1:-1], self.d_hidden) for _ in range(2))
        if is_recorded():  # one step for any number of tokens
            h_LRNH = _scanned(self._step, (h, c), (gates_LRNG, real_LRN1))
        else:
            states = []
            for gate, is_real in zip(gates_LRNG.unbind(), real_LRN1.unbind(), strict=True):
                h, c = self._step(h, c, gate, is_real)
                states.append(h)
            h_LRNH = torch.stack(states)
        if h_LRNH.shape[1] == 2:
            return torch.cat([h_LRNH[:, 0], h_LRNH[:, 1].flip(0)], -1).transpose(0, 1)
        return h_LRNH[:, 0].transpose(0, 1)

    def _step(self, h: Tensor, c: Tensor, gate: Tensor, is_real: Tensor) -> tuple[Tensor, Tensor]:
        """One token of all sequences: (R, N, H) states and cells to the next ones."""
        opened, new = torch.baddbmm(gate, h, self.hidden).split([3 * self.d_hidden, self.d_hidden], -1)
        i, f, o = opened.sigmoid().chunk(3, -1)
        next_c = f * c + i * new.tanh()
        return torch.where(is_real, o * next_c.tanh(), h), torch.where(is_real, next_c, c)


class TokenPool(nn.Module):
    """One vector of the real tokens: their mean, or a softmax of learned scores; zeros where there is none."""

    def __init__(self, d_model: int, pool: Pool = "mean") -> None:
        super().__init__()
        if pool not in get_args(Pool):
            raise ConfigError(f"pool is {pool!r}: {did_you_mean(str(pool), get_args(Pool))}")
        # No bias: a constant added to every score changes no softmax.
        self.score = nn.Linear(d_model, 1, bias=False) if pool == "attention" else None

    def forward(self, z: Float[Tensor, "*N L D"], real: Tensor) -> Float[Tensor, "*N D"]:
        return (self.share(z, real)[..., None, :] @ z).squeeze(-2)

    def share(self, z: Float[Tensor, "*N L D"], real: Tensor) -> Float[Tensor, "*N L"]:
        """How much each token counts; sums to 1 over the real ones."""
        score = z.new_zeros(z.shape[:-1]) if self.score is None else self.score(z).squeeze(-1)
        return attention_weights(score, real.to(z.dtype))


class _Layer(nn.Module):
    """z + attention(norm(z)), then z + feed(norm(z))."""

    def __init__(self, d_model: int, n_heads: int, d_feed: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm, self.feed_norm = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.attention = MultiHeadAttention(d_model, n_heads)
        self.feed = nn.Sequential(nn.Linear(d_model, d_feed), nn.GELU(), nn.Linear(d_feed, d_model))
        self.dropout = nn.Dropout(dropout)

    def forward(self, z: Tensor, real: Tensor) -> Tensor:
        seen = self.attention_norm(z)
        z = z + self.dropout(self.attention(seen, seen, real)[0])
        return z + self.dropout(self.feed(self.feed_norm(z)))


def sinusoids(real: Bool[Tensor, "N L"], d_model: int) -> Float[Tensor, "N L D"]:
    """Positions counted over the real tokens, so that padding in front shifts nothing."""
    position = real.to(torch.float64).cumsum(-1) - 1
    rate = torch.exp(torch.arange(0, d_model, 2, device=real.device) * (-math.log(10_000.0) / d_model))
    angle = position[..., None] * rate
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(-2)[..., :d_model]


def tokens(x: Items) -> tuple[Tensor, Bool[Tensor, "N L"]]:
    """The ids and which of them are real.

    Raises:
        EpisodeError: items that are not {"ids": (N, L) or (N, L, G), "mask": (N, L)}.
    """
    if not isinstance(x, dict) or not {"ids", "mask"} <= set(x):
        got = f"a dict of {sorted(x)}" if isinstance(x, dict) else f"a tensor of shape {tuple(x.shape)}"
        raise EpisodeError(
            f"token items are {got}: expected {{'ids': (N, L), 'mask': (N, L)}}; tokenize the texts first."
        )
    ids, mask = x["ids"], x["mask"]
    if ids.ndim not in (2, 3) or ids.is_floating_point() or ids.shape[:2] != mask.shape:
        raise EpisodeError(
            f"ids are {ids.dtype} of shape {tuple(ids.shape)} and mask has shape {tuple(mask.shape)}: expected "
            "integers (N, L) or (N, L, G) beside a mask (N, L)."
        )
    return ids, mask > 0


def _nonzero(z: Tensor) -> Tensor:
    return (z != 0).any(-1).to(z.dtype)

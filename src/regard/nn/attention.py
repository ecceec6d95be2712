"""One attention with three orthogonal choices, used by every learner that attends.

    compare    what is compared             "dot" (scaled), "cosine", "distance" (minus squared Euclid)
    how        how scores become weights    "soft", "sparsemax", "entmax", "hard" (top-k), "gumbel"
    keep       what is kept                 False: the fused kernel where it can; True: the weights too

    attention(q, k, v) = sum_s p_s v_s,    p = normalise_s( weight_s, score(q, k_s) )

Every choice honours the support weight exactly: a row of weight 0 is an absent row, and a row of weight 2 is the row
twice. For softmax that is log(weight) on the scores, written here as a factor so that the gradient at weight 0 is
finite; for sparsemax, entmax and top-k it is a multiplicity inside the projection.

Everything can be differentiated twice and vmapped. PyTorch's fused attention cannot (its double backward raises), so
the fused path recomputes itself explicitly when, and only when, somebody differentiates twice.

References: softmax attention, Vaswani et al. 2017 (arXiv:1706.03762); sparsemax, Martins and Astudillo 2016
(arXiv:1602.02068); entmax with alpha = 1.5, Peters et al. 2019 (arXiv:1905.05702); Gumbel top-1, Jang et al. 2017
(arXiv:1611.01144).
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.errors import ConfigError, did_you_mean
from regard.nn.fused import can_fuse, fused_attention
from regard.nn.recorded import stable_argsort
from regard.nn.rotary import Turn

Compare = Literal["dot", "cosine", "distance"]
How = Literal["soft", "sparsemax", "entmax", "hard", "gumbel"]


def scores(
    query: Float[Tensor, "*B Q D"], key: Float[Tensor, "*A S D"], compare: Compare = "dot"
) -> Float[Tensor, "*C Q S"]:
    """Compare every query with every key.

    Args:
        query: (..., Q, D).
        key: (..., S, D).
        compare: "dot" is scaled by 1/sqrt(D); "distance" is minus the squared Euclidean distance.

    Returns:
        (..., Q, S), larger is nearer.

    Examples:
        >>> query, key = torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 0.0], [0.0, 2.0]])
        >>> scores(query, key, "cosine")
        tensor([[1., 0.]])
        >>> scores(query, key, "distance")
        tensor([[-1., -5.]])
    """
    if compare == "dot":
        return query @ key.mT / math.sqrt(query.shape[-1])
    if compare == "cosine":
        return unit(query) @ unit(key).mT
    if compare == "distance":
        # The expansion is one matrix product; the direct difference would hold (..., Q, S, D). It subtracts large
        # numbers, which bf16 cannot do: autocast is kept out.
        with torch.autocast(query.device.type, enabled=False):
            q, k = (t.float() if t.dtype in (torch.bfloat16, torch.float16) else t for t in (query, key))
            return 2 * q @ k.mT - q.square().sum(-1)[..., :, None] - k.square().sum(-1)[..., None, :]
    raise ConfigError(f"compare is {compare!r}: {did_you_mean(str(compare), get_args(Compare))}")


def unit(x: Tensor) -> Tensor:
    """Unit vectors, and 0 for 0. F.normalize has NaN for a second derivative at 0, where absent classes stand."""
    square = x.square().sum(-1, keepdim=True)
    return x * torch.where(square > 0, square, 1.0).rsqrt()


def attention_weights(
    score: Float[Tensor, "*B S"],
    weight: Float[Tensor, "*A S"] | Float[Tensor, "*A 1"] | None = None,
    how: How = "soft",
    *,
    k: int = 1,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "*C S"]:
    """Scores to a distribution over the last axis.

    Args:
        score: (..., Q, S).
        weight: broadcastable to `score`, at least 0; None is ones.
        how: see the module's table. "hard" and "gumbel" are trained straight-through.
        k: how many rows "hard" keeps.
        generator: the randomness of "gumbel".

    Returns:
        (..., Q, S), at least 0, each row sums to 1; all zeros where no row has weight.

    Examples:
        >>> score = torch.tensor([2.0, 1.0, -1.0])
        >>> attention_weights(score)
        tensor([0.7054, 0.2595, 0.0351])
        >>> attention_weights(score, how="sparsemax")
        tensor([1., 0., 0.])
        >>> attention_weights(score, weight=torch.tensor([0.0, 1.0, 1.0]))  # a row of weight 0 is absent
        tensor([0.0000, 0.8808, 0.1192])
    """
    score, mass = torch.broadcast_tensors(score, score.new_ones(()) if weight is None else weight.to(score.dtype))
    if score.shape[-1] == 0:
        return score
    if how == "soft":
        return _softmax(score, mass)
    if how == "sparsemax":
        return _sparsemax(score, mass)
    if how == "entmax":
        return _entmax(score, mass)
    if how == "hard":
        # The k best rows share the mass; a row of weight 2 counts as two rows, and a fraction fills what is left.
        index = stable_argsort(_hide(score, mass), descending=True)
        w = mass.gather(-1, index)
        before = w.cumsum(-1) - w
        kept = torch.minimum(w, (k - before).clamp_min(0))
        kept = kept / kept.sum(-1, keepdim=True).clamp_min(torch.finfo(score.dtype).tiny)
        return _straight_through(torch.zeros_like(score).scatter(-1, index, kept).detach(), _softmax(score, mass))
    if how == "gumbel":
        # A row of weight w wins as w equal rows would: log(weight) on the score.
        tiny = torch.finfo(score.dtype).tiny
        uniform = torch.rand(score.shape, generator=generator, dtype=score.dtype, device=score.device)
        waiting = -uniform.clamp_min(tiny).log()
        noisy = score - waiting.clamp_min(tiny).log() + mass.detach().clamp_min(tiny).log()
        winner = _hide(noisy, mass).argmax(-1, keepdim=True)
        hard = torch.zeros_like(score).scatter(-1, winner, 1.0) * (mass > 0)
        return _straight_through(hard.detach(), _softmax(score, mass))
    raise ConfigError(f"how is {how!r}: {did_you_mean(str(how), get_args(How))}")


def attention(
    query: Float[Tensor, "*A Q D"],
    key: Float[Tensor, "*B S D"],
    value: Float[Tensor, "*C S E"],
    weight: Float[Tensor, "*W S"] | None = None,
    *,
    compare: Compare = "dot",
    how: How = "soft",
    keep: bool = False,
    temperature: Tensor | float = 1.0,
    k: int = 1,
    generator: torch.Generator | None = None,
) -> tuple[Float[Tensor, "*M Q E"], Float[Tensor, "*P Q S"] | None]:
    """Attend.

    Args:
        query: (..., Q, D).
        key: (..., S, D).
        value: (..., S, E).
        weight: (..., S) of the rows attended to, or (..., Q, S); None is ones.
        compare, how, k, generator: the choices above.
        keep: return the weights too, which takes the explicit path.
        temperature: scores are divided by it.

    Returns:
        (..., Q, E), and (..., Q, S) weights or None.

    Examples:
        >>> query, key, value = torch.randn(1, 2, 8), torch.randn(1, 5, 8), torch.randn(1, 5, 3)
        >>> out, p = attention(query, key, value, keep=True)
        >>> tuple(out.shape), tuple(p.shape)
        ((1, 2, 3), (1, 2, 5))
        >>> bool(torch.allclose(out, p @ value))
        True
    """
    if weight is not None and weight.ndim == key.ndim - 1:
        weight = weight[..., None, :]
    plain = compare == "dot" and how == "soft" and not isinstance(temperature, Tensor)
    if plain and not keep and can_fuse(key, weight):
        return fused_attention(query, key, value, weight, float(temperature)), None
    p = attention_weights(scores(query, key, compare) / temperature, weight, how, k=k, generator=generator)
    return p @ value, p if keep else None


class MultiHeadAttention(nn.Module):
    """Attention between projected heads: self-attention where `context` is the query itself, else cross-attention.

    Args:
        d_model: D, of query, context and output.
        n_heads: H; divides D.
        compare, how: the choices of `attention`.

    Examples:
        >>> attend = MultiHeadAttention(16, n_heads=4)
        >>> out, p = attend(torch.randn(1, 2, 16), torch.randn(1, 5, 16), keep=True)
        >>> tuple(out.shape), tuple(p.shape)
        ((1, 2, 16), (1, 4, 2, 5))
    """

    def __init__(self, d_model: int, n_heads: int = 4, *, compare: Compare = "dot", how: How = "soft") -> None:
        super().__init__()
        if d_model % n_heads:
            raise ConfigError(f"d_model is {d_model} and n_heads {n_heads}: expected n_heads to divide d_model.")
        self.n_heads = n_heads
        self.compare: Compare = compare
        self.how: How = how
        self.query = nn.Linear(d_model, d_model)
        # One bias is enough: a constant added to every key changes no softmax, so its gradient would be zero.
        self.key = nn.Linear(d_model, d_model, bias=compare != "dot")
        self.value = nn.Linear(d_model, d_model)
        self.out = nn.Linear(d_model, d_model)

    def forward(
        self,
        query: Float[Tensor, "*B Q D"],
        context: Float[Tensor, "*A S D"],
        weight: Float[Tensor, "*W S"] | None = None,
        *,
        keep: bool = False,
    ) -> tuple[Float[Tensor, "*B Q D"], Float[Tensor, "*P H Q S"] | None]:
        """query: (..., Q, D), context: (..., S, D), weight: (..., S) or (..., Q, S) with all leading axes.

        Returns (..., Q, D) and (..., H, Q, S) or None.
        """
        return self.read(query, *self.keys_values(context), weight, keep=keep)

    def keys_values(
        self,
        context: Float[Tensor, "*A S D"],
        content: Float[Tensor, "*A2 S D"] | None = None,
        turn: Turn | None = None,
    ) -> tuple[Float[Tensor, "*A H S E"], Float[Tensor, "*A2 H S E"]]:
        """What is read of a context, to be kept: (..., H, S, D / H) keys, and values of `content` if it is another.

        `turn` is that of the context's places, see `regard.nn.rotary`; queries are then read with theirs.
        """
        key, value = self._split(self.key(context)), self._split(self.value(context if content is None else content))
        return (key, value) if turn is None else (turn.there(key), turn.there(value))

    def read(
        self,
        query: Float[Tensor, "*B Q D"],
        key: Float[Tensor, "*A H S E"],
        value: Float[Tensor, "*A2 H S E"],
        weight: Float[Tensor, "*W S"] | None = None,
        turn: Turn | None = None,
        *,
        keep: bool = False,
    ) -> tuple[Float[Tensor, "*C Q D"], Float[Tensor, "*P H Q S"] | None]:
        """As `forward`, of keys and values that were kept; `turn` is that of the queries' places."""
        if weight is not None and weight.ndim < key.ndim - 1:
            weight = weight[..., None, :]
        rows = None if weight is None else weight[..., None, :, :]
        q = self._split(self.query(query))
        q = q if turn is None else turn.there(q)
        mixed, p = attention(q, key, value, rows, compare=self.compare, how=self.how, keep=keep)
        mixed = mixed if turn is None else turn.back(mixed)
        return self.out(mixed.transpose(-3, -2).flatten(-2)), p

    def _split(self, x: Tensor) -> Tensor:
        """(..., S, D) to (..., H, S, D / H)."""
        return x.unflatten(-1, (self.n_heads, -1)).transpose(-3, -2)


# ---- how scores become weights ---------------------------------------------------------------------------------------


def _hide(score: Tensor, weight: Tensor) -> Tensor:
    """Scores with weightless rows moved below all others, finite so that no NaN can be born."""
    lowest = score.detach().amin(-1, keepdim=True) - 1
    return torch.where(weight > 0, score, lowest)


def _softmax(score: Tensor, weight: Tensor) -> Tensor:
    hidden = _hide(score, weight)
    top = hidden.detach().amax(-1, keepdim=True)
    # The factor, not log(weight): the derivative at weight 0 is then finite (what adding this row would change). A
    # weightless row may score far above the others; the clamp keeps its exponential finite, and times 0 it is 0.
    return _normalised(weight * torch.exp((score - top).clamp_max(30.0)))


def _normalised(p: Tensor) -> Tensor:
    total = p.sum(-1, keepdim=True)
    # Only an exact 0 is replaced: divided by a tiny number, the weight gradient of a task without support would be inf.
    return p / torch.where(total > 0, total, 1.0)


def _shifted(score: Tensor, weight: Tensor) -> Tensor:
    """Scores below the best row that has weight: exact where they are large, and no other answer."""
    return score - _hide(score, weight).detach().amax(-1, keepdim=True)


def _sorted(score: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Scores and weights, best first, and the weight up to each.

    Weightless rows stay in their place: they add nothing to any sum, and the slope at weight 0 is then what adding the
    row would do.
    """
    ordered, index = score.sort(dim=-1, descending=True)
    w = weight.gather(-1, index)
    mass = w.cumsum(-1)
    return ordered, w, torch.where(mass > 0, mass, 1.0)


def _threshold(candidates: Tensor, inside: Tensor) -> Tensor:
    """The candidate at the last position that is still inside."""
    last = (inside.to(torch.int64).cumsum(-1) * inside).argmax(-1, keepdim=True)
    return candidates.gather(-1, last)


def _sparsemax(score: Tensor, weight: Tensor) -> Tensor:
    """p_s = w_s [score_s - tau]_+ with tau such that the sum is 1."""
    score = _shifted(score, weight)
    x, w, mass = _sorted(score, weight)
    tau = ((w * x).cumsum(-1) - 1) / mass
    # The sum is 1 already, but for rounding, which tiny weights make large.
    return _normalised(weight * (score - _threshold(tau, (x > tau) & (w.cumsum(-1) > 0))).clamp_min(0))


def _entmax(score: Tensor, weight: Tensor) -> Tensor:
    """p_s = w_s [score_s / 2 - tau]_+^2 with tau such that the sum is 1."""
    half = _shifted(score / 2, weight)
    x, w, mass = _sorted(half, weight)
    # tau is at least -1 / sqrt(weight of the best row): what lies far under it is outside, and its square, which would
    # swamp the others in single precision, is kept small.
    best = torch.where(w > 0, w, torch.inf).amin(-1, keepdim=True).detach()
    x = torch.maximum(x, -2 * best.rsqrt())
    mean = (w * x).cumsum(-1) / mass
    variance = (w * x.square()).cumsum(-1) / mass - mean.square()
    inside_root = 1 / mass - variance
    # sqrt has no finite slope at 0: positions outside the support are replaced before the root, not after it.
    tau = mean - torch.where(inside_root > 0, inside_root, 1.0).sqrt() * (inside_root > 0)
    return _normalised(weight * (half - _threshold(tau, (x >= tau) & (w.cumsum(-1) > 0))).clamp_min(0).square())


def _straight_through(hard: Tensor, soft: Tensor) -> Tensor:
    """The value of `hard` with the gradient of `soft` (Bengio et al. 2013, arXiv:1308.3432)."""
    return hard + (soft - soft.detach())

"""The attention meta-learner: a query reads each support example token by token, and a dense layer judges the pair.

    x_p, z_sp   = tokens of the query and of support row s: embedding and LSTM (the encoder, with parts)
    a_sp        = attention of x_p over the tokens of row s                       soft, sparse or hard
    like_sp     = a_sp . cos(x_p, z_s),   found_sp = a_sp . V z_s                 how well p was found there, and what
    pair_s      = [ m(Vx), m(found_s), m(|Vx - found_s|), m(Vx * found_s) ]      m: mean over p, by weight and learned
    match(x, s) = m(like_s),  verdict(x, s) = dense(pair_s),   each averaged with that of query and row changed about
    unity_k     = mean of match(s, t) over the rows s, t of class k       how much the rows of a class are one thing
    logit_k(x)  = scale * mean over the rows s of class k of ( match(x, s) / sqrt(unity_k) + verdict(x, s) )
    or, for targets, p_s = w_s exp(scale * (match + verdict)) / sum over rows,  mean = sum_s p_s y_s

If match were a scalar product, its part of logit_k were the cosine of the query and the centroid of the class: what
many rows share counts, what each says by itself cancels out. Attention shares the probability of a class among its
rows, softly by scale * (match + verdict). Nothing is learned about any class: only how to read a pair. So one
checkpoint serves any way and any shot, and attention shows which example carried the answer. It works on any encoder
with parts, images too.

Where parts have names (the words themselves, see `Encoder.n_fixed_features`), they are looked up by name, and what the
LSTM says of them decides how much each counts, and what the dense layer sees. So it starts as the centroid of a soft
bag of words, weighted by how rare they are, and training can only change how words are weighed and what is made of
a pair: what it knows about the words of its training does not stand in the way of other words.

The pieces are those of Vinyals et al. 2016, "Matching Networks for One Shot Learning" (arXiv:1606.04080: rows weighted
by attention), Rocktaschel et al. 2016, "Reasoning about Entailment with Neural Attention" (arXiv:1509.06664: LSTM and
token attention over a pair) and Parikh et al. 2016, "A Decomposable Attention Model" (arXiv:1606.01933: compare what
is aligned, then aggregate).

Differs from the papers: it is our combination of the three; difference and product are taken token by token, before
the mean, so that one word without a counterpart is seen; the mean of the likenesses stands beside the dense layer; and
the rows of a class are pooled like a centroid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution

from regard.episode import Support, Value
from regard.errors import ConfigError
from regard.learners.base import EncodingAttendingLearner, hide_absent
from regard.learners.row_attention import weighted_normal
from regard.nn.attention import Compare, How, attention_weights, scores
from regard.nn.encoder import Encoder
from regard.nn.sequence import TokenPool

_LEAST_UNITY = 0.05


@dataclass(frozen=True)
class ReadSupport(Value):
    """rows: the support, its items encoded; unity: (B, C) how much the rows of each class are one thing, C = 0 for
    targets."""

    rows: Support
    unity: Tensor


@final
class AttentionMetaLearner(EncodingAttendingLearner):
    """Attention over the parts of each support row, and a class is what its rows share.

    Args:
        encoder: items to parts (N, P, D).
        compare: how parts are compared, see `regard.nn.attention`.
        how: how the parts of a row are weighted: "soft", "sparsemax", "entmax" or "hard". Rows are weighted softly.
        d_head: width of queries and keys, where parts have no names.
        d_pair: width of values, and inside the dense layer.
        dropout: share of pair features set to 0 in training.
        noise: the smallest standard deviation of a predicted target, in the target's own unit.

    Raises:
        ConfigError: an encoder that gives one vector an item.
    """

    regresses = True

    def __init__(
        self,
        encoder: Encoder,
        *,
        compare: Compare = "cosine",
        how: How = "soft",
        d_head: int = 128,
        d_pair: int = 32,
        dropout: float = 0.0,
        noise: float = 0.1,
    ) -> None:
        super().__init__()
        if not encoder.parts:
            raise ConfigError(
                f"{type(encoder).__name__} gives one vector an item: expected parts; make it with parts=True."
            )
        self.encoder, self.noise = encoder, noise
        self.compare: Compare = compare
        self.how_parts: How = how
        self.log_temperature = nn.Parameter(torch.tensor(0.1).log())
        self.log_scale = nn.Parameter(torch.tensor(15.0).log())
        self.n_fixed_features, n_meaning = encoder.n_fixed_features, encoder.n_features - encoder.n_fixed_features
        # Queries and keys share one projection, so that a part finds itself. Names are compared as they are.
        self.key = nn.Identity() if encoder.n_fixed_features else nn.Linear(n_meaning, d_head, bias=False)
        self.value = nn.Linear(n_meaning, d_pair, bias=False)
        self.pool = TokenPool(n_meaning, "attention")
        self.dense = nn.Sequential(
            nn.Linear(4 * d_pair, d_pair), nn.ReLU(), nn.Dropout(dropout), nn.Linear(d_pair, 1, bias=False)
        )
        # What is not learned yet begins small: every part counts by its weight, and matching alone decides.
        for weight in (*self.pool.parameters(), *self.dense[-1].parameters()):
            nn.init.normal_(weight, std=1e-3)

    def adapt_encoded(self, support: Support) -> ReadSupport:
        z: Tensor = support.x
        if support.is_regression:
            return ReadSupport(support, z.new_zeros(support.n_tasks, 0))
        share, (match, _) = self._shares(support), self.judge(z, z)
        unity = (share * (match @ share)).sum(1)
        # Rows of which no part is like a part of another are no reason to divide by nothing.
        return ReadSupport(support, unity.clamp_min(_LEAST_UNITY))

    def predict_encoded(
        self, state: ReadSupport, query_z: Float[Tensor, "B Q P D"]
    ) -> Float[Tensor, "B Q C"] | Distribution:
        if state.rows.is_regression:
            return weighted_normal(self.attend_encoded(state, query_z), state.rows.y, self.noise)
        return self._logits(state, *self._wide(state, query_z))

    def attend_encoded(self, state: ReadSupport, query_z: Float[Tensor, "B Q P D"]) -> Float[Tensor, "B Q S"]:
        rows, (match, verdict) = state.rows, self._wide(state, query_z)
        score = self.log_scale.exp() * (match + verdict)
        if rows.is_regression:
            return attention_weights(score, rows.weight[:, None])
        classes = self._logits(state, match, verdict).softmax(-1)
        # Each row among the rows of its class: (B, Q, C, S).
        within = attention_weights(score[:, :, None], rows.membership().mT[:, None])
        return (classes[..., None] * within).sum(2)

    def judge(self, query_z: Float[Tensor, "B Q P D"], row_z: Float[Tensor, "B S R D"]) -> tuple[Tensor, Tensor]:
        """(B, Q, S) twice: how query and support row match, at most 1, and the verdict on them; both read both ways."""
        there, back = self._read(query_z, row_z), self._read(row_z, query_z)
        return (there[0].mT + back[0]) / 2, (there[1].mT + back[1]) / 2

    def _logits(self, state: ReadSupport, match: Tensor, verdict: Tensor) -> Tensor:
        share, unity = self._shares(state.rows).to(match.dtype), state.unity.to(match.dtype)
        logits = self.log_scale.exp() * (match @ share / unity.sqrt()[:, None] + verdict @ share)
        return hide_absent(logits, state.rows.membership().sum(1))

    def _shares(self, rows: Support) -> Tensor:
        """(B, S, C): of each class, how much each row is of it; sums to 1 where the class has rows."""
        member = rows.membership()
        mass = member.sum(1, keepdim=True)
        return member / torch.where(mass > 0, mass, 1.0)

    def _wide(self, state: ReadSupport, query_z: Tensor) -> tuple[Tensor, Tensor]:
        """`judge`, at least as precise as the weights: bf16 would make steps of 3 in a hundred between rows."""
        match, verdict = self.judge(query_z, state.rows.x)
        wide = torch.promote_types(match.dtype, state.rows.weight.dtype)
        return match.to(wide), verdict.to(wide)

    def _read(self, asking: Tensor, asked: Tensor) -> tuple[Tensor, Tensor]:
        """(B, Q, P, D) and (B, S, P, D) to (B, S, Q) twice: every asking item looks itself up in every asked one."""
        # The tokens of all asking items side by side: one large product per asked item.
        like = scores(self._key(asking).flatten(1, 2)[:, None], self._key(asked), self.compare)
        p = attention_weights(like / self.log_temperature.exp(), self._weight(asked)[:, :, None], self.how_parts)
        sizes = asking.shape[1:3]
        # What each token found on each asked item (B, S, Q, P, E), and how like itself (B, S, Q, P).
        found = (p @ self.value(asked[..., self.n_fixed_features :])).unflatten(2, sizes)
        match = (p * like).sum(-1).unflatten(2, sizes)
        meaning = asking[..., self.n_fixed_features :]
        x, share = self.value(meaning)[:, None], self.pool.share(meaning, self._weight(asking))[:, None]
        means = [(share[..., None, :] @ t).squeeze(-2) for t in (found, (x - found).abs(), x * found)]
        seen = (share[..., None, :] @ x).squeeze(-2).expand_as(means[0])
        return (share * match).sum(-1), self.dense(torch.cat([seen, *means], -1)).squeeze(-1)

    def _key(self, z: Tensor) -> Tensor:
        return self.key(z[..., : self.n_fixed_features] if self.n_fixed_features else z)

    def _weight(self, z: Tensor) -> Tensor:
        """(..., P): how much each part counts, 0 for padding."""
        weight = self.encoder.part_weight(z)
        return z.new_ones(z.shape[:-1]) if weight is None else weight

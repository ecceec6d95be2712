"""The attention meta-learner: a query reads each support example token by token, and a dense layer judges the pair.

    x_p, z_sp   = tokens of the query and of support row s: embedding and LSTM (the encoder, with parts)
    a_sp        = attention of x_p over the tokens of row s                       soft, sparse or hard
    like_sp     = a_sp . cos(x_p, z_s),   found_sp = a_sp . V z_s                 how well p was found there, and what
    pair_s      = [ m(Vx), m(found_s), m(|Vx - found_s|), m(Vx * found_s) ]      m: mean over p, by weight and learned
    score_s     = scale m(like_s) + dense(pair_s),   and the same with query and row changed about
    p_s         = w_s exp(score_s) / sum over rows
    logit_k(x)  = log of the summed p_s of class k,   or, for targets, mean = sum_s p_s y_s

Nothing is learned about any class: only how to read a pair. So one checkpoint serves any way and any shot, and p shows
which example carried the answer. It works on any encoder with parts, images too.

Where parts have names (the words themselves, see `Encoder.n_name`), they are looked up by name, and what the LSTM says
of them decides how much each counts, and what the dense layer sees. So it starts as a soft bag of words, weighted by
how rare they are, and training can only change how words are weighed and what is made of a pair: what it knows about
the words of its practice does not stand in the way of other words.

The pieces are those of Vinyals et al. 2016, "Matching Networks for One Shot Learning" (arXiv:1606.04080: rows weighted
by attention), Rocktaschel et al. 2016, "Reasoning about Entailment with Neural Attention" (arXiv:1509.06664: LSTM and
token attention over a pair) and Parikh et al. 2016, "A Decomposable Attention Model" (arXiv:1606.01933: compare what
is aligned, then aggregate).

Differs from the papers: it is our combination of the three; difference and product are taken token by token, before
the mean, so that one word without a counterpart is seen; and the sum of the likenesses stands beside the dense layer.
"""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.episode import Support
from regard.errors import ConfigError
from regard.learners.row_attention import RowAttentionLearner
from regard.nn.attention import Compare, How, attention_weights, scores
from regard.nn.encoder import Encoder
from regard.nn.sequence import TokenPool


@final
class AttentionMetaLearner(RowAttentionLearner):
    """Attention over the parts of each support row, then over the rows.

    Args:
        encoder: items to parts (N, P, D).
        compare: how parts are compared, see `regard.nn.attention`.
        how: how the parts of a row are weighted: "soft", "sparsemax", "entmax" or "hard". Rows are weighted softly.
        d_head: width of queries and keys, where parts have no names.
        d_pair: width of values, and inside the dense layer.
        dropout: share of pair features set to 0 in training.

    Raises:
        ConfigError: an encoder that gives one vector an item.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        compare: Compare = "cosine",
        how: How = "soft",
        d_head: int = 128,
        d_pair: int = 32,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not encoder.parts:
            raise ConfigError(
                f"{type(encoder).__name__} gives one vector an item: expected parts; make it with parts=True."
            )
        self.encoder = encoder
        self.compare: Compare = compare
        self.how_parts: How = how
        self.log_temperature = nn.Parameter(torch.tensor(0.1).log())
        self.log_scale = nn.Parameter(torch.tensor(15.0).log())
        self.n_name, n_meaning = encoder.n_name, encoder.n_features - encoder.n_name
        # Queries and keys share one projection, so that a part finds itself. Names are compared as they are.
        self.key = nn.Identity() if encoder.n_name else nn.Linear(n_meaning, d_head, bias=False)
        self.value = nn.Linear(n_meaning, d_pair, bias=False)
        self.pool = TokenPool(n_meaning, "attention")
        self.dense = nn.Sequential(
            nn.Linear(4 * d_pair, d_pair), nn.ReLU(), nn.Dropout(dropout), nn.Linear(d_pair, 1, bias=False)
        )
        # What is not learned yet begins small: every part counts by its weight, and matching alone decides.
        for weight in (*self.pool.parameters(), *self.dense[-1].parameters()):
            nn.init.normal_(weight, std=1e-3)

    def score(self, state: Support, query_z: Float[Tensor, "B Q P D"]) -> Float[Tensor, "B Q S"]:
        """How well query and support row match, read both ways."""
        z: Tensor = state.x  # type: ignore[assignment]
        return self._verdict(query_z, z).mT + self._verdict(z, query_z)

    def _verdict(self, asking: Tensor, asked: Tensor) -> Tensor:
        """(B, Q, P, D) and (B, S, P, D) to (B, S, Q): every asking item looks itself up in every asked one."""
        found, match = self._look_up(asking, asked)
        meaning = asking[..., self.n_name :]
        x, share = self.value(meaning)[:, None], self.pool.share(meaning, self._weight(asking))[:, None]
        matched = self.log_scale.exp() / 2 * (share * match).sum(-1)
        means = [(share[..., None, :] @ t).squeeze(-2) for t in (found, (x - found).abs(), x * found)]
        seen = (share[..., None, :] @ x).squeeze(-2).expand_as(means[0])
        return matched + self.dense(torch.cat([seen, *means], -1)).squeeze(-1)

    def _look_up(self, asking: Tensor, asked: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S, Q, P, E) and (B, S, Q, P): what each asking part found on each asked item, and how like itself."""
        # The parts of all asking items side by side: one large product an asked item.
        like = scores(self._key(asking).flatten(1, 2)[:, None], self._key(asked), self.compare)
        p = attention_weights(like / self.log_temperature.exp(), self._weight(asked)[:, :, None], self.how_parts)
        sizes = asking.shape[1:3]
        return (p @ self.value(asked[..., self.n_name :])).unflatten(2, sizes), (p * like).sum(-1).unflatten(2, sizes)

    def _key(self, z: Tensor) -> Tensor:
        return self.key(z[..., : self.n_name] if self.n_name else z)

    def _weight(self, z: Tensor) -> Tensor:
        """(..., P): how much each part counts, 0 for padding."""
        weight = self.encoder.part_weight(z)  # type: ignore[operator]
        return z.new_ones(z.shape[:-1]) if weight is None else weight

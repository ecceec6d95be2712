"""The attention meta-learner: a query reads each support example token by token, and a dense layer judges the pair.

    x_p, z_sp     tokens of the query and of support row s: embedding and LSTM (the encoder, with parts), then dense
    a_sp        = attention of x_p over the tokens of row s                     soft, sparse or hard
    pair_s      = [ m(x), m(a_s), m(|x - a_s|), m(x * a_s) ]                   m: a learned mean over the query's tokens
    p_s         = w_s exp(score_s) / sum over rows,   score_s = dense(pair_s)
    logit_k(x)  = log of the summed p_s of class k,   or, for targets, mean = sum_s p_s y_s

Nothing is learned about any class: only how to read a pair. So one checkpoint serves any way and any shot, and p shows
which example carried the answer. It works on any encoder with parts, images too.

The pieces are those of Vinyals et al. 2016, "Matching Networks for One Shot Learning" (arXiv:1606.04080: rows weighted
by attention), Rocktaschel et al. 2016, "Reasoning about Entailment with Neural Attention" (arXiv:1509.06664: LSTM and
token attention over a pair) and Parikh et al. 2016, "A Decomposable Attention Model" (arXiv:1606.01933: compare what
is aligned, then aggregate).

Differs from the papers: it is our combination of the three; difference and product are taken token by token, before
the mean, so that one word without a counterpart is seen.
"""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.episode import Support
from regard.errors import ConfigError
from regard.learners.row_attention import RowAttentionLearner
from regard.nn.attention import Compare, How, attention
from regard.nn.encoder import Encoder
from regard.nn.sequence import TokenPool


@final
class AttentionMetaLearner(RowAttentionLearner):
    """Attention over the parts of each support row, then over the rows.

    Args:
        encoder: items to parts (N, P, D).
        compare: how parts are compared, see `regard.nn.attention`.
        how: how the parts of a row are weighted: "soft", "sparsemax", "entmax" or "hard". Rows are weighted softly.
        d_head: width of queries, keys and values.
        d_pair: width inside the dense layer.
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
        d_head: int = 64,
        d_pair: int = 64,
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
        self.log_temperature = nn.Parameter(torch.tensor(-2.0))
        # Queries and keys share one projection, so that a part finds itself.
        self.key = nn.Linear(encoder.n_features, d_head, bias=False)
        self.value = nn.Linear(encoder.n_features, d_head, bias=False)
        self.pool = TokenPool(encoder.n_features, "attention")
        self.dense = nn.Sequential(
            nn.Linear(4 * d_head, d_pair), nn.ReLU(), nn.Dropout(dropout), nn.Linear(d_pair, 1, bias=False)
        )

    def score(self, state: Support, query_z: Float[Tensor, "B Q P D"]) -> Float[Tensor, "B Q S"]:
        """The dense layer's verdict on every pair of query and support row, read both ways."""
        z: Tensor = state.x  # type: ignore[assignment]
        return self._verdict(query_z, z).mT + self._verdict(z, query_z)

    def _verdict(self, asking: Tensor, asked: Tensor) -> Tensor:
        """(B, Q, P, D) and (B, S, P, D) to (B, S, Q): every asking item looks itself up in every asked one."""
        found = self._look_up(asking, asked)
        x = self.value(asking)[:, None]
        share = self.pool.share(asking, self._real(asking))[:, None, ..., None]
        seen = (share * x).sum(-2).expand(*found.shape[:3], -1)
        compared = ((share * t).sum(-2) for t in (found, (x - found).abs(), x * found))
        return self.dense(torch.cat([seen, *compared], -1)).squeeze(-1)

    def _look_up(self, asking: Tensor, asked: Tensor) -> Tensor:
        """(B, S, Q, P, E): what each asking part found on each asked item."""
        # The parts of all asking items side by side: one large product an asked item.
        found, _ = attention(
            self.key(asking).flatten(1, 2)[:, None],
            self.key(asked),
            self.value(asked),
            self._real(asked),
            compare=self.compare,
            how=self.how_parts,
            temperature=self.log_temperature.exp(),
        )
        return found.unflatten(2, asking.shape[1:3])

    def _real(self, z: Tensor) -> Tensor:
        """(..., P): 1, and 0 for parts that are padding."""
        real = self.encoder.part_weight(z)  # type: ignore[operator]
        return z.new_ones(z.shape[:-1]) if real is None else real

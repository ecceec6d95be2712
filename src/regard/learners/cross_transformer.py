"""Spatial cross-attention: each place of the query looks up its own prototype on the support images of a class.

    t_kp = sum over support rows s of class k and places p' of  softmax( q(x)_p . k(x_s)_p' ) v(x_s)_p'
    logit_k(x) = - scale * mean_p | v(x)_p - t_kp |^2

So a stroke is compared with the matching stroke wherever it stands, and one can see where the learner looked.

Doersch, Gupta, Zisserman 2020, "CrossTransformers: spatially-aware few-shot transfer", arXiv:2007.11498.

Differs from the paper: a learned scale on the logits, and an encoder of any size (theirs is a ResNet-34 with 14x14
parts, pretrained by SimCLR episodes, and projections of width 128).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from regard.episode import Items, Support, Value
from regard.learners.base import TokenAttendingLearner, hide_absent
from regard.nn.attention import attention, attention_weights, scores
from regard.nn.encoder import Encoder


@dataclass(frozen=True)
class SpatialSupport(Value):
    """The support, sorted into classes of at most K rows each.

    Args:
        key: (B, C, K, P, D).
        value: (B, C, K, P, D).
        weight: (B, C, K) of these rows, 0 where a class has fewer.
        row: (B, C, K) which support row each of them is.
        row_weight: (B, S) of the support as it came.
    """

    key: Tensor
    value: Tensor
    weight: Tensor
    row: Tensor
    row_weight: Tensor


@final
class CrossTransformer(TokenAttendingLearner):
    """Query-aligned prototypes by attention between places.

    Args:
        encoder: items to parts (N, P, F).
        d_head: D, the width of queries, keys and values.
    """

    vmaps = False  # how many rows the largest class has is read from the labels

    def __init__(self, encoder: Encoder, *, d_head: int = 128) -> None:
        super().__init__()
        self.encoder = encoder
        # Queries and keys share one projection, so that a place finds itself.
        self.key = nn.Linear(encoder.n_features, d_head, bias=False)
        self.value = nn.Linear(encoder.n_features, d_head, bias=False)
        self.log_scale = nn.Parameter(torch.zeros(()))

    def adapt_encoded(self, support: Support) -> SpatialSupport:
        z_BSPF: Tensor = support.x
        of_class = support.membership().mT
        present = of_class > 0
        n_rows = max(1, int(present.sum(-1).max()))
        row = present.to(torch.uint8).argsort(dim=-1, descending=True, stable=True)[..., :n_rows]
        task = torch.arange(support.n_tasks, device=row.device)[:, None, None]
        key, value = (project(z_BSPF)[task, row] for project in (self.key, self.value))
        return SpatialSupport(key, value, of_class.gather(-1, row), row, support.weight)

    def predict_encoded(self, state: SpatialSupport, query_z: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return self._compare(state, query_z)[0]
        # Without gradients nothing need be kept, and the fused kernel takes half the time; the same answer, tested.
        query, value = (project(query_z).flatten(1, 2) for project in (self.key, self.value))
        key, support_value = state.key.flatten(2, 3), state.value.flatten(2, 3)
        weight = None if state.weight.shape[2] == 1 else state.weight.repeat_interleave(state.key.shape[3], -1)
        aligned, _ = attention(query[:, None].expand(-1, key.shape[1], -1, -1), key, support_value, weight)
        return self._logits(state, value, aligned, query_z.shape[1])

    def attend_encoded(self, state: SpatialSupport, query_z: Tensor) -> Tensor:
        logits, _, share = self._compare(state, query_z)
        mass = torch.softmax(logits, -1)[..., None] * share.mean(2)
        n_query, n_rows = query_z.shape[1], state.row_weight.shape[1]
        row = state.row[:, None].expand(-1, n_query, -1, -1).flatten(2)
        return mass.new_zeros(mass.shape[0], n_query, n_rows).scatter_add(2, row, mass.flatten(2))

    def attend_tokens(self, state: SpatialSupport, query_x: Items) -> Tensor:
        _, places, share = self._compare(state, self._encode_tasks(query_x))
        looked = (places * share[..., None]).flatten(3, 4)  # (B, Q, P, C * K, P)
        n_tasks, n_query, n_parts = looked.shape[:3]
        out = looked.new_zeros(n_tasks, n_query, n_parts, state.row_weight.shape[1], n_parts)
        row = state.row.flatten(1)[:, None, None, :, None].expand_as(looked)
        # Rows that only fill up a class carry no share, so it does not matter which row they are added to.
        return out.scatter_add(3, row, looked)

    def _compare(self, state: SpatialSupport, query_z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, Q, C) logits; (B, Q, P, C, K, P) attention within a row; (B, Q, P, C, K) share of each row in its class.

        The softmax over all places of all rows of a class is taken in two steps, places within a row and then rows
        within a class: stable however far the rows lie apart, and the second step is free for one example a class.
        """
        n_query, n_parts = query_z.shape[1:3]
        query, value = (project(query_z).flatten(1, 2) for project in (self.key, self.value))
        score = scores(query[:, None, None], state.key)
        places = torch.softmax(score, -1)
        found = places @ state.value
        share = attention_weights(torch.logsumexp(score, -1).movedim(2, -1), state.weight[:, :, None])
        aligned = found[:, :, 0] if found.shape[2] == 1 else torch.einsum("bckre,bcrk->bcre", found, share.to(found))
        return (
            self._logits(state, value, aligned, n_query),
            places.unflatten(3, (n_query, n_parts)).permute(0, 3, 4, 1, 2, 5),
            share.unflatten(2, (n_query, n_parts)).permute(0, 2, 3, 1, 4),
        )

    def _logits(self, state: SpatialSupport, value: Tensor, aligned: Tensor, n_query: int) -> Tensor:
        """(B, Q, C) from what the query's places are, (B, Q * P, D), and what they found, (B, C, Q * P, D)."""
        distance = (value[:, None] - aligned).square().sum(-1, dtype=self.log_scale.dtype)
        logits = -self.log_scale.exp() * distance.unflatten(2, (n_query, -1)).mean(-1).mT
        return hide_absent(logits, state.weight.sum(-1))

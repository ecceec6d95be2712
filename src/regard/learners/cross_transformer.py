"""Spatial cross-attention: each part of the query looks up its own prototype on the support images of a class.

    t_kp = sum over support rows s of class k and parts p' of  softmax( q(x)_p . k(x_s)_p' ) v(x_s)_p'
    logit_k(x) = - scale * mean_p | v(x)_p - t_kp |^2

So a stroke is compared with the matching stroke wherever it stands, and one can see where the learner looked.

Each row is looked up once: softmax over its parts, then over the rows of a class, which share the rows by membership.

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
from regard.nn.transforms import values_are_known


@dataclass(frozen=True)
class SpatialSupport(Value):
    """What is kept of the support.

    Args:
        key: (B, S, P, D).
        value: (B, S, P, D).
        membership: (B, S, C) the weight of each row, in the column of its class.
    """

    key: Tensor
    value: Tensor
    membership: Tensor


@final
class CrossTransformer(TokenAttendingLearner):
    """Query-aligned prototypes by attention between parts.

    Args:
        encoder: items to parts (N, P, F).
        d_head: D, the width of queries, keys and values.
    """

    def __init__(self, encoder: Encoder, *, d_head: int = 128) -> None:
        super().__init__()
        self.encoder = encoder
        # Queries and keys share one projection, so that a part finds itself.
        self.key = nn.Linear(encoder.n_features, d_head, bias=False)
        self.value = nn.Linear(encoder.n_features, d_head, bias=False)
        self.log_scale = nn.Parameter(torch.zeros(()))

    def adapt_encoded(self, support: Support) -> SpatialSupport:
        z_BSPF: Tensor = support.x
        return SpatialSupport(self.key(z_BSPF), self.value(z_BSPF), support.membership())

    def predict_encoded(self, state: SpatialSupport, query_z: Tensor) -> Tensor:
        if torch.is_grad_enabled() or not values_are_known():
            return self._compare(state, query_z)[0]
        # Without gradients nothing need be kept, and the fused kernel takes half the time; the same answer, tested.
        # It wants the rows sorted into classes of at most K rows each.
        of_class = state.membership.mT
        present = of_class > 0
        n_rows = max(1, int(present.sum(-1).max()))
        row = present.to(torch.uint8).argsort(dim=-1, descending=True, stable=True)[..., :n_rows]
        task = torch.arange(len(row), device=row.device)[:, None, None]
        key, found = (t[task, row].flatten(2, 3) for t in (state.key, state.value))
        weight = None if n_rows == 1 else of_class.gather(-1, row).repeat_interleave(state.key.shape[2], -1)
        query, value = (project(query_z).flatten(1, 2) for project in (self.key, self.value))
        aligned, _ = attention(query[:, None].expand(-1, key.shape[1], -1, -1), key, found, weight)
        return self._logits(state, value, aligned.transpose(1, 2), query_z.shape[1])

    def attend_encoded(self, state: SpatialSupport, query_z: Tensor) -> Tensor:
        logits, _, share = self._compare(state, query_z)
        return (torch.softmax(logits, -1)[..., None] * share.mean(2)).sum(2)

    def attend_tokens(self, state: SpatialSupport, query_x: Items) -> Tensor:
        _, within, share = self._compare(state, self._encode_tasks(query_x))
        return within * share.sum(3)[..., None]

    def _compare(self, state: SpatialSupport, query_z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, Q, C) logits; (B, Q, P, S, P) attention within a row; (B, Q, P, C, S) share of each row in its class.

        The softmax over all parts of all rows of a class is taken in two steps, parts within a row and then rows within
        a class: stable however far the rows lie apart. The second step is free where each class has one row.
        """
        sizes = query_z.shape[1:3]
        query, value = (project(query_z).flatten(1, 2) for project in (self.key, self.value))
        score = scores(query[:, None], state.key)
        within = torch.softmax(score, -1)
        found = within @ state.value
        if _is_row_per_class(state.membership):
            identity = torch.eye(found.shape[1], dtype=score.dtype, device=score.device)
            share = identity.expand(found.shape[0], found.shape[2], -1, -1)
            aligned = found.transpose(1, 2)
        else:
            strength = torch.logsumexp(score, -1).mT[:, :, None]
            share = attention_weights(strength, state.membership.mT[:, None])
            aligned = share.to(found.dtype) @ found.transpose(1, 2)
        logits = self._logits(state, value, aligned, sizes[0])
        return logits, within.transpose(1, 2).unflatten(1, sizes), share.unflatten(1, sizes)

    def _logits(self, state: SpatialSupport, value: Tensor, aligned: Tensor, n_query: int) -> Tensor:
        """(B, Q, C) from what the query's parts are, (B, Q * P, D), and what they found, (B, Q * P, C, D)."""
        distance = (value[:, :, None] - aligned).square().sum(-1, dtype=self.log_scale.dtype)
        logits = -self.log_scale.exp() * distance.unflatten(1, (n_query, -1)).mean(2)
        return hide_absent(logits, state.membership.sum(1))


def _is_row_per_class(membership: Tensor) -> bool:
    """Whether row s is the one row of class s in every task; False where values are unknown or weights are learned."""
    if membership.shape[1] != membership.shape[2] or membership.requires_grad or not values_are_known():
        return False
    one = torch.eye(membership.shape[1], dtype=torch.bool, device=membership.device)
    return bool(((membership > 0) == one).all())

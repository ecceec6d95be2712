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

from regard.episode import Items, Support, _Value
from regard.learners.base import PartAttendingLearner, hide_absent
from regard.nn.attention import attention_weights, scores


@dataclass(frozen=True)
class SpatialSupport(_Value):
    """key: (B, S, P, D); value: (B, S, P, E); membership: (B, S, C) weights by class."""

    key: Tensor
    value: Tensor
    membership: Tensor


@final
class CrossTransformer(PartAttendingLearner):
    """Query-aligned prototypes by attention between places.

    Args:
        encoder: items to parts (N, P, D).
        d_head: width of queries, keys and values.
    """

    def __init__(self, encoder: nn.Module, *, d_head: int = 128) -> None:
        super().__init__()
        self.encoder = encoder
        n_features: int = encoder.n_features  # type: ignore[assignment]
        # Queries and keys share one projection, so that a place finds itself.
        self.key = nn.Linear(n_features, d_head, bias=False)
        self.value = nn.Linear(n_features, d_head, bias=False)
        self.log_scale = nn.Parameter(torch.zeros(()))

    def adapt_encoded(self, support: Support) -> SpatialSupport:
        z: Tensor = support.x  # type: ignore[assignment]
        return SpatialSupport(self.key(z), self.value(z), support.membership())

    def predict_encoded(self, state: SpatialSupport, query_z: Tensor) -> Tensor:
        return self._compare(state, query_z)[0]

    def attend_encoded(self, state: SpatialSupport, query_z: Tensor) -> Tensor:
        logits, _, share = self._compare(state, query_z)
        return torch.einsum("bqc,bqpcs->bqs", torch.softmax(logits, -1), share) / share.shape[2]

    def attend_parts(self, state: SpatialSupport, query_x: Items) -> Tensor:
        _, places, share = self._compare(state, self._encode_tasks(query_x))
        return places * share.sum(3)[..., None]

    def _compare(self, state: SpatialSupport, query_z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, Q, C) logits; (B, Q, P, S, P) attention within each row; (B, Q, P, C, S) share of each row in its class.

        The softmax over all places of all rows of a class is taken in two steps, places within a row and then rows
        within a class: stable however far the classes lie apart, and one batched product whatever the shots.
        """
        n_tasks, n_query, n_parts, _ = query_z.shape
        query = self.key(query_z).flatten(1, 2)[:, None]
        score = scores(query, state.key)
        places = torch.softmax(score, -1)
        found = places @ state.value
        row_score = torch.logsumexp(score, -1).permute(0, 2, 1)
        share = attention_weights(row_score[:, :, None, :], state.membership.mT[:, None])
        aligned = torch.einsum("brcs,bsre->brce", share.to(found.dtype), found)
        distance = (self.value(query_z).flatten(1, 2)[:, :, None] - aligned).float().square().sum(-1)
        logits = -self.log_scale.exp() * distance.unflatten(1, (n_query, n_parts)).mean(2)
        return (
            hide_absent(logits, state.membership.sum(1)),
            places.unflatten(2, (n_query, n_parts)).permute(0, 2, 3, 1, 4),
            share.unflatten(1, (n_query, n_parts)),
        )

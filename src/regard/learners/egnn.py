"""EGNN: labels stand on the edges; an edge says how surely two examples are of one class, and the nodes follow it.

    e_ij = 1 or 0 between support rows of one class or of two;  1/2 between a query and every support row
    v_i <- F[ v_i, sum_j w_j e_ij v_j / sum_j w_j e_ij, sum_j w_j (1 - e_ij) v_j / sum_j w_j (1 - e_ij) ]
    e_ij <- e_ij s_ij / ( e_ij s_ij + (1 - e_ij)(1 - s_ij) ),   s_ij = sigmoid g(|v_i - v_j|)         n_layers times
    probability of class c ~ sum_j w_j [y_j = c] e_qj / sum_j w_j [y_j = c]

Kim, Kim, Kim and Yoo 2019, "Edge-Labeling Graph Neural Network for Few-shot Learning", arXiv:1905.01436.

The update of an edge is a sum of log-odds: e = sigmoid( sum over layers of g ). It leaves 0 and 1 as they are, so only
the edges of queries move. Training is on the edges of every layer, those before the last for half: binary cross-entropy
with the support rows of the query's class and all others counting the same. Labels are on edges alone, so any number of
classes and of examples can come, and how much each support row counted can be read off.

Differs from the paper. Queries receive messages and send none: the support graph is run once per task, in S^2, and each
query attaches to it in S; no query sees another, where the paper's graph of all queries is transductive. Layer norm
stands in place of batch norm. Two details of the paper break "weight 2 is the row twice", and are left out: the edge
update divides by a sum over a row of edges without the rows' weights, and nodes leave themselves out of their sums.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from regard.episode import Episode, Support, Value
from regard.learners.base import EncodingAttendingLearner, hide_absent, require_vectors, task_mean
from regard.learners.row_attention import class_logits
from regard.nn.encoder import Encoder
from regard.nn.graph import PairNetwork, normed_layer


@dataclass(frozen=True)
class EdgeGraph(Value):
    """nodes: (B, L + 1, S, D), the support before and after each layer; support: its vectors, labels and weights."""

    nodes: Tensor
    support: Support


@final
class EGNN(EncodingAttendingLearner):
    """Edges between query and support, refined layer by layer.

    Args:
        encoder: items to vectors (N, D).
        n_layers: L.
        width: of the networks of nodes and edges.

    Raises:
        ConfigError: an encoder that gives parts.

    Examples:
        >>> from regard.nn.mlp import MLP
        >>> support = Support(torch.eye(3)[None], torch.tensor([[0, 1, 1]]))
        >>> learner = EGNN(MLP(3))
        >>> learner.attend(learner.adapt(support), torch.eye(3)[None]).sum(-1).allclose(torch.ones(1, 3))
        True
    """

    def __init__(self, encoder: Encoder, *, n_layers: int = 3, width: int = 64) -> None:
        super().__init__()
        require_vectors(encoder, "EGNN")
        self.encoder = encoder
        n_features = encoder.n_features
        self.nodes = nn.ModuleList(
            nn.Sequential(normed_layer(3 * n_features, width), nn.Linear(width, n_features), nn.LayerNorm(n_features))
            for _ in range(n_layers)
        )
        self.edges = nn.ModuleList(PairNetwork(n_features, width) for _ in range(n_layers))

    def adapt_encoded(self, support: Support) -> EdgeGraph:
        one_hot = support.one_hot().to(support.x.dtype)
        same = one_hot @ one_hot.mT
        nodes = [support.x]
        for update in self.nodes:
            v = nodes[-1]
            alike, unlike = (neighbour_mean(e * support.weight[:, None], v) for e in (same, 1 - same))
            nodes.append(v + update(torch.cat([v, alike, unlike], -1)))
        return EdgeGraph(torch.stack(nodes, 1), support)

    def predict_encoded(self, state: EdgeGraph, query_z: Float[Tensor, "B Q D"]) -> Float[Tensor, "B Q C"]:
        support = state.support
        score = F.logsigmoid(self.edge_logits(state, query_z)[-1])
        mass = support.membership().sum(1)
        size = torch.where(mass > 0, mass, 1.0).log()
        return hide_absent(class_logits(score, support) - size[:, None], mass)

    def attend_encoded(self, state: EdgeGraph, query_z: Float[Tensor, "B Q D"]) -> Float[Tensor, "B Q S"]:
        support = state.support
        membership = support.membership()
        mass = membership.sum(1, keepdim=True)
        share = (membership / torch.where(mass > 0, mass, 1.0)).sum(-1)  # of a row in its class
        p = share[:, None] * self.edge_logits(state, query_z)[-1].sigmoid()
        total = p.sum(-1, keepdim=True)
        return p / torch.where(total > 0, total, 1.0)

    def loss(self, episode: Episode) -> Float[Tensor, " B"]:
        """(B,) binary cross-entropy of the edges between queries and support rows, in every layer."""
        support, query_z = self.encode_episode(episode)
        is_same = (episode.query_y[:, :, None] == support.y[:, None]).to(query_z.dtype)
        # Rows of the query's class have half of the weight together, and all others the other half.
        sides = [side * support.weight[:, None] for side in (is_same, 1 - is_same)]
        totals = [side.sum(-1, keepdim=True) for side in sides]
        weight = sum(side / torch.where(total > 0, total, 1.0) for side, total in zip(sides, totals, strict=True)) / 2
        losses = [
            (weight * F.binary_cross_entropy_with_logits(logits, is_same, reduction="none")).sum(-1)
            for logits in self.edge_logits(self.adapt_encoded(support), query_z)
        ]
        return task_mean(sum(losses[:-1], torch.zeros_like(losses[-1])) / 2 + losses[-1], episode.query_weight)

    def edge_logits(self, state: EdgeGraph, query_z: Float[Tensor, "B Q D"]) -> list[Float[Tensor, "B Q S"]]:
        """Log-odds of the edges after each layer."""
        weight = state.support.weight[:, None].to(query_z.dtype)
        v, logits = query_z, torch.zeros_like(query_z[..., :1] * weight)
        found = []
        for k, (update, edges) in enumerate(zip(self.nodes, self.edges, strict=True)):
            rows = state.nodes[:, k]
            # The query is a neighbour of itself, with an edge of 1, as each support row is.
            alike = neighbour_mean(weight * logits.sigmoid(), rows, own=v)
            unlike = neighbour_mean(weight * (-logits).sigmoid(), rows)
            v = v + update(torch.cat([v, alike, unlike], -1))
            logits = logits + edges(v, state.nodes[:, k + 1])
            found.append(logits)
        return found


def neighbour_mean(
    weight: Float[Tensor, "B N S"], rows: Float[Tensor, "B S D"], own: Float[Tensor, "B N D"] | None = None
) -> Float[Tensor, "B N D"]:
    """Mean of the rows for each of N nodes, 0 without weight; with `own` vectors that count 1, if given."""
    total, mass = weight @ rows, weight.sum(-1, keepdim=True)
    if own is not None:
        total, mass = total + own, mass + 1
    return total / torch.where(mass > 0, mass, 1.0)

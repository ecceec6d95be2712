"""Few-shot GNN: support and query are nodes of a graph, their labels are part of them, and messages carry the labels.

    v_i = [f(x_i), l_i]                          l_i: +1 for an example of the class, -1 for another, 0 for the query
    A_ij = w_j exp g(|v_i - v_j|) / sum_j            the softmax of learned edges, over i's own node too
    v_i <- [v_i, leaky( norm( theta_1 v_i + theta_2 sum_j A_ij v_j ) )]                                n_layers times
    score of the class = theta_3 [v_q, sum_j A_qj v_j],  one graph per class;  softmax of the scores over the classes

Garcia and Bruna 2018, "Few-Shot Learning with Graph Neural Networks", arXiv:1711.04043.

Differs from the paper. Its label is one-hot over a fixed number of classes, and so is its last layer; here each class
is one against the rest, so that any number of classes can come, and renaming them renames the answer. Support nodes
send messages to the query and to each other, and receive none from the query: the support graph is run once per task
for any number of queries, and no query sees another. Layer norm stands in place of batch norm, which mixes tasks.
Two details of the paper break "weight 2 is the row twice", and are left out: edges without the row's weight in the
softmax, and the diagonal of A set to zero (each of two equal rows would see the other, one of weight 2 nobody).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.episode import Support, Value
from regard.learners.base import EncodingLearner, hide_absent, require_vectors
from regard.nn.attention import attention_weights
from regard.nn.encoder import Encoder
from regard.nn.graph import PairNetwork


@dataclass(frozen=True)
class LabelledGraph(Value):
    """nodes: (B, C, S, F) support nodes after the last layer, in the graph of each class; weight: (B, S); mass: (B, C).

    The nodes of earlier layers are the first features of those of later ones.
    """

    nodes: Tensor
    weight: Tensor
    mass: Tensor


class _Layer(nn.Module):
    """Edges, and what a node makes of itself and of its neighbours."""

    def __init__(self, n_features: int, n_new: int, width: int) -> None:
        super().__init__()
        self.n_features = n_features
        # A constant on all edges of a node changes no softmax.
        self.edges = PairNetwork(n_features, width, bias=False)
        self.update = nn.Linear(2 * n_features, n_new)

    def forward(self, nodes: Tensor, neighbours: Tensor, weight: Tensor, *, joins: bool = False) -> Tensor:
        """(..., N, F) nodes, (..., M, F) neighbours with weights (..., 1, M), to (..., N, n_new).

        Nodes that join are no neighbours yet: each of them sees itself besides, with a weight of 1.
        """
        score = self.edges(nodes, neighbours)
        if not joins:
            mean = attention_weights(score, weight) @ neighbours
        else:
            own = self.edges.layers(nodes.new_zeros(1, nodes.shape[-1])).expand(*score.shape[:-1], 1)
            weight = torch.cat([weight, torch.ones_like(weight[..., :1])], -1)
            p = attention_weights(torch.cat([score, own], -1), weight)
            mean = p[..., :-1] @ neighbours + p[..., -1:] * nodes
        return self.update(torch.cat([nodes, mean], -1))


@final
class FewShotGNN(EncodingLearner):
    """Messages on the graph of support and query, one graph per class.

    Args:
        encoder: items to vectors (N, D).
        n_layers: of the graph network before the one that answers.
        n_new: features that each layer adds to a node.
        width: of the network that makes the edges.

    Raises:
        ConfigError: an encoder that gives parts.

    Examples:
        >>> from regard.nn.mlp import MLP
        >>> support = Support(torch.eye(3)[None], torch.tensor([[0, 1, 1]]))
        >>> learner = FewShotGNN(MLP(3))
        >>> learner.predict(learner.adapt(support), torch.eye(3)[None]).shape
        torch.Size([1, 3, 2])
    """

    def __init__(self, encoder: Encoder, *, n_layers: int = 2, n_new: int = 32, width: int = 64) -> None:
        super().__init__()
        require_vectors(encoder, "FewShotGNN")
        self.encoder = encoder
        sizes = [encoder.n_features + 1 + k * n_new for k in range(n_layers + 1)]
        self.layers = nn.ModuleList(_Layer(size, n_new, width) for size in sizes[:-1])
        self.activations = nn.ModuleList(nn.Sequential(nn.LayerNorm(n_new), nn.LeakyReLU()) for _ in sizes[:-1])
        self.last = _Layer(sizes[-1], 1, width)

    def adapt_encoded(self, support: Support) -> LabelledGraph:
        label = 2 * support.one_hot().mT.to(support.x.dtype) - 1  # (B, C, S)
        nodes = torch.cat([support.x[:, None].expand(-1, label.shape[1], -1, -1), label[..., None]], -1)
        for layer, activation in zip(self.layers, self.activations, strict=True):
            new = layer(nodes, nodes, support.weight[:, None, None])
            nodes = torch.cat([nodes, activation(new)], -1)
        return LabelledGraph(nodes, support.weight, support.membership().sum(1))

    def predict_encoded(self, state: LabelledGraph, query_z: Float[Tensor, "B Q D"]) -> Float[Tensor, "B Q C"]:
        query = torch.cat([query_z, torch.zeros_like(query_z[..., :1])], -1)
        query = query[:, None].expand(-1, state.nodes.shape[1], -1, -1)
        weight = state.weight[:, None, None]
        for layer, activation in zip(self.layers, self.activations, strict=True):
            new = layer(query, state.nodes[..., : query.shape[-1]], weight, joins=True)
            query = torch.cat([query, activation(new)], -1)
        score: Tensor = self.last(query, state.nodes, weight, joins=True)
        return hide_absent(score.squeeze(-1).mT, state.mass)

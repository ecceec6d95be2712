"""PAR: vectors that depend on the property asked for, and a learned graph of which molecules are alike in it.

    b    = attention of x over itself and the class means          p = MLP([x, b])             aware of the property
    a_ij = sigmoid( MLP( exp(-|h_i - h_j|) ) )                     how alike two molecules are in this property
    h_i  = leaky( W_0 h_i + W_1 sum_j w_j a_ij h_j / sum_j w_j a_ij )                          n_layers times
    logit_k = scale cos( h_query, mean of class k's h )

    loss = cross-entropy + alignment * mean (a_qs - [y_q = y_s])^2                             neighbours share labels

Wang, Abuduweili, Yao, Dou 2021, "Property-Aware Relation Networks for Few-Shot Molecular Property Prediction", NeurIPS,
arXiv:2107.07994.

Differs from the paper: the graph of the support is run once, and each query attaches to it; there every query stands in
a graph with the support. No edges are cut: keeping the k nearest counts a row of weight 2 once, and that breaks the law
that it is the row twice. The last layer compares with class means, where the paper adapts a linear classifier by
gradient, so that any number of classes works.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from regard.episode import Episode, Support, Value
from regard.errors import ConfigError
from regard.learners.base import EncodingLearner, hide_absent, query_loss, require_vectors, task_mean
from regard.learners.prototypical import Prototypes, class_means
from regard.nn.attention import attention, scores
from regard.nn.encoder import Encoder


@dataclass(frozen=True)
class PropertyGraph(Value):
    """means: of the classes, before; layers: by number, support rows (B, S, D) that queries attach to; weight: (B, S);
    centre: of the classes, after.
    """

    means: Prototypes
    layers: dict[str, Tensor]
    weight: Tensor
    centre: Prototypes


class _Layer(nn.Module):
    """One step of the graph."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.alike = nn.Sequential(nn.Linear(d, d), nn.LeakyReLU(), nn.Linear(d, 1))
        self.own, self.others = nn.Linear(d, d), nn.Linear(d, d, bias=False)

    def edges(self, a: Tensor, b: Tensor) -> Tensor:
        """(B, Q, D) and (B, S, D) to (B, Q, S)."""
        return self.alike(torch.exp(-(a[:, :, None] - b[:, None]).abs()))[..., 0].sigmoid()

    def forward(self, a: Tensor, edges: Tensor, b: Tensor, weight: Tensor) -> Tensor:
        share = edges * weight[:, None]
        total = share.sum(-1, keepdim=True)
        read = share @ b / torch.where(total > 0, total, 1.0)
        return F.leaky_relu(self.own(a) + self.others(read))


@final
class PAR(EncodingLearner):
    """Property-aware relations.

    Args:
        encoder: items to vectors (N, E).
        d_model: D, of the graph.
        n_layers: of the graph.
        alignment: weight of the neighbours' loss.
        scale: of the cosines, where training starts.

    Raises:
        ConfigError: an encoder that gives parts, or no layer.
    """

    def __init__(
        self, encoder: Encoder, *, d_model: int = 128, n_layers: int = 2, alignment: float = 0.1, scale: float = 5.0
    ) -> None:
        super().__init__()
        require_vectors(encoder, "PAR")
        if n_layers < 1:
            raise ConfigError(f"n_layers is {n_layers}: expected at least 1.")
        self.encoder, self.alignment = encoder, alignment
        self.aware = nn.Sequential(
            nn.Linear(2 * encoder.n_features, d_model), nn.LeakyReLU(), nn.Linear(d_model, d_model)
        )
        self.layers = cast("list[_Layer]", nn.ModuleList(_Layer(d_model) for _ in range(n_layers)))
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))

    def adapt_encoded(self, support: Support) -> PropertyGraph:
        z: Tensor = support.x
        means = class_means(z, support)
        h, layers = self._aware(z, means), dict[str, Tensor]()
        for number, layer in enumerate(self.layers):
            layers[str(number)] = h
            h = layer(h, layer.edges(h, h), h, support.weight)
        return PropertyGraph(means, layers, support.weight, class_means(h, support))

    def predict_encoded(self, state: PropertyGraph, query_z: Float[Tensor, "B Q E"]) -> Float[Tensor, "B Q C"]:
        return self._read(state, query_z)[0]

    def loss(self, episode: Episode) -> Float[Tensor, " B"]:
        """(B,) cross-entropy, and the squared error of the edges between queries and support rows."""
        support, query_z = self.encode_episode(episode)
        logits, edges = self._read(self.adapt_encoded(support), query_z)
        alike = (episode.query_y[:, :, None] == support.y[:, None]).to(support.weight.dtype)
        error = torch.stack([(e - alike).square() for e in edges]).mean(0)
        pair_weight = episode.query_weight[:, :, None] * support.weight[:, None]
        return query_loss(logits, episode) + self.alignment * task_mean(error, pair_weight)

    def _read(self, state: PropertyGraph, query_z: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits, and the edges (B, Q, S) of each layer."""
        h, edges = self._aware(query_z, state.means), list[Tensor]()
        for layer, rows in zip(self.layers, state.layers.values(), strict=True):
            edges.append(layer.edges(h, rows))
            h = layer(h, edges[-1], rows, state.weight)
        logits = self.log_scale.exp() * scores(h, state.centre.centre, "cosine")
        return hide_absent(logits, state.centre.mass), edges

    def _aware(self, z: Float[Tensor, "B N E"], means: Prototypes) -> Float[Tensor, "B N D"]:
        """Each vector with what it reads of itself and of the class means."""
        key = torch.cat([z[:, :, None], means.centre[:, None].expand(-1, z.shape[1], -1, -1)], 2)
        # A class that is absent is not read; of the others each counts once, however many rows it has.
        present = (means.mass > 0).to(z.dtype)[:, None].expand(-1, z.shape[1], -1)
        weight = torch.cat([torch.ones_like(present[..., :1]), present], -1)
        read, _ = attention(z[:, :, None], key, key, weight)
        return self.aware(torch.cat([z, read[:, :, 0]], -1))

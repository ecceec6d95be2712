"""Graphs to vectors or parts, as dense tensors with a mask: a batch of tasks is one tensor, and the laws hold.

    GIN              h_i <- h_i + MLP( norm( (1 + eps) h_i + sum over neighbours j of relu(h_j + e_ij) ) )
    GraphAttention   h_i <- h_i + sum over neighbours j and i itself of softmax_j( q_i . k_j / sqrt(d) + b_ij ) v_j,
                     then a feed-forward layer

    e_ij, b_ij: learned, one vector (one number per head) for each kind of edge
    vector = W [ mean, max and sum / 16 of norm(h) over nodes, after every round ]

Xu, Hu, Leskovec, Jegelka 2019, "How Powerful are Graph Neural Networks?", arXiv:1810.00826, with the edges of Hu et al.
2020, arXiv:1905.12265; the vector reads every round, Xu et al. 2018, "Representation Learning on Graphs with Jumping
Knowledge Networks", arXiv:1806.03536; Velickovic et al. 2018, "Graph Attention Networks", arXiv:1710.10903, with the
scaled dot product of Dwivedi and Bresson 2021, arXiv:2012.09699.

Differs from these: layer norm in place of batch norm, which would mix items and so tasks; dense (P, P) edges. Molecules
have some 20 nodes, and a padded product is faster there than gathering edges, where graphs of about one size are
together: a batch is cut into groups by size. For graphs of thousands of nodes take PyTorch Geometric, whose layers an
encoder of one's own can hold.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from regard.episode import Items
from regard.errors import ConfigError, EpisodeError
from regard.nn.encoder import Encoder

_AT_ONCE = 32
"""Graphs of a group, at least."""
_MOST_GROUPS = 8
_USUAL_SIZE = 16
"""Nodes that a sum is divided by, so that it is of the order of a mean."""


class GraphEncoder(Encoder):
    """Nodes (N, P, F), kinds of edges (N, P, P), 0 for none, and mask (N, P) to (N, D) or (N, P, D).

    Args:
        n_inputs: F; 40 of the atoms of molecules.
        n_features: D, also of the nodes inside.
        n_layers: rounds of messages.
        n_edge_kinds: kinds of edges without none; 4 of the bonds of molecules.
        dropout: share of features set to 0 in training, at the end of each branch.
        parts: give (N, P, D), a vector per node, instead of one vector.
        keys: of nodes, edges and mask in the items.

    Raises:
        ConfigError: numbers below 1.
        EpisodeError: in `forward`, items without these keys.
    """

    def __init__(
        self,
        n_inputs: int = 40,
        n_features: int = 128,
        *,
        n_layers: int = 3,
        n_edge_kinds: int = 4,
        dropout: float = 0.1,
        parts: bool = False,
        keys: tuple[str, str, str] = ("atoms", "bonds", "mask"),
    ) -> None:
        super().__init__()
        if min(n_inputs, n_features, n_layers, n_edge_kinds) < 1:
            raise ConfigError(
                f"n_inputs is {n_inputs}, n_features {n_features}, n_layers {n_layers}, n_edge_kinds {n_edge_kinds}: "
                "expected at least 1."
            )
        self.parts, self.n_features, self.n_edge_kinds, self.keys = parts, n_features, n_edge_kinds, tuple(keys)
        self.embed, self.norm = nn.Linear(n_inputs, n_features), nn.LayerNorm(n_features)
        self.dropout = nn.Dropout(dropout)
        self.pool = None if parts else nn.Linear(3 * n_layers * n_features, n_features)

    @abstractmethod
    def rounds(
        self, h: Float[Tensor, "N P D"], edges: Int[Tensor, "N P P"], real: Float[Tensor, "N P"]
    ) -> Iterator[Float[Tensor, "N P D"]]:
        """Nodes after each round; what comes out for padding does not matter."""

    def forward(self, x: Items) -> Float[Tensor, "N *P D"]:
        """Graphs to (N, D) or (N, P, D)."""
        nodes, edges, mask = self.keys
        if not isinstance(x, dict) or not {nodes, edges, mask} <= x.keys():
            raise EpisodeError(
                f"{type(self).__name__} reads graphs, a dict of {nodes}, {edges} and {mask}: of molecules set "
                "data.with_graphs=true, or read with MoleculeReader(with_graphs=True)."
            )
        n_groups = min(max(len(x[mask]) // _AT_ONCE, 1), _MOST_GROUPS)
        order = (x[mask] > 0).sum(1).argsort(stable=True)
        groups = [self._encoded(x[nodes][rows], x[edges][rows], x[mask][rows]) for rows in order.chunk(n_groups)]
        return torch.cat(groups)[order.argsort()]

    def _encoded(self, nodes: Tensor, edges: Tensor, mask: Tensor) -> Tensor:
        """Graphs of about one size to (N, D) or (N, P, D)."""
        dtype = self.embed.weight.dtype
        real, size = mask.to(dtype), mask.shape[1]
        # Only as many nodes as the largest graph has; one at least, so that there is something to pool.
        n = int((real > 0).sum(1).amax().clamp_min(1)) if len(real) else 1
        real = real[:, :n]
        rounds = self.rounds(self.embed(nodes[:, :n].to(dtype)), edges[:, :n, :n].long(), real)
        normed = [self.norm(h) * real[..., None] for h in rounds]
        if self.pool is None:
            return F.pad(normed[-1], (0, 0, 0, size - n))
        total, reads = real.sum(1, keepdim=True), []
        for h in normed:
            largest, summed = torch.where(real[..., None] > 0, h, -torch.inf).amax(1), h.sum(1)
            reads += [summed / torch.where(total > 0, total, 1.0), torch.where(total > 0, largest, 0.0)]
            reads.append(summed / _USUAL_SIZE)
        return self.pool(torch.cat(reads, -1))

    def part_weight(self, z: Float[Tensor, "*N P D"]) -> Float[Tensor, "*N P"]:
        return (z != 0).any(-1).to(z.dtype)


def _feed(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))


class _Messages(nn.Module):
    """One round of GIN."""

    def __init__(self, width: int, n_kinds: int) -> None:
        super().__init__()
        self.kind = nn.Parameter(0.1 * torch.randn(n_kinds, width))
        self.epsilon = nn.Parameter(torch.zeros(()))
        self.norm, self.feed = nn.LayerNorm(width), _feed(width)

    def forward(self, h: Tensor, adjacent: Tensor) -> Tensor:
        """h: (N, P, D); adjacent: (K, N, P, P), 1 where there is an edge of kind k."""
        sent = sum(a @ F.relu(h + e) for a, e in zip(adjacent, self.kind, strict=True))
        return self.feed(self.norm((1 + self.epsilon) * h + sent))


@final
class GIN(GraphEncoder):
    """A graph isomorphism network with kinds of edges; arguments as `GraphEncoder`.

    Examples:
        >>> x = {"atoms": torch.ones(2, 5, 40), "bonds": torch.ones(2, 5, 5), "mask": torch.ones(2, 5)}
        >>> GIN(n_features=16)(x).shape, GIN(n_features=16, parts=True)(x).shape
        (torch.Size([2, 16]), torch.Size([2, 5, 16]))
    """

    def __init__(
        self,
        n_inputs: int = 40,
        n_features: int = 128,
        *,
        n_layers: int = 3,
        n_edge_kinds: int = 4,
        dropout: float = 0.1,
        parts: bool = False,
        keys: tuple[str, str, str] = ("atoms", "bonds", "mask"),
    ) -> None:
        super().__init__(
            n_inputs,
            n_features,
            n_layers=n_layers,
            n_edge_kinds=n_edge_kinds,
            dropout=dropout,
            parts=parts,
            keys=keys,
        )
        self.layers = nn.ModuleList(_Messages(n_features, n_edge_kinds) for _ in range(n_layers))

    def rounds(
        self, h: Float[Tensor, "N P D"], edges: Int[Tensor, "N P P"], real: Float[Tensor, "N P"]
    ) -> Iterator[Float[Tensor, "N P D"]]:
        both = real[:, :, None] * real[:, None]
        adjacent = torch.stack([(edges == k).to(h.dtype) * both for k in range(1, self.n_edge_kinds + 1)])
        for layer in self.layers:
            h = h + self.dropout(layer(h, adjacent))
            yield h


class _Attention(nn.Module):
    """One round of attention among neighbours, then a feed-forward layer."""

    def __init__(self, width: int, n_heads: int, n_kinds: int, dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.bias = nn.Embedding(n_kinds + 1, n_heads)
        self.feed, self.dropout = _feed(width), nn.Dropout(dropout)

    def forward(self, h: Tensor, edges: Tensor, allowed: Tensor) -> Tensor:
        """h: (N, P, D); edges: (N, P, P) kinds; allowed: (N, P, P), whether i hears j."""
        q, k, v = (
            t.unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for t in self.project(self.first(h)).chunk(3, -1)
        )
        score = q @ k.mT / q.shape[-1] ** 0.5 + self.bias(edges).permute(0, 3, 1, 2)
        share = torch.softmax(score.masked_fill(~allowed[:, None], -torch.inf), -1)
        h = h + self.dropout(self.out((share @ v).transpose(1, 2).flatten(2)))
        return h + self.dropout(self.feed(self.second(h)))


@final
class GraphAttention(GraphEncoder):
    """Attention among neighbours.

    Args:
        n_inputs, n_features, n_layers, n_edge_kinds, dropout, parts, keys: as `GraphEncoder`.
        n_heads: of attention; divides n_features.

    Raises:
        ConfigError: as `GraphEncoder`, or heads that do not divide the features.

    Examples:
        >>> x = {"atoms": torch.ones(2, 5, 40), "bonds": torch.ones(2, 5, 5), "mask": torch.ones(2, 5)}
        >>> GraphAttention(n_features=16)(x).shape
        torch.Size([2, 16])
    """

    def __init__(
        self,
        n_inputs: int = 40,
        n_features: int = 128,
        *,
        n_layers: int = 3,
        n_heads: int = 4,
        n_edge_kinds: int = 4,
        dropout: float = 0.1,
        parts: bool = False,
        keys: tuple[str, str, str] = ("atoms", "bonds", "mask"),
    ) -> None:
        super().__init__(
            n_inputs,
            n_features,
            n_layers=n_layers,
            n_edge_kinds=n_edge_kinds,
            dropout=dropout,
            parts=parts,
            keys=keys,
        )
        if n_heads < 1 or n_features % n_heads:
            raise ConfigError(f"n_heads is {n_heads} and n_features {n_features}: expected heads that divide it.")
        self.layers = nn.ModuleList(_Attention(n_features, n_heads, n_edge_kinds, dropout) for _ in range(n_layers))

    def rounds(
        self, h: Float[Tensor, "N P D"], edges: Int[Tensor, "N P P"], real: Float[Tensor, "N P"]
    ) -> Iterator[Float[Tensor, "N P D"]]:
        itself = torch.eye(h.shape[1], dtype=torch.bool, device=h.device)
        allowed = ((edges > 0) & (real[:, None] > 0)) | itself
        for layer in self.layers:
            h = layer(h, edges, allowed)
            yield h

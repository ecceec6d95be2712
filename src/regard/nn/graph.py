"""A network on pairs of nodes, from which graph learners take their edges: g(|a_i - b_j|), one number per pair.

Symmetric by construction, and layer norm in place of the papers' batch norm, which would mix tasks and queries.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn


def normed_layer(n_inputs: int, n_outputs: int) -> nn.Sequential:
    """Linear, layer norm, leaky ReLU."""
    return nn.Sequential(nn.Linear(n_inputs, n_outputs), nn.LayerNorm(n_outputs), nn.LeakyReLU())


class PairNetwork(nn.Module):
    """One number per pair of nodes.

    Args:
        n_features: of a node.
        width: of the two hidden layers.
        bias: of the last layer; a softmax over pairs has no use for one.

    Examples:
        >>> import torch
        >>> PairNetwork(8)(torch.randn(2, 3, 8), torch.randn(2, 5, 8)).shape
        torch.Size([2, 3, 5])
    """

    def __init__(self, n_features: int, width: int = 64, *, bias: bool = True) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            normed_layer(n_features, width), normed_layer(width, width), nn.Linear(width, 1, bias=bias)
        )

    def forward(self, a: Float[Tensor, "*A N F"], b: Float[Tensor, "*B M F"]) -> Float[Tensor, "*C N M"]:
        """(..., N, F) and (..., M, F) to (..., N, M)."""
        return self.layers((a[..., :, None, :] - b[..., None, :, :]).abs()).squeeze(-1)

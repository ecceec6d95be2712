"""Attention over the elements of a composition, with their amounts: a compound as a small weighted set.

    t_e = W [magpie_e, mat2vec_e] + V fourier(amount_e)       e: the elements that are present
    t   <- t + attention(t, t; amounts),  t <- t + feed(t)                                      n_layers times
    z   = norm( sum_e amount_e t_e )

An element attends to the others in proportion to their amounts, as their weight in the softmax: a compound written with
twice the atoms is the same compound.

Goodall and Lee 2020, "Predicting materials properties without crystal structure: deep representation learning from
stoichiometry" (Roost), Nature Communications 11; Wang, Kauwe, Murdock, Sparks 2021, "Compositionally restricted
attention-based network for materials property predictions" (CrabNet), npj Computational Materials 7.

Differs from both: amounts are weights inside the attention, and Fourier features of the amounts on the tokens.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.domains.materials.encoder import N_ELEMENTS, N_MAGPIE, N_MAT2VEC, element_table, filled_table
from regard.episode import Items
from regard.errors import ConfigError, EpisodeError
from regard.nn.attention import MultiHeadAttention
from regard.nn.encoder import Encoder

_MOST = 12
_FREQUENCIES = 8


class _Layer(nn.Module):
    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(width, n_heads)
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, token: Tensor, share: Tensor) -> Tensor:
        normed = self.first(token)
        token = token + self.attention(normed, normed, share)[0]
        return token + self.feed(self.second(token))


class ElementAttention(Encoder):
    """Fractions of elements (N, 118) to learned features (N, D).

    Args:
        n_properties: that `learned` predicts from the features, for training side by side.
        n_features: D; heads divide it.
        n_layers, n_heads: of the attention.
        tables: read the descriptors of the elements; False where a checkpoint brings them.

    Raises:
        ConfigError: heads that do not divide the features.
        MissingExtraError: elementembeddings is not installed.
        EpisodeError: in `forward`, items of another shape.
    """

    parts = False

    def __init__(
        self,
        n_properties: int = 0,
        *,
        n_features: int = 128,
        n_layers: int = 2,
        n_heads: int = 4,
        tables: bool = True,
    ) -> None:
        super().__init__()
        if min(n_features, n_layers, n_heads) < 1:
            raise ConfigError(f"n_features {n_features}, n_layers {n_layers}, n_heads {n_heads}: expected at least 1.")
        self.n_features, self.n_properties = n_features, n_properties
        table = torch.zeros(N_ELEMENTS, N_MAGPIE + N_MAT2VEC)
        if tables:
            found = [element_table("magpie", N_MAGPIE), element_table("mat2vec", N_MAT2VEC)]
            table = torch.cat([filled_table(t) for t in found], 1)
            table = (table - table.mean(0)) / table.std(0).clamp_min(1e-6)
        self.table: Tensor
        self.register_buffer("table", table)
        self.embed = nn.Linear(table.shape[1], n_features)
        self.amount = nn.Linear(2 * _FREQUENCIES, n_features, bias=False)
        self.layers = nn.ModuleList(_Layer(n_features, n_heads) for _ in range(n_layers))
        self.norm = nn.LayerNorm(n_features)
        self.heads = nn.Linear(n_features, n_properties) if n_properties else None

    def fit_scale(self, x: Tensor) -> None:
        """Nothing of it depends on the scale of items."""

    def statistics(self, x: Items) -> Tensor:
        """(N, 118) the fractions."""
        if isinstance(x, dict) or x.ndim != 2 or x.shape[1] != N_ELEMENTS:
            shape = "a dict" if isinstance(x, dict) else f"items of shape {tuple(x.shape[1:])}"
            raise EpisodeError(f"the encoder got {shape}: expected ({N_ELEMENTS},) fractions, as FormulaReader reads.")
        return x.to(self.table.dtype)

    def learned(self, statistics: Float[Tensor, "N 118"]) -> tuple[Float[Tensor, "N D"], Float[Tensor, "N P"]]:
        """z and the predicted properties."""
        share, index = statistics.topk(min(_MOST, statistics.shape[1]), dim=1)
        n = max(1, int((share > 0).sum(1).max())) if len(share) else 1
        share, index = share[:, :n], index[:, :n]
        angle = share[..., None] * torch.pi * 2.0 ** torch.arange(_FREQUENCIES, device=share.device, dtype=share.dtype)
        token = self.embed(self.table[index]) + self.amount(torch.cat([angle.sin(), angle.cos()], -1))
        for layer in self.layers:
            token = layer(token, share)
        z = self.norm((share[..., None] * token).sum(1))
        return z, z[:, :0] if self.heads is None else self.heads(z)

    def forward(self, x: Items) -> Float[Tensor, "N D"]:
        return self.learned(self.statistics(x))[0]

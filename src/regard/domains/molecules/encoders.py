"""Encoders of molecules."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from regard.domains.molecules.features import N_BITS, N_DESCRIPTORS
from regard.episode import Items
from regard.errors import EpisodeError
from regard.nn.encoder import Encoder


class FingerprintNetwork(Encoder):
    """Counts of substructures and descriptors, each through a linear layer of its own, to one hidden layer and a vector.

        z = W3 dropout( gelu( norm( W1 dropout(log(1 + counts)) + W2 descriptors ) ) )

    Args:
        n_features: D of the learned vector.
        hidden: width of the hidden layer.
        dropout: of hidden units in training.
        input_dropout: of counts in training.
        keep_counts: put the counts before the learned vector, for learners that compare structures as they are; they
            are then `n_fixed_features` of N_BITS.
        n_counts, n_descriptors: of an item.
    """

    parts = False

    def __init__(
        self,
        n_features: int = 256,
        hidden: int = 512,
        *,
        dropout: float = 0.5,
        input_dropout: float = 0.1,
        keep_counts: bool = False,
        n_counts: int = N_BITS,
        n_descriptors: int = N_DESCRIPTORS,
    ) -> None:
        super().__init__()
        self.n_fixed_features = n_counts if keep_counts else 0
        self.n_features = n_features + self.n_fixed_features
        self.keep_counts = keep_counts
        self.counts, self.descriptors = nn.Linear(n_counts, hidden), nn.Linear(n_descriptors, hidden, bias=False)
        self.norm, self.out = nn.LayerNorm(hidden), nn.Linear(hidden, n_features)
        self.dropout, self.input_dropout = nn.Dropout(dropout), nn.Dropout(input_dropout)

    def forward(self, x: Items) -> Float[Tensor, "N D"]:
        """{"counts": (N, n_counts), "descriptors": (N, n_descriptors)} to (N, D).

        Raises:
            EpisodeError: items of another kind.
        """
        if not isinstance(x, dict) or not {"counts", "descriptors"} <= x.keys():
            raise EpisodeError(
                "FingerprintNetwork reads molecules, a dict of counts and descriptors: use the reader of the domain "
                "molecules."
            )
        counts = x["counts"].to(self.counts.weight.dtype)
        hidden = self.counts(self.input_dropout(counts.log1p())) + self.descriptors(x["descriptors"])
        z = self.out(self.dropout(F.gelu(self.norm(hidden))))
        return torch.cat([counts, z], -1) if self.keep_counts else z

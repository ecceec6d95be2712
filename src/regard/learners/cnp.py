"""Conditional neural process: a support set is the mean of what its rows say, and a query is decoded beside it.

    r      = sum_s w_s h( f(x_s), y_s ) / sum_s w_s          one vector for the whole support
    N( mean, sigma ) = g( f(x), r )                          for each query by itself

Garnelo, Rosenbaum, Maddison, Ramalho, Saxton, Shanahan, Teh, Rezende, Eslami 2018, "Conditional Neural Processes",
arXiv:1807.01613.

Differs from the paper: classes and targets are read column by column (see `columns`). For classes the paper, too, takes
a mean for each, but puts them side by side in a decoder made for a fixed number of classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from regard.episode import Support, Value
from regard.learners.base import EncodingLearner, require_vectors
from regard.learners.columns import RowTokens, class_mass
from regard.nn.context import dense
from regard.nn.encoder import Encoder
from regard.nn.flat import Flat


@dataclass(frozen=True)
class Summary(Value):
    """mean: (B, C, D), zeros where a task has no weight; mass: (B, C) or (B, 0)."""

    mean: Tensor
    mass: Tensor


@final
class CNP(EncodingLearner):
    """A mean over the support, and a decoder.

    Args:
        encoder: items to vectors (N, D); None takes items as they are.
        n_inputs: D, where there is no encoder.
        d_model: width of h, of r and of g; the paper's.
        n_embed, n_decode: layers of h and of g; the paper's for regression.
        n_targets: T, where all targets of a row are one token (see `columns`), for regression on T targets alone; 0, as
            in all published results, reads them column by column.
        min_sigma: the smallest standard deviation of a predicted target; as in the authors' code.

    Raises:
        ConfigError: an encoder that gives parts.
    """

    regresses = True
    # How to use a support is learned from thousands of episodes.
    solves_separable = False

    def __init__(
        self,
        encoder: Encoder | None = None,
        *,
        n_inputs: int = 1,
        d_model: int = 128,
        n_embed: int = 3,
        n_decode: int = 5,
        n_targets: int = 0,
        min_sigma: float = 0.1,
    ) -> None:
        super().__init__()
        self.encoder = Flat() if encoder is None else encoder
        require_vectors(self.encoder, "CNP")
        n_features = n_inputs if encoder is None else encoder.n_features
        self.min_sigma, self.rows, self.classifies = min_sigma, RowTokens(n_targets), not n_targets
        self.embed = dense(n_features + self.rows.n_extra, *[d_model] * n_embed)
        self.decode = dense(n_features + d_model, *[d_model] * (n_decode - 1), self.rows.n_outputs)

    def adapt_encoded(self, support: Support) -> Summary:
        z: Tensor = support.x
        row_BCSD = self.embed(self.rows.support(z, support))
        total = support.weight.sum(1, keepdim=True)
        share = support.weight / torch.where(total > 0, total, 1.0)
        return Summary((share[:, None, None].to(z.dtype) @ row_BCSD).squeeze(-2), class_mass(support))

    def predict_encoded(self, state: Summary, query_z: Float[Tensor, "B Q D"]) -> Float[Tensor, "B Q C"] | Distribution:
        size = (*state.mean.shape[:2], query_z.shape[1])
        mean = state.mean[:, :, None].expand(*size, -1)
        output = self.decode(torch.cat([query_z[:, None].expand(*size, -1), mean], -1))
        return self.rows.predictions(output, state.mass, self.min_sigma)

"""Linear probe: a linear model on encoded items, fitted from scratch for every task. The baseline to beat.

    classes:  min over W, b of  sum_s w_s cross-entropy(W f(x_s) + b, y_s) + penalty/2 |W|^2       (logistic regression)
    targets:  min over W, b of  sum_s w_s |W f(x_s) + b - y_s|^2 + penalty |W|^2                    (ridge)

Tian, Wang, Krishnan, Tenenbaum, Isola 2020, "Rethinking Few-Shot Image Classification: a Good Embedding Is All You
Need?", arXiv:2003.11539.

Both are solved to the end for all tasks at once, and differentiable twice: see `regard.learners.solvers`.

Differs from the paper: the encoder need not be pretrained (it can even be trained through the solution), and vectors
are not normalised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, Normal
from torch.nn import functional as F

from regard.episode import Support, Value
from regard.learners.base import EncodingLearner, hide_absent, require_vectors
from regard.learners.solvers import logistic, ridge
from regard.nn.encoder import Encoder
from regard.nn.flat import Flat


@dataclass(frozen=True)
class LinearModel(Value):
    """matrix: (B, D + 1, C or T), the bias last; mass: (B, C) summed support weight; deviation: (B, T) of targets."""

    matrix: Tensor
    mass: Tensor
    deviation: Tensor


@final
class LinearProbe(EncodingLearner):
    """Logistic or ridge regression on vectors.

    Args:
        encoder: items to vectors (N, D); None takes items as they are (uint8 divided by 255).
        penalty: on the squared weights, the bias not included; scikit-learn's 1/C, and the alpha of its Ridge.
        n_steps: Newton steps.
        n_solve: conjugate gradient steps in each.
        noise: the smallest standard deviation of a predicted target.

    Raises:
        ConfigError: an encoder that gives parts.
    """

    regresses = True

    def __init__(
        self,
        encoder: Encoder | None = None,
        *,
        penalty: float = 1.0,
        n_steps: int = 10,
        n_solve: int = 40,
        noise: float = 0.1,
    ) -> None:
        super().__init__()
        self.encoder = Flat() if encoder is None else encoder
        require_vectors(self.encoder, "LinearProbe")
        self.penalty, self.n_steps, self.n_solve, self.noise = penalty, n_steps, n_solve, noise

    def adapt_encoded(self, support: Support) -> LinearModel:
        x: Tensor = support.x
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(support.weight.dtype)
            if support.is_regression:
                # Ridge regression with a bias that is not penalised: the centred problem goes through the origin.
                y, w = support.y.to(x.dtype), support.weight[..., None]
                total = w.sum(1, keepdim=True)
                share = w / torch.where(total > 0, total, 1.0)
                x_mean, y_mean = (share * x).sum(1, keepdim=True), (share * y).sum(1, keepdim=True)
                xc, yc = x - x_mean, y - y_mean
                slope = ridge(xc, yc, support.weight, self.penalty)
                residual = (share * (yc - xc @ slope).square()).sum(1)
                matrix, mass = torch.cat([slope, y_mean - x_mean @ slope], 1), w.new_zeros(w.shape[0], 0)
                return LinearModel(matrix, mass, (residual + self.noise**2).sqrt())
            membership = support.membership()
            matrix = logistic(x, membership, self.penalty, self.n_steps, self.n_solve)
            return LinearModel(matrix, membership.sum(1), x.new_zeros(x.shape[0], 0))

    def predict_encoded(
        self, state: LinearModel, query_z: Float[Tensor, "B Q D"]
    ) -> Float[Tensor, "B Q C"] | Distribution:
        z = F.pad(query_z.to(state.matrix.dtype), (0, 1), value=1.0)
        if state.deviation.shape[-1] == 0:
            return hide_absent(z @ state.matrix, state.mass)
        mean = z @ state.matrix
        return Normal(mean, state.deviation[:, None].expand_as(mean), validate_args=False)

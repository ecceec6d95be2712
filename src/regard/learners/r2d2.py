"""R2D2: ridge regression in closed form as the inner learner; the encoder is trained through its solution.

    W        = (X'AX + lambda I)^-1 X'AY,     X = [f(x_s), 1],  A = diag(w_s) / sum w,  Y one-hot rows or targets
             = X'(A X X' + lambda I)^-1 A Y   the same by Woodbury, taken where there are fewer rows than features
    logit(x) = scale * [f(x), 1] W            classes;     lambda and scale are learned
    y(x)     ~ Normal([f(x), 1] W, 1 / scale) targets

Bertinetto, Henriques, Torr, Vedaldi 2019, "Meta-learning with Differentiable Closed-form Solvers", arXiv:1805.08136.

Differs from the paper: a mean over rows stands in place of its sum, as in the authors' code, so that lambda means the
same at any shot; the learned bias on all logits is left out, as it changes no softmax; the starting values of lambda
and scale are ours (theirs suit features of their encoder's size); any encoder. Regression is our reading: scale is then
the inverse of the deviation, so that training lowers the squared error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, Normal
from torch.nn import functional as F

from regard.episode import Support, Value
from regard.learners.base import EncodingLearner, hide_absent, require_vectors
from regard.learners.solvers import ridge
from regard.nn.encoder import Encoder


@dataclass(frozen=True)
class RidgeModel(Value):
    """matrix: (B, D + 1, C or T), the bias last; mass: (B, C) summed support weight, (B, 0) for targets."""

    matrix: Tensor
    mass: Tensor


@final
class R2D2(EncodingLearner):
    """Ridge regression on learned vectors.

    Args:
        encoder: items to vectors (N, D).
        penalty: lambda, where training starts.
        scale: of the logits, where training starts; one over it is the deviation of a target.

    Raises:
        ConfigError: an encoder that gives parts.
    """

    regresses = True

    def __init__(self, encoder: Encoder, *, penalty: float = 1.0, scale: float = 10.0) -> None:
        super().__init__()
        require_vectors(encoder, "R2D2")
        self.encoder = encoder
        # Logarithms: both stay above 0.
        self.log_penalty = nn.Parameter(torch.tensor(math.log(penalty)))
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))

    def adapt_encoded(self, support: Support) -> RidgeModel:
        z: Tensor = support.x
        # Solving in bf16 would lose the small eigenvalues.
        with torch.autocast(z.device.type, enabled=False):
            x = F.pad(z.to(support.weight.dtype), (0, 1), value=1.0)
            y = support.y.to(x.dtype) if support.is_regression else support.one_hot()
            total = support.weight.sum(1, keepdim=True)
            share = support.weight / torch.where(total > 0, total, 1.0)
            mass = y.new_zeros(y.shape[0], 0) if support.is_regression else support.membership().sum(1)
            return RidgeModel(ridge(x, y, share, self.log_penalty.exp()), mass)

    def predict_encoded(
        self, state: RidgeModel, query_z: Float[Tensor, "B Q D"]
    ) -> Float[Tensor, "B Q C"] | Distribution:
        prediction = F.pad(query_z.to(state.matrix.dtype), (0, 1), value=1.0) @ state.matrix
        if state.mass.shape[-1] > 0:
            return hide_absent(self.log_scale.exp() * prediction, state.mass)
        deviation = (-self.log_scale).exp().expand_as(prediction)
        return Normal(prediction, deviation, validate_args=False)

"""Ridge regression and prototypes on the same vectors: what is trained under them serves both, and both answer.

    m        = mean over classes of the class means c_k of the support,     Z = rows f(x_s) - m,  A = diag(a_s)
    W        = Z'(A Z Z' + lambda I)^-1 A Y         Y one-hot rows less 1/C, or targets less their mean
    p_1(k|x) = softmax_k(s_1 (f(x) - m) W)          p_2(k|x) = softmax_k(s_2 cos(f(x), c_k))
    p(k|x)   = (p_1 + p_2) / 2                      a_s: weights under which all classes count the same
    loss     = the mean of the negative log-likelihoods of p_1 and p_2;     lambda, s_1 and s_2 are learned

For targets the prototypes are the examples themselves, and the answer is again a mean of two:

    y_1(x)   = mean + (f(x) - m) W         y_2(x) = sum_s softmax_s(s_2 cos(f(x), f(x_s))) y_s
    y(x)     ~ Normal((y_1 + y_2) / 2, deviation / confidence),      where confidence, 1 at first, is s_1 over its start

A prototype is the best answer from one example, a ridge from several; which it is need not be known. The largest logit
is s_2 times the largest cosine, by which a query that is like none of the classes can be told (see
`regard.evaluation.confidence`); a constant on all logits changes no probability.

Bertinetto, Henriques, Torr, Vedaldi 2019, "Meta-learning with Differentiable Closed-form Solvers", arXiv:1805.08136,
for the ridge; Snell, Swersky, Zemel 2017, arXiv:1703.05175, for the prototypes.

Differs from the papers: the two together; vectors centred by the support; classes of unequal numbers of examples count
the same; the deviation of targets by generalised cross-validation (Golub, Heath, Wahba 1979).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, Normal

from regard.episode import Episode, Support, Value
from regard.learners.base import EncodingLearner, hide_absent, query_loss, require_vectors
from regard.learners.prototypical import class_means
from regard.learners.solvers import ridge
from regard.nn.attention import attention_weights, scores
from regard.nn.encoder import Encoder


@dataclass(frozen=True)
class RidgeAndPrototypes(Value):
    """What is known of a task.

    matrix: (B, D, C or T); middle: (B, 1, D), what vectors are centred by; prototype: (B, C, D) and mass: (B, C) of the
    classes, (B, S, D) and (B, S) of the examples for targets; y: (B, S, T) targets, mean, deviation: (B, 1, T) of them,
    (B, 0, 0) and (B, 1, 0) for classes.
    """

    matrix: Tensor
    middle: Tensor
    prototype: Tensor
    mass: Tensor
    y: Tensor
    mean: Tensor
    deviation: Tensor


@final
class RidgePrototypes(EncodingLearner):
    """The mean answer of a ridge regression and of cosine prototypes.

    Args:
        encoder: items to vectors (N, D); the starting values suit vectors of length 1.
        penalty: lambda, where training starts.
        ridge_scale, prototype_scale: s_1 and s_2, where training starts.
        noise: the smallest standard deviation of a predicted target.

    Raises:
        ConfigError: an encoder that gives parts.
    """

    regresses = True

    def __init__(
        self,
        encoder: Encoder,
        *,
        penalty: float = 1.0,
        ridge_scale: float = 10.0,
        prototype_scale: float = 15.0,
        noise: float = 1e-3,
    ) -> None:
        super().__init__()
        require_vectors(encoder, "RidgePrototypes")
        self.encoder, self.noise, self.ridge_scale = encoder, noise, ridge_scale
        # Logarithms: all stay above 0.
        self.log_penalty = nn.Parameter(torch.tensor(math.log(penalty)))
        self.log_confidence = nn.Parameter(torch.tensor(0.0))
        self.log_prototype_scale = nn.Parameter(torch.tensor(math.log(prototype_scale)))

    def adapt_encoded(self, support: Support) -> RidgeAndPrototypes:
        # Solving in bf16 would lose the small eigenvalues.
        with torch.autocast(support.x.device.type, enabled=False):
            z: Tensor = support.x.to(support.weight.dtype)
            if support.is_regression:
                return self._adapt_to_targets(z, support)
            classes = class_means(z, support)
            present = (classes.mass > 0).to(z.dtype)
            n_present = present.sum(1, keepdim=True).clamp_min(1)
            middle = (present[:, None, :] / n_present[..., None]) @ classes.centre
            total = support.weight.sum(1, keepdim=True)
            # The rows of each class share the same sum of weights.
            factor = total / n_present / torch.where(classes.mass > 0, classes.mass, 1.0)
            weight = support.weight * factor.gather(1, support.y)
            y = support.one_hot() - (present / n_present)[:, None]
            matrix = ridge(z - middle, y, weight, self.log_penalty.exp())
            none = z.new_zeros(z.shape[0], 1, 0)
            return RidgeAndPrototypes(matrix, middle, classes.centre, classes.mass, none[:, :0], none, none)

    def predict_encoded(
        self, state: RidgeAndPrototypes, query_z: Float[Tensor, "B Q D"]
    ) -> Float[Tensor, "B Q C"] | Distribution:
        z = query_z.to(state.matrix.dtype)
        if state.mean.shape[-1] > 0:
            by_ridge = state.mean + (z - state.middle) @ state.matrix
            nearness = self.log_prototype_scale.exp() * scores(z, state.prototype, "cosine")
            mean = (by_ridge + attention_weights(nearness, state.mass[:, None]) @ state.y) / 2
            deviation = state.deviation * (-self.log_confidence).exp()
            return Normal(mean, deviation.expand_as(mean), validate_args=False)
        log_p = torch.stack([torch.log_softmax(logits, -1) for logits in self._opinions(state, z)])
        answer = torch.logsumexp(log_p, 0)
        cosine = scores(z, state.prototype, "cosine").masked_fill((state.mass <= 0)[:, None], -1.0)
        nearest = self.log_prototype_scale.exp() * cosine.amax(-1, keepdim=True)
        return hide_absent(answer - answer.amax(-1, keepdim=True) + nearest, state.mass)

    def loss(self, episode: Episode) -> Float[Tensor, " B"]:
        """(B,) the mean of the losses of both heads, so that each is trained as if it answered alone."""
        if episode.support.is_regression:
            return query_loss(self(episode), episode)
        support, query_z = self.encode_episode(episode)
        state = self.adapt_encoded(support)
        both = self._opinions(state, query_z.to(state.matrix.dtype))
        losses = [query_loss(hide_absent(logits, state.mass), episode) for logits in both]
        return torch.stack(losses).mean(0)

    def _opinions(self, state: RidgeAndPrototypes, z: Tensor) -> tuple[Tensor, Tensor]:
        """(B, Q, C) logits of the ridge and of the prototypes; finite also where a class is absent."""
        by_ridge = self.ridge_scale * self.log_confidence.exp() * ((z - state.middle) @ state.matrix)
        by_prototype = self.log_prototype_scale.exp() * scores(z, state.prototype, "cosine")
        absent = (state.mass <= 0)[:, None]
        return by_ridge.masked_fill(absent, -1e4), by_prototype.masked_fill(absent, -1e4)

    def _adapt_to_targets(self, z: Tensor, support: Support) -> RidgeAndPrototypes:
        y, w = support.y.to(z.dtype), support.weight[..., None]
        total = w.sum(1, keepdim=True)
        share = w / torch.where(total > 0, total, 1.0)
        middle, mean = (share * z).sum(1, keepdim=True), (share * y).sum(1, keepdim=True)
        x, penalty = z - middle, self.log_penalty.exp()
        matrix = ridge(x, y - mean, support.weight, penalty)
        # Degrees of freedom: the trace of what maps targets to fitted targets, and one for their mean.
        identity = torch.eye(x.shape[1], dtype=x.dtype, device=x.device).expand(x.shape[0], -1, -1)
        n_free = 1 + (x * ridge(x, identity, support.weight, penalty).mT).sum((1, 2))[:, None, None]
        freedom = (1 - n_free / torch.where(total > 0, total, 1.0)).clamp_min(0.1)
        residual = (share * (y - mean - x @ matrix).square()).sum(1, keepdim=True)
        deviation = (residual / freedom.square() + self.noise**2).sqrt()
        return RidgeAndPrototypes(matrix, middle, z, support.weight, y, mean, deviation)

"""A Gaussian process on structure and on a learned distance, each trusted as far as the support bears it out.

    K_m(a, b) = amplitude ( m T(a, b) + (1 - m) exp( - |f(a) - f(b)|^2 / 2 length^2 ) )       m = 0, 1/4, 1/2, 3/4, 1
    T(a, b)   = sum_j min(a_j, b_j) / sum_j max(a_j, b_j)            Tanimoto similarity of counts of substructures
    p(m | y)  ~ prior_m  p(y | K_m)^beta                             evidence: the marginal likelihood of the support
    answer    = sum_m p(m | y) answer of the process with K_m

The encoder, prior, beta, length, amplitude and noise are learned across tasks, by the likelihood of queries: 16 values
alone cannot tell a noise from a length. What a task decides for itself is m, and it decides by evidence, softly. So a
learned distance that says nothing of a new assay is set aside for structure, and the other way round. In regression the
mean is shrunk towards that of the training tasks as `mean_rows` further rows would, unless the values are plainly of
another unit.

Chen, Tripp, Hernandez-Lobato 2023, "Meta-learning Adaptive Deep Kernel Gaussian Processes for Molecular Property
Prediction", arXiv:2205.02708 (ADKF-IFT); the Tanimoto kernel, Ralaivola et al. 2005 (doi:10.1016/j.neunet.2005.07.009).

Differs from the paper: ADKF adapts the lengths of one kernel of learned features to each task by gradient, with the
implicit function theorem for what crosses tasks. Here the choice of each task is among a few mixtures, in closed form,
so the derivative is exact and `adapt` is five small linear systems. Counts above `n_levels` count as that many, which
makes the similarity a matrix product.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, Normal

from regard.episode import Support, Value
from regard.errors import ConfigError
from regard.learners.base import EncodingLearner, hide_absent, require_vectors
from regard.learners.columns import class_mass, columns, sign_logits
from regard.nn.attention import scores
from regard.nn.encoder import Encoder

_MIN_NOISE = 1e-3
_FAR = 2.0
"""Deviations of the training tasks beyond which values are taken to be of another unit."""
_MIN_VARIANCE = 1e-12


@dataclass(frozen=True)
class Mixture(Value):
    """z: (B, S, D); alpha: (B, M, C, S); precision: (B, M, S, S), (I + W K / noise)^-1 W / noise; share: (B, M),
    p(m | y); mean, deviation: (B, C) of the columns; mass: (B, C) or (B, 0).
    """

    z: Tensor
    alpha: Tensor
    precision: Tensor
    share: Tensor
    mean: Tensor
    deviation: Tensor
    mass: Tensor


def tanimoto(a: Float[Tensor, "*B Q D"], b: Float[Tensor, "*B S D"], n_levels: int = 3) -> Float[Tensor, "*B Q S"]:
    """Similarity of counts: what two share, divided by what either has; 1 where neither has any.

    Args:
        a, b: (..., Q, D) and (..., S, D) counts; those above `n_levels` count as that many.
        n_levels: how far counts are told apart; 1 knows only presence.

    Examples:
        >>> tanimoto(torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([[1.0, 1.0, 1.0]]))
        tensor([[0.5000]])
    """
    # min(a, b) = sum over levels of [a >= level] [b >= level].
    levels = [((a >= level).to(a.dtype), (b >= level).to(b.dtype)) for level in range(1, n_levels + 1)]
    shared = torch.stack([x @ y.mT for x, y in levels]).sum(0)
    size_a, size_b = (sum(pair[i].sum(-1) for pair in levels) for i in (0, 1))
    either = torch.as_tensor(size_a)[..., :, None] + torch.as_tensor(size_b)[..., None, :] - shared
    return torch.where(either > 0, shared / torch.where(either > 0, either, 1.0), 1.0)


@final
class TanimotoKernel(EncodingLearner):
    """A mixture of structure and learned distance, by evidence.

    Args:
        encoder: items to vectors whose first `n_fixed_features` are counts, such as FingerprintNetwork with
            keep_counts; without any, all features are taken for both.
        n_mixtures: M, values of m from 0 to 1.
        length, amplitude, noise: where training starts.
        evidence: beta, where training starts; 1 is Bayes' rule, 0 the prior alone.
        mean, deviation: of the values of the training tasks, in regression.
        mean_rows: rows that these two count for beside a task's own, by default three.
        n_levels: how far counts are told apart.

    Raises:
        ConfigError: an encoder that gives parts, or fewer than two mixtures.
    """

    regresses = True
    keeps_units = True

    def __init__(
        self,
        encoder: Encoder,
        *,
        n_mixtures: int = 5,
        length: float = 8.0,
        amplitude: float = 1.0,
        noise: float = 0.5,
        evidence: float = 0.5,
        mean: float = 0.0,
        deviation: float = 1.0,
        mean_rows: float = 3.0,
        n_levels: int = 3,
    ) -> None:
        super().__init__()
        require_vectors(encoder, "TanimotoKernel")
        if n_mixtures < 2:
            raise ConfigError(f"n_mixtures is {n_mixtures}: expected at least 2, structure and learned distance.")
        self.encoder, self.n_levels = encoder, n_levels
        self.n_counts = int(encoder.n_fixed_features)
        self.log_length = nn.Parameter(torch.tensor(math.log(length)))
        self.log_amplitude = nn.Parameter(torch.tensor(math.log(amplitude)))
        self.log_noise = nn.Parameter(torch.full((n_mixtures,), math.log(noise)))
        self.log_prior = nn.Parameter(torch.zeros(n_mixtures))
        self.log_evidence = nn.Parameter(torch.tensor(math.log(evidence)))
        self.mean, self.deviation, self.mean_rows = float(mean), float(deviation), float(mean_rows)
        self.register_buffer("mixture", torch.linspace(0, 1, n_mixtures))

    mixture: Tensor

    def adapt_encoded(self, support: Support) -> Mixture:
        with torch.autocast(support.weight.device.type, enabled=False):
            rows = support.to(dtype=torch.float64)
            z: Tensor = rows.x
            mean, deviation = self.unit(rows)
            residual = (columns(rows, z.dtype) - mean[..., None]) / deviation[..., None]
            ratio = rows.weight[:, None] / self.noise[:, None]  # (B, M, S)
            system = torch.eye(z.shape[1], dtype=z.dtype, device=z.device) + ratio[..., None] * self.covariance(z, z)
            precision = torch.linalg.solve(system, ratio.diag_embed())
            alpha = residual[:, None] @ precision.mT
            share = self.share(residual, alpha, system, rows.weight, class_mass(rows))
            return Mixture(z, alpha, precision, share, mean, deviation, class_mass(support))

    def predict_encoded(self, state: Mixture, query_z: Float[Tensor, "B Q D"]) -> Float[Tensor, "B Q C"] | Distribution:
        with torch.autocast(query_z.device.type, enabled=False):
            k = self.covariance(query_z.to(state.z.dtype), state.z)
            mean = k @ state.alpha.mT  # (B, M, Q, C)
            explained = ((k @ state.precision) * k).sum(-1, keepdim=True)
            # Rounding may explain more than there is.
            variance = (self.log_amplitude.exp() - explained).clamp_min(0) + self.noise[:, None, None]
            share = state.share[..., None, None]
            if state.mass.shape[-1]:
                logits = (share * sign_logits(mean + state.mean[:, None, None], variance)).sum(1)
                return hide_absent(logits.to(state.mass.dtype), state.mass)
            centre = (share * mean).sum(1)
            spread = (share * (variance + mean.square())).sum(1) - centre.square()
            unit = state.deviation[:, None]
            answers = centre * unit + state.mean[:, None], spread.clamp_min(1e-12).sqrt() * unit
            return Normal(*(t.to(state.mass.dtype) for t in answers), validate_args=False)

    @property
    def noise(self) -> Float[Tensor, " M"]:
        """The variance of a row of weight 1, by mixture."""
        return self.log_noise.exp() + _MIN_NOISE

    def unit(self, rows: Support) -> tuple[Float[Tensor, "B C"], Float[Tensor, "B C"]]:
        """Mean and deviation of each column: of classes 0 and 1; in regression those of the rows, shrunk towards the
        training tasks' unless the values are far from all of these.
        """
        y = columns(rows, rows.weight.dtype)
        if not rows.is_regression:
            return torch.zeros_like(y[..., 0]), torch.ones_like(y[..., 0])
        weight = rows.weight[:, None]
        total = weight.sum(-1)
        y = torch.where(weight > 0, y, 0.0)
        at_least = torch.where(total > 0, total, 1.0)
        own = (weight * y).sum(-1) / at_least
        near = torch.exp(-((own - self.mean) / (_FAR * self.deviation)).square() / 2)
        prior = self.mean_rows * near
        mean = (total * own + prior * self.mean) / (total + prior).clamp_min(1e-12)
        square = (weight * (y - mean[..., None]).square()).sum(-1)
        variance = (square + prior * self.deviation**2) / (total + prior).clamp_min(1e-12)
        return mean, (variance + _MIN_VARIANCE * (1 + mean.square())).sqrt()

    def share(
        self,
        residual: Float[Tensor, "B C S"],
        alpha: Float[Tensor, "B M C S"],
        system: Float[Tensor, "B M S S"],
        weight: Float[Tensor, "B S"],
        mass: Float[Tensor, "B C2"],
    ) -> Float[Tensor, "B M"]:
        """p(m | y), by the mean over columns of the log marginal likelihood; absent classes say nothing."""
        total = weight.sum(-1)
        fit = (residual[:, None] * alpha).sum(-1)
        size = torch.linalg.slogdet(system).logabsdet + total[:, None] * self.noise.log()
        log_p = -(fit + size[..., None]) / 2  # (B, M, C)
        present = (mass > 0).to(log_p.dtype) if mass.shape[-1] else torch.ones_like(residual[..., 0])
        n_present = present.sum(-1, keepdim=True)
        evidence = (log_p * present[:, None]).sum(-1) / torch.where(n_present > 0, n_present, 1.0)
        return torch.softmax(self.log_prior + self.log_evidence.exp() * evidence, -1)

    def covariance(self, a: Float[Tensor, "B Q D"], b: Float[Tensor, "B S D"]) -> Float[Tensor, "B M Q S"]:
        """The kernel of every vector of a with every vector of b, by mixture."""
        counts_a, counts_b = a[..., : self.n_counts or None], b[..., : self.n_counts or None]
        structure = tanimoto(counts_a, counts_b, self.n_levels)
        scale = (-self.log_length).exp()
        square = -scores(a[..., self.n_counts :] * scale, b[..., self.n_counts :] * scale, "distance")
        learned = torch.exp(-square.clamp_min(0) / 2)
        share = self.mixture[:, None, None]
        return self.log_amplitude.exp() * (share * structure[:, None] + (1 - share) * learned[:, None])

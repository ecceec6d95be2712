"""Deep kernel transfer: Gaussian process regression in closed form, on vectors whose encoder was learned across tasks.

    K = a kernel(f(x), f(x'))         y ~ N( mean, K + noise / w )      w: the weight of a row
    M = I + W K / noise               alpha = M^-1 W (y - mean) / noise
    mean(x) = mean + k_x alpha        variance(x) = k_xx - k_x M^-1 W k_x^T / noise + noise

    loss = - log p( y of support and queries together ), the marginal likelihood, per row

Noise over w is what a row w times over says: weight 2 is twice, weight 0 absent, exactly. In the marginal likelihood
that is, with n = sum of w,  - 1/2 (y - mean)^T alpha  - 1/2 log|M|  - n/2 log(2 pi noise).

Classes are regressed on, one column of +1 and -1 against the rest for each. Of a class the logit is the log of the odds
that a normal variable of this mean and variance gives for +1 over -1, put through a log-sigmoid: the largest is that of
the largest mean.

Patacchiola, Turner, Crowley, O'Boyle, Storkey 2020, "Bayesian Meta-Learning for the Few-Shot Setting via Deep Kernels",
arXiv:1910.05199.

Differs from the paper: no GPyTorch. M is solved by LU, and not by the Cholesky factor of its symmetric form, which
takes the root of the weights, and that has no finite slope at 0. Every eigenvalue of M is at least 1, and the algebra
is done in double precision (a support set is small), so no jitter is ever added. All hyperparameters are shared by all
columns. Probabilities use the variance, where the paper puts the mean alone through a sigmoid; the predicted class is
the same. The cosine kernel goes without batch norm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, final, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, Normal

from regard.episode import Episode, Support, Value
from regard.errors import ConfigError, did_you_mean
from regard.learners.base import EncodingLearner, hide_absent, require_vectors
from regard.learners.columns import class_mass, columns, sign_logits
from regard.nn.attention import scores
from regard.nn.encoder import Encoder
from regard.nn.flat import Flat
from regard.nn.recorded import inverse
from regard.nn.transforms import is_recorded

Kernel = Literal["rbf", "matern", "cosine"]


@dataclass(frozen=True)
class Posterior(Value):
    """z: (B, S, D); alpha: (B, C, S); precision: (B, S, S), M^-1 W / noise; mass: (B, C) or (B, 0)."""

    z: Tensor
    alpha: Tensor
    precision: Tensor
    mass: Tensor


@final
class DeepKernel(EncodingLearner):
    """A Gaussian process on encoded items.

    Args:
        encoder: items to vectors (N, D); None takes items as they are.
        kernel: "rbf", "matern" (5/2), or "cosine".
        length, amplitude, noise: where the learned length, variance a and noise variance start; the paper leaves them
            to GPyTorch, whose start is 0.69 for each.
        min_noise: the smallest noise variance; single precision does not resolve less.

    Raises:
        ConfigError: an encoder that gives parts, or an unknown kernel.
    """

    regresses = True

    def __init__(
        self,
        encoder: Encoder | None = None,
        *,
        kernel: Kernel = "rbf",
        length: float = 1.0,
        amplitude: float = 1.0,
        noise: float = 0.1,
        min_noise: float = 1e-4,
    ) -> None:
        super().__init__()
        if kernel not in get_args(Kernel):
            raise ConfigError(f"kernel is {kernel!r}: {did_you_mean(str(kernel), get_args(Kernel))}")
        self.encoder = Flat() if encoder is None else encoder
        require_vectors(self.encoder, "DeepKernel")
        self.kernel: Kernel = kernel
        self.min_noise = min_noise
        # A cosine knows no length.
        self.log_length = None if kernel == "cosine" else nn.Parameter(torch.tensor(math.log(length)))
        self.log_amplitude = nn.Parameter(torch.tensor(math.log(amplitude)))
        self.log_noise = nn.Parameter(torch.tensor(math.log(noise)))
        self.mean = nn.Parameter(torch.zeros(()))

    @property
    def noise(self) -> Tensor:
        """The variance of a row of weight 1."""
        return self.log_noise.exp() + self.min_noise

    def covariance(self, a: Float[Tensor, "B Q D"], b: Float[Tensor, "B S D"]) -> Float[Tensor, "B Q S"]:
        """The kernel of every vector of a with every vector of b."""
        amplitude = self.log_amplitude.exp()
        if self.log_length is None:
            return amplitude * scores(a, b, "cosine")
        scale = (-self.log_length).exp()
        square = -scores(a * scale, b * scale, "distance")
        if self.kernel == "rbf":
            return amplitude * torch.exp(-square.clamp_min(0) / 2)
        # The root has no slope at 0, where the kernel has a flat top.
        r = (5 * square).clamp_min(1e-12).sqrt()
        return amplitude * (1 + r + r.square() / 3) * torch.exp(-r)

    def adapt_encoded(self, support: Support) -> Posterior:
        with torch.autocast(support.weight.device.type, enabled=False):
            rows = _wide(support)
            z: Tensor = rows.x
            residual = columns(rows, z.dtype) - self.mean
            precision = self._precision(z, rows.weight / self.noise)
            return Posterior(z, residual @ precision.mT, precision, class_mass(support))

    def predict_encoded(
        self, state: Posterior, query_z: Float[Tensor, "B Q D"]
    ) -> Float[Tensor, "B Q C"] | Distribution:
        with torch.autocast(query_z.device.type, enabled=False):
            k = self.covariance(query_z.to(state.z.dtype), state.z)
            mean = self.mean + k @ state.alpha.mT
            explained = (k @ state.precision * k).sum(-1)
            # Rounding may explain more than there is.
            variance = ((self.log_amplitude.exp() - explained).clamp_min(0) + self.noise)[..., None]
            if state.mass.shape[-1]:
                return hide_absent(sign_logits(mean, variance).to(state.mass.dtype), state.mass)
            mean, deviation = (t.to(state.mass.dtype) for t in (mean, variance.sqrt()))
            return Normal(mean, deviation.expand_as(mean), validate_args=False)

    def loss(self, episode: Episode) -> Float[Tensor, " B"]:
        """(B,) minus the log marginal likelihood of support and queries, per row and column."""
        support, query_z = self.encode_episode(episode)
        z: Tensor = support.x
        weight = torch.cat([support.weight, episode.query_weight.to(support.weight.dtype)], 1)
        y = torch.cat([support.y, episode.query_y.to(support.y.dtype)], 1)
        rows = Support(torch.cat([z, query_z], 1), y, weight, support.n_classes)
        with torch.autocast(weight.device.type, enabled=False):
            log_p = self.log_marginal(rows).to(weight.dtype)
        asked = torch.ones_like(log_p) if support.is_regression else (class_mass(support) > 0).to(log_p.dtype)
        size = weight.sum(1) * asked.sum(1)
        return -(log_p * asked).sum(1) / torch.where(size > 0, size, 1.0)

    def log_marginal(self, rows: Support) -> Float[Tensor, "B C"]:
        """The log marginal likelihood of each column of encoded rows."""
        rows = _wide(rows)
        z: Tensor = rows.x
        weight, residual = rows.weight, columns(rows, z.dtype) - self.mean
        system = self._system(z, weight)
        alpha = torch.linalg.solve(system, (weight / self.noise)[..., None] * residual.mT).mT
        fit = (residual * alpha).sum(-1)
        size = weight.sum(1) * (2 * math.pi * self.noise).log()
        return -(fit + (torch.linalg.slogdet(system).logabsdet + size)[:, None]) / 2

    def _precision(self, z: Tensor, certainty: Float[Tensor, "B S"]) -> Float[Tensor, "B S S"]:
        """M^-1 diag(certainty)."""
        if not is_recorded():
            return torch.linalg.solve(self._system(z, certainty * self.noise), certainty.diag_embed())
        # The symmetric form, which has an inverse in products; its slope at a weight of 0 is not asked for here.
        root = certainty.sqrt()
        both = root[..., None] * root[:, None]
        identity = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
        return both * inverse(identity + both * self.covariance(z, z))

    def _system(self, z: Tensor, weight: Tensor) -> Float[Tensor, "B S S"]:
        """M."""
        identity = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
        return identity + (weight / self.noise)[..., None] * self.covariance(z, z)


def _wide(support: Support) -> Support:
    """In double precision, which Apple's GPUs alone do not have."""
    return support.to(dtype=torch.float32 if support.weight.device.type == "mps" else torch.float64)

"""Draws of Gaussian processes as tasks, and the exact answer beside them.

    y ~ N(0, s^2 k(x, x') + noise^2 I)        l: lengthscale, d = |x - x'|
    rbf        k = exp(-d^2 / 2 l^2)
    matern52   k = (1 + u + u^2 / 3) exp(-u),  u = sqrt(5) d / l
    periodic   k = exp(-2 sin^2(pi d / p) / l^2)

Nobody who sees only the support can do better, on average, than the posterior of the process that made it:

    mean = K_qs (K_ss + noise^2 I)^-1 y_s      variance = s^2 + noise^2 - diag K_qs (K_ss + noise^2 I)^-1 K_sq

So a learner's distance from it, in nats a target, is a yardstick that needs no table of somebody's results.

The protocol (one-dimensional regression of Lee et al. 2020, "Bootstrapping neural processes", arXiv:2008.02956, taken
over by Nguyen and Grover 2022, "Transformer neural processes", arXiv:2207.04179): x in U(-2, 2), l in U(0.1, 0.6), s in
U(0.1, 1), p in U(0.1, 0.5), noise 0.02; 3 to 46 support rows and 3 to 49 less those queries, alike in a batch of 16.
Learners are trained on rbf; the other two are out of distribution.

Differs: numbers of rows belong to blocks of 16 episode numbers instead of to batches, so that an episode does not
depend on how it is batched.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Normal

from regard.episode import Support, first_tensor
from regard.errors import ConfigError, did_you_mean
from regard.sampling.counts import Count
from regard.sampling.functions import Floats, FunctionSampler, Limits, check_limits
from regard.sampling.source import Numbers


def _rbf(distance: Tensor, lengthscale: Tensor, period: Tensor) -> Tensor:
    return torch.exp(-0.5 * (distance / lengthscale).square())


def _matern52(distance: Tensor, lengthscale: Tensor, period: Tensor) -> Tensor:
    u = math.sqrt(5) * distance / lengthscale
    return (1 + u + u.square() / 3) * torch.exp(-u)


def _periodic(distance: Tensor, lengthscale: Tensor, period: Tensor) -> Tensor:
    return torch.exp(-2 * (torch.sin(math.pi * distance / period) / lengthscale).square())


_CORRELATION: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "rbf": _rbf,
    "matern52": _matern52,
    "periodic": _periodic,
}


@dataclass(frozen=True)
class Process:
    """B Gaussian processes, and all that can be known from a support of theirs.

    Args:
        kernel: name of the correlation.
        scale: (B,) standard deviation of the functions.
        lengthscale: (B,).
        period: (B,), of "periodic" alone.
        noise: standard deviation of an observation.
    """

    kernel: str
    scale: Tensor
    lengthscale: Tensor
    period: Tensor
    noise: float

    def covariance(self, a: Float[Tensor, "B N"], b: Float[Tensor, "B M"]) -> Float[Tensor, "B N M"]:
        """(B, N) and (B, M) to (B, N, M), noise left out."""
        distance = (a[:, :, None] - b[:, None, :]).abs()
        length, period, scale = (t[:, None, None] for t in (self.lengthscale, self.period, self.scale))
        return scale.square() * _CORRELATION[self.kernel](distance, length, period)

    def factor(self, x: Float[Tensor, "B N"], weight: Float[Tensor, "B N"]) -> Float[Tensor, "B N N"]:
        """(B, N, N) lower Cholesky factor of the covariance of observations.

        A row of weight 0 is by itself, and one of weight w is w observations of the same mean.
        """
        present = (weight > 0).to(x.dtype)
        shared = self.covariance(x, x) * present[:, :, None] * present[:, None, :]
        alone = torch.where(weight > 0, self.noise**2 / weight, 1.0)
        return torch.linalg.cholesky(shared + torch.diag_embed(alone.to(x.dtype)))

    def posterior(self, support: Support, query_x: Float[Tensor, "B Q 1"]) -> Normal:
        """The marginals (B, Q, 1) of the observations at the queries, in float64: noise is part of them."""
        known, asked = first_tensor(support.x)[..., 0].double(), query_x[..., 0].double()
        present = (support.weight > 0).double()
        factor = self.factor(known, support.weight)
        cross = self.covariance(asked, known) * present[:, None]
        y = torch.linalg.solve_triangular(factor, support.y.double() * present[..., None], upper=False)
        v_BSQ = torch.linalg.solve_triangular(factor, cross.mT, upper=False)
        prior = (self.scale.square() + self.noise**2)[:, None]
        variance = (prior - v_BSQ.square().sum(1)).clamp_min(self.noise**2)
        return Normal(v_BSQ.mT @ y, variance.sqrt()[..., None], validate_args=False)


@final
class GaussianProcesses(FunctionSampler):
    """Draws of Gaussian processes; the defaults are the protocol above.

    Args:
        n_shot, n_query: support and query rows.
        kernel: "rbf", "matern52" or "periodic".
        x, lengthscale, scale, period: limits of uniform draws.
        noise: standard deviation of an observation, in support and query.
        n_points, block, seed, stream: as `FunctionSampler`.

    Raises:
        ConfigError: an unknown kernel, noise that is not positive, or limits that run backwards.
    """

    def __init__(
        self,
        n_shot: Count = (3, 46),
        n_query: Count = (3, 46),
        *,
        kernel: str = "rbf",
        x: Limits = (-2.0, 2.0),
        lengthscale: Limits = (0.1, 0.6),
        scale: Limits = (0.1, 1.0),
        period: Limits = (0.1, 0.5),
        noise: float = 0.02,
        n_points: int | None = 49,
        block: int = 16,
        seed: int = 0,
        stream: int = 0,
    ) -> None:
        super().__init__(n_shot, n_query, n_points=n_points, block=block, seed=seed, stream=stream)
        if kernel not in _CORRELATION:
            raise ConfigError(f"no kernel is called {kernel!r}: {did_you_mean(kernel, _CORRELATION)}")
        if noise <= 0:
            raise ConfigError(f"noise is {noise}: expected a positive number, without which points repeat themselves.")
        check_limits(x=x, lengthscale=lengthscale, scale=scale, period=period)
        self.kernel, self.x, self.lengthscale, self.scale, self.period, self.noise = (
            kernel,
            x,
            lengthscale,
            scale,
            period,
            noise,
        )

    def process(self, episodes: Numbers) -> Process:
        """What made these episodes: `process(i).posterior(episode.support, episode.query_x)` is the exact answer."""
        number = np.asarray(episodes, dtype=np.int64)
        drawn = self._parameters(number, self.lengthscale, self.scale, self.period)
        lengthscale, scale, period = map(torch.from_numpy, drawn)
        return Process(self.kernel, scale, lengthscale, period, self.noise)

    def points(self, number: NDArray[np.int64]) -> tuple[Floats, Floats]:
        x = self._uniform_points(number, self.x)
        place = torch.from_numpy(x)
        factor = self.process(number).factor(place, torch.ones_like(place))
        z = torch.from_numpy(self._normal(number, self.n_points))
        return x, (factor @ z[..., None])[..., 0].numpy()

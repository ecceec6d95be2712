"""How good predicted distributions of numbers are: one number an episode and metric.

    mse, rmse    of the mean against the target; rmse is the root of each episode's mse
    mae          |mean - y|
    nll          -log p(y), per target
    crps         integral of (F(x) - [x >= y])^2 dx: the mean absolute error of a distribution; in the unit of y
    coverage     the share of targets inside the central 95% interval, 0.025 <= F(y) <= 0.975; 0.95 is right

All are means over queries and the T numbers of a target. Weight 0 leaves a query out; other weights count as
scikit-learn's sample_weight.

CRPS of a normal distribution is in closed form. Another distribution with `cdf` and `icdf` is integrated over its
quantiles q, on either side of t* = F(y), where the integrand bends:

    crps = 2 * integral_0^t* t (y - q(t)) dt + 2 * integral_t*^1 (1 - t) (q(t) - y) dt

by Gauss-Legendre. Without them, it is E|X - y| - E|X - X'| / 2 over 1,000 samples, and F(y) their share below y.

Gneiting and Raftery 2007, "Strictly proper scoring rules, prediction, and estimation".
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from regard.errors import EpisodeError
from regard.learners.base import task_mean

TARGET_METRICS = ("mse", "rmse", "mae", "nll", "crps", "coverage")
"""The names, in the order of tables."""

COVERAGE = 0.95

_NODES = 32
_SAMPLES = 1000


def target_metrics(output: Distribution, y: Tensor, weight: Tensor) -> dict[str, Tensor]:
    """All metrics of B episodes.

    Args:
        output: marginals over (B, Q, T), whether T is a batch or an event axis.
        y: (B, Q, T).
        weight: (B, Q); every episode has some weight.

    Returns:
        name to (B,) float64.

    Raises:
        EpisodeError: the distribution is over another shape, or joint over queries.
    """
    shape = tuple(output.batch_shape + output.event_shape)
    if len(output.event_shape) > 1 or shape != tuple(y.shape):
        raise EpisodeError(
            f"the learner answered with a {type(output).__name__} over {shape} (event {tuple(output.event_shape)}) "
            f"where targets are {tuple(y.shape)}: expected one distribution for each query, over (tasks, queries, "
            "targets)."
        )
    weight = weight.double()[..., None]
    # A padded target may be anything; the mean is in the distribution's support.
    y = torch.where(weight > 0, y.double(), output.mean.double())
    log_p = output.log_prob(y.to(output.mean.dtype)).double()
    if output.event_shape:
        log_p = log_p[..., None] / y.shape[-1]  # per number of a target
    marginal = output.base_dist if isinstance(output, Independent) else output
    error = marginal.mean.double() - y
    # F(y) of each number.
    y_typed = y.to(marginal.mean.dtype)
    if _has(marginal.cdf, y_typed):
        below = marginal.cdf(y_typed).double()
    else:
        below = (_samples(marginal) <= y_typed).double().mean(0)
    inside = (2 * below - 1).abs() <= COVERAGE
    values = {
        "mse": error.square(),
        "mae": error.abs(),
        "nll": -log_p,
        "crps": crps(marginal, y),
        "coverage": inside.double(),
    }
    scores = {name: task_mean(value, weight) for name, value in values.items()}
    return {name: scores["mse"].sqrt() if name == "rmse" else scores[name] for name in TARGET_METRICS}


def crps(marginal: Distribution, y: Tensor) -> Tensor:
    """(B, Q, T) continuous ranked probability scores of `y` under independent marginals, in float64."""
    if isinstance(marginal, Normal):
        deviation = marginal.stddev.double()
        z = (y.double() - marginal.mean.double()) / deviation
        density = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
        return deviation * (z * torch.erf(z / math.sqrt(2)) + 2 * density - 1 / math.sqrt(math.pi))
    if _has(marginal.cdf, y) and _has(marginal.icdf, torch.full_like(y, 0.5)):
        return crps_by_quantiles(marginal, y)
    return crps_by_samples(_samples(marginal), y)


def crps_by_quantiles(marginal: Distribution, y: Tensor, n_nodes: int = _NODES) -> Tensor:
    """CRPS of any distribution with `cdf` and `icdf`."""
    node, share = (torch.from_numpy(v).to(y) for v in np.polynomial.legendre.leggauss(n_nodes))
    # Probabilities of exactly 0 and 1 have no finite quantile.
    tiny = torch.finfo(y.dtype).eps
    bend = marginal.cdf(y).clamp(tiny, 1 - tiny)
    total = torch.zeros_like(y, dtype=torch.float64)
    for x, w in zip((node + 1) / 2, share / 2, strict=True):
        low, high = bend * x, bend + (1 - bend) * x
        total += w * bend * low * (y - marginal.icdf(low))
        total += w * (1 - bend) * (1 - high) * (marginal.icdf(high) - y)
    return 2 * total


def crps_by_samples(samples: Tensor, y: Tensor) -> Tensor:
    """CRPS from (n, B, Q, T) independent draws, without bias."""
    n = len(samples)
    ordered = samples.double().sort(0).values
    # sum over pairs |x_i - x_j| = sum_k (2k - n - 1) x_(k), so no n by n differences.
    rank = torch.arange(1, n + 1, device=y.device, dtype=torch.float64).view(-1, *(1,) * y.ndim)
    spread = ((2 * rank - n - 1) * ordered).sum(0) / (n * (n - 1))
    return (ordered - y).abs().mean(0) - spread


def _has(method: Callable[[Tensor], Tensor], value: Tensor) -> bool:
    """Whether a distribution implements it; the base class of torch raises where it does not."""
    try:
        return method(value).shape == value.shape
    except NotImplementedError:
        return False


def _samples(marginal: Distribution) -> Tensor:
    """(1000, B, Q, T), always the same ones."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return marginal.sample(torch.Size([_SAMPLES]))

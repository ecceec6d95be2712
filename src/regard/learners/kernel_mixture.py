"""Gaussian processes that differ in kernel, noise and scale of the target, averaged by how they explain the support.

    K_m = mean over some blocks of features of  exp( -|x - x'|^2 / (l r^2) )  or  exp( -|x - x'|_1 / (l r) )
    y = mean + deviation * t,  t ~ N( 0, s^2 (K_m + c + noise / w) ),  s^2 integrated out;   or log y in place of y
    weight of a process ~ its learned prior x its marginal likelihood of the support

The blocks are those of the encoder (`encoder.blocks`): such as known descriptors, learned features, and predictions of
other targets. Which of them to trust, how smooth the function is, how noisy the values are, and whether they are better
seen as logarithms is decided by the support of each task, and by a prior over the processes that training learns from
many tasks. r is the mean distance between two support rows, c a constant that leaves the mean free.

With n = sum of w, M = I + diag(w) (K + c) / noise and residual t:

    log likelihood = - 1/2 (log|M| + n log noise) - (1 + n/2) log(1 + t^T M^-1 diag(w) t / (2 noise))      up to n

Noise over w is what a row w times over says: weight 2 is twice, weight 0 absent, exactly, as in `deep_kernel`.

The mean of the prediction is the weighted mean of the medians, and its deviation is chosen so that 1.96 of them reach
as far as the processes' own 95% intervals, which are lopsided where logarithms were taken. Targets are not to be
shifted (`reads_zero`), or no logarithm could be taken. Where no target is below 0, no prediction is.

Rasmussen and Williams 2006, "Gaussian Processes for Machine Learning", chapters 2 and 5. Learning a kernel's features
across tasks: Patacchiola, Turner, Crowley, O'Boyle, Storkey 2020, "Bayesian Meta-Learning for the Few-Shot Setting via
Deep Kernels", arXiv:1910.05199.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Normal

from regard.episode import Support, Value
from regard.errors import ConfigError, EpisodeError
from regard.learners.base import EncodingLearner, block_sizes, or_one, require_vectors
from regard.nn.encoder import Encoder
from regard.nn.flat import Flat
from regard.nn.transforms import inside_transform
from regard.numbers import NORMAL_95

_CONSTANT = 10.0
_MOST = 320_000_000
"""Numbers in the matrices of a task; some ten gigabytes are used with as many."""

_EQUAL = 1e-18
"""Variances of targets, in units of their squared size, that are rounding."""

_WIDEST = 20.0
"""Logarithms of a ratio are cut here: beyond, single precision has no number."""


@dataclass(frozen=True)
class Processes(Value):
    """What is kept of a support of S rows, for K kernels, L noises and T targets.

    x: (B, S, D); weight: (B, S); alpha: (B, 2, T, K, L, S), precision: (B, K, L, S, S), M^-1 diag(w) / noise;
    share: (B, 2, T, K, L) of the processes; centre, unit: (B, 2, T) of the target and of its logarithm; size: (B, 2, T,
    K, L), s^2; floor: (B, 1, T), 0 where no target is below it, else minus infinity.
    """

    x: Tensor
    weight: Tensor
    alpha: Tensor
    precision: Tensor
    share: Tensor
    centre: Tensor
    unit: Tensor
    size: Tensor
    floor: Tensor


@final
class KernelMixture(EncodingLearner):
    """An average of Gaussian processes on blocks of encoded features.

    Args:
        encoder: items to vectors (N, D); None takes items as they are.
        blocks: sizes of the blocks of D features; those of the encoder by default, else one block.
        lengths: of the kernels, in mean distances between support rows.
        noises: variances, in units of the target's own variance.
        logarithms: whether targets that are all positive may be seen as logarithms.

    Raises:
        ConfigError: an encoder that gives parts, blocks that do not sum to D, or numbers that are not positive.
    """

    classifies = False
    regresses = True
    reads_zero = True

    def __init__(
        self,
        encoder: Encoder | None = None,
        *,
        blocks: Sequence[int] | None = None,
        lengths: Sequence[float] = (0.5, 1.5),
        noises: Sequence[float] = (0.01, 0.03, 0.1, 0.3, 1.0),
        logarithms: bool = True,
    ) -> None:
        super().__init__()
        self.encoder = Flat() if encoder is None else encoder
        require_vectors(self.encoder, "KernelMixture")
        self.blocks = block_sizes(self.encoder, blocks)
        if min(*lengths, *noises, 1.0) <= 0:
            raise ConfigError(f"lengths are {tuple(lengths)} and noises {tuple(noises)}: expected numbers above 0.")
        self.logarithms = logarithms
        n_blocks = 1 if self.blocks is None else len(self.blocks)
        subsets = [s for size in range(1, n_blocks + 1) for s in combinations(range(n_blocks), size)]
        self.kernels = tuple(product(subsets, (2, 1), lengths))
        self.noises = tuple(float(noise) for noise in noises)
        self.log_prior = nn.Parameter(torch.zeros(2, len(self.kernels), len(self.noises)))
        self.log_widen = nn.Parameter(torch.zeros(()))

    def adapt_encoded(self, support: Support) -> Processes:
        weight = support.weight.double()
        n_rows = weight.shape[1]
        if self.log_prior.numel() // 2 * n_rows**2 > _MOST:
            raise EpisodeError(
                f"{n_rows} rows: KernelMixture has {self.log_prior.numel() // 2} processes, each with a matrix of rows "
                f"times rows, and takes at most {int((2 * _MOST / self.log_prior.numel()) ** 0.5)}: give it a sample."
            )
        x: Tensor = support.x.to(weight.dtype)
        y = support.y.to(weight.dtype)
        share = weight / or_one(weight.sum(1, keepdim=True))
        positive = ((y > 0) | (weight <= 0)[..., None]).all(1) & (weight > 0).any(1, keepdim=True)
        positive = positive & self.logarithms  # (B, T)
        safe = torch.where(positive[:, None] & (y > 0), y, 1.0)
        seen = torch.stack([y, safe.log()], 1).mT  # (B, 2, T, S)
        centre = (share[:, None, None] * seen).sum(-1)
        residual = seen - centre[..., None]
        unit = _unit((share[:, None, None] * residual.square()).sum(-1), centre)
        residual = residual / unit[..., None]
        noise = x.new_tensor(self.noises)[:, None, None]
        kernel = self._kernels(x, x, weight)[:, :, None] + _CONSTANT
        identity = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        system = identity + weight[:, None, None, :, None] * kernel / noise
        precision = torch.linalg.solve(system, weight.diag_embed()[:, None, None] / noise)
        alpha = torch.einsum("bklsr,bwtr->bwtkls", precision, residual)
        quadratic = (alpha * residual[:, :, :, None, None]).sum(-1)
        n = weight.sum(1)[:, None, None, None, None]
        log_det = torch.linalg.slogdet(system).logabsdet + weight.sum(1)[:, None, None] * noise[:, 0, 0].log()
        evidence = -log_det[:, None, None] / 2 - (1 + n / 2) * (1 + quadratic / 2).log()
        # The density of y itself: of a logarithm, it is divided by y.
        per_y = -n[..., 0, 0] * unit.log()
        per_y = per_y - torch.stack([torch.zeros_like(per_y[:, 0]), (weight[..., None] * safe.log()).sum(1)], 1)
        evidence = evidence + per_y[..., None, None] + self.log_prior[:, None].to(x.dtype)
        allowed = torch.stack([torch.ones_like(positive), positive], 1)[..., None, None]
        evidence = torch.where(allowed, evidence, -torch.inf)
        shares = torch.softmax(evidence.permute(0, 2, 1, 3, 4).flatten(2), -1)
        shares = shares.unflatten(2, (2, *evidence.shape[3:])).transpose(1, 2)
        size = (1 + quadratic / 2) / (1 + n / 2)
        no_less = ((y >= 0) | (weight <= 0)[..., None]).all(1, keepdim=True) & (weight > 0).any(1)[:, None, None]
        floor = torch.where(no_less, 0.0, -torch.inf).to(x.dtype)
        return Processes(x, weight, alpha, precision, shares, centre, unit, size, floor)

    def predict_encoded(self, state: Processes, query_z: Float[Tensor, "B Q D"]) -> Normal:
        kernel = self._kernels(query_z.to(state.x.dtype), state.x, state.weight) + _CONSTANT  # (B, K, Q, S)
        mean = torch.einsum("bkqs,bwtkls->bwtklq", kernel, state.alpha)
        explained = (kernel[:, :, None] @ state.precision * kernel[:, :, None]).sum(-1)  # (B, K, L, Q)
        noise = kernel.new_tensor(self.noises)[:, None]
        variance = (1 + _CONSTANT - explained).clamp_min(0) + noise
        variance = variance[:, None, None] * state.size[..., None]
        unit, centre = (t[..., None, None, None] for t in (state.unit, state.centre))
        # Each process predicts by a t distribution of n + 2 degrees of freedom: its quantile, by Cornish and Fisher.
        freedom = (state.weight.sum(1) + 2)[:, None, None, None, None, None]
        z = NORMAL_95
        quantile = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        quantile = quantile + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
        mean, reach = mean * unit + centre, quantile * variance.sqrt() * unit * self.log_widen.exp().to(mean.dtype)
        median = torch.stack([mean[:, 0], mean[:, 1].clamp(-_WIDEST * 4, _WIDEST * 4).exp()], 1)
        wide = reach[:, 1].clamp_max(_WIDEST)
        half = torch.stack([reach[:, 0], median[:, 1] * (wide.exp() - (-wide).exp()) / 2], 1)
        share = state.share[..., None]
        answer = (share * median).sum((1, 3, 4))  # (B, T, Q)
        apart = median - answer[:, None, :, None, None]
        spread = (share * ((half / NORMAL_95).square() + apart.square())).sum((1, 3, 4)).sqrt()
        dtype = query_z.dtype
        return Normal(torch.maximum(answer.mT, state.floor).to(dtype), spread.mT.to(dtype), validate_args=False)

    def _kernels(self, a: Tensor, b: Tensor, weight: Tensor) -> Float[Tensor, "B K Q S"]:
        """Each kernel of every vector of a with every support vector b, of these weights."""
        sizes = (a.shape[-1],) if self.blocks is None else self.blocks
        distances = {}
        share = weight / or_one(weight.sum(1, keepdim=True))
        for block, (u, v) in enumerate(zip(a.split(sizes, -1), b.split(sizes, -1), strict=True)):
            mean = (share[..., None] * v).sum(1, keepdim=True)
            # Twice the variance is the mean square of the distance of two rows.
            square = 2 * (share[..., None] * (v - mean).square()).sum((1, 2))
            apart = (u.square().sum(-1)[..., None] + v.square().sum(-1)[:, None] - 2 * u @ v.mT).clamp_min(0)
            distances[block, 2] = apart / or_one(square)[:, None, None]
            absolute = (share[:, :, None] * share[:, None] * _absolute(v, v)).sum((1, 2))
            distances[block, 1] = _absolute(u, v) / or_one(absolute)[:, None, None]
        found = []
        for subset, power, length in self.kernels:
            kernels = [torch.exp(-distances[block, power] / length) for block in subset]
            found.append(torch.stack(kernels).mean(0))
        return torch.stack(found, 1)


def _unit(variance: Float[Tensor, "B 2 T"], centre: Float[Tensor, "B 2 T"]) -> Float[Tensor, "B 2 T"]:
    """The deviation of the target and of its logarithm; where targets are equal up to rounding, their size, and 1."""
    size = torch.stack([or_one(centre[:, 0].square()), torch.ones_like(centre[:, 1])], 1)
    return torch.where(variance > _EQUAL * size, variance, size).sqrt()


def _absolute(a: Tensor, b: Tensor) -> Tensor:
    """(B, Q, S) sums of absolute differences."""
    if torch.is_grad_enabled() or inside_transform():
        return (a[:, :, None] - b[:, None]).abs().sum(-1)
    return torch.cdist(a, b, p=1.0)  # less memory, and without second derivatives

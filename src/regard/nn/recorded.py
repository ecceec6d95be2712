"""Linear algebra, quantiles and sorting in operations that ONNX has, for functions that are being recorded.

    inverse           X = X (2 I - A X), from X = I / |A|: Newton's iteration doubles the digits that are right
    unit_lower_solve  (I + N)^-1 = (I - N) (I + N^2) (I + N^4) ...   ends, since N^S = 0
    normal_quantile   Wichura's rational functions

ONNX has neither inverse nor solve, nor the normal quantile (nor the inverse error function, which follows from it), nor
a stable sort. Outside recording the callers keep PyTorch's own, which are faster.

Newton's iteration: Schulz 1933; Wichura 1988, "Algorithm AS 241: the percentage points of the normal distribution",
Applied Statistics 37(3).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from regard.nn.transforms import is_recorded

_NEWTON_STEPS = 24  # condition numbers up to a million
_MOST_DOUBLINGS = 11  # rows up to 4096


def inverse(matrix: Float[Tensor, "*B S S"]) -> Float[Tensor, "*B S S"]:
    """The inverse of symmetric positive definite matrices, with condition numbers up to a million."""
    if not is_recorded():
        return torch.linalg.inv(matrix)
    identity = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    # The largest sum of a row is no less than the largest eigenvalue.
    x = identity / matrix.abs().sum(-1).amax(-1)[..., None, None]
    for _ in range(_NEWTON_STEPS):
        x = x @ (2 * identity - matrix @ x)
    return x


def unit_lower_solve(lower: Float[Tensor, "*B S S"], right: Float[Tensor, "*B S T"]) -> Float[Tensor, "*B S T"]:
    """Solve (I + N) x = right.

    Args:
        lower: N, zero on the diagonal and above.
        right: (..., S, T).
    """
    if not is_recorded():
        return torch.linalg.solve_triangular(lower, right, upper=False, unitriangular=True)
    x, power = right - lower @ right, lower @ lower
    for _ in range(_MOST_DOUBLINGS):
        x, power = x + power @ x, power @ power
    return x


def stable_argsort(x: Float[Tensor, "*B S"] | Int[Tensor, "*B S"], *, descending: bool = False) -> Int[Tensor, "*B S"]:
    """Along the last axis; equal values stay in their order."""
    if not is_recorded():
        return x.argsort(dim=-1, descending=descending, stable=True)
    # ONNX's TopK takes the first of equal values first.
    return torch.topk(x, x.shape[-1], dim=-1, largest=descending, sorted=True).indices


def normal_quantile(p: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """The value below which a standard normal variable lies with probability p."""
    if not is_recorded():
        return torch.special.ndtri(p)
    q = p - 0.5
    r = 0.180625 - q * q
    central = q * _ratio(r, _CENTRAL)
    # Not the logarithm of 0: there the central formula is used.
    tail = (-torch.minimum(p, 1 - p).clamp_min(torch.finfo(p.dtype).tiny).log()).sqrt()
    far = torch.where(tail <= 5, _ratio(tail - 1.6, _MIDDLE), _ratio(tail - 5, _FAR))
    return torch.where(q.abs() <= 0.425, central, torch.sign(q) * far)


def inverse_erf(x: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """The inverse of the error function, of values between -1 and 1."""
    return normal_quantile((x + 1) / 2) / math.sqrt(2) if is_recorded() else torch.erfinv(x)


def _ratio(x: Tensor, coefficients: tuple[tuple[float, ...], tuple[float, ...]]) -> Tensor:
    above, below = (_polynomial(x, c) for c in coefficients)
    return above / below


def _polynomial(x: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    value = torch.full_like(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        value = value * x + c
    return value


_CENTRAL = (
    (
        3.3871328727963666080,
        133.14166789178437745,
        1971.5909503065514427,
        13731.693765509461125,
        45921.953931549871457,
        67265.770927008700853,
        33430.575583588128105,
        2509.0809287301226727,
    ),
    (
        1.0,
        42.313330701600911252,
        687.18700749205790830,
        5394.1960214247511077,
        21213.794301586595867,
        39307.895800092710610,
        28729.085735721942674,
        5226.4952788528545610,
    ),
)
_MIDDLE = (
    (
        1.42343711074968357734,
        4.63033784615654529590,
        5.76949722146069140550,
        3.64784832476320460504,
        1.27045825245236838258,
        0.241780725177450611770,
        0.0227238449892691845833,
        0.00077454501427834140764,
    ),
    (
        1.0,
        2.05319162663775882187,
        1.67638483018380384940,
        0.689767334985100004550,
        0.148103976427480074590,
        0.0151986665636164571966,
        0.000547593808499534494600,
        1.05075007164441684324e-09,
    ),
)
_FAR = (
    (
        6.65790464350110377720,
        5.46378491116411436990,
        1.78482653991729133580,
        0.296560571828504891230,
        0.0265321895265761230930,
        0.00124266094738807843860,
        0.0000271155556874348757815,
        2.01033439929228813265e-07,
    ),
    (
        1.0,
        0.599832206555887937690,
        0.136929880922735805310,
        0.0148753612908506148525,
        0.000786869131145613259100,
        0.0000184631831751005468180,
        1.42151175831644588870e-07,
        2.04426310338993978564e-15,
    ),
)

"""Muon: momentum whose matrices are made orthogonal, so that every direction of a layer learns as fast as the others.

    M <- mu M + G              G the gradient of a matrix, M its momentum
    U  = G + mu M              Nesterov's look ahead
    W <- (1 - lr wd) W - lr 0.2 sqrt(max(rows, columns)) orthogonal(U)

`orthogonal` is five steps of a Newton-Schulz iteration, which bring the singular values near 1. The factor gives an
update the size that Adam's would have, so that one learning rate serves both: everything that is not a wide matrix
(norms, biases, embeddings of a few numbers, heads of a few classes) is left to AdamW.

Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; the factor: Liu et al. 2025, "Muon is
scalable for LLM training" (arXiv:2502.16982).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.adamw import adamw

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_STEPS = 5
_WIDE = 32  # rows and columns of a matrix that is no embedding and no head


class Muon(Optimizer):
    """Muon on wide matrices, AdamW on all else.

    Args:
        parameters: to be trained.
        lr: of both.
        weight_decay: of everything with two axes or more.
        momentum: mu.
        betas, eps: of AdamW.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        lr: float,
        weight_decay: float,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
    ) -> None:
        self.momentum, self.betas, self.eps = momentum, betas, eps
        given = list(parameters)
        groups = [
            {"params": [p for p in given if p.ndim >= 2], "weight_decay": weight_decay},
            {"params": [p for p in given if p.ndim < 2], "weight_decay": 0.0},
        ]
        super().__init__([group for group in groups if group["params"]], {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            given = [p for p in group["params"] if p.grad is not None]
            for alike in _by_shape([p for p in given if _is_wide(p)]):
                self._orthogonal(alike, group["lr"], group["weight_decay"])
            self._adam([p for p in given if not _is_wide(p)], group["lr"], group["weight_decay"])

    def _orthogonal(self, alike: list[Tensor], lr: float, weight_decay: float) -> None:
        """Matrices of one shape as one batch: small ones cost more to start than to multiply."""
        means = [self.state[p].setdefault("momentum", torch.zeros_like(p)) for p in alike]
        gradient, mean = torch.stack(_gradients(alike)), torch.stack(means)
        mean.mul_(self.momentum).add_(gradient)
        update = orthogonal(gradient + self.momentum * mean) * (0.2 * math.sqrt(max(alike[0].shape)))
        for p, kept, new, step in zip(alike, means, mean, update, strict=True):
            kept.copy_(new)
            p.mul_(1 - lr * weight_decay).sub_(step, alpha=lr)

    def _adam(self, given: list[Tensor], lr: float, weight_decay: float) -> None:
        for p in given:
            if not self.state[p]:
                zero = {name: torch.zeros_like(p) for name in ("exp_avg", "exp_avg_sq")}
                self.state[p].update(zero, step=torch.zeros((), device=p.device))
        state = [self.state[p] for p in given]
        adamw(
            given,
            _gradients(given),
            [each["exp_avg"] for each in state],
            [each["exp_avg_sq"] for each in state],
            [],
            [each["step"] for each in state],
            fused=True,
            amsgrad=False,
            beta1=self.betas[0],
            beta2=self.betas[1],
            lr=lr,
            weight_decay=weight_decay,
            eps=self.eps,
            maximize=False,
        )


def _gradients(parameters: list[Tensor]) -> list[Tensor]:
    return [p.grad for p in parameters if p.grad is not None]


def _by_shape(parameters: list[Tensor]) -> Iterable[list[Tensor]]:
    found: dict[torch.Size, list[Tensor]] = {}
    for p in parameters:
        found.setdefault(p.shape, []).append(p)
    return found.values()


def _is_wide(p: Tensor) -> bool:
    return p.ndim == 2 and min(p.shape) >= _WIDE


def orthogonal(matrix: Tensor) -> Tensor:
    """A matrix, or each of a batch, with the same singular vectors and singular values between about 0.7 and 1.2."""
    a, b, c = _COEFFICIENTS
    tall = matrix.shape[-2] > matrix.shape[-1]
    x = matrix.mT if tall else matrix
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + torch.finfo(x.dtype).tiny)
    for _ in range(_STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x

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
            for p in group["params"]:
                if p.grad is None:
                    continue
                update = self._orthogonal(p) if _is_wide(p) else self._adam(p)
                p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(update, alpha=group["lr"])

    def _orthogonal(self, p: nn.Parameter) -> Tensor:
        state = self.state[p]
        mean = state.setdefault("momentum", torch.zeros_like(p))
        mean.mul_(self.momentum).add_(p.grad)  # type: ignore[arg-type]
        ahead = p.grad + self.momentum * mean  # type: ignore[operator]
        return orthogonal(ahead) * (0.2 * math.sqrt(max(p.shape)))

    def _adam(self, p: nn.Parameter) -> Tensor:
        state, (first, second) = self.state[p], self.betas
        if not state:
            state.update(step=torch.zeros(()), exp_avg=torch.zeros_like(p), exp_avg_sq=torch.zeros_like(p))
        state["step"] += 1
        mean = state["exp_avg"].lerp_(p.grad, 1 - first)  # type: ignore[arg-type]
        square = state["exp_avg_sq"].lerp_(p.grad.square(), 1 - second)  # type: ignore[union-attr]
        n = float(state["step"])
        return (mean / (1 - first**n)) / ((square / (1 - second**n)).sqrt() + self.eps)


def _is_wide(p: Tensor) -> bool:
    return p.ndim == 2 and min(p.shape) >= _WIDE


def orthogonal(matrix: Tensor) -> Tensor:
    """A matrix with the same singular vectors and singular values between about 0.7 and 1.2."""
    a, b, c = _COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.mT if tall else matrix
    x = x / (x.norm() + torch.finfo(x.dtype).tiny)
    for _ in range(_STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x

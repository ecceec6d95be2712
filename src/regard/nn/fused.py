"""Softmax attention that keeps no weights: torch's fused kernel where it is fast, the plain formula where it is not.

The kernel has no double backward. So in its place stands a function whose backward is the kernel's own, or, exactly
where somebody differentiates twice, that of the formula. In training the kernel has to run once more in the backward;
where scores are few, the formula is faster.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from regard.nn.transforms import inside_transform

_SMALL = 128 * 128
"""Scores for each head up to which training is faster without the kernel, whose backward runs it once more."""


def can_fuse(key: Float[Tensor, "*B S D"], weight: Tensor | None) -> bool:
    """Whether weights may go unseen: nobody asks for the slopes of support weights, and no transform is at work."""
    wants_weight_gradient = weight is not None and weight.requires_grad and torch.is_grad_enabled()
    return not wants_weight_gradient and not inside_transform() and key.shape[-2] > 0


def fused_attention(
    query: Float[Tensor, "*A Q D"],
    key: Float[Tensor, "*B S D"],
    value: Float[Tensor, "*C S E"],
    weight: Float[Tensor, "*W N S"] | None,
    temperature: float,
) -> Float[Tensor, "*M Q E"]:
    """Softmax attention with scaled dot products.

    Args:
        query: (..., Q, D).
        key: (..., S, D), S at least 1.
        value: (..., S, E).
        weight: (..., Q or 1, S) of rows, or None for ones; without slopes.
        temperature: scores are divided by it.

    Returns:
        (..., Q, E); zeros where no row has weight.
    """
    mask = nobody = None
    if weight is not None:
        there = weight > 0
        # Where no row has weight the kernel must not see minus infinity alone, which is NaN; the answer there is 0.
        nobody = ~there.any(-1, keepdim=True)
        mask = torch.where(there, weight, 1.0).to(query.dtype).log().masked_fill(~(there | nobody), -torch.inf)
    lead = torch.broadcast_shapes(query.shape[:-2], key.shape[:-2], value.shape[:-2])
    q, k, v = (t.expand(*lead, *t.shape[-2:]) for t in (query, key, value))
    differentiated = torch.is_grad_enabled() and any(t.requires_grad for t in (q, k, v))
    small = q.shape[-2] * k.shape[-2] <= _SMALL
    attend = (_direct if small else _Fused.apply) if differentiated else _kernel
    out: Tensor = attend(q, k, v, mask, temperature)
    return out if nobody is None else out.masked_fill(nobody, 0.0)


def _direct(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, temperature: float) -> Tensor:
    # Queries are scaled, not scores, of which there are more.
    score = (q / (math.sqrt(q.shape[-1]) * temperature)) @ k.mT
    return torch.softmax(score if mask is None else score + mask, -1) @ v


def _kernel(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, temperature: float) -> Tensor:
    # 4-D arguments: 3-D ones do not export to ONNX, and 2-D ones take a slow path.
    lead = q.shape[:-2]
    q4, k4, v4 = (t.reshape(-1, 1, *t.shape[-2:]) for t in (q, k, v))
    if mask is not None:
        mask = mask.expand(*lead, q.shape[-2], k.shape[-2]).reshape(-1, 1, q.shape[-2], k.shape[-2])
    scale = 1 / (math.sqrt(q.shape[-1]) * temperature)
    return F.scaled_dot_product_attention(q4, k4, v4, attn_mask=mask, scale=scale).reshape(
        *lead, *q.shape[-2:-1], v.shape[-1]
    )


class _Fused(torch.autograd.Function):
    """The fused kernel; its backward is the kernel's own, or the explicit formula's if a second derivative follows."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, temperature: float) -> Tensor:
        ctx.save_for_backward(q, k, v, mask)
        ctx.temperature = temperature
        return _kernel(q, k, v, mask, temperature)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, mask = ctx.saved_tensors
        twice = torch.is_grad_enabled()  # autograd enables gradients here exactly when create_graph was asked for
        with torch.enable_grad():
            # Views, so that a derivative stops here: key and value may be one tensor, or the query's own descendants.
            wanted = [t.view_as(t) if twice else t.detach().requires_grad_(t.requires_grad) for t in (q, k, v)]
            if twice:
                out = _direct(wanted[0], wanted[1], wanted[2], mask, ctx.temperature)
            else:
                out = _kernel(wanted[0], wanted[1], wanted[2], mask, ctx.temperature)
            asked = [t for t in wanted if t.requires_grad]
            inputs = iter(torch.autograd.grad(out, asked, grads, create_graph=twice))
        return (*(next(inputs) if t.requires_grad else None for t in wanted), None, None)

"""nn.Conv2d with a second derivative that costs four convolutions and nothing else.

With y = w * x, and g the slope by y, the slopes are dx = g *' w and dw = x *" g, in the kernels of PyTorch's backward.
Both are bilinear, so slopes v, u by dx and dw come back through the same kernels:

    dg = w * v + u * x = [w, u] * [v, x],    dx = g *' u,    dw = v *" g

PyTorch's own second derivative makes dw a convolution whose kernel is a whole map, and lays it out in memory otherwise
than w, which each later sum pays for.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F

from regard.nn.transforms import inside_transform

How = tuple[list[int], list[int], list[int]]
"""Stride, padding, dilation."""


class Conv2d(nn.Conv2d):
    """The same parameters and numbers as nn.Conv2d; zero padding, one group."""

    def forward(self, input: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D h w"]:
        """Convolve."""
        lean = self.groups == 1 and self.padding_mode == "zeros" and not isinstance(self.padding, str)
        traced = inside_transform() or torch.compiler.is_compiling()
        if not lean or traced or torch.is_autocast_enabled(input.device.type) or not input.is_floating_point():
            return super().forward(input)
        z = _Convolution.apply(input, self.weight, list(self.stride), list(self.padding), list(self.dilation))
        return z if self.bias is None else z + self.bias[:, None, None]


class _Convolution(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, stride: list[int], padding: list[int], dilation: list[int]) -> Tensor:
        ctx.save_for_backward(x, w)
        ctx.how = stride, padding, dilation
        return F.conv2d(x, w, None, stride, padding, dilation)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (g,) = grads
        return *_Slopes.apply(g, *ctx.saved_tensors, ctx.needs_input_grad[:2], ctx.how), None, None, None


class _Slopes(Function):
    @staticmethod
    def forward(
        ctx: Any, g: Tensor, x: Tensor, w: Tensor, wanted: tuple[bool, bool], how: How
    ) -> tuple[Tensor | None, Tensor | None]:
        ctx.save_for_backward(g, x, w)
        ctx.how = how
        ctx.set_materialize_grads(False)
        return _backward(g, x, w, wanted, how)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        v, u = grads
        g, x, w = ctx.saved_tensors
        by_g, by_x, by_w = ctx.needs_input_grad[:3]
        # w * v + u * x, of which either part may be missing.
        dg = None
        if by_g and v is not None and u is not None:
            dg = F.conv2d(torch.cat([v, x], 1), torch.cat([w, u], 1), None, *ctx.how)
        elif by_g and v is not None:
            dg = F.conv2d(v, w, None, *ctx.how)
        elif by_g and u is not None:
            dg = F.conv2d(x, u, None, *ctx.how)
        by_x, by_w = by_x and u is not None, by_w and v is not None
        if not by_x and not by_w:
            return dg, None, None, None, None
        return dg, *_backward(g, x if v is None else v, w if u is None else u, (by_x, by_w), ctx.how), None, None


def _backward(
    g: Tensor, x: Tensor, w: Tensor, wanted: tuple[bool, bool], how: How
) -> tuple[Tensor | None, Tensor | None]:
    dx, dw, _ = torch.ops.aten.convolution_backward(g, x, w, None, *how, False, [0, 0], 1, [*wanted, False])
    return dx, dw

"""Standardise, scale and shift: the arithmetic of batch norm and of group norm, lean under second derivatives.

    y = scale * h + shift,    h = (x - mean) * r,    r = (variance + eps) ** -1/2

Mean and variance are those of a *cell*: one channel of all items (batch norm), or some channels of one item (group
norm). With <u> the mean over a cell and A(u) = u - <u> - h <u h>, the derivative is dx = r A(scale * dy); the second
one is a sum of the same few terms, each a number a channel times a map. So both are written out below, in passes over
whole maps that PyTorch runs at the speed of memory.

Why not PyTorch's own, of which values and first derivatives are taken: differentiated twice, its norms become some
forty small operations; under `vmap(...).mean().backward()` its batch norm gives silently wrong second derivatives, and
wrong third ones anywhere; its group norm has no vmap rule for channels-last memory (torch 2.13, CPU). Under vmap and
torch.compile the plain formulas are used.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

from regard.nn.transforms import inside_transform


def standardise(
    x: Float[Tensor, "N C H W"],
    scale: Float[Tensor, " C"],
    shift: Float[Tensor, " C"],
    *,
    groups: int | None,
    eps: float = 1e-5,
) -> Float[Tensor, "N C H W"]:
    """Normalise cells of x, then scale and shift each channel. Differentiable any number of times.

    Args:
        x: (N, C, H, W), channels last in memory for speed.
        scale, shift: (C,).
        groups: how many cells the channels of one item make; None for one cell a channel, over all items.
        eps: added to the variance.
    """
    if inside_transform() or torch.compiler.is_compiling() or x.dtype != scale.dtype:
        return plain_standardise(x, scale, shift, groups=groups, eps=eps)
    return _Standardise.apply(x, scale, shift, groups, eps)


def plain_standardise(x: Tensor, scale: Tensor, shift: Tensor, *, groups: int | None, eps: float = 1e-5) -> Tensor:
    """The same, as the formula says it."""
    centred, _, r = _moments(x, groups, eps)
    return torch.addcmul(shift[:, None, None], centred, r * scale[:, None, None])


def _mean(x: Tensor, groups: int | None) -> Tensor:
    """(N, C, 1, 1) mean over places, or (1, C, 1, 1) over items and places."""
    return x.mean((0, 2, 3) if groups is None else (2, 3), keepdim=True)


def _cell(mean: Tensor, groups: int | None) -> Tensor:
    """The mean of each channel to the mean of its cell, still a number a channel."""
    if groups is None:
        return mean
    cells = mean.unflatten(1, (groups, -1))
    return cells.mean(2, keepdim=True).expand_as(cells).flatten(1, 2)


def _moments(x: Tensor, groups: int | None, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    mean = _cell(_mean(x, groups), groups)
    centred = x - mean
    return centred, mean, (_cell(_mean(centred.square(), groups), groups) + eps).rsqrt()


def _curvatures(
    v: tuple[Tensor, Tensor, Tensor],
    g: Tensor,
    x: Tensor,
    scale: Tensor,
    mean: Tensor,
    r: Tensor,
    groups: int | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """What `v`, the slopes by the three results of `_slopes`, are by g, x and scale."""
    v_dx, v_scale, v_shift = v[0], v[1][:, None, None], v[2][:, None, None]
    g_mean, v_mean = _mean(g, groups), _mean(v_dx, groups)
    gh_mean = (_mean(g * x, groups) - mean * g_mean) * r
    vh_mean = (_mean(v_dx * x, groups) - mean * v_mean) * r
    vg_mean = _mean(v_dx * g, groups)
    v_cell, vh_cell = _cell(v_mean, groups), _cell(vh_mean, groups)
    g_cell, gh_cell = _cell(scale * g_mean, groups), _cell(scale * gh_mean, groups)

    # by g: scale r A(v) + v_scale h + v_shift
    by_v, by_h = scale * r, v_scale - scale * r * vh_cell
    dg = torch.addcmul(v_shift - by_v * v_cell - by_h * r * mean, x, by_h * r)
    dg = torch.addcmul(dg, v_dx, by_v)

    # by scale: g r A(v), summed
    n = g.numel() // max(g_mean.numel(), 1)
    dscale = (r * (vg_mean - g_mean * v_cell - gh_mean * vh_cell)).sum(0) * n

    # by x: r A(v_scale g) - r^2 (<v h> A(scale g) + <scale g h> A(v) + e h)
    e = _cell(scale * vg_mean, groups) - g_cell * v_cell - gh_cell * vh_cell
    by_g, by_v = r * v_scale - r * r * vh_cell * scale, -r * r * gh_cell
    constant = -r * _cell(v_scale * g_mean, groups) + r * r * (vh_cell * g_cell + gh_cell * v_cell)
    by_h = -r * _cell(v_scale * gh_mean, groups) + r * r * (2 * vh_cell * gh_cell - e)
    dx = torch.addcmul(constant - by_h * r * mean, x, by_h * r)
    return dg, torch.addcmul(torch.addcmul(dx, g, by_g), v_dx, by_v), dscale


class _Standardise(Function):
    """Values by PyTorch's kernels, which need few passes; derivatives by `_Slopes`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor, groups: int | None, eps: float) -> Tensor:
        if groups is None:
            y, mean, r = torch.native_batch_norm(x, scale, shift, None, None, True, 0.0, eps)
        else:
            n, c, h, w = x.shape
            y, mean, r = torch.native_group_norm(x, scale, shift, n, c, h * w, groups, eps)
        ctx.save_for_backward(x, scale, mean, r)
        ctx.groups, ctx.eps = groups, eps
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (g,) = grads
        return *_Slopes.apply(g, *ctx.saved_tensors, ctx.groups, ctx.eps), None, None


class _Slopes(Function):
    """A function of its own, so that it has a derivative of its own."""

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, x: Tensor, scale: Tensor, mean: Tensor, r: Tensor, groups: int | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(g, x, scale, mean, r)
        ctx.groups, ctx.eps = groups, eps
        if groups is None:
            return _batch_norm_slopes(g, x, scale, None, None, mean, r, True, eps, _ALL)
        n, c, h, w = x.shape
        channels_last = x.is_contiguous(memory_format=torch.channels_last)
        # The kernel reads both in one order.
        g = g.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
        return _group_norm_slopes(g, x, mean, r, scale, n, c, h * w, groups, _ALL)

    @staticmethod
    def backward(ctx: Any, *v: Tensor) -> tuple[Tensor | None, ...]:
        g, x, scale, mean, r = ctx.saved_tensors
        groups = ctx.groups
        if torch.is_grad_enabled():  # somebody goes on to a third derivative: the moments depend on x
            _, mean, r = _moments(x, groups, ctx.eps)
        else:
            mean, r = (_a_channel_each(t, x, groups) for t in (mean, r))
        dg, dx, dscale = _curvatures((v[0], v[1], v[2]), g, x, scale[:, None, None], mean, r, groups)
        return dg, dx, dscale.flatten(), None, None, None, None


_batch_norm_slopes = torch.ops.aten.native_batch_norm_backward
_group_norm_slopes = torch.ops.aten.native_group_norm_backward
_ALL = [True, True, True]


def _a_channel_each(moment: Tensor, x: Tensor, groups: int | None) -> Tensor:
    """A moment as a kernel keeps it, (C,) or (N, groups), to (1, C, 1, 1) or (N, C, 1, 1)."""
    if groups is None:
        return moment[None, :, None, None]
    n, c = x.shape[:2]
    return moment[..., None].expand(n, groups, c // groups).reshape(n, c, 1, 1)

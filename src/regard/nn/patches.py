"""The first block of a convolutional stack, from patches: convolution, batch norm and pooling without their widest map.

A 3x3 convolution multiplies its weights W (D, K) with patches p (K,) of the image, K = 9 C. So over all patches of a
set of items the channels of W p have

    mean      W m,              m = mean of p          (K,)
    variance  diag(W S W^T),    S = covariance of p    (K, K)

and m and S do not depend on W: they are computed once for a set of items, however often W moves. Batch norm then is an
affine map that is known before the convolution is done, and folds into it. What is left is a product of patches with
folded weights, and for max-pool the largest of four such products: the map of all places, the widest of the network,
is never kept, nor normalised, nor walked through backwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from regard.nn.transforms import inside_transform


@dataclass(frozen=True)
class Patches:
    """What a first 3x3 convolution with batch norm needs of N items.

    Args:
        rows: (O, N * H * W, K + 1): of each place of the map, its patch and a 1; O = 4 where places are pooled by 2x2.
        mean: (K,) over all places, also those that pooling leaves out at an odd edge.
        covariance: (K, K), likewise.
        size: (N, H, W) of the map.
    """

    rows: Float[Tensor, "O R _"]
    mean: Float[Tensor, " K"]
    covariance: Float[Tensor, "K K"]
    size: tuple[int, int, int]


def patches_of(image: Float[Tensor, "N C H W"], *, stride: int, pooled: bool) -> Patches:
    """The patches of a 3x3 convolution with padding 1.

    Args:
        image: (N, C, H, W).
        stride: of the convolution.
        pooled: whether a max-pool of 2x2 follows.
    """
    n = image.shape[0]
    height, width = ((side - 1) // stride + 1 for side in image.shape[2:])
    rows = F.unfold(image, 3, padding=1, stride=stride).mT.unflatten(1, (height, width))
    every = rows.flatten(0, 2)
    mean = every.mean(0)
    centred = every - mean
    covariance = centred.mT @ centred / every.shape[0]
    if pooled:
        height, width = height // 2, width // 2
        rows = rows[:, : 2 * height, : 2 * width].unflatten(1, (height, 2)).unflatten(3, (width, 2))
        rows = rows.permute(2, 4, 0, 1, 3, 5)
    rows = rows.reshape(4 if pooled else 1, n * height * width, -1)
    return Patches(F.pad(rows, (0, 1), value=1.0), mean, covariance, (n, height, width))


def first_block(
    patches: Patches,
    weight: Float[Tensor, "D C 3 3"],
    scale: Float[Tensor, " D"],
    shift: Float[Tensor, " D"],
    eps: float,
) -> Float[Tensor, "N D H W"]:
    """Convolution, batch norm on batch statistics, and max-pool where the patches are of one; channels last."""
    flat = weight.flatten(1)
    variance = ((flat @ patches.covariance) * flat).sum(1)
    factor = scale * (variance + eps).rsqrt()
    folded = torch.cat([flat * factor[:, None], (shift - factor * (flat @ patches.mean))[:, None]], 1).mT
    rows = patches.rows
    if rows.shape[0] == 1:
        z = rows[0] @ folded
    elif inside_transform() or rows.requires_grad:
        z = _largest(rows @ folded)
    else:
        z = _Largest.apply(rows, folded)
    n, height, width = patches.size
    return z.view(n, height, width, -1).permute(0, 3, 1, 2)


def _largest(z: Float[Tensor, "4 R D"]) -> Float[Tensor, "R D"]:
    return torch.maximum(torch.maximum(z[0], z[1]), torch.maximum(z[2], z[3]))


class _Largest(Function):
    """(4, R, K) rows and (K, D) weights to the largest of each four products, (R, D).

    Who won is kept as zeros and ones in floating point, since PyTorch's masks of booleans take five times as long.
    Of equals the first wins.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, folded: Tensor) -> Tensor:
        a, b, c, d = (row @ folded for row in rows)
        b_wins = torch.gt(b, a, out=torch.empty_like(a))
        torch.maximum(a, b, out=a)
        d_wins = torch.gt(d, c, out=b)
        torch.maximum(c, d, out=c)
        c_or_d_wins = torch.gt(c, a, out=d)
        ctx.save_for_backward(rows, b_wins, d_wins, c_or_d_wins)
        return torch.maximum(a, c, out=a)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[None, Tensor]:  # type: ignore[override]
        return None, _LargestSlope.apply(g, *ctx.saved_tensors)  # type: ignore[return-value]


class _LargestSlope(Function):
    """The slope by the weights, linear in g: what each winner's row adds. Its own slope picks the winners again."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, rows: Tensor, b_wins: Tensor, d_wins: Tensor, c_or_d_wins: Tensor) -> Tensor:
        ctx.save_for_backward(rows, b_wins, d_wins, c_or_d_wins)
        late = g * c_or_d_wins
        early = g - late
        part = early * b_wins
        slope = rows[1].mT @ part
        slope.addmm_(rows[0].mT, torch.sub(early, part, out=part))
        slope.addmm_(rows[3].mT, torch.mul(late, d_wins, out=part))
        return slope.addmm_(rows[2].mT, torch.sub(late, part, out=part))

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        rows, b_wins, d_wins, c_or_d_wins = ctx.saved_tensors
        a, b, c, d = (row @ v for row in rows)
        return torch.lerp(torch.lerp(a, b, b_wins), torch.lerp(c, d, d_wins), c_or_d_wins), None, None, None, None

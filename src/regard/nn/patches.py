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
        rows: (O, K + 1, N * H * W): of each place of the map, its patch and a 1; O = 4 where places are pooled by 2x2.
        mean: (K,) over all places, also those that pooling leaves out at an odd edge.
        covariance: (K, K), likewise.
        size: (N, H, W) of the map.
    """

    rows: Float[Tensor, "O _ R"]
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
    # As F.unfold, with pixels last, where they are copied many at a time.
    wide = F.pad(image, (1, 1, 1, 1)).transpose(0, 1)
    down, along = (range(side * stride) for side in (height, width))
    at = [(slice(i, i + len(down), stride), slice(j, j + len(along), stride)) for i in range(3) for j in range(3)]
    every = torch.stack([wide[:, :, rows, columns] for rows, columns in at], 1).flatten(0, 1)
    mean = every.flatten(1).mean(1)
    centred = every.flatten(1) - mean[:, None]
    covariance = centred @ centred.mT / centred.shape[1]
    if pooled:
        height, width = height // 2, width // 2
        every = every[..., : 2 * height, : 2 * width].unflatten(2, (height, 2)).unflatten(4, (width, 2))
        places = every.permute(3, 5, 0, 1, 2, 4).flatten(0, 1)
    else:
        places = every[None]
    rows = places.new_ones(places.shape[0], len(mean) + 1, n * height * width)
    rows[:, :-1].view_as(places).copy_(places)
    return Patches(rows, mean, covariance, (n, height, width))


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
    plainly = inside_transform() or rows.requires_grad
    if rows.shape[0] == 1:
        z = rows[0].mT @ folded if plainly else _Product.apply(rows[0], folded)
    else:
        z = _largest(rows.mT @ folded) if plainly else _Largest.apply(rows, folded)
    n, height, width = patches.size
    return z.view(n, height, width, -1).permute(0, 3, 1, 2)


def _largest(z: Float[Tensor, "4 R D"]) -> Float[Tensor, "R D"]:
    return torch.maximum(torch.maximum(z[0], z[1]), torch.maximum(z[2], z[3]))


class _Product(Function):
    """(K, R) rows and (K, D) weights to (R, D). PyTorch's slope multiplies the other way about, which takes longer."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, folded: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        return rows.mT @ folded

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor]:
        (g,) = grads
        return None, _ProductSlope.apply(*ctx.saved_tensors, g)


class _ProductSlope(Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, g: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        return rows @ g

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor]:
        (v,) = grads
        return None, _Product.apply(*ctx.saved_tensors, v)


class _Largest(Function):
    """(4, K, R) rows and (K, D) weights to the largest of each four products, (R, D).

    Who won is kept as zeros and ones in floating point, since PyTorch's masks of booleans take five times as long.
    Of equals the first wins.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, folded: Tensor) -> Tensor:
        a, b, c, d = (row.mT @ folded for row in rows)
        b_wins = torch.gt(b, a, out=torch.empty_like(a))
        torch.maximum(a, b, out=a)
        d_wins = torch.gt(d, c, out=b)
        torch.maximum(c, d, out=c)
        c_or_d_wins = torch.gt(c, a, out=d)
        ctx.save_for_backward(rows, b_wins, d_wins, c_or_d_wins)
        return torch.maximum(a, c, out=a)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor]:
        (g,) = grads
        return None, _LargestSlope.apply(g, *ctx.saved_tensors)


class _LargestSlope(Function):
    """The slope by the weights, linear in g: what each winner's row adds. Its own slope picks the winners again."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, rows: Tensor, b_wins: Tensor, d_wins: Tensor, c_or_d_wins: Tensor) -> Tensor:
        ctx.save_for_backward(rows, b_wins, d_wins, c_or_d_wins)
        late = g * c_or_d_wins
        early = g - late
        part = early * b_wins
        slope = rows[1] @ part
        slope.addmm_(rows[0], torch.sub(early, part, out=part))
        slope.addmm_(rows[3], torch.mul(late, d_wins, out=part))
        return slope.addmm_(rows[2], torch.sub(late, part, out=part))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (v,) = grads
        rows, b_wins, d_wins, c_or_d_wins = ctx.saved_tensors
        a, b, c, d = (row.mT @ v for row in rows)
        return torch.lerp(torch.lerp(a, b, b_wins), torch.lerp(c, d, d_wins), c_or_d_wins), None, None, None, None

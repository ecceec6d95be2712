"""Conv4: four 3x3 convolutions, the encoder of Vinyals et al. 2016 (arXiv:1606.04080) and of most of this field.

Each block is convolution, norm, max-pool, ReLU. Pooling comes before ReLU: the two commute, and the second then works
on a quarter of the values. `n_halvings` below 4 keeps a larger map: 28x28 images halved twice leave 7x7 parts.

Differs from the paper: the norm is by policy, and the default ("group") mixes nothing between items, where the papers'
code uses batch statistics in training. Say norm="batch" for theirs.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from regard.episode import Items, first_tensor
from regard.errors import EpisodeError
from regard.nn.convolution import Conv2d
from regard.nn.encoder import as_images
from regard.nn.film import FilmEncoder, modulated
from regard.nn.norm import Norm, TransductiveNorm, norm_2d
from regard.nn.patches import Patches, first_block, patches_of

_MOST_CHANNELS = 4
"""Of an image whose patches are worth unfolding."""


class Conv4(FilmEncoder):
    """Images to vectors or parts.

    Args:
        n_channels: of the image, 1 or 3.
        n_filters: D, of each of the four convolutions; or four numbers, of which the last is D.
        norm: see `regard.nn.norm`.
        n_halvings: how many of the blocks, from the first, halve the map.
        halve_by: "pool" as in the paper, or "stride" as in MAML's code: a third of the time, and a little less accurate
            after the same number of steps.
        parts: give (N, P, D), a vector for each place of the last map, instead of one vector.
        pool: one vector is the map's "flat"tening, as in the paper, or its "mean".
        image_size: side of the images, which "flat" needs to know D.

    Examples:
        >>> Conv4(n_filters=8)(torch.rand(2, 28, 28)).shape
        torch.Size([2, 8])
        >>> Conv4(n_filters=8, n_halvings=2, parts=True)(torch.rand(2, 28, 28)).shape  # a vector for each of 7x7 places
        torch.Size([2, 49, 8])
    """

    def __init__(
        self,
        n_channels: int = 1,
        n_filters: int | tuple[int, int, int, int] = 64,
        *,
        norm: Norm = "group",
        n_halvings: int = 4,
        halve_by: Literal["pool", "stride"] = "pool",
        parts: bool = False,
        pool: str = "flat",
        image_size: int = 28,
    ) -> None:
        super().__init__()
        widths = (n_filters,) * 4 if isinstance(n_filters, int) else n_filters
        self.n_channels, self.parts, self.pool, self.film_widths = n_channels, parts, pool, widths
        side = image_size
        blocks: list[nn.Module] = []
        for i, width in enumerate(widths):
            halves = i < n_halvings
            stride = 2 if halves and halve_by == "stride" else 1
            n_in = widths[i - 1] if i else n_channels
            blocks += [Conv2d(n_in, width, 3, stride, padding=1, bias=norm == "none"), norm_2d(norm, width)]
            if halve_by == "pool":
                # An idle layer keeps the names of the weights, which so fit whatever is halved: see a recipe's `start`.
                blocks.append(nn.MaxPool2d(2) if halves else nn.Identity())
            side = side if not halves else side // 2 if halve_by == "pool" else (side + 1) // 2
            blocks.append(nn.ReLU(inplace=False))
        self.blocks = convert_conv2d_weight_memory_format(nn.Sequential(*blocks), torch.channels_last)
        self.n_features = widths[-1] * (side * side if pool == "flat" and not parts else 1)

    def prepare(self, x: Items) -> Items | Patches:
        """Images to patches and their moments, where the first block can be had from them; see `regard.nn.patches`."""
        conv, norm, after = self.blocks[0], self.blocks[1], self.blocks[2]
        # Under autocast the convolution itself is the fast one, and products of two precisions are none.
        autocast = torch.is_autocast_enabled(first_tensor(x).device.type)
        if not isinstance(norm, TransductiveNorm) or self.n_channels > _MOST_CHANNELS or autocast:
            return x
        assert isinstance(conv, nn.Conv2d)
        return patches_of(as_images(x, self.n_channels), stride=conv.stride[0], pooled=isinstance(after, nn.MaxPool2d))

    def forward(self, x: Items | Patches, film: Float[Tensor, "N F"] | None = None) -> Float[Tensor, "N *P D"]:
        """(N, H, W) or (N, H, W, C) images, or what `prepare` made of them, to (N, D) or (N, P, D)."""
        if isinstance(x, Patches):
            if film is not None:
                raise EpisodeError("patches cannot be modulated: expected the images themselves beside film.")
            conv, norm, *rest = self.blocks
            assert isinstance(conv, nn.Conv2d) and isinstance(norm, TransductiveNorm)
            z = first_block(x, conv.weight, norm.scale, norm.shift, norm.eps)
            for block in rest[1:] if x.rows.shape[0] == 4 else rest:  # the max-pool is done
                z = block(z)
        else:
            z = modulated(self.blocks, as_images(x, self.n_channels), film, self.film_widths)
        if self.parts:
            return z.flatten(2).mT
        return z.flatten(1) if self.pool == "flat" else z.mean((2, 3))

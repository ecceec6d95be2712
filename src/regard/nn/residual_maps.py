"""Residual blocks on the last map of a small picture: depth where it costs little.

Two 3x3 convolutions, each with a norm, a max-pool and a ReLU, as the first half of Conv4; then residual blocks of two
3x3 convolutions that keep the map. 28x28 pictures leave 7x7 parts, and a layer there costs a fraction of one at full
size: eight of them double the time of Conv4's two.

He et al. 2016, "Deep Residual Learning for Image Recognition" (arXiv:1512.03385), the block as in their networks for
CIFAR-10.

Differs from the paper: pooling in the stem, no halving after it, and the norm by policy; norm="batch" is theirs.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import convert_conv2d_weight_memory_format

from regard.episode import Items
from regard.nn.encoder import Encoder, as_images
from regard.nn.norm import Norm, norm_2d


class ResidualMaps(Encoder):
    """Pictures to parts, or to their mean.

    Args:
        n_channels: of the picture, 1 or 3.
        stem: widths of the two convolutions that halve the map.
        width: D, of every block.
        n_blocks: of two convolutions each.
        norm: see `regard.nn.norm`.
        parts: give (N, P, D), a vector for each place of the last map, instead of their mean.

    Raises:
        EpisodeError: in `forward`, pictures with another number of channels.
    """

    def __init__(
        self,
        n_channels: int = 1,
        stem: tuple[int, int] = (32, 64),
        width: int = 128,
        n_blocks: int = 4,
        *,
        norm: Norm = "group",
        parts: bool = False,
    ) -> None:
        super().__init__()
        self.n_channels, self.n_features, self.parts = n_channels, width, parts
        layers: list[nn.Module] = []
        n_in = n_channels
        for n_out in stem:
            # Pooling before ReLU: the two commute, and the second then works on a quarter of the values.
            layers += [_conv(n_in, n_out, norm), norm_2d(norm, n_out), nn.MaxPool2d(2), nn.ReLU()]
            n_in = n_out
        for _ in range(n_blocks):
            layers.append(_Block(n_in, width, norm))
            n_in = width
        self.blocks = convert_conv2d_weight_memory_format(nn.Sequential(*layers), torch.channels_last)

    def forward(self, x: Items) -> Float[Tensor, "N *P D"]:
        """(N, H, W) or (N, H, W, C) pictures to (N, P, D) or (N, D)."""
        z = self.blocks(as_images(x, self.n_channels))
        return z.flatten(2).mT if self.parts else z.mean((2, 3))


class _Block(nn.Module):
    def __init__(self, n_in: int, n_out: int, norm: Norm) -> None:
        super().__init__()
        self.path = nn.Sequential(
            _conv(n_in, n_out, norm),
            norm_2d(norm, n_out),
            nn.ReLU(),
            _conv(n_out, n_out, norm),
            norm_2d(norm, n_out),
        )
        self.shortcut = nn.Identity() if n_in == n_out else nn.Conv2d(n_in, n_out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.path(x) + self.shortcut(x))


def _conv(n_in: int, n_out: int, norm: Norm) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, 3, padding=1, bias=norm == "none")

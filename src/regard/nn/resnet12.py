"""ResNet-12: the larger encoder of few-shot images (84x84), as in MetaOptNet and FEAT.

Four residual blocks of three 3x3 convolutions, widths 64, 160, 320, 640, leaky ReLU of slope 0.1, each block halving
the map: 84x84 leaves 5x5 parts of 640 features.

Lee et al. 2019, "Meta-Learning with Differentiable Convex Optimization", arXiv:1904.03758; Ye et al. 2020, "Few-Shot
Learning via Embedding Adaptation with Set-to-Set Functions", arXiv:2003.03777.

Differs from the papers: DropBlock is left out (a random mask would make an episode depend on more than its number),
and the norm is by policy, "group" unless said; norm="batch" is theirs.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import convert_conv2d_weight_memory_format

from regard.episode import Items
from regard.nn.encoder import Encoder, as_images
from regard.nn.norm import Norm, norm_2d

_SLOPE = 0.1


class ResNet12(Encoder):
    """Images to vectors or parts.

    Args:
        n_channels: of the image, 1 or 3.
        widths: of the four blocks; the last is D.
        norm: see `regard.nn.norm`.
        parts: give (N, P, D), a vector for each place of the last map, instead of their mean.

    Raises:
        EpisodeError: in `forward`, images with another number of channels.
    """

    def __init__(
        self,
        n_channels: int = 3,
        widths: tuple[int, int, int, int] = (64, 160, 320, 640),
        *,
        norm: Norm = "group",
        parts: bool = False,
    ) -> None:
        super().__init__()
        self.n_channels, self.n_features, self.parts = n_channels, widths[-1], parts
        self.blocks = nn.Sequential(*(_Block(a, b, norm) for a, b in pairwise((n_channels, *widths))))
        convert_conv2d_weight_memory_format(self.blocks, torch.channels_last)

    def forward(self, x: Items) -> Float[Tensor, "N *P D"]:
        """(N, H, W) or (N, H, W, C) images to (N, D) or (N, P, D)."""
        z = self.blocks(as_images(x, self.n_channels))
        return z.flatten(2).mT if self.parts else z.mean((2, 3))


class _Block(nn.Module):
    """Three convolutions beside a shortcut of one, then the pool."""

    def __init__(self, n_in: int, n_out: int, norm: Norm) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, width in enumerate((n_in, n_out, n_out)):
            layers += [nn.LeakyReLU(_SLOPE)] if i else []
            layers += [nn.Conv2d(width, n_out, 3, padding=1, bias=norm == "none"), norm_2d(norm, n_out)]
        self.path = nn.Sequential(*layers)
        self.shortcut = nn.Sequential(nn.Conv2d(n_in, n_out, 1, bias=norm == "none"), norm_2d(norm, n_out))

    def forward(self, x: Tensor) -> Tensor:
        # Pooling before the activation: the two commute, and the second then works on a quarter of the values.
        return F.leaky_relu(F.max_pool2d(self.path(x) + self.shortcut(x), 2), _SLOPE)

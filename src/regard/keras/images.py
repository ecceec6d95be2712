"""Encoders of images, as `regard.nn.conv4` and `regard.nn.residual_maps`, channels last throughout."""

from __future__ import annotations

from functools import partial
from math import gcd
from typing import Any

import numpy as np

from regard.errors import ConfigError, EpisodeError, did_you_mean
from regard.extras import import_extra
from regard.keras.base import WeightSource
from regard.keras.vectors import as_floats

keras = import_extra("keras", "keras")
ops, layers = keras.ops, keras.layers

NORMS = ("group", "instance", "batch", "transductive", "none")
_EPSILON = 1e-5


class BatchOfItems(layers.Layer):
    """Batch norm that uses the statistics of whatever it is given, also in prediction: norm "transductive"."""

    def build(self, input_shape: Any) -> None:
        """A scale and a shift per channel."""
        self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="scale")
        self.shift = self.add_weight(shape=(input_shape[-1],), initializer="zeros", name="shift")
        self.built = True

    def call(self, x: Any) -> Any:
        """(N, H, W, C) to the same."""
        centred = x - ops.mean(x, axis=(0, 1, 2), keepdims=True)
        variance = ops.mean(ops.square(centred), axis=(0, 1, 2), keepdims=True)
        return centred * ops.rsqrt(variance + _EPSILON) * self.scale + self.shift


class ImageEncoder(layers.Layer):
    """What encoders of images share: how convolutions and norms are made, named and read.

    Args:
        n_channels: of the image.
        norm: "group", "instance", "batch", "transductive" or "none", as in `regard.nn.norm`.
        parts: give (N, P, D), a vector for each place of the last map.
        options: of `keras.layers.Layer`.
    """

    def __init__(self, n_channels: int, norm: str, parts: bool, **options: Any) -> None:
        super().__init__(**options)
        if norm not in NORMS:
            raise ConfigError(f"norm is {norm!r}: {did_you_mean(norm, NORMS)}")
        self.n_channels, self.norm, self.parts = n_channels, norm, parts

    def part_weight(self, z: Any) -> Any:
        """(N, P): all parts of an image are real."""
        return ops.ones_like(z[..., 0])

    def as_images(self, x: Any) -> Any:
        """(N, H, W) or (N, H, W, C), uint8 or floats from 0 to 1, to (N, H, W, C) floats.

        Raises:
            EpisodeError: another shape.
        """
        if isinstance(x, dict) or (1 if len(x.shape) == 3 else x.shape[-1]) != self.n_channels:
            shape = "a dict" if isinstance(x, dict) else f"of shape {tuple(x.shape[1:])}"
            raise EpisodeError(
                f"items are {shape}: expected images (height, width) with {self.n_channels} channel(s), the last axis."
            )
        image = as_floats(x, self.compute_dtype)
        return ops.expand_dims(image, -1) if len(x.shape) == 3 else image

    def map_vectors(self, z: Any, pool: str) -> Any:
        """(N, H, W, D) to parts, or to one vector by their "mean" or, in PyTorch's order, "flat"."""
        if self.parts:
            return ops.reshape(z, (ops.shape(z)[0], -1, z.shape[-1]))
        if pool == "mean":
            return ops.mean(z, axis=(1, 2))
        size = z.shape[1] * z.shape[2] * z.shape[3]
        return ops.reshape(ops.transpose(z, (0, 3, 1, 2)), (-1, size))

    def convolution(self, width: int, size: int = 3, *, stride: int = 1, use_bias: bool | None = None) -> Any:
        """A convolution; with stride 2, after a border of zeros, where PyTorch puts it."""
        return layers.Conv2D(
            width,
            size,
            strides=stride,
            padding="same" if stride == 1 else "valid",
            use_bias=self.norm == "none" if use_bias is None else use_bias,
            kernel_initializer=keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform"),
            data_format="channels_last",
            dtype=self.dtype_policy,
        )

    def norm_of(self, width: int) -> Any:
        """A norm by policy; None for none."""
        same = {"dtype": self.dtype_policy}
        if self.norm in ("group", "instance"):
            n_groups = gcd(8, width) if self.norm == "group" else width
            return layers.GroupNormalization(n_groups, epsilon=_EPSILON, **same)
        if self.norm == "batch":
            return layers.BatchNormalization(momentum=0.9, epsilon=_EPSILON, **same)
        return BatchOfItems(**same) if self.norm == "transductive" else None

    def norm_sources(self, name: str, layer: Any) -> list[WeightSource]:
        """Where the weights of a norm are."""
        if layer is None:
            return []
        if self.norm == "transductive":
            return [WeightSource(f"{name}.scale", layer.scale), WeightSource(f"{name}.shift", layer.shift)]
        scales = [WeightSource(f"{name}.weight", layer.gamma), WeightSource(f"{name}.bias", layer.beta)]
        if self.norm != "batch":
            return scales
        moving = (("running_mean", layer.moving_mean), ("running_var", layer.moving_variance))
        return [*scales, *(WeightSource(f"{name}.{key}", variable) for key, variable in moving)]


def convolution_sources(name: str, layer: Any) -> list[WeightSource]:
    """Where the weights of a convolution are."""
    bias = [WeightSource(f"{name}.bias", layer.bias)] if layer.use_bias else []
    return [WeightSource(f"{name}.weight", layer.kernel, partial(np.transpose, axes=(2, 3, 1, 0))), *bias]


@keras.saving.register_keras_serializable("regard")
class Conv4Layer(ImageEncoder):
    """Four convolutions, each with norm, halving and ReLU.

    Args:
        n_channels: of the image, 1 or 3.
        n_filters: of each convolution, or four numbers.
        norm: see `ImageEncoder`.
        n_halvings: how many of the blocks, from the first, halve the map.
        halve_by: "pool" or "stride".
        parts: give (N, P, D).
        pool: one vector is the map's "flat"tening or its "mean".
        image_size: side of the images.
        options: of `keras.layers.Layer`.
    """

    def __init__(
        self,
        n_channels: int = 1,
        n_filters: Any = 64,
        *,
        norm: str = "group",
        n_halvings: int = 4,
        halve_by: str = "pool",
        parts: bool = False,
        pool: str = "flat",
        image_size: int = 28,
        **options: Any,
    ) -> None:
        super().__init__(n_channels, norm, parts, **options)
        self.widths = (n_filters,) * 4 if isinstance(n_filters, int) else tuple(n_filters)
        self.n_halvings, self.halve_by, self.pool, self.image_size = n_halvings, halve_by, pool, image_size
        strides = [2 if i < n_halvings and halve_by == "stride" else 1 for i in range(4)]
        self.convolutions = [self.convolution(w, stride=s) for w, s in zip(self.widths, strides, strict=True)]
        self.norms = [self.norm_of(width) for width in self.widths]

    def build(self, input_shape: Any) -> None:
        """The weights, whatever the size of the images."""
        for n_in, width, conv, norm in zip(
            (self.n_channels, *self.widths[:3]), self.widths, self.convolutions, self.norms, strict=True
        ):
            conv.build((None, None, None, n_in))
            if norm is not None:
                norm.build((None, None, None, width))
        self.built = True

    def call(self, x: Any, training: bool | None = None) -> Any:
        """Images to (N, D) or (N, P, D)."""
        z = self.as_images(x)
        for i, (conv, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            halved = i < self.n_halvings
            z = conv(ops.pad(z, ((0, 0), (1, 1), (1, 1), (0, 0))) if halved and self.halve_by == "stride" else z)
            z = z if norm is None else norm(z)
            z = (
                ops.max_pool(z, (2, 2), (2, 2), data_format="channels_last")
                if halved and self.halve_by == "pool"
                else z
            )
            z = ops.relu(z)
        return self.map_vectors(z, self.pool)

    def weight_sources(self) -> list[WeightSource]:
        """Of the network of the same name in PyTorch."""
        sources = []
        n_steps = 4 if self.halve_by == "pool" else 3
        for i, (conv, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            sources += convolution_sources(f"blocks.{n_steps * i}", conv)
            sources += self.norm_sources(f"blocks.{n_steps * i + 1}", norm)
        return sources

    def blank_items(self) -> Any:
        """Items of the shape that it reads."""
        return np.zeros((1, self.image_size, self.image_size, self.n_channels), "float32")

    def get_config(self) -> dict[str, Any]:
        """What the constructor needs."""
        own = {key: getattr(self, key) for key in ("n_channels", "norm", "n_halvings", "halve_by", "parts", "pool")}
        return {**super().get_config(), **own, "n_filters": self.widths, "image_size": self.image_size}


class ResidualBlock(layers.Layer):
    """Two convolutions with norms, and a way around them.

    Args:
        encoder: makes them.
        n_in, n_out: channels.
        options: of `keras.layers.Layer`.
    """

    def __init__(self, encoder: ImageEncoder, n_in: int, n_out: int, **options: Any) -> None:
        super().__init__(**options)
        self.n_in, self.n_out = n_in, n_out
        self.first, self.second = encoder.convolution(n_out), encoder.convolution(n_out)
        self.first_norm, self.second_norm = encoder.norm_of(n_out), encoder.norm_of(n_out)
        self.shortcut = None if n_in == n_out else encoder.convolution(n_out, 1, use_bias=False)

    def build(self, input_shape: Any) -> None:
        """The weights, whatever the size of the map."""
        for layer, width in (
            (self.first, self.n_in),
            (self.second, self.n_out),
            (self.first_norm, self.n_out),
            (self.second_norm, self.n_out),
            (self.shortcut, self.n_in),
        ):
            if layer is not None:
                layer.build((None, None, None, width))
        self.built = True

    def call(self, x: Any, training: bool | None = None) -> Any:
        """(N, H, W, n_in) to (N, H, W, n_out)."""
        z = self.first(x)
        z = self.second(ops.relu(z if self.first_norm is None else self.first_norm(z)))
        z = z if self.second_norm is None else self.second_norm(z)
        return ops.relu(z + (x if self.shortcut is None else self.shortcut(x)))


@keras.saving.register_keras_serializable("regard")
class ResidualMapsLayer(ImageEncoder):
    """Two halving convolutions, then residual blocks on the small map.

    Args:
        n_channels: of the image.
        stem: widths of the two convolutions.
        width: D, of every block.
        n_blocks: of two convolutions each.
        norm: see `ImageEncoder`.
        parts: give (N, P, D) instead of their mean.
        options: of `keras.layers.Layer`.
    """

    def __init__(
        self,
        n_channels: int = 1,
        stem: Any = (32, 64),
        width: int = 128,
        n_blocks: int = 4,
        *,
        norm: str = "group",
        parts: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(n_channels, norm, parts, **options)
        self.stem, self.width, self.n_blocks = tuple(stem), width, n_blocks
        self.convolutions = [self.convolution(w) for w in self.stem]
        self.norms = [self.norm_of(w) for w in self.stem]
        self.blocks = [
            ResidualBlock(self, width if i else self.stem[-1], width, dtype=self.dtype_policy) for i in range(n_blocks)
        ]

    def build(self, input_shape: Any) -> None:
        """The weights, whatever the size of the images."""
        for n_in, width, conv, norm in zip(
            (self.n_channels, *self.stem[:-1]), self.stem, self.convolutions, self.norms, strict=True
        ):
            conv.build((None, None, None, n_in))
            if norm is not None:
                norm.build((None, None, None, width))
        for block in self.blocks:
            block.build(None)
        self.built = True

    def call(self, x: Any, training: bool | None = None) -> Any:
        """Images to (N, D) or (N, P, D)."""
        z = self.as_images(x)
        for conv, norm in zip(self.convolutions, self.norms, strict=True):
            z = conv(z)
            z = ops.relu(ops.max_pool(z if norm is None else norm(z), (2, 2), (2, 2), data_format="channels_last"))
        for block in self.blocks:
            z = block(z)
        return self.map_vectors(z, "mean")

    def weight_sources(self) -> list[WeightSource]:
        """Of the network of the same name in PyTorch."""
        sources = []
        for i, (conv, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            sources += convolution_sources(f"blocks.{4 * i}", conv) + self.norm_sources(f"blocks.{4 * i + 1}", norm)
        for i, block in enumerate(self.blocks, 4 * len(self.stem)):
            for at, layer in ((0, block.first), (3, block.second)):
                sources += convolution_sources(f"blocks.{i}.path.{at}", layer)
            for at, layer in ((1, block.first_norm), (4, block.second_norm)):
                sources += self.norm_sources(f"blocks.{i}.path.{at}", layer)
            if block.shortcut is not None:
                sources += convolution_sources(f"blocks.{i}.shortcut", block.shortcut)
        return sources

    def blank_items(self) -> Any:
        """Items of the shape that it reads."""
        return np.zeros((1, 28, 28, self.n_channels), "float32")

    def get_config(self) -> dict[str, Any]:
        """What the constructor needs."""
        own = {key: getattr(self, key) for key in ("n_channels", "stem", "width", "n_blocks", "norm", "parts")}
        return {**super().get_config(), **own}

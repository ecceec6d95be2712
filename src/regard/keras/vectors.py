"""Encoders of rows of numbers, as `regard.nn.mlp` and `regard.nn.flat`, and how PyTorch initialises dense layers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from regard.extras import import_extra
from regard.keras.base import WeightSource

keras = import_extra("keras", "keras")
ops, layers = keras.ops, keras.layers


def dense_layer(units: int, *, use_bias: bool = True, activation: str | None = None, **options: Any) -> Any:
    """A dense layer that starts as PyTorch's: uniform up to 1 / sqrt(inputs)."""
    uniform = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
    return layers.Dense(units, use_bias=use_bias, activation=activation, kernel_initializer=uniform, **options)


def dense_sources(name: str, layer: Any) -> list[WeightSource]:
    """Where the weights of a dense layer are."""
    bias = [WeightSource(f"{name}.bias", layer.bias)] if layer.use_bias else []
    return [WeightSource(f"{name}.weight", layer.kernel, np.transpose), *bias]


@keras.saving.register_keras_serializable("regard")
class FlatLayer(layers.Layer):
    """No encoder: the item as it is, flattened; uint8 is divided by 255."""

    def call(self, x: Any) -> Any:
        """(N, *item) to (N, D)."""
        return ops.reshape(as_floats(x, self.compute_dtype), (ops.shape(x)[0], -1))

    def weight_sources(self) -> list[WeightSource]:
        """None."""
        return []

    def blank_items(self) -> Any:
        """Items of the shape that it reads: any."""
        return np.zeros((1, 1), "float32")


@keras.saving.register_keras_serializable("regard")
class MLPLayer(layers.Layer):
    """Dense, ReLU, ..., dense.

    Args:
        n_inputs: numbers in one item, or in one part of it.
        n_features: D.
        hidden: the widths between.
        parts: items are (P, n_inputs), each part mapped by itself.
        options: of `keras.layers.Layer`.
    """

    def __init__(
        self,
        n_inputs: int,
        n_features: int = 64,
        hidden: Sequence[int] = (64, 64),
        *,
        parts: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.n_inputs, self.n_features, self.hidden, self.parts = n_inputs, n_features, tuple(hidden), parts
        self.dense_layers = [
            dense_layer(width, activation="relu" if i < len(self.hidden) else None, dtype=self.dtype_policy)
            for i, width in enumerate((*self.hidden, n_features))
        ]

    def build(self, input_shape: Any) -> None:
        """The weights, whatever the number of items."""
        for layer, (wide, _) in zip(
            self.dense_layers, pairwise((self.n_inputs, *self.hidden, self.n_features)), strict=True
        ):
            layer.build((None, wide))
        self.built = True

    def call(self, x: Any) -> Any:
        """(N, *item) to (N, D), or (N, P, n_inputs) to (N, P, D)."""
        z = as_floats(x, self.compute_dtype)
        z = z if self.parts else ops.reshape(z, (-1, self.n_inputs))
        for layer in self.dense_layers:
            z = layer(z)
        return z

    def weight_sources(self) -> list[WeightSource]:
        """Of the network of the same name in PyTorch."""
        return [
            source for i, layer in enumerate(self.dense_layers) for source in dense_sources(f"layers.{2 * i}", layer)
        ]

    def blank_items(self) -> Any:
        """Items of the shape that it reads."""
        return np.zeros((1, 1, self.n_inputs) if self.parts else (1, self.n_inputs), "float32")

    def get_config(self) -> dict[str, Any]:
        """What the constructor needs."""
        own = {"n_inputs": self.n_inputs, "n_features": self.n_features, "hidden": self.hidden, "parts": self.parts}
        return {**super().get_config(), **own}


def as_floats(x: Any, dtype: str) -> Any:
    """Numbers in `dtype`; of uint8, from 0 to 1."""
    number = ops.cast(x, dtype)
    return number / 255 if keras.backend.standardize_dtype(x.dtype) == "uint8" else number

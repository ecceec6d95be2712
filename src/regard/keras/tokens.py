"""Token sequences to vectors or parts, as `TokenLSTM` of `regard.nn.sequence`, on Keras' own LSTM.

An item is a dict {"ids": (N, L) or (N, L, G), "mask": (N, L)}, and may hold {"rarity": (N, L)}; id 0 and mask 0 are
padding, at any place. PyTorch's gates stand in the order i, f, o, g and Keras' in i, f, g, o.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.errors import ConfigError, EpisodeError, did_you_mean
from regard.extras import import_extra
from regard.keras.attention import row_weights, unit_vectors
from regard.keras.base import WeightSource
from regard.keras.vectors import dense_layer

keras = import_extra("keras", "keras")
ops, layers = keras.ops, keras.layers

_EMPHASIS = 1.5
"""The power of rarity in a part's weight, as in `regard.nn.sequence`."""


class MaskedLSTM(layers.Layer):
    """One LSTM layer in one or both directions; at padding the state stays as it was.

    Args:
        n_inputs: width of the input.
        d_hidden: width of the state of one direction.
        bidirectional: read from both ends.
        options: of `keras.layers.Layer`.
    """

    def __init__(self, n_inputs: int, d_hidden: int, bidirectional: bool, **options: Any) -> None:
        super().__init__(**options)
        self.n_inputs, self.d_hidden = n_inputs, d_hidden
        bound = 1 / math.sqrt(d_hidden)
        self.directions = [
            layers.LSTM(
                d_hidden,
                return_sequences=True,
                go_backwards=backwards,
                kernel_initializer=keras.initializers.RandomUniform(-bound, bound),
                recurrent_initializer=keras.initializers.RandomUniform(-bound, bound),
                use_cudnn=False,  # it takes padding at the end only, and texts without a token not at all
                dtype=self.dtype_policy,
            )
            for backwards in ((False, True) if bidirectional else (False,))
        ]

    def build(self, input_shape: Any) -> None:
        """The weights, whatever the length."""
        for layer in self.directions:
            layer.build((None, None, self.n_inputs))
        self.built = True

    def call(self, x: Any, real: Any, training: bool | None = None) -> Any:
        """(N, L, I) and (N, L) booleans to (N, L, D), the directions side by side."""
        states = [layer(x, mask=real) for layer in self.directions]
        return ops.concatenate([states[0], *(ops.flip(z, axis=1) for z in states[1:])], axis=-1)

    def weight_sources(self, name: str) -> list[WeightSource]:
        """Where the weights are in PyTorch."""
        sources = []
        for direction, layer in enumerate(self.directions):
            variables = (layer.cell.kernel, layer.cell.recurrent_kernel, layer.cell.bias)
            for tensor, variable in zip(("input", "hidden", "bias"), variables, strict=True):
                convert = partial(_of_direction, direction=direction, shape=tuple(variable.shape))
                sources.append(WeightSource(f"{name}.{tensor}", variable, convert))
        return sources


def reorder_gates(x: NDArray[Any], order: tuple[int, ...]) -> NDArray[Any]:
    """The four blocks of the last axis in another order."""
    blocks = np.split(x, 4, axis=-1)
    return np.concatenate([blocks[i] for i in order], axis=-1)


def _of_direction(x: NDArray[Any], *, direction: int, shape: tuple[int, ...]) -> NDArray[Any]:
    return reorder_gates(x[direction], (0, 1, 3, 2)).reshape(shape)


@keras.saving.register_keras_serializable("regard")
class TokenLSTMLayer(layers.Layer):
    """Embedding, LSTM in one or both directions, pooling.

    Args:
        n_tokens: ids run from 0 (padding) to n_tokens - 1.
        d_embed: width of an embedding.
        d_hidden: width of the state of one direction.
        n_layers: LSTMs on top of each other.
        bidirectional: read from both ends.
        dropout: share of embedded and of output features set to 0 in training.
        vocabulary_size: only ids below this one are embedded, see `regard.nn.sequence.TokenLSTM`.
        d_hash: width of the fixed random codes of tokens; 0 for none.
        parts: give (N, L, D) instead of one vector.
        pool: one vector is the "mean" of the tokens, or their learned "attention" pooling.
        options: of `keras.layers.Layer`.

    Raises:
        ConfigError: an unknown pool.
        EpisodeError: when called, items without ids and mask.
    """

    def __init__(
        self,
        n_tokens: int,
        d_embed: int = 128,
        d_hidden: int = 128,
        *,
        n_layers: int = 1,
        bidirectional: bool = True,
        dropout: float = 0.0,
        vocabulary_size: int | None = None,
        d_hash: int = 0,
        parts: bool = False,
        pool: str = "mean",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if pool not in ("mean", "attention"):
            raise ConfigError(f"pool is {pool!r}: {did_you_mean(pool, ('mean', 'attention'))}")
        self._options = {
            "n_tokens": n_tokens,
            "d_embed": d_embed,
            "d_hidden": d_hidden,
            "n_layers": n_layers,
            "bidirectional": bidirectional,
            "dropout": dropout,
            "vocabulary_size": vocabulary_size,
            "d_hash": d_hash,
            "parts": parts,
            "pool": pool,
        }
        d_state = d_hidden * (1 + bidirectional)
        self.vocabulary_size, self.parts, self.n_fixed_features = vocabulary_size, parts, d_hash
        self.n_features = d_state + d_hash
        widths = [d_embed + bool(d_hash), *[d_state] * (n_layers - 1)]
        same = {"dtype": self.dtype_policy}
        self.recurrences = [MaskedLSTM(width, d_hidden, bidirectional, **same) for width in widths]
        self.dropout = layers.Dropout(dropout, **same)
        self.score = dense_layer(1, use_bias=False, **same) if pool == "attention" and not parts else None

    def build(self, input_shape: Any) -> None:
        """The weights, whatever the length."""
        n_tokens, d_embed, d_hash = (self._options[key] for key in ("n_tokens", "d_embed", "d_hash"))
        n_embedded = n_tokens if self.vocabulary_size is None else self.vocabulary_size
        small = keras.initializers.RandomNormal(stddev=0.1)
        self.table = self.add_weight(shape=(n_embedded, d_embed), initializer=small, name="table")
        if d_hash:
            self.codes = self.add_weight(
                shape=(n_tokens, d_hash), initializer=_random_codes, trainable=False, name="codes"
            )
        for layer in self.recurrences:
            layer.build(None)
        if self.score is not None:
            self.score.build((None, self.n_features))
        self.built = True

    def call(self, x: Any, training: bool | None = None) -> Any:
        """Token items to (N, D) or (N, L, D)."""
        if not isinstance(x, dict) or not {"ids", "mask"} <= set(x):
            got = f"a dict of {sorted(x)}" if isinstance(x, dict) else "one tensor"
            raise EpisodeError(f"token items are {got}: expected ids and mask; tokenize the texts first.")
        ids, mask = ops.cast(x["ids"], "int32"), ops.cast(x["mask"], self.compute_dtype)
        real = mask > 0
        z = self.dropout(self._embedded(ids))
        rarity = ops.ones_like(z[..., :1])
        if "rarity" in x:
            rarity = ops.expand_dims(ops.cast(x["rarity"], z.dtype), -1)
        if self.n_fixed_features:
            z = ops.concatenate([z, ops.log1p(rarity)], axis=-1)
        for layer in self.recurrences:
            z = self.dropout(layer(z, real))
        if self.n_fixed_features:
            z = ops.concatenate([self._coded(ids) * ops.power(rarity, _EMPHASIS), z], axis=-1)
        present = ops.cast(real, z.dtype)
        if self.parts:
            return z * ops.expand_dims(present, -1)
        score = ops.zeros_like(present) if self.score is None else ops.squeeze(self.score(z), -1)
        return ops.squeeze(ops.matmul(ops.expand_dims(row_weights(score, present), -2), z), -2)

    def part_weight(self, z: Any) -> Any:
        """(N, L): the length of the codes, or which tokens are not exactly zero."""
        if self.n_fixed_features:
            square = ops.sum(ops.square(z[..., : self.n_fixed_features]), axis=-1)
            positive = square > 0
            return ops.where(positive, ops.sqrt(ops.where(positive, square, ops.ones_like(square))), square)
        return ops.cast(ops.any(z != 0, axis=-1), z.dtype)

    def weight_sources(self) -> list[WeightSource]:
        """Of `TokenLSTM` in PyTorch."""
        sources = [WeightSource("embed.table.weight", self.table)]
        if self.n_fixed_features:
            sources.append(WeightSource("code.table", self.codes))
        for i, layer in enumerate(self.recurrences):
            sources += layer.weight_sources(f"layers.{i}")
        if self.score is not None:
            sources.append(WeightSource("pool.score.weight", self.score.kernel, np.transpose))
        return sources

    def blank_items(self) -> Any:
        """Items of the shape that it reads."""
        return {"ids": np.zeros((1, 1), "int32"), "mask": np.ones((1, 1), "float32")}

    def get_config(self) -> dict[str, Any]:
        """What the constructor needs."""
        return {**super().get_config(), **self._options}

    def _embedded(self, ids: Any) -> Any:
        """The embedding of the id, or the mean over the ids of a token."""
        if self.vocabulary_size is not None:
            first = ids if len(ids.shape) == 2 else ids[..., 0]
            ids = ops.where(first < self.vocabulary_size, first, ops.ones_like(first))
        if len(ids.shape) == 2:
            return ops.take(self.table, ids, axis=0)
        return self._sum_over_ids(self.table, ids, lambda n: n)

    def _coded(self, ids: Any) -> Any:
        """Unit vectors that tell one token from another; n-grams together count as much as the word."""
        if len(ids.shape) == 2:
            return unit_vectors(ops.take(self.codes, ids, axis=0))
        return unit_vectors(self._sum_over_ids(self.codes, ids, ops.sqrt))

    def _sum_over_ids(self, table: Any, ids: Any, divisor: Callable[[Any], Any]) -> Any:
        """The first id's vector and the others' sum over `divisor` of their number."""
        there = ops.cast(ids[..., 1:] > 0, self.compute_dtype)
        others = ops.take(table, ids[..., 1:], axis=0)
        total = ops.squeeze(ops.matmul(ops.expand_dims(there, -2), others), -2)
        n_others = ops.maximum(ops.sum(there, axis=-1, keepdims=True), 1.0)
        return ops.take(table, ids[..., 0], axis=0) + total / divisor(n_others)


def _random_codes(shape: tuple[int, int], dtype: Any = None) -> Any:
    """A random direction for each id; padding and the unknown word are nothing that two tokens could share."""
    codes = keras.initializers.RandomNormal(stddev=1 / math.sqrt(shape[1]))(shape, dtype)
    shared = ops.cast(ops.reshape(ops.arange(shape[0]) >= 2, (-1, 1)), codes.dtype)
    return codes * shared

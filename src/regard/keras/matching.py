"""Matching networks (Vinyals et al. 2016, arXiv:1606.04080) as a Keras model; see `regard.learners.matching`.

    p_s = w_s exp( scale cos(f(x), g(x_s)) ), normalised over the support rows        P(k) = sum of p_s over class k

With full context, a bidirectional LSTM reads the support and an LSTM with attention reads its result K times for each
query. The order of rows then matters, and a weight only counts in the attention.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.errors import ConfigError
from regard.extras import import_extra
from regard.keras.attention import check_choices, compare_all, row_weights
from regard.keras.base import EncodedRows, EpisodeModel, WeightSource
from regard.keras.tokens import reorder_gates
from regard.keras.vectors import dense_layer

keras = import_extra("keras", "keras")
ops, layers = keras.ops, keras.layers

_ALMOST_NONE = {"float64": np.finfo("float64").tiny, "float16": np.finfo("float16").tiny}
"""The vote of a class that has none, as in PyTorch; that of single precision in other types."""


class FullContextLayer(layers.Layer):
    """Full context: rows (B, S, D) and queries (B, Q, D) that have seen the support.

    Args:
        n_reads: K.
        options: of `keras.layers.Layer`.
    """

    def __init__(self, n_reads: int, **options: Any) -> None:
        super().__init__(**options)
        self.n_reads = n_reads

    def build(self, rows_shape: Any, weight_shape: Any, asked_shape: Any) -> None:
        """The weights: as wide as the vectors are."""
        d, same = rows_shape[-1], {"dtype": self.dtype_policy}
        sweep = {"return_sequences": True, "use_cudnn": False, **same}
        self.forwards, self.backwards = layers.LSTM(d, **sweep), layers.LSTM(d, go_backwards=True, **sweep)
        for layer in (self.forwards, self.backwards):
            layer.build((None, None, d))
        self.gates = dense_layer(4 * d, **same)
        self.gates.build((None, None, 3 * d))
        self.built = True

    def call(self, rows: Any, weight: Any, asked: Any) -> tuple[Any, Any]:
        """Rows, their weights (B, S) and queries to rows and queries."""
        present = weight > 0
        there, back = self.forwards(rows, mask=present), self.backwards(rows, mask=present)
        key = rows + there + ops.flip(back, axis=1)
        hidden = read = cell = ops.zeros_like(asked)
        for k in range(self.n_reads):
            if k > 0:
                p = row_weights(compare_all(hidden, key), ops.expand_dims(weight, 1))
                read = ops.matmul(p, key)
            gates = self.gates(ops.concatenate([asked, hidden, read], axis=-1))
            keep, write, show, content = ops.split(gates, 4, axis=-1)
            cell = ops.sigmoid(keep) * cell + ops.sigmoid(write) * ops.tanh(content)
            hidden = ops.sigmoid(show) * ops.tanh(cell) + asked
        return key, hidden


@keras.saving.register_keras_serializable("regard")
class MatchingModel(EpisodeModel):
    """Attention over the support rows.

    Args:
        encoder: items to vectors, see `EpisodeModel`.
        n_reads: K, at least 2, with full context; 0 leaves it out.
        how: "soft", "sparsemax", "entmax" or "hard".
        n_neighbours: how many rows "hard" keeps.
        scale: initial value of the learned factor of the cosines.
        options: of `keras.Model`.

    Raises:
        ConfigError: an unknown `how`.
    """

    def __init__(
        self,
        encoder: Any,
        *,
        n_reads: int = 0,
        how: str = "soft",
        n_neighbours: int = 1,
        scale: float = 10.0,
        **options: Any,
    ) -> None:
        super().__init__(encoder, **options)
        if how == "gumbel":
            raise ConfigError("how is 'gumbel', which draws from PyTorch's generator: expected another in Keras.")
        check_choices(how=how)
        self.n_reads, self.how, self.n_neighbours, self.scale = n_reads, how, n_neighbours, scale
        start = keras.initializers.Constant(math.log(scale))
        self.log_scale = self.add_weight(shape=(), initializer=start, name="log_scale")
        self.context = FullContextLayer(n_reads, dtype=self.dtype_policy) if n_reads else None

    def class_logits(self, rows: EncodedRows, member: Any, asked: EncodedRows) -> Any:
        score = self._score(rows, member, asked)
        if self.how == "soft":
            return _logits_of_classes(score, member)
        of_class = member / _or_one(ops.sum(member, axis=-1, keepdims=True))
        votes = ops.matmul(row_weights(score, _row_weight(member), self.how, k=self.n_neighbours), of_class)
        return ops.log(
            ops.maximum(votes, _ALMOST_NONE.get(keras.backend.standardize_dtype(votes.dtype), np.finfo("float32").tiny))
        )

    def row_attention(self, rows: EncodedRows, member: Any, asked: EncodedRows) -> Any:
        return row_weights(self._score(rows, member, asked), _row_weight(member), self.how, k=self.n_neighbours)

    def weight_sources(self) -> list[WeightSource]:
        sources = [WeightSource("log_scale", self.log_scale)]
        if self.context is not None:
            for name, layer in (("forwards", self.context.forwards), ("backwards", self.context.backwards)):
                d = layer.units
                for key, variable, columns in (
                    ("weight", layer.cell.kernel, slice(0, d)),
                    ("weight", layer.cell.recurrent_kernel, slice(d, 2 * d)),
                    ("bias", layer.cell.bias, slice(None)),
                ):
                    convert = partial(_of_gates, columns=columns)
                    sources.append(WeightSource(f"context.{name}.gates.{key}", variable, convert))
            reading = self.context.gates
            sources.append(WeightSource("context.reading.gates.weight", reading.kernel, np.transpose))
            sources.append(WeightSource("context.reading.gates.bias", reading.bias))
        return sources

    def get_config(self) -> dict[str, Any]:
        own = {key: getattr(self, key) for key in ("n_reads", "how", "n_neighbours", "scale")}
        return {**super().get_config(), **own}

    def _score(self, rows: EncodedRows, member: Any, asked: EncodedRows) -> Any:
        key, query = rows.z, asked.z
        if self.context is not None:
            key, query = self.context(key, ops.sum(member, axis=-1), query)
        return ops.exp(ops.cast(self.log_scale, key.dtype)) * compare_all(query, key, "cosine")


def _of_gates(x: NDArray[Any], *, columns: slice) -> NDArray[Any]:
    """PyTorch's f, i, o, g of `LSTMStep` to Keras' i, f, g, o."""
    return reorder_gates(x[..., columns].T if x.ndim == 2 else x, (1, 0, 3, 2))


def _row_weight(member: Any) -> Any:
    return ops.expand_dims(ops.sum(member, axis=-1), 1)


def _or_one(x: Any) -> Any:
    return ops.where(x > 0, x, ops.ones_like(x))


def _logits_of_classes(score: Any, member: Any) -> Any:
    """(B, Q, S) to the log of the summed weight * exp(score) of each class, each scaled by its own best row."""
    weight = ops.expand_dims(ops.swapaxes(member, 1, 2), 1)
    each = ops.expand_dims(score, 2)
    lowest = ops.stop_gradient(ops.min(each, axis=-1, keepdims=True))
    top = ops.max(ops.where(weight > 0, ops.stop_gradient(each), lowest), axis=-1, keepdims=True)
    total = ops.sum(weight * ops.exp(ops.minimum(each - top, 30.0)), axis=-1)
    return ops.log(_or_one(total)) + ops.squeeze(top, -1)

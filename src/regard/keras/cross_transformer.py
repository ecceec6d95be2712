"""CrossTransformers (Doersch et al. 2020, arXiv:2007.11498) as a Keras model; see `regard.learners.cross_transformer`.

    t_kp = sum over support rows s of class k and places p' of  softmax( q(x)_p . k(x_s)_p' ) v(x_s)_p'
    logit_k(x) = - scale * mean_p | v(x)_p - t_kp |^2

Every row is looked up once, and the classes share rows by membership: the same answers as sorting rows by class, and no
size depends on the labels.
"""

from __future__ import annotations

from typing import Any

from regard.extras import import_extra
from regard.keras.attention import compare_all, row_weights
from regard.keras.base import EncodedRows, EpisodeModel, WeightSource
from regard.keras.vectors import dense_layer, dense_sources

keras = import_extra("keras", "keras")
ops = keras.ops


@keras.saving.register_keras_serializable("regard")
class CrossTransformerModel(EpisodeModel):
    """Query-aligned prototypes by attention between places.

    Args:
        encoder: items to parts (N, P, F), see `EpisodeModel`.
        d_head: D, the width of queries, keys and values.
        options: of `keras.Model`.
    """

    def __init__(self, encoder: Any, *, d_head: int = 128, **options: Any) -> None:
        super().__init__(encoder, **options)
        self.d_head = d_head
        same = {"use_bias": False, "dtype": self.dtype_policy}
        self.key, self.value = dense_layer(d_head, **same), dense_layer(d_head, **same)
        self.log_scale = self.add_weight(shape=(), initializer="zeros", name="log_scale")

    def class_logits(self, rows: EncodedRows, member: Any, asked: EncodedRows) -> Any:
        return self._compared(rows, member, asked)[0]

    def row_attention(self, rows: EncodedRows, member: Any, asked: EncodedRows) -> Any:
        logits, share = self._compared(rows, member, asked)
        logits = ops.where(ops.expand_dims(ops.sum(member, axis=1), 1) > 0, logits, ops.full_like(logits, -1e9))
        return ops.sum(
            ops.expand_dims(row_weights(logits, ops.ones_like(logits)), -1) * ops.mean(share, axis=3), axis=2
        )

    def weight_sources(self) -> list[WeightSource]:
        projections = dense_sources("key", self.key) + dense_sources("value", self.value)
        return [*projections, WeightSource("log_scale", self.log_scale)]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "d_head": self.d_head}

    def _compared(self, rows: EncodedRows, member: Any, asked: EncodedRows) -> tuple[Any, Any]:
        """(B, Q, C) logits, and (B, Q, C, P, S) the share of each row in what its class gives each part of a query."""
        n_tasks, n_query = ops.shape(asked.z)[:2]
        flat = (n_tasks, 1, -1, self.d_head)  # the parts of all queries side by side, R
        query, value = ops.reshape(self.key(asked.z), flat), ops.reshape(self.value(asked.z), flat)
        score = compare_all(query, self.key(rows.z))  # (B, S, R, P)
        found = ops.matmul(row_weights(score, ops.ones_like(score)), self.value(rows.z))  # (B, S, R, D)
        # The softmax over all places of all rows of a class in two steps: places within a row, then rows of the class.
        of_row = ops.expand_dims(ops.transpose(ops.logsumexp(score, axis=-1), (0, 2, 1)), 1)  # (B, 1, R, S)
        share = row_weights(of_row, ops.expand_dims(ops.swapaxes(member, 1, 2), 2))  # (B, C, R, S)
        aligned = ops.einsum("bcrs,bsrd->bcrd", share, found)
        distance = ops.sum(ops.square(value - aligned), axis=-1)  # (B, C, R)
        n_classes = ops.shape(member)[2]
        distance = ops.mean(ops.reshape(distance, (n_tasks, n_classes, n_query, -1)), axis=-1)
        share = ops.reshape(share, (n_tasks, n_classes, n_query, -1, ops.shape(share)[-1]))
        scale = ops.exp(ops.cast(self.log_scale, distance.dtype))
        return -scale * ops.swapaxes(distance, 1, 2), ops.transpose(share, (0, 2, 1, 3, 4))

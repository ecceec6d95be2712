"""The attention meta-learner of embedding, LSTM, attention and dense layer over (support, query), as a Keras model.

    like_sp     = a_sp . cos(x_p, z_s)            how well token p of the query is found on row s
    match(x, s) = mean over p of like_sp,  verdict(x, s) = dense layer on what was found
    logit_k(x)  = scale * mean over the rows s of class k of ( match(x, s) / sqrt(unity_k) + verdict(x, s) )

`regard.learners.attention_meta` says what each part is for, and which papers it is from.
"""

from __future__ import annotations

import math
from typing import Any

from regard.extras import import_extra
from regard.keras.attention import check_choices, compare_all, row_weights
from regard.keras.base import EncodedRows, EpisodeModel, WeightSource
from regard.keras.vectors import dense_layer, dense_sources

keras = import_extra("keras", "keras")
ops, layers = keras.ops, keras.layers

_LEAST_UNITY = 0.05


@keras.saving.register_keras_serializable("regard")
class AttentionMetaModel(EpisodeModel):
    """Attention over the parts of each support row, and a class is what its rows share.

    Args:
        encoder: items to parts (N, P, D), such as `TokenLSTMLayer(..., parts=True)`; see `EpisodeModel`.
        compare: how parts are compared: "dot", "cosine" or "distance".
        how: how the parts of a row are weighted: "soft", "sparsemax", "entmax" or "hard".
        d_head: width of queries and keys, where parts have no fixed codes.
        d_pair: width of values, and inside the dense layer.
        dropout: share of pair features set to 0 in training.
        options: of `keras.Model`.

    Raises:
        ConfigError: an unknown choice.
    """

    def __init__(
        self,
        encoder: Any,
        *,
        compare: str = "cosine",
        how: str = "soft",
        d_head: int = 128,
        d_pair: int = 32,
        dropout: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(encoder, **options)
        check_choices(compare, how)
        self.compare, self.how, self.d_head, self.d_pair, self.rate = compare, how, d_head, d_pair, dropout
        self.n_fixed_features = int(getattr(encoder, "n_fixed_features", 0))
        same = {"dtype": self.dtype_policy}
        # What is not learned yet begins small: every part counts by its weight, and matching alone decides.
        small = {"use_bias": False, "kernel_initializer": keras.initializers.RandomNormal(stddev=1e-3), **same}
        # Queries and keys share one projection, so that a part finds itself. Fixed codes are compared as they are.
        self.key = None if self.n_fixed_features else dense_layer(d_head, use_bias=False, **same)
        self.value = dense_layer(d_pair, use_bias=False, **same)
        self.score = layers.Dense(1, **small)
        self.pair = dense_layer(d_pair, activation="relu", **same)
        self.dropout = layers.Dropout(dropout, **same)
        self.verdict = layers.Dense(1, **small)
        for name, start in (("log_temperature", 0.1), ("log_scale", 15.0)):
            constant = keras.initializers.Constant(math.log(start))
            setattr(self, name, self.add_weight(shape=(), initializer=constant, name=name))

    def class_logits(self, rows: EncodedRows, member: Any, asked: EncodedRows) -> Any:
        return self._logits(rows, member, *self._judged(asked, rows))

    def row_attention(self, rows: EncodedRows, member: Any, asked: EncodedRows) -> Any:
        match, verdict = self._judged(asked, rows)
        logits = self._logits(rows, member, match, verdict)
        logits = ops.where(ops.expand_dims(ops.sum(member, axis=1), 1) > 0, logits, ops.full_like(logits, -1e9))
        score = ops.expand_dims(ops.exp(self.log_scale) * (match + verdict), 2)
        within = row_weights(score, ops.expand_dims(ops.swapaxes(member, 1, 2), 1))  # (B, Q, C, S)
        return ops.sum(ops.expand_dims(row_weights(logits, ops.ones_like(logits)), -1) * within, axis=2)

    def weight_sources(self) -> list[WeightSource]:
        return [
            *([] if self.key is None else dense_sources("key", self.key)),
            *dense_sources("value", self.value),
            *dense_sources("pool.score", self.score),
            *dense_sources("dense.0", self.pair),
            *dense_sources("dense.3", self.verdict),
            WeightSource("log_temperature", self.log_temperature),
            WeightSource("log_scale", self.log_scale),
        ]

    def get_config(self) -> dict[str, Any]:
        own = {key: getattr(self, key) for key in ("compare", "how", "d_head", "d_pair")}
        return {**super().get_config(), **own, "dropout": self.rate}

    def _logits(self, rows: EncodedRows, member: Any, match: Any, verdict: Any) -> Any:
        mass = ops.sum(member, axis=1, keepdims=True)
        share = member / ops.where(mass > 0, mass, ops.ones_like(mass))
        own_match, _ = self._judged(rows, rows)
        unity = ops.maximum(ops.sum(share * ops.matmul(own_match, share), axis=1, keepdims=True), _LEAST_UNITY)
        return ops.exp(self.log_scale) * (ops.matmul(match, share) / ops.sqrt(unity) + ops.matmul(verdict, share))

    def _judged(self, asked: EncodedRows, rows: EncodedRows) -> tuple[Any, Any]:
        """(B, Q, S) twice: how query and support row match, at most 1, and the verdict on them; both read both ways."""
        there, back = self._read(asked, rows), self._read(rows, asked)
        return tuple((ops.swapaxes(a, 1, 2) + b) / 2 for a, b in zip(there, back, strict=True))

    def _read(self, asking: EncodedRows, read: EncodedRows) -> tuple[Any, Any]:
        """(B, Q, P, D) and (B, S, P', D) to (B, S, Q) twice: every asking item looks itself up in every read one."""
        n_tasks, n_asking, n_parts = ops.shape(asking.z)[:3]
        key = self._keys(asking.z)
        # The tokens of all asking items side by side: one large product per read item.
        key = ops.reshape(key, (n_tasks, 1, -1, key.shape[-1]))
        like = compare_all(key, self._keys(read.z), self.compare)  # (B, S, Q * P, P')
        p = row_weights(like / ops.exp(self.log_temperature), ops.expand_dims(read.weight, 2), self.how)
        n_read = ops.shape(read.z)[1]
        by_token = (n_tasks, n_read, n_asking, n_parts)
        found = ops.reshape(ops.matmul(p, self._values(read.z)), (*by_token, self.d_pair))
        match = ops.reshape(ops.sum(p * like, axis=-1), by_token)
        x = ops.expand_dims(self._values(asking.z), 1)  # (B, 1, Q, P, E)
        score = ops.squeeze(self.score(asking.z[..., self.n_fixed_features :]), -1)
        share = ops.expand_dims(row_weights(score, asking.weight), 1)  # (B, 1, Q, P)

        def mean(tokens: Any) -> Any:
            return ops.sum(ops.expand_dims(share, -1) * tokens, axis=-2)

        means = [mean(found), mean(ops.abs(x - found)), mean(x * found)]
        pair = ops.concatenate([mean(x) + ops.zeros_like(means[0]), *means], axis=-1)
        verdict = ops.squeeze(self.verdict(self.dropout(self.pair(pair))), -1)
        return ops.sum(share * match, axis=-1), verdict

    def _keys(self, z: Any) -> Any:
        return z[..., : self.n_fixed_features] if self.key is None else self.key(z)

    def _values(self, z: Any) -> Any:
        return self.value(z[..., self.n_fixed_features :])

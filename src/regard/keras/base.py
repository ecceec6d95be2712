"""What the models share: inputs, encoding, absent classes, and how a model is saved and built again.

    membership (B, S, C)    the weight of each support row, in the column of its class

It is labels, weights and number of classes in one tensor: a row of zeros is padding, a 2 is the row twice, a column of
zeros a class that the task does not have, and C may change from call to call.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from regard.errors import EpisodeError
from regard.extras import import_extra

keras = import_extra("keras", "keras")
ops, tree = keras.ops, keras.tree

ABSENT = -1e9
"""Logit of a class that a task does not have: finite, since some losses multiply it by 0."""


class EncodedRows(NamedTuple):
    """Items as an encoder gives them.

    Args:
        z: (B, R, D), or (B, R, P, D) for parts.
        weight: (B, R, P) how much each part counts, 0 for padding; None for vectors.
    """

    z: Any
    weight: Any


class WeightSource(NamedTuple):
    """Where a weight is in a PyTorch checkpoint.

    Args:
        name: of the tensor there.
        variable: of Keras, which takes it.
        convert: the tensor, as NumPy, to the variable's layout; None where they are the same.
    """

    name: str
    variable: Any
    convert: Any = None


class KeptMask(keras.layers.Layer):
    """The mask that Keras carries beside the output of an encoder, as (N, P) weights; ones where there is none."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.supports_masking = True
        self.built = True  # it has no weights, and encoders of vectors never call it

    def call(self, z: Any, mask: Any = None) -> Any:
        """(N, P, D) to (N, P)."""
        return ops.ones_like(z[..., 0]) if mask is None else ops.cast(mask, z.dtype)


class EpisodeModel(keras.Model):
    """A model of support, membership and query.

    Args:
        encoder: any Keras layer or model from (N, *item) to (N, D), or to (N, P, D) for models that attend to parts.
            Items may be a dict of tensors. What it masks, as `Embedding(mask_zero=True)` does, is padding.
        options: of `keras.Model`, such as `name` and `dtype`.
    """

    def __init__(self, encoder: Any, **options: Any) -> None:
        super().__init__(**options)
        self.encoder = encoder
        self.kept_mask = KeptMask(dtype=self.dtype_policy)
        self._items: str | None = None

    def call(self, inputs: Any, query: Any = None, training: bool | None = None, attending: bool = False) -> Any:
        """(B, Q, C) logits, or (B, Q, S) attention.

        Args:
            inputs: {"support": (B, S, *item), "membership": (B, S, C), "query": (B, Q, *item)}, as `fit` wants it; or
                (support, membership) with the query as second argument.
            query: (B, Q, *item).
            training: as in Keras.
            attending: give the attention over support rows instead of logits.

        Raises:
            EpisodeError: inputs of neither form.
        """
        support, member, query = _three(inputs, query)
        member = ops.cast(member, self.compute_dtype)
        rows, asked = self._encode(support, query)
        member = ops.cast(member, rows.z.dtype)
        if attending:
            return self.row_attention(rows, member, asked)
        mass = ops.expand_dims(ops.sum(member, axis=1), 1)
        logits = self.class_logits(rows, member, asked)
        absent = ops.logical_and(mass <= 0, ops.any(mass > 0, axis=-1, keepdims=True))
        nothing = ops.all(mass <= 0, axis=-1, keepdims=True)
        logits = ops.where(nothing, ops.zeros_like(logits), logits)
        return ops.where(absent, ops.full_like(logits, ABSENT), logits)

    def attend(self, inputs: Any, query: Any = None) -> Any:
        """(B, Q, S): how much of each answer each support row carried; sums to 1 over the rows."""
        return self(inputs, query, attending=True)

    def class_logits(self, rows: EncodedRows, member: Any, asked: EncodedRows) -> Any:
        """(B, Q, C), anything for classes without rows."""
        raise NotImplementedError

    def row_attention(self, rows: EncodedRows, member: Any, asked: EncodedRows) -> Any:
        """(B, Q, S)."""
        raise EpisodeError(f"{type(self).__name__} has no attention over support rows: expected a model that attends.")

    def weight_sources(self) -> list[WeightSource]:
        """Of the model's own weights; those of the encoder have its names behind "encoder."."""
        return []

    def _encode(self, support: Any, query: Any) -> tuple[EncodedRows, EncodedRows]:
        """Both in one pass: fewer, larger convolutions, and one set of batch statistics."""
        if self._items is None:
            named = support if isinstance(support, dict) else {"": support}
            dtype = keras.backend.standardize_dtype
            self._items = json.dumps({key: (tuple(t.shape[2:]), dtype(t.dtype)) for key, t in named.items()})
        joined = tree.map_structure(lambda a, b: ops.concatenate([a, b], axis=1), support, query)
        n_tasks, n_support = ops.shape(tree.flatten(support)[0])[:2]
        z = self.encoder(tree.map_structure(lambda t: ops.reshape(t, (-1, *ops.shape(t)[2:])), joined))
        weight = None
        if len(z.shape) == 3:
            weigh = getattr(self.encoder, "part_weight", None)
            weight = self.kept_mask(z) if weigh is None else weigh(z)
            weight = ops.reshape(weight, (n_tasks, -1, *ops.shape(weight)[1:]))
        z = ops.reshape(z, (n_tasks, -1, *ops.shape(z)[1:]))
        return (
            EncodedRows(z[:, :n_support], None if weight is None else weight[:, :n_support]),
            EncodedRows(z[:, n_support:], None if weight is None else weight[:, n_support:]),
        )

    # ---- saved and loaded ---

    def get_config(self) -> dict[str, Any]:
        """What the constructor needs."""
        return {**super().get_config(), "encoder": keras.saving.serialize_keras_object(self.encoder)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """Undo `get_config`."""
        encoder = keras.saving.deserialize_keras_object(config["encoder"], custom_objects=custom_objects)
        return cls(**{**config, "encoder": encoder})

    def get_build_config(self) -> dict[str, Any] | None:
        """Shapes and dtypes of the items that the model has seen, from which its weights can be made again."""
        return None if self._items is None else {"items": self._items}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Make all weights."""
        items = {
            key: keras.KerasTensor((1, *(size or 1 for size in shape)), dtype)
            for key, (shape, dtype) in json.loads(config["items"]).items()
        }
        self.make_weights(items.get("", items))

    def make_weights(self, items: Any) -> None:
        """All weights, by a call in which nothing is computed.

        Args:
            items: (N, *item), of which only shapes and dtypes matter.
        """
        x = tree.map_structure(lambda t: keras.KerasTensor((1, 1, *t.shape[1:]), str(t.dtype)), items)
        self((x, keras.KerasTensor((1, 1, 1), "float32")), x)


def _three(inputs: Any, query: Any) -> tuple[Any, Any, Any]:
    if isinstance(inputs, dict) and set(inputs) == {"support", "membership", "query"} and query is None:
        return inputs["support"], inputs["membership"], inputs["query"]
    if isinstance(inputs, list | tuple) and len(inputs) == 2 and query is not None:
        return inputs[0], inputs[1], query
    got = f"a dict of {sorted(inputs)}" if isinstance(inputs, dict) else f"a {type(inputs).__name__}"
    raise EpisodeError(
        f"inputs are {got}{'' if query is None else ' and a query'}: expected "
        '{"support": ..., "membership": ..., "query": ...}, or (support, membership) and the query.'
    )

"""A Keras model on TensorFlow or JAX as a function of arrays: its output, and the gradients by all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.extras import import_extra

keras = import_extra("keras", "keras")


@dataclass(frozen=True)
class CallOptions:
    """How a flat list of arrays is one call: weights, then membership, then items of the support and of the query.

    Args:
        n_weights: how many of the arrays are weights.
        keys: of the items; one empty key for items that are one array.
        training: whether dropout and batch statistics are on.
        attending: whether attention is wanted instead of logits.
    """

    n_weights: int
    keys: tuple[str, ...]
    training: bool
    attending: bool

    def inputs(self, arrays: Sequence[Any]) -> tuple[tuple[Any, Any], Any]:
        """The model's own arguments: (support, membership) and query."""
        member, *items = arrays[self.n_weights :]
        support = dict(zip(self.keys, items[: len(self.keys)], strict=True))
        query = dict(zip(self.keys, items[len(self.keys) :], strict=True))
        return (support.get("", support), member), query.get("", query)


class ModelFunction(ABC):
    """The same model called with weights from outside.

    Args:
        model: built.
    """

    def __init__(self, model: Any) -> None:
        self.model = model

    @abstractmethod
    def output(self, options: CallOptions, arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """(B, Q, C) logits or (B, Q, S) attention."""

    @abstractmethod
    def gradients(
        self, options: CallOptions, arrays: Sequence[NDArray[Any]], slope: NDArray[Any]
    ) -> list[NDArray[Any] | None]:
        """Of sum(output * slope) by each array; None where it holds no floats or does not matter."""


class OnTensorFlow(ModelFunction):
    """Eagerly, with a tape."""

    def output(self, options: CallOptions, arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
        return np.asarray(self._call(options, arrays))

    def gradients(
        self, options: CallOptions, arrays: Sequence[NDArray[Any]], slope: NDArray[Any]
    ) -> list[NDArray[Any] | None]:
        tf = import_extra("tensorflow", "keras")
        variables = [v.value for v in self.model.trainable_variables]
        tensors = [*variables, *map(tf.convert_to_tensor, arrays[options.n_weights :])]
        floats = [t for t in tensors if t.dtype.is_floating]
        with tf.GradientTape() as tape:
            tape.watch(floats)
            output = self._call(options, [*arrays[: options.n_weights], *tensors[options.n_weights :]])
        found = iter(tape.gradient(output, floats, tf.convert_to_tensor(slope, output.dtype)))
        slopes = [next(found) if t.dtype.is_floating else None for t in tensors]
        return [None if g is None else np.asarray(tf.convert_to_tensor(g)) for g in slopes]

    def _call(self, options: CallOptions, arrays: Sequence[Any]) -> Any:
        for variable, value in zip(self.model.trainable_variables, arrays, strict=False):
            variable.assign(value)
        rows, query = options.inputs(arrays)
        return self.model(rows, query, training=options.training, attending=options.attending)


class OnJax(ModelFunction):
    """Compiled once for each shape; moving averages stay as they are."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        jax = import_extra("jax", "keras")

        def call(options: CallOptions, arrays: Sequence[Any]) -> Any:
            fixed = [v.value for v in model.non_trainable_variables]
            rows, query = options.inputs(arrays)
            flags = {"training": options.training, "attending": options.attending}
            return model.stateless_call(arrays[: options.n_weights], fixed, rows, query, **flags)[0]

        def gradients(options: CallOptions, arrays: Sequence[Any], slope: Any) -> list[Any]:
            is_float = [np.issubdtype(a.dtype, np.floating) for a in arrays]

            def of_floats(floats: list[Any]) -> Any:
                left = iter(floats)
                return call(options, [next(left) if f else a for f, a in zip(is_float, arrays, strict=True)])

            floats = [a for f, a in zip(is_float, arrays, strict=True) if f]
            output, backward = jax.vjp(of_floats, floats)
            found = iter(backward(slope.astype(output.dtype))[0])
            return [next(found) if f else None for f in is_float]

        self._output, self._gradients = jax.jit(call, static_argnums=0), jax.jit(gradients, static_argnums=0)

    def output(self, options: CallOptions, arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
        return np.asarray(self._output(options, list(arrays)))

    def gradients(
        self, options: CallOptions, arrays: Sequence[NDArray[Any]], slope: NDArray[Any]
    ) -> list[NDArray[Any] | None]:
        return [None if g is None else np.asarray(g) for g in self._gradients(options, list(arrays), slope)]


def model_function(model: Any) -> ModelFunction:
    """Of a built model, on the backend that Keras has."""
    return OnJax(model) if keras.backend.backend() == "jax" else OnTensorFlow(model)

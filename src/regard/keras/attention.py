"""The attention of `regard.nn.attention` in `keras.ops`: what is compared, and how scores become weights.

    p = normalise_s( weight_s, score_s )

A row of weight 0 is an absent row and one of weight 2 is the row twice, for softmax, sparsemax, entmax and top-k. The
attention layers of Keras know neither weights of rows nor cosines or distances.
"""

from __future__ import annotations

import math
from typing import Any

from regard.errors import ConfigError, did_you_mean
from regard.extras import import_extra

ops = import_extra("keras", "keras").ops

COMPARE = ("dot", "cosine", "distance")
HOW = ("soft", "sparsemax", "entmax", "hard")


def check_choices(compare: str | None = None, how: str | None = None) -> None:
    """Refuse an unknown choice when a model is built.

    Raises:
        ConfigError: neither of the choices above.
    """
    if compare is not None and compare not in COMPARE:
        raise ConfigError(f"compare is {compare!r}: {did_you_mean(compare, COMPARE)}")
    if how is not None and how not in HOW:
        raise ConfigError(f"how is {how!r}: {did_you_mean(how, HOW)}")


def compare_all(query: Any, key: Any, compare: str = "dot") -> Any:
    """(..., Q, D) and (..., S, D) to (..., Q, S), larger is nearer; "dot" is scaled by 1 / sqrt(D)."""
    if compare == "cosine":
        query, key = unit_vectors(query), unit_vectors(key)
    product = ops.matmul(query, ops.swapaxes(key, -1, -2))
    if compare == "dot":
        return product / math.sqrt(query.shape[-1])
    if compare == "cosine":
        return product
    lengths = ops.expand_dims(ops.sum(ops.square(query), -1), -1) + ops.expand_dims(ops.sum(ops.square(key), -1), -2)
    return 2 * product - lengths


def unit_vectors(x: Any) -> Any:
    """Unit vectors, and 0 for 0."""
    square = ops.sum(ops.square(x), -1, keepdims=True)
    return x * ops.rsqrt(ops.where(square > 0, square, ops.ones_like(square)))


def row_weights(score: Any, weight: Any, how: str = "soft", *, k: int = 1) -> Any:
    """Scores (..., S) and weights that broadcast with them to a distribution over the last axis.

    Args:
        score: (..., S).
        weight: (..., S), at least 0.
        how: see the module.
        k: how many rows "hard" keeps.

    Returns:
        (..., S), each row sums to 1; all zeros where no row has weight.
    """
    score, weight = score + ops.zeros_like(weight), weight + ops.zeros_like(score)
    if how == "sparsemax":
        return _sparsemax(score, weight)
    if how == "entmax":
        return _entmax(score, weight)
    # The factor, not log(weight), so that the slope at weight 0 is finite; the limit keeps the exponential of a
    # weightless row finite, and times 0 it is 0.
    soft = _normalised(weight * ops.exp(ops.minimum(_shifted(score, weight), 30.0)))
    if how == "soft":
        return soft
    # The k best rows share the mass; a row of weight 2 counts as two rows, and a fraction fills what is left.
    order = ops.argsort(-_hidden(score, weight), axis=-1)
    w = ops.take_along_axis(weight, order, axis=-1)
    kept = ops.minimum(w, ops.maximum(k - (ops.cumsum(w, axis=-1) - w), 0.0))
    hard = ops.take_along_axis(_normalised(kept), ops.argsort(order, axis=-1), axis=-1)
    # Straight-through: the value of the choice with the slope of the softmax.
    return ops.stop_gradient(hard) + (soft - ops.stop_gradient(soft))


def _hidden(score: Any, weight: Any) -> Any:
    """Weightless rows below all others, finite."""
    return ops.where(weight > 0, score, ops.stop_gradient(ops.min(score, axis=-1, keepdims=True)) - 1)


def _shifted(score: Any, weight: Any) -> Any:
    """Scores below the best row that has weight: the same answer, and exact where scores are large."""
    return score - ops.stop_gradient(ops.max(_hidden(score, weight), axis=-1, keepdims=True))


def _normalised(p: Any) -> Any:
    total = ops.sum(p, axis=-1, keepdims=True)
    return p / ops.where(total > 0, total, ops.ones_like(total))


def _sorted_rows(score: Any, weight: Any) -> tuple[Any, Any, Any, Any]:
    """Scores and weights, best first, the weight up to each, and that without zeros."""
    order = ops.argsort(-score, axis=-1)
    w = ops.take_along_axis(weight, order, axis=-1)
    mass = ops.cumsum(w, axis=-1)
    return ops.take_along_axis(score, order, axis=-1), w, mass, ops.where(mass > 0, mass, ops.ones_like(mass))


def _last_inside(candidates: Any, inside: Any) -> Any:
    """The candidate at the last position that is inside."""
    inside = ops.cast(inside, "int32")
    last = ops.argmax(ops.cumsum(inside, axis=-1) * inside, axis=-1, keepdims=True)
    return ops.take_along_axis(candidates, last, axis=-1)


def _sparsemax(score: Any, weight: Any) -> Any:
    """p_s = w_s [score_s - tau]_+ with tau such that the sum is 1."""
    score = _shifted(score, weight)
    x, w, mass, divisor = _sorted_rows(score, weight)
    tau = (ops.cumsum(w * x, axis=-1) - 1) / divisor
    threshold = _last_inside(tau, ops.logical_and(x > tau, mass > 0))
    return _normalised(weight * ops.relu(score - threshold))


def _entmax(score: Any, weight: Any) -> Any:
    """p_s = w_s [score_s / 2 - tau]_+^2 with tau such that the sum is 1."""
    half = _shifted(score / 2, weight)
    x, w, mass, divisor = _sorted_rows(half, weight)
    # tau is at least -1 / sqrt(weight of the best row): what lies far under it is kept small, as in PyTorch.
    heaviest = ops.max(ops.where(w > 0, w, ops.full_like(w, 1e30)), axis=-1, keepdims=True)
    lightest = ops.min(ops.where(w > 0, w, heaviest), axis=-1, keepdims=True)
    x = ops.maximum(x, -2 * ops.stop_gradient(ops.rsqrt(lightest)))
    mean = ops.cumsum(w * x, axis=-1) / divisor
    under_root = 1 / divisor - (ops.cumsum(w * ops.square(x), axis=-1) / divisor - ops.square(mean))
    positive = under_root > 0
    root = ops.sqrt(ops.where(positive, under_root, ops.ones_like(under_root))) * ops.cast(positive, under_root.dtype)
    tau = mean - root
    threshold = _last_inside(tau, ops.logical_and(x >= tau, mass > 0))
    return _normalised(weight * ops.square(ops.relu(half - threshold)))

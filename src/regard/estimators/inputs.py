"""What users give as X and y, made into tensors, with a look at it that says what is wrong."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from numbers import Integral
from os import PathLike
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import DataConversionWarning
from torch import Tensor

from regard.domains.arrays.reader import to_items
from regard.domains.base import Reader
from regard.episode import Items
from regard.errors import ConfigError, EpisodeError

Prepare = Callable[[Sequence[Any]], Any]
"""A list of things to arrays or tensors of items."""


@dataclass(frozen=True)
class Prepared(Reader):
    """Things read by a user's function; it pickles if the function does."""

    prepare: Prepare

    def __call__(self, things: Any) -> Items:
        return to_items(self.prepare(list(things)))

    def is_blank(self, items: Items) -> NDArray[np.bool_]:
        return self.prepare.is_blank(items) if isinstance(self.prepare, Reader) else super().is_blank(items)

    def to_dict(self) -> dict[str, Any]:
        raise ConfigError(
            "this estimator has a prepare that was made in Python, which a file cannot hold: expected a learner whose "
            "checkpoint says how its items are read."
        )


def named(items: Items) -> dict[str, Tensor]:
    """The tensors by name; a single one is called X."""
    return items if isinstance(items, dict) else {"X": items}


def join_items(first: Items, second: Items) -> Items:
    """(N + M, ...) items of two batches; shorter sequences get zeros at their end.

    Raises:
        EpisodeError: items that are not of one kind.
    """
    a, b = named(first), named(second)
    if a.keys() != b.keys():
        raise EpisodeError(
            f"examples have {', '.join(a)} and names of classes {', '.join(b)}: expected label_weight 0 for such items."
        )
    joined = {}
    for key in a:
        both = (a[key], b[key])
        size = [max(n) for n in zip(*(t.shape[1:] for t in both), strict=True)]
        padded = [t.new_zeros(len(t), *size) for t in both]
        for target, t in zip(padded, both, strict=True):
            target[tuple(slice(n) for n in t.shape)] = t
        joined[key] = torch.cat(padded)
    return joined if isinstance(first, dict) else joined["X"]


def to_one_length(first: Items, second: Items) -> tuple[Items, Items]:
    """Batches (B, R, *item) of which shorter sequences get zeros at their end, so that both can be joined."""
    if not isinstance(first, dict) or not isinstance(second, dict) or first.keys() != second.keys():
        return first, second
    made: tuple[dict[str, Tensor], dict[str, Tensor]] = ({}, {})
    for key in first:
        size = [max(n) for n in zip(first[key].shape[2:], second[key].shape[2:], strict=True)]
        for into, t in zip(made, (first[key], second[key]), strict=True):
            into[key] = t.new_zeros(*t.shape[:2], *size)
            into[key][tuple(slice(n) for n in t.shape)] = t
    return made


def shapes(items: Items) -> dict[str, tuple[int, ...]]:
    """The shape of one item, by name."""
    return {name: tuple(tensor.shape[1:]) for name, tensor in named(items).items()}


def other_shape(shape: tuple[int, ...], fitted: tuple[int, ...], estimator: str) -> str:
    """What to say of items of another shape than in fit."""
    if len(shape) == len(fitted) == 1:
        # scikit-learn's own words, which its users look for.
        return (
            f"X has {shape[0]} features, but {estimator} is expecting {fitted[0]} features as input: give the "
            "columns of fit."
        )
    return f"X has items of shape {shape}: expected {fitted}, as in fit; resize or reshape them."


def to_labels(y: Any, n_rows: int) -> NDArray[Any]:
    """(N,) labels.

    Raises:
        EpisodeError: another number of them, missing ones, mixed types, or fractions.
    """
    labels = _to_array(y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        warnings.warn(
            "A column-vector y was passed when a 1d array was expected: it is taken as y.ravel().",
            DataConversionWarning,
            stacklevel=3,
        )
        labels = labels[:, 0]
    if labels.shape != (n_rows,):
        raise EpisodeError(f"y has shape {labels.shape} and X {n_rows} rows: expected one label a row, ({n_rows},).")
    missing = [i for i, label in enumerate(labels.tolist()) if _is_missing(label)]
    if missing:
        raise EpisodeError(
            f"y has no label for {len(missing)} row(s), first row {missing[0]}: expected one a row; drop these rows."
        )
    if labels.dtype.kind in "fO" and any(label in (float("inf"), -float("inf")) for label in labels.tolist()):
        raise EpisodeError("y holds infinity (inf): expected class labels.")
    if labels.dtype == object:
        labels = _of_one_type([plain_label(label) for label in labels.tolist()])
    if labels.dtype.kind == "f" and not bool((labels == np.round(labels)).all()):
        raise EpisodeError(
            "y holds fractions, which is a continuous target: expected class labels, such as 0, 1 or 'a'."
        )
    return labels


def to_numbers(y: Any, n_rows: int) -> NDArray[np.float64]:
    """(N, T) targets.

    Raises:
        EpisodeError: another number of them, or something that is not a finite number.
    """
    given = _to_array(y)
    if given.ndim not in (1, 2) or len(given) != n_rows:
        raise EpisodeError(
            f"y has shape {given.shape} and X {n_rows} rows: expected one number a row, ({n_rows},) or ({n_rows}, "
            "targets)."
        )
    if given.dtype.kind == "c":
        raise EpisodeError("Complex data not supported: y has complex numbers; expected real ones.")
    try:
        numbers = given.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise EpisodeError(f"y holds something that is no number ({error}): expected numbers; encode it.") from error
    if not bool(np.isfinite(numbers).all()):
        raise EpisodeError("y has NaN, inf or a value too large: expected finite numbers; drop these rows.")
    return numbers.reshape(n_rows, -1)


def to_weight(sample_weight: Any, n_rows: int) -> NDArray[np.float64]:
    """(N,) weights; ones where there are none.

    A weight counts rows: 2 is the row twice. Weights that sum to 1 cannot mean that, as all rows together would be a
    single one: they are shares, as boosting gives them, and are multiplied by the number of rows that have any.

    Raises:
        EpisodeError: another number of them, something that is no number, or no weight at all.
    """
    if sample_weight is None:
        return np.ones(n_rows)
    try:
        # A copy: that of a Series may be read-only, which PyTorch does not like.
        weight = np.array(_to_array(sample_weight, "sample_weight"), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise EpisodeError(f"sample_weight holds something that is no number ({error}): expected numbers.") from error
    if weight.shape != (n_rows,):
        raise EpisodeError(f"sample_weight has shape {weight.shape}: expected one a row, ({n_rows},).")
    if not bool((weight != 0).any()):
        raise EpisodeError("sample_weight is zero for every row: expected a row that counts.")
    n_present = int((weight > 0).sum())
    shares = n_present > 1 and abs(float(weight.sum()) - 1) < 1e-6 and not bool((weight < 0).any())
    return weight * n_present if shares else weight


def blank_rows(reader: Reader, X: Any, items: Items, what: str) -> NDArray[np.bool_]:
    """(N,) which rows hold nothing to go by; a warning names the first of them.

    Args:
        reader: that read X into items.
        X: whose names, such as of files, are told.
        items: of N rows.
        what: "examples" or "queries".
    """
    blank = reader.is_blank(items)
    if blank.any():
        first = int(np.argmax(blank))
        thing = X[first] if isinstance(X, list | tuple) else None
        name = f"{str(thing)!r:.200}" if isinstance(thing, str | PathLike) else f"row {first}"
        effect = "these are not answered" if what == "queries" else "replace or drop these"
        warnings.warn(f"{blank.sum()} of {len(blank)} {what} blank, first {name}: {effect}.", UserWarning, stacklevel=4)
    return blank


def require_count(value: Any, name: str, most: int) -> int:
    """A whole number from 1 to `most`.

    Raises:
        ConfigError: something else.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or not 1 <= int(value) <= most:
        raise ConfigError(f"{name} is {value!r:.60}: expected a whole number, at least 1 and at most {most}.")
    return int(value)


def plain_label(label: Any) -> Any:
    """A label as Python's own str, int, float or bool, whoever made it."""
    if isinstance(label, np.generic):
        label = label.item()
    return str(label) if isinstance(label, str) else label


def _of_one_type(labels: list[Any]) -> NDArray[Any]:
    kinds = sorted({type(label).__name__ for label in labels})
    if kinds == ["float", "int"] and all(float(label).is_integer() and abs(label) < 2**53 for label in labels):
        labels, kinds = [int(label) for label in labels], ["int"]
    if len(kinds) > 1:
        raise EpisodeError(f"y mixes labels of type {' and '.join(kinds)}: expected one type; use all strings.")
    if kinds[0] not in ("str", "int", "float", "bool"):
        try:
            sorted(labels)
        except (TypeError, ValueError) as error:
            raise EpisodeError(
                f"y has labels of type {kinds[0]}, which have no order ({error}): expected numbers or strings; use str."
            ) from error
    if kinds[0] in ("bool", "float") or (kinds[0] == "int" and all(-(2**63) <= label < 2**63 for label in labels)):
        return np.array(labels)
    array = np.empty(len(labels), dtype=object)
    array[:] = labels
    return array


def _is_missing(label: Any) -> bool:
    if label is None or label is np.ma.masked or type(label).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(label, str):  # an empty cell of a file
        return not label.strip()
    return bool(isinstance(label, float | np.floating | np.datetime64 | Decimal) and label != label)


def _to_array(values: Any, name: str = "y") -> NDArray[Any]:
    """Of a list, tuple, array, tensor or Series; masked values become None or NaN."""
    if values is None:
        raise EpisodeError(f"fit requires {name} to be passed, but the target {name} is None: give one per row.")
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        mask, values = np.ma.getmaskarray(values), values.data.astype(object)
        values[mask] = None
    if hasattr(values, "toarray"):
        raise EpisodeError(f"{name} is sparse: expected a dense array; use {name}.toarray().")
    try:
        array = np.asarray(values)
        # In a list with words, NaN and numbers would become words.
        hidden = array.dtype.kind == "U" and not isinstance(values, np.ndarray) and array.ndim == 1
        return np.asarray(values, dtype=object) if hidden and not all(isinstance(v, str) for v in values) else array
    except (TypeError, ValueError) as error:
        raise EpisodeError(f"{name} is no array ({error}): expected one value per row, all of one kind.") from error


def as_array(X: Any) -> Any:
    """X as it is where it has a shape, else as an array."""
    return X if hasattr(X, "shape") else np.asarray(X)


def shape_of(X: Any) -> tuple[int, ...]:
    """The shape, as far as there is one."""
    try:
        return tuple(as_array(X).shape)
    except ValueError:  # ragged, which the reader explains
        return ()

"""Arrays, tensors, nested lists and dicts of them to items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.domains.base import Reader
from regard.episode import Items, first_tensor
from regard.errors import EpisodeError


@dataclass(frozen=True)
class ArrayReader(Reader):
    """Rows of arrays as they are."""

    def __call__(self, things: Any) -> Items:
        return to_items(things)

    def to_dict(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True)
class NumberReader(Reader):
    """Numbers, one or several per row, to (N, F) floats."""

    def __call__(self, things: Any) -> Tensor:
        return torch.as_tensor(things, dtype=torch.get_default_dtype()).reshape(len(things), -1)

    def to_dict(self) -> dict[str, Any]:
        return {}


def to_items(X: Any) -> Items:
    """Arrays, tensors, nested lists or a dict of them to tensors, with a look at their shapes."""
    if isinstance(X, dict):
        items: Items = {str(name): _to_tensor(value, str(name)) for name, value in X.items()}
        if len({len(tensor) for tensor in items.values()}) > 1:
            sizes = ", ".join(f"{name} {len(tensor)}" for name, tensor in items.items())
            raise EpisodeError(f"the tensors of X have different numbers of rows ({sizes}): expected the same.")
    else:
        items = _to_tensor(X, "X")
    if len(first_tensor(items)) == 0:
        raise EpisodeError("X is empty, 0 sample(s): expected at least 1 row.")
    return items


def _to_tensor(X: Any, name: str) -> Tensor:
    if hasattr(X, "toarray"):
        raise EpisodeError(f"{name} is sparse: expected a dense array; use {name}.toarray().")
    if isinstance(X, Tensor):
        tensor = X
    else:
        array = _to_array(X, name)
        if array.dtype == object or array.dtype.kind not in "biuf":
            raise EpisodeError(
                f"{name} holds {array.dtype} values: expected numbers; give the estimator a `prepare` that reads "
                "such things into arrays."
            )
        # uint16 and the like have little support in torch; a copy also unties us from the caller's memory.
        wide = array.dtype.kind == "u" and array.dtype != np.uint8
        tensor = torch.from_numpy(array.astype(np.int64) if wide else np.array(array, order="C"))
    if tensor.ndim < 2:
        raise EpisodeError(
            f"{name} has shape {tuple(tensor.shape)}: expected rows of items, (N, *item). Reshape your data: "
            f"{name}.reshape(-1, 1) for one number a row, {name}[None] for a single item."
        )
    return tensor


def _to_array(X: Any, name: str) -> NDArray[Any]:
    try:
        return np.asarray(X)
    except ValueError as error:
        raise EpisodeError(f"{name} is ragged ({error}): expected items of one shape; pad or resize them.") from error

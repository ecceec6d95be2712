"""What goes through the engine: rows and tasks, nests of tensors with or without a task axis, and the plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from regard.episode import Items

Execution = Literal["auto", "loop", "vmap", "compiled"]
Tensors = dict[str, Tensor]


class Rows(NamedTuple):
    """Rows of one task, (S, ...); or of B tasks, (B, S, ...)."""

    x: Items
    y: Tensor
    weight: Tensor


class Task(NamedTuple):
    """What one task, or B of them, is made of; C, which has no axis, goes beside it."""

    support: Rows
    query: Rows
    buffers: Tensors


class Plan(NamedTuple):
    """How tasks are executed, and what a compiled function depends on beside shapes.

    Attributes:
        execution: "loop", "vmap" or "compiled".
        automatic: it was chosen by the rule, so a loop may take its place where the model cannot be vmapped.
        chunk: tasks vmapped at once; None for all.
        n_classes: C, 0 for targets.
        settings: numbers that a trace bakes in, such as the learning rate.
    """

    execution: str
    automatic: bool
    chunk: int | None
    n_classes: int
    settings: tuple[Any, ...]


def leaves(nest: Any) -> list[Tensor]:
    """As pytree.tree_leaves for tuples and dicts of tensors, in a tenth of its time."""
    if isinstance(nest, Tensor):
        return [nest]
    return [leaf for item in (nest.values() if isinstance(nest, dict) else nest) for leaf in leaves(item)]


def each_task(tasks: Any) -> Iterator[Any]:
    """A nest of tensors (B, ...) task by task, without the task axis."""
    flat, spec = pytree.tree_flatten(tasks)
    for rows in zip(*(leaf.unbind() for leaf in flat), strict=True):
        yield pytree.tree_unflatten(list(rows), spec)


def chunks(tasks: Any, size: int | None) -> list[Any]:
    """A nest of tensors (B, ...) in pieces of at most `size` tasks."""
    if size is None:
        return [tasks]
    flat, spec = pytree.tree_flatten(tasks)
    return [pytree.tree_unflatten(list(p), spec) for p in zip(*(leaf.split(size) for leaf in flat), strict=True)]


def stack(nests: Sequence[Any]) -> Any:
    """The inverse of `each_task`."""
    return pytree.tree_map(lambda *tensors: torch.stack(tensors), *nests)

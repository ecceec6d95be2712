"""What a learner knows, gone through tensor by tensor: joined, so that one pass answers the questions of many tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from regard.errors import EpisodeError


def join_states(states: Sequence[Any]) -> Any:
    """One state of sum B_i tasks, of states of B_i tasks each: tensors are concatenated along their leading axis.

    Args:
        states: what `adapt` of one learner gave: frozen dataclasses, tuples, lists and dicts of tensors, and plain
            values, which have to be equal.

    Raises:
        EpisodeError: states that differ in more than the number of their tasks, such as in rows or classes.
    """
    first = states[0]
    if any(type(state) is not type(first) for state in states):
        raise EpisodeError(f"states of {sorted({type(s).__name__ for s in states})}: expected states of one type.")
    if isinstance(first, Tensor):
        if first.ndim == 0 or any((t.shape[1:], t.dtype) != (first.shape[1:], first.dtype) for t in states):
            raise EpisodeError(f"tensors of shapes {[tuple(t.shape) for t in states]}: expected tasks of one size.")
        return torch.cat(list(states))
    if is_dataclass(first) and not isinstance(first, type):
        names = [field.name for field in fields(first)]
        return type(first)(**{name: join_states([getattr(state, name) for state in states]) for name in names})
    if isinstance(first, dict):
        if any(state.keys() != first.keys() for state in states):
            raise EpisodeError("states are dicts of different keys: expected states of one learner.")
        return {key: join_states([state[key] for state in states]) for key in first}
    if isinstance(first, tuple | list):
        if any(len(state) != len(first) for state in states):
            raise EpisodeError("states are tuples of different lengths: expected states of one learner.")
        return type(first)(join_states(parts) for parts in zip(*states, strict=True))
    if any(state != first for state in states):
        raise EpisodeError(f"states hold {first!r:.60} and something else: expected tasks of one size.")
    return first


def map_state(state: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """The same state with `function` applied to every tensor; see `tensors_of`."""
    if isinstance(state, Tensor):
        return function(state)
    if is_dataclass(state) and not isinstance(state, type):
        return type(state)(**{field.name: map_state(getattr(state, field.name), function) for field in fields(state)})
    if isinstance(state, dict):
        return {key: map_state(part, function) for key, part in state.items()}
    if isinstance(state, tuple | list):
        return type(state)(map_state(part, function) for part in state)
    return state


def tensors_of(state: Any) -> Iterator[Tensor]:
    """Every tensor in a state, or in any frozen dataclasses, tuples, lists and dicts."""
    if isinstance(state, Tensor):
        yield state
    elif is_dataclass(state) and not isinstance(state, type):
        for field in fields(state):
            yield from tensors_of(getattr(state, field.name))
    elif isinstance(state, dict | tuple | list):
        for part in state.values() if isinstance(state, dict) else state:
            yield from tensors_of(part)

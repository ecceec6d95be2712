"""The episode is a value: what flows through the house.

Shape legend, used in every docstring and as suffixes of local names:

    B tasks   S support rows   Q query rows   C classes   T target width
    D features of one vector   P parts of one item (patches, tokens, atoms)   H heads

`weight` is one idea with four jobs. 0 is padding, so any way, any shot and unbalanced classes share a batch; 2 is the
same row twice; it is differentiable, so the gradient of a prediction with respect to it says which example mattered;
and it lets a user trust one label less than another.

Constructors check shapes, which is cheap. `check()` looks at values and is called once, where an episode is made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from regard.errors import EpisodeError

Items = Tensor | dict[str, Tensor]
"""A batch of items: one tensor, or a dict of tensors that share their leading axes (ids and mask of a text)."""

AnyItems = TypeVar("AnyItems", bound=Items)

# Not typing.Self, which cannot be executed where jaxtyping checks method by method.
AnyValue = TypeVar("AnyValue", bound="_Value")


def map_items(function: Callable[[Tensor], Tensor], x: AnyItems) -> AnyItems:
    """Apply `function` to the tensor, or to every tensor of the dict."""
    return {key: function(value) for key, value in x.items()} if isinstance(x, dict) else function(x)  # type: ignore[return-value]


def first_tensor(x: Items) -> Tensor:
    """Any one tensor of the items: enough to read leading sizes, device and dtype from."""
    if isinstance(x, dict):
        if not x:
            raise EpisodeError(
                "items are an empty dict: expected at least one tensor, such as {'ids': ..., 'mask': ...}."
            )
        return next(iter(x.values()))
    return x


def flatten_tasks(x: AnyItems) -> AnyItems:
    """(B, R, *item) to (B * R, *item), for encoders, which never hear of tasks."""
    return map_items(lambda t: t.reshape(t.shape[0] * t.shape[1], *t.shape[2:]), x)


def unflatten_tasks(z: Tensor, n_tasks: int) -> Tensor:
    """(B * R, ...) back to (B, R, ...)."""
    return z.reshape(n_tasks, z.shape[0] // max(n_tasks, 1), *z.shape[1:])


class _Value:
    """Frozen dataclasses of tensors share these: move, cast and slice every tensor at once."""

    def _map(self: AnyValue, function: Callable[[Tensor], Tensor]) -> AnyValue:
        changed: dict[str, Any] = {}
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if isinstance(value, _Value):
                changed[field.name] = value._map(function)
            elif isinstance(value, Tensor | dict):
                changed[field.name] = map_items(function, value)  # type: ignore[type-var]
        return replace(self, **changed)  # type: ignore[type-var]

    def to(self: AnyValue, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> AnyValue:
        """Move to a device; a dtype is applied to floating-point tensors only, so labels stay labels."""
        return self._map(lambda t: t.to(device=device, dtype=dtype if t.is_floating_point() else None))

    def detach(self: AnyValue) -> AnyValue:
        """The same values, cut from the graph."""
        return self._map(lambda t: t.detach())

    def tasks(self: AnyValue, index: slice | Tensor) -> AnyValue:
        """The same value for some of the tasks: `episode.tasks(slice(0, 1))` is its first task."""
        return self._map(lambda t: t[index])


@dataclass(frozen=True)
class Support(_Value):
    """The labelled examples of B tasks.

    Args:
        x: (B, S, *item) tensor, or a dict of such tensors.
        y: (B, S) int64 class index, or (B, S, T) floating-point target.
        weight: (B, S), at least 0; 0 is padding. Ones by default.
        n_classes: C, the largest number of classes in the batch; 0 for regression. Counted from `y` by default.

    Raises:
        EpisodeError: leading axes disagree, or `y` has a dtype that is neither a class nor a target.

    Examples:
        >>> import torch
        >>> support = Support(torch.randn(1, 4, 8), torch.tensor([[0, 0, 1, 1]]))
        >>> support.n_tasks, support.n_rows, support.n_classes
        (1, 4, 2)
        >>> support.weight  # 0 is padding, 2 is the same row twice
        tensor([[1., 1., 1., 1.]])
    """

    x: Items
    y: Tensor
    weight: Tensor = None  # type: ignore[assignment]
    n_classes: int | None = None

    def __post_init__(self) -> None:
        if self.weight is None:
            dtype = self.y.dtype if self.y.is_floating_point() else torch.get_default_dtype()
            object.__setattr__(self, "weight", torch.ones(self.y.shape[:2], dtype=dtype, device=self.y.device))
        _check_leading(self.x, self.y, self.weight, "support")
        if self.n_classes is None:
            object.__setattr__(self, "n_classes", _count_classes(self.y))

    @property
    def n_tasks(self) -> int:
        """B."""
        return self.y.shape[0]

    @property
    def n_rows(self) -> int:
        """S, padding included."""
        return self.y.shape[1]

    @property
    def is_regression(self) -> bool:
        """Whether targets are numbers rather than classes."""
        return self.y.is_floating_point()

    def one_hot(self) -> Tensor:
        """(B, S, C) membership in the dtype of `weight`, not yet weighted."""
        classes = torch.arange(self.n_classes or 0, device=self.y.device)
        return (self.y[..., None] == classes).to(self.weight.dtype)

    def membership(self) -> Tensor:
        """(B, S, C): the weight of each row, in the column of its class."""
        return self.one_hot() * self.weight[..., None]

    def check(self) -> Support:
        """Look at the values; returns itself so that it can be chained.

        Raises:
            EpisodeError: a class index outside 0..C-1, a weight that is negative, or a number that is not finite.
        """
        mistakes = _value_mistakes("support", self.x, self.y, self.weight, self.n_classes or 0)
        if mistakes:
            raise EpisodeError("\n".join(mistakes))
        return self


@dataclass(frozen=True)
class Episode(_Value):
    """B tasks: what is known (support) and what is asked (query).

    Args:
        support: the labelled examples.
        query_x: (B, Q, *item), the same kind of items as the support's.
        query_y: (B, Q) int64 class index, or (B, Q, T) target.
        query_weight: (B, Q), 0 is padding. Ones by default.
        n_classes: C; taken from the support by default.

    Raises:
        EpisodeError: leading axes disagree, or support and query hold different numbers of tasks.

    Examples:
        >>> import torch
        >>> support = Support(torch.randn(1, 4, 8), torch.tensor([[0, 0, 1, 1]]))
        >>> episode = Episode(support, query_x=torch.randn(1, 3, 8), query_y=torch.tensor([[0, 1, 1]])).check()
        >>> episode.n_tasks, episode.n_classes
        (1, 2)
        >>> episode.to(dtype=torch.float64).query_x.dtype
        torch.float64
    """

    support: Support
    query_x: Items
    query_y: Tensor
    query_weight: Tensor = None  # type: ignore[assignment]
    n_classes: int | None = None

    def __post_init__(self) -> None:
        if self.query_weight is None:
            ones = torch.ones(self.query_y.shape[:2], dtype=self.support.weight.dtype, device=self.query_y.device)
            object.__setattr__(self, "query_weight", ones)
        _check_leading(self.query_x, self.query_y, self.query_weight, "query")
        if self.query_y.shape[0] != self.support.n_tasks:
            raise EpisodeError(
                f"support holds {self.support.n_tasks} tasks and query {self.query_y.shape[0]}: "
                "expected the same number; give both a leading task axis (B, rows, ...)."
            )
        if self.n_classes is None:
            object.__setattr__(self, "n_classes", self.support.n_classes)
        elif self.n_classes != self.support.n_classes:
            object.__setattr__(self, "support", replace(self.support, n_classes=self.n_classes))

    @property
    def n_tasks(self) -> int:
        """B."""
        return self.support.n_tasks

    def check(self) -> Episode:
        """Look at the values of support and query and say all that is wrong at once.

        Raises:
            EpisodeError: as `Support.check`, and a query whose class has no support row in its task.
        """
        n_classes = self.n_classes or 0
        mistakes = _value_mistakes("support", self.support.x, self.support.y, self.support.weight, n_classes)
        mistakes += _value_mistakes("query", self.query_x, self.query_y, self.query_weight, n_classes)
        if not mistakes and not self.support.is_regression:
            mistakes += self._unsupported()
        if mistakes:
            raise EpisodeError("\n".join(mistakes))
        return self

    def _unsupported(self) -> list[str]:
        supported = self.support.membership().sum(1) > 0
        asked = supported.gather(1, self.query_y) | (self.query_weight == 0)
        if bool(asked.all()):
            return []
        task, row = (~asked).nonzero()[0].tolist()
        return [
            f"query row {row} of task {task} has class {int(self.query_y[task, row])}, and no support row of that task "
            "has it: expected every asked class in the support; add an example of it or drop the query."
        ]


def _check_leading(x: Items, y: Tensor, weight: Tensor, what: str) -> None:
    if y.ndim not in (2, 3):
        raise EpisodeError(
            f"{what} y has shape {tuple(y.shape)}: expected (tasks, rows) class indices or (tasks, rows, targets) "
            "numbers; a single task gets its axis by y[None]."
        )
    if y.ndim == 2 and y.is_floating_point():
        raise EpisodeError(
            f"{what} y is {y.dtype} of shape {tuple(y.shape)}: expected int64 class indices (tasks, rows), or "
            "targets with a last axis (tasks, rows, targets); use y.long() or y[..., None]."
        )
    if y.ndim == 2 and y.dtype != torch.int64:
        raise EpisodeError(f"{what} y is {y.dtype}: expected int64 class indices; use y.long().")
    if y.ndim == 3 and not y.is_floating_point():
        raise EpisodeError(f"{what} y has shape {tuple(y.shape)} and dtype {y.dtype}: expected targets as floats.")
    items = x if isinstance(x, dict) else {"x": first_tensor(x)}
    for name, tensor in {**items, "weight": weight}.items():
        if tensor.shape[:2] != y.shape[:2]:
            raise EpisodeError(
                f"{what} {name} has shape {tuple(tensor.shape)} and y {tuple(y.shape)}: expected the same two leading "
                "axes (tasks, rows)."
            )


def _count_classes(y: Tensor) -> int:
    return 0 if y.is_floating_point() else int(y.max()) + 1 if y.numel() else 0


def _value_mistakes(what: str, x: Items, y: Tensor, weight: Tensor, n_classes: int) -> list[str]:
    mistakes = []
    if not bool(torch.isfinite(weight).all()) or bool((weight < 0).any()):
        mistakes.append(f"{what} weight has negative or non-finite values: expected at least 0; 0 leaves a row out.")
    kept = weight > 0
    if y.is_floating_point():
        if not bool(torch.isfinite(y[kept]).all()):
            mistakes.append(
                f"{what} y has NaN or infinite targets: expected numbers; drop these rows or weight them 0."
            )
    elif y.numel() and (int(y.min()) < 0 or int(y.max()) >= n_classes):
        seen = torch.unique(y).tolist()
        mistakes.append(
            f"{what} y holds the labels {seen[:8]}{'...' if len(seen) > 8 else ''}: expected 0..{n_classes - 1}; "
            "map them first, for instance by torch.unique(y, return_inverse=True)."
        )
    for name, tensor in x.items() if isinstance(x, dict) else [("x", x)]:
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor[kept]).all()):
            mistakes.append(f"{what} {name} has NaN or infinite values: expected numbers; impute or drop these rows.")
    return mistakes

"""The episode is a value: what flows through the house.

Shape legend, used in every docstring and as suffixes of local names:

    B tasks   S support rows   Q query rows   C classes   T target width   L tokens of a sequence
    D features of one vector   P parts of one item (patches, tokens, atoms)   H heads

`weight` is one idea with four jobs. 0 is padding, so any way, any shot and unbalanced classes share a batch; 2 is the
same row twice; it is differentiable, so the gradient of a prediction with respect to it says which example mattered;
and it lets a user trust one label less than another.

Constructors check shapes, which is cheap. `check()` looks at values and is called once, where an episode is made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, TypeVar, cast, overload

import numpy as np
import torch
from torch import Tensor

from regard.errors import EpisodeError

Items = Tensor | dict[str, Tensor]
"""A batch of items: one tensor, or a dict of tensors that share their leading axes (ids and mask of a text)."""

ItemsT = TypeVar("ItemsT", bound=Items, covariant=True)
"""The items of a support or an episode; `Support[Tensor]` is a support of vectors, as encoders make it."""

# Not typing.Self, which cannot be executed where jaxtyping checks method by method.
ValueT = TypeVar("ValueT", bound="Value")


@overload
def map_items(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor: ...
@overload
def map_items(function: Callable[[Tensor], Tensor], x: dict[str, Tensor]) -> dict[str, Tensor]: ...
@overload
def map_items(function: Callable[[Tensor], Tensor], x: Items) -> Items: ...
def map_items(function: Callable[[Tensor], Tensor], x: Items) -> Items:
    """Apply `function` to the tensor, or to every tensor of the dict."""
    return {key: function(value) for key, value in x.items()} if isinstance(x, dict) else function(x)


def first_tensor(x: Items) -> Tensor:
    """Any one tensor of the items: enough to read leading sizes, device and dtype from."""
    if isinstance(x, dict):
        if not x:
            raise EpisodeError(
                "items are an empty dict: expected at least one tensor, such as {'ids': ..., 'mask': ...}."
            )
        return next(iter(x.values()))
    return x


@overload
def flatten_tasks(x: Tensor) -> Tensor: ...
@overload
def flatten_tasks(x: dict[str, Tensor]) -> dict[str, Tensor]: ...
@overload
def flatten_tasks(x: Items) -> Items: ...
def flatten_tasks(x: Items) -> Items:
    """(B, R, *item) to (B * R, *item), for encoders, which never hear of tasks."""
    return map_items(lambda t: t.reshape(t.shape[0] * t.shape[1], *t.shape[2:]), x)


def as_tensor(values: Any, what: str) -> Tensor:
    """A tensor as it is; a NumPy array or nested list as a tensor: floats in torch's default dtype, integers in int64.

    Arrays of uint8 and bool keep their dtype. The array is copied.

    Raises:
        EpisodeError: values that are not numbers, or rows of different lengths.
    """
    if isinstance(values, Tensor):
        return values
    try:
        array = np.asarray(values)
    except ValueError:  # rows of different lengths
        array = np.array(None)
    if array.dtype.kind == "f":
        return torch.tensor(array, dtype=torch.get_default_dtype())
    if array.dtype.kind in "iu" and array.dtype != np.uint8:
        return torch.tensor(array.astype(np.int64))
    if array.dtype.kind in "ub":
        return torch.tensor(array)
    raise EpisodeError(
        f"{what} is a {type(values).__name__} that is not an array of numbers: expected a tensor, a NumPy array or "
        "nested lists of numbers with rows of one length; number class names first, for instance by Dataset.of."
    )


def as_items(x: Any, what: str) -> Any:
    """Tensors as they are; arrays and lists, also in a dict, as `as_tensor` makes them."""
    if isinstance(x, dict):
        return {key: as_tensor(value, f"{what}[{key!r}]") for key, value in x.items()}
    return as_tensor(x, what)


def unflatten_tasks(z: Tensor, n_tasks: int) -> Tensor:
    """(B * R, ...) back to (B, R, ...)."""
    return z.reshape(n_tasks, z.shape[0] // max(n_tasks, 1), *z.shape[1:])


@dataclass(frozen=True)
class Value:
    """The base of frozen dataclasses of tensors: moves, casts and slices every tensor at once."""

    def map(self: ValueT, function: Callable[[Tensor], Tensor]) -> ValueT:
        """The same value with `function` applied to each of its tensors, in dicts and inner values too."""
        changed: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Value):
                changed[field.name] = value.map(function)
            elif isinstance(value, Tensor | dict):
                changed[field.name] = map_items(function, value)
        return replace(self, **changed)

    def to(self: ValueT, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> ValueT:
        """Move to a device; a dtype is applied to floating-point tensors only, so labels stay labels."""
        return self.map(lambda t: t.to(device=device, dtype=dtype if t.is_floating_point() else None))

    def detach(self: ValueT) -> ValueT:
        """The same values, cut from the graph."""
        return self.map(lambda t: t.detach())

    def tasks(self: ValueT, index: slice | Tensor) -> ValueT:
        """The same value for some of the tasks: `episode.tasks(slice(0, 1))` is its first task."""
        return self.map(lambda t: t[index])


# What a constructor replaces: None would make both optional for whoever reads them.
_ONES = cast(Tensor, None)
_COUNTED = cast(int, None)


@dataclass(frozen=True)
class Support(Value, Generic[ItemsT]):
    """The labelled examples of B tasks.

    Tensors are taken as they are; NumPy arrays and nested lists are converted (see `as_tensor`). What is not finite or
    not a class in a row of weight 0 is replaced by 0.

    Args:
        x: (B, S, *item) tensor, or a dict of such tensors.
        y: (B, S) int64 class index, (B, S, T) floating-point target, or (B, S, L) int64 tokens of a sequence, where
            tokens below 0 are padding.
        weight: (B, S), at least 0; 0 is padding. Ones by default.
        n_classes: C, the largest number of classes in the batch; 0 for numbers and sequences. Counted from `y` by
            default.

    Raises:
        EpisodeError: leading axes disagree, or `y` has a dtype that is neither a class, a target nor a token.

    Examples:
        >>> import torch
        >>> support = Support(torch.randn(1, 4, 8), torch.tensor([[0, 0, 1, 1]]))
        >>> support.n_tasks, support.n_rows, support.n_classes
        (1, 4, 2)
        >>> support.weight  # 0 is padding, 2 is the same row twice
        tensor([[1., 1., 1., 1.]])
    """

    x: ItemsT
    y: Tensor
    weight: Tensor = _ONES
    n_classes: int = _COUNTED

    def __post_init__(self) -> None:
        x, y = as_items(self.x, "support x"), as_tensor(self.y, "support y")
        if self.weight is None:
            dtype = y.dtype if y.is_floating_point() else torch.get_default_dtype()
            weight, padded = torch.ones(y.shape[:2], dtype=dtype, device=y.device), False
        else:
            weight, padded = as_tensor(self.weight, "support weight"), True
        _check_leading(x, y, weight, "support")
        n_classes = self.n_classes
        if n_classes is None:
            n_classes = 0 if y.ndim == 3 or not y.numel() else int(y.max()) + 1
        if padded:
            x, y = _clear_absent(x, y, weight, n_classes)
        _set(self, x=x, y=y, weight=weight, n_classes=n_classes)

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

    @property
    def is_sequence(self) -> bool:
        """Whether targets are sequences of tokens, such as sentences."""
        return self.y.ndim == 3 and not self.y.is_floating_point()

    def one_hot(self) -> Tensor:
        """(B, S, C) membership in the dtype of `weight`, not yet weighted."""
        classes = torch.arange(self.n_classes, device=self.y.device)
        return (self.y[..., None] == classes).to(self.weight.dtype)

    def membership(self) -> Tensor:
        """(B, S, C): the weight of each row, in the column of its class."""
        return self.one_hot() * self.weight[..., None]

    def check(self) -> Support[ItemsT]:
        """Look at the values; returns itself so that it can be chained.

        Raises:
            EpisodeError: a class index outside 0..C-1, a weight that is negative, or a number that is not finite.
        """
        mistakes = _value_mistakes("support", self.x, self.y, self.weight, self.n_classes)
        if mistakes:
            raise EpisodeError("\n".join(mistakes))
        return self


@dataclass(frozen=True)
class Episode(Value, Generic[ItemsT]):
    """B tasks: labelled examples (support) and the items to predict (query), converted and cleared as in `Support`.

    Args:
        support: the labelled examples.
        query_x: (B, Q, *item), the same kind of items as the support's.
        query_y: (B, Q) int64 class index, (B, Q, T) target, or (B, Q, L) tokens.
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

    support: Support[ItemsT]
    query_x: ItemsT
    query_y: Tensor
    query_weight: Tensor = _ONES
    n_classes: int = _COUNTED

    def __post_init__(self) -> None:
        x, y = as_items(self.query_x, "query x"), as_tensor(self.query_y, "query y")
        if self.query_weight is None:
            weight, padded = torch.ones(y.shape[:2], dtype=self.support.weight.dtype, device=y.device), False
        else:
            weight, padded = as_tensor(self.query_weight, "query weight"), True
        _check_leading(x, y, weight, "query")
        if padded:
            n_classes = self.support.n_classes if self.n_classes is None else self.n_classes
            x, y = _clear_absent(x, y, weight, n_classes)
        _set(self, query_x=x, query_y=y, query_weight=weight)
        if self.query_y.shape[0] != self.support.n_tasks:
            raise EpisodeError(
                f"support holds {self.support.n_tasks} tasks and query {self.query_y.shape[0]}: "
                "expected the same number; give both a leading task axis (B, rows, ...)."
            )
        if self.n_classes is None:
            _set(self, n_classes=self.support.n_classes)
        elif self.n_classes != self.support.n_classes:
            _set(self, support=replace(self.support, n_classes=self.n_classes))

    @property
    def n_tasks(self) -> int:
        """B."""
        return self.support.n_tasks

    def check(self) -> Episode[ItemsT]:
        """Look at the values of support and query and say all that is wrong at once.

        Raises:
            EpisodeError: as `Support.check`, and a query whose class has no support row in its task.
        """
        n_classes = self.n_classes
        mistakes = _value_mistakes("support", self.support.x, self.support.y, self.support.weight, n_classes)
        mistakes += _value_mistakes("query", self.query_x, self.query_y, self.query_weight, n_classes)
        if not mistakes and self.support.y.ndim == 2:
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
            f"{what} y has shape {tuple(y.shape)}: expected (tasks, rows) class indices, (tasks, rows, targets) "
            "numbers or (tasks, rows, tokens) sequences; a single task gets its axis by y[None]."
        )
    if y.ndim == 2 and y.is_floating_point():
        raise EpisodeError(
            f"{what} y is {y.dtype} of shape {tuple(y.shape)}: expected int64 class indices (tasks, rows), or "
            "targets with a last axis (tasks, rows, targets); use y.long() or y[..., None]."
        )
    if y.ndim == 2 and y.dtype != torch.int64:
        raise EpisodeError(f"{what} y is {y.dtype}: expected int64 class indices; use y.long().")
    if y.ndim == 3 and not y.is_floating_point() and y.dtype != torch.int64:
        raise EpisodeError(
            f"{what} y has shape {tuple(y.shape)} and dtype {y.dtype}: expected targets as floats, or the tokens of "
            "sequences as int64."
        )
    items = x if isinstance(x, dict) else {"x": first_tensor(x)}
    for name, tensor in {**items, "weight": weight}.items():
        if tensor.shape[:2] != y.shape[:2]:
            raise EpisodeError(
                f"{what} {name} has shape {tuple(tensor.shape)} and y {tuple(y.shape)}: expected the same two leading "
                "axes (tasks, rows)."
            )


def _set(value: Value, **fields: Any) -> None:
    """Set fields of a frozen dataclass while it is being made."""
    for name, content in fields.items():
        object.__setattr__(value, name, content)


def _clear_absent(x: Any, y: Tensor, weight: Tensor, n_classes: int) -> tuple[Any, Tensor]:
    """Items and targets with 0 for whatever could be felt in a row of weight 0, as 0 times NaN or infinity would be.

    Numbers of ordinary size stay, so that the derivative by a weight at 0 says what the row would do. Values decide
    whether there is work only where reading them is free: a GPU would have to be waited for, and a tracer fails.
    """
    absent = weight == 0
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
    transformed = torch._C._functorch.peek_interpreter_stack() is not None  # pyright: ignore[reportAttributeAccessIssue]
    if absent.device.type == "cpu" and not traced and not transformed and not bool(absent.any()):
        return x, y

    def clear(t: Tensor) -> Tensor:
        if not t.is_floating_point():
            return t
        ordinary = t.abs() < torch.finfo(t.dtype).max ** 0.25  # its square, summed, is finite; NaN is not below
        return torch.where(absent.view(*absent.shape, *[1] * (t.ndim - 2)) & ~ordinary, 0.0, t)

    if y.ndim == 2:
        y = torch.where(absent & ((y < 0) | (y >= n_classes)), 0, y)
    return map_items(clear, x), clear(y)


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
    elif y.ndim == 3:
        if bool((kept & (y < 0).all(-1)).any()):
            mistakes.append(f"{what} y has sequences without a token: expected at least one; drop or weight them 0.")
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

"""Types and shapes written in the package are checked while tests run, at a cost that tests can bear.

A function whose annotations name no shape is checked at every call, by beartype alone. One that names shapes is
checked by jaxtyping, which costs a tenth of a millisecond: at its first calls in each test, and at one in so many of
the rest, as solvers and optimisers call it thousands of times with the same shapes. A function within a function is
made again at each call, which costs 3 milliseconds more: it is checked as it is first made in each test.
"""

from __future__ import annotations

import builtins
import dataclasses
import functools
import inspect
import re
import sys
from types import CodeType, FunctionType, ModuleType
from typing import Any, Self

import jaxtyping
import torch
from beartype import BeartypeConf, FrozenDict, beartype
from jaxtyping import AbstractDtype, install_import_hook

FIRST_CALLS = 16
ONE_IN = 16

# The hook decorates functions one by one, where beartype does not know what Self is. While a function is recorded,
# sizes are symbols.
_check_types = beartype(
    conf=BeartypeConf(
        is_pep484_tower=True,
        hint_overrides=FrozenDict({Self: Any, int: int | torch.SymInt}),
        violation_type=jaxtyping.TypeCheckError,
    )
)
_check_shapes = jaxtyping.jaxtyped
_n_tests = 0
_nested: dict[CodeType, int] = {}
"""The last test in which a function of this code was made."""


def begin_test() -> None:
    """Check the first calls of every function again."""
    global _n_tests
    _n_tests += 1


def install(package: str) -> None:
    """Check what modules of this package write down, from their import on."""
    checker = ModuleType("checker_of_annotations")
    checker.check = _check_types  # type: ignore[attr-defined]
    sys.modules[checker.__name__] = checker
    jaxtyping.jaxtyped = checked  # type: ignore[assignment]
    install_import_hook(package, f"{checker.__name__}.check")


def checked(made: Any = None, *, typechecker: Any = _check_types) -> Any:
    """What the import hook writes above each function and class, in the place of `jaxtyping.jaxtyped`."""
    if made is None:
        return functools.partial(checked, typechecker=typechecker)
    if str(getattr(made, "__module__", "")).startswith("regard.keras"):
        return made  # Keras reads the signatures of constructors and calls, and does not look through wrappers
    if inspect.isclass(made):
        if dataclasses.is_dataclass(made) and "__init__" in vars(made):
            made.__init__ = checked(made.__init__, typechecker=typechecker)
        return made
    if isinstance(made, classmethod | staticmethod):
        return type(made)(checked(made.__func__, typechecker=typechecker))
    if isinstance(made, property):
        accessors = [f and checked(f, typechecker=typechecker) for f in (made.fget, made.fset, made.fdel)]
        return property(*accessors)
    if not isinstance(made, FunctionType):
        return _thinned(made, typechecker)
    if "<locals>" in made.__qualname__ and _nested.get(made.__code__) == _n_tests:
        return made
    _nested[made.__code__] = _n_tests
    if not _needs_jaxtyping(made):
        return typechecker(made)
    return _thinned(made, typechecker)


def _needs_jaxtyping(function: FunctionType) -> bool:
    """Whether a shape is named, or a name that is imported for type checkers only, which beartype stops at."""
    for annotation in map(str, function.__annotations__.values()):
        for name in re.findall(r"(?<![.\w\"'])[A-Za-z_]\w*", annotation):
            value = function.__globals__.get(name, getattr(builtins, name, None))
            if (value is None and name != "None") or (inspect.isclass(value) and issubclass(value, AbstractDtype)):
                return True
    return False


def _thinned(function: FunctionType, typechecker: Any) -> Any:
    strict = _check_shapes(function, typechecker=typechecker)
    n_calls, test = 0, 0

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal n_calls, test
        if test != _n_tests:
            n_calls, test = 0, _n_tests
        n_calls += 1
        return (strict if n_calls <= FIRST_CALLS or n_calls % ONE_IN == 0 else function)(*args, **kwargs)

    return call

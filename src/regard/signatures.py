"""Calls by name, as recipes make them: every option is checked against the signature first.

So a default is written once, where the class is, and a misspelt option is an error with a suggestion, not silence.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from types import SimpleNamespace
from typing import Any, TypeVar, Unpack, get_args, get_origin, get_type_hints

from regard.errors import ConfigError, did_you_mean

T = TypeVar("T")


def call_checked(function: Callable[..., T], options: Mapping[str, Any], what: str) -> T:
    """`function(**options)`, after a look at its signature.

    Args:
        function: a function or a class.
        options: keyword arguments; lists become tuples, which YAML does not have.
        what: for messages, such as "learner MAML".

    Raises:
        ConfigError: an option that it does not have, or one that it needs and did not get.
    """
    named, open_ended = options_of(function)
    for option in options:
        if option not in named and not open_ended:
            raise ConfigError(f"{what} has no option {option!r}: {did_you_mean(option, named)}")
    required = [name for name, needed in named.items() if needed and name not in options]
    if required:
        raise ConfigError(f"{what} needs {', '.join(map(repr, required))}: add it to the recipe or by --set.")
    return function(**_checked(function, options, what))


def _checked(function: Callable[..., Any], options: Mapping[str, Any], what: str) -> dict[str, Any]:
    """The options, those that are plain values checked by their annotations, lists made tuples.

    Raises:
        ConfigError: a value of another type.
    """
    from pydantic import ConfigDict, TypeAdapter, ValidationError
    from pydantic.errors import PydanticUserError

    values = {key: tuple(v) if isinstance(v, list) else v for key, v in options.items()}
    source = inspect.unwrap(function.__init__ if isinstance(function, type) else function)
    own = getattr(source, "__annotations__", {})
    annotations = {key: (hint, getattr(source, "__globals__", {})) for key, hint in own.items()}
    for shared in _unpacked(function):
        names = vars(import_module(shared.__module__))
        annotations |= {key: (hint, names) for key, hint in shared.__annotations__.items()}
    for key, value in values.items():
        if key not in annotations or not isinstance(value, bool | int | float | str | tuple | dict | None):
            continue
        try:
            # One by one: others may name what is imported for type checkers only.
            annotation, names = annotations[key]
            hint = get_type_hints(SimpleNamespace(__annotations__={key: annotation}), names)[key]
            config = ConfigDict(strict=True, arbitrary_types_allowed=True)
            TypeAdapter(hint, config=config).validate_python(value)
        except ValidationError as error:
            reason = error.errors()[0]["msg"].removeprefix("Input should be ")
            raise ConfigError(f"{what}: {key} is {repr(value)[:100]}, expected {reason}.") from None
        except (PydanticUserError, TypeError, NameError):  # an annotation that pydantic cannot check
            continue
    return values


def options_of(function: Callable[..., Any]) -> tuple[dict[str, bool], bool]:
    """The options that a function takes by name, those of `Unpack` among them, and whether it needs each; and whether
    it takes any others.
    """
    named: dict[str, bool] = {}
    open_ended = False
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            # `**options: Unpack[InnerOptions]` names them; a function without that passes on what it gets. A module
            # without an __init__ of its own shows that of nn.Module: *args and **kwargs, which nobody has to give.
            shared = _unpacked(function)
            for options in shared:
                named |= dict.fromkeys(options.__annotations__, False)
            open_ended = inspect.isfunction(function) and not shared
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            named[name] = parameter.default is parameter.empty
    return named, open_ended


def _unpacked(function: Callable[..., Any]) -> tuple[Any, ...]:
    """The dicts of options that a function takes as `**options: Unpack[...]`."""
    source = function.__init__ if isinstance(function, type) else function
    for name, parameter in inspect.signature(function).parameters.items():
        # A string where annotations are not evaluated; what checks types in tests evaluates them.
        if "Unpack" in str(parameter.annotation) or get_origin(parameter.annotation) is Unpack:
            return get_args(get_type_hints(source)[name])
    return ()

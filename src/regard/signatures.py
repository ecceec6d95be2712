"""Calls by name, as recipes make them: every option is checked against the signature first.

So a default is written once, where the class is, and a misspelt option is an error with a suggestion, not silence.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

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
    parameters = inspect.signature(function).parameters
    # A module without an __init__ of its own shows that of nn.Module: *args and **kwargs, which nobody has to give.
    named = {n: p for n, p in parameters.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    passes_on = inspect.isfunction(function) and any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for option in options:
        if option not in named and not passes_on:
            raise ConfigError(f"{what} has no option {option!r}: {did_you_mean(option, named)}")
    required = [n for n, p in named.items() if p.default is p.empty and n not in options]
    if required:
        raise ConfigError(f"{what} needs {', '.join(map(repr, required))}: add it to the recipe or by --set.")
    return function(**{key: tuple(v) if isinstance(v, list) else v for key, v in options.items()})

"""Options that the learners of an inner loop share: which parameters adapt, and how it is done."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import get_args

from torch import nn

from regard.errors import ConfigError, did_you_mean
from regard.learners.inner.tasks import Execution


def match_parameters(model: nn.Module, patterns: str | Sequence[str] | None) -> tuple[str, ...]:
    """Names of the parameters that adapt: those that some pattern (as of file names) matches, or all that are trained.

    Raises:
        ConfigError: a pattern that matches none, or a model without parameters.
    """
    own = dict(model.named_parameters())
    if patterns is None:
        names = tuple(name for name, p in own.items() if p.requires_grad)
        if not names:
            raise ConfigError(f"{type(model).__name__} has no trainable parameter: expected one at least, to adapt.")
        return names
    given = (patterns,) if isinstance(patterns, str) else tuple(patterns)
    for pattern in given:
        if not any(fnmatchcase(name, pattern) for name in own):
            raise ConfigError(
                f"adapt_only has {pattern!r}, which matches no parameter: expected a pattern such as 'head.*' that "
                f"matches some of {', '.join(own)}."
            )
    return tuple(name for name in own if any(fnmatchcase(name, pattern) for pattern in given))


def check_inner_options(execution: str, *counts: int | None) -> None:
    """Say so where an option common to these learners is not one.

    Raises:
        ConfigError: an unknown execution, or a count below 1.
    """
    if execution not in get_args(Execution):
        raise ConfigError(f"execution is {execution!r}: {did_you_mean(str(execution), get_args(Execution))}")
    for count in counts:
        if count is not None and count < 1:
            raise ConfigError(f"inner_steps, test_steps or task_chunk is {count}: expected at least 1.")

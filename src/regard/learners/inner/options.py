"""Options that the learners of an inner loop share, and which parameters of a model adapt."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TypedDict, get_args

from torch import nn

from regard.errors import ConfigError, did_you_mean
from regard.learners.inner.loss import InnerLoss
from regard.learners.inner.tasks import Execution


class InnerOptions(TypedDict, total=False):
    """Options, by keyword, of every learner that adapts by gradient descent; each may be left out.

    A constructor takes them as `**options: Unpack[InnerOptions]` and hands them to `GradientLearner`, which has the
    defaults. Learning rate, training steps and order have other defaults in each method, so they stand there.

    Attributes:
        test_steps: inner steps of prediction; defaults to those of training.
        adapt_only: name patterns of the parameters that adapt, such as "head.*"; defaults to all.
        inner_loss: (N, out) and (N,) classes or (N, T) targets to (N,) losses; defaults to cross-entropy or squared
            error.
        noise: standard deviation of a predicted target, in regression.
        execution: "auto", "loop", "vmap" or "compiled", see `regard.learners.inner.meta_gradient`.
        task_chunk: tasks vmapped at once; defaults to all.
    """

    test_steps: int | None
    adapt_only: str | Sequence[str] | None
    inner_loss: InnerLoss | None
    noise: float
    execution: Execution
    task_chunk: int | None


def match_parameters(model: nn.Module, patterns: str | Sequence[str] | None) -> tuple[str, ...]:
    """Names of the parameters that adapt: those that match a pattern (as of file names), or all that are trained.

    Raises:
        ConfigError: a pattern that matches none, or a model without parameters.
    """
    own = dict(model.named_parameters())
    if patterns is None:
        names = tuple(name for name, p in own.items() if p.requires_grad)
        if not names:
            raise ConfigError(f"{type(model).__name__} has no trainable parameter: expected at least one, to adapt.")
        return names
    patterns = (patterns,) if isinstance(patterns, str) else tuple(patterns)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in own):
            raise ConfigError(
                f"adapt_only has {pattern!r}, which matches no parameter: expected a pattern such as 'head.*' that "
                f"matches some of {', '.join(own)}."
            )
    return tuple(name for name in own if any(fnmatchcase(name, pattern) for pattern in patterns))


def check_inner_options(execution: str, **counts: int | None) -> None:
    """Refuse what these options cannot be.

    Raises:
        ConfigError: an unknown execution, or a count below 1.
    """
    if execution not in get_args(Execution):
        raise ConfigError(f"execution is {execution!r}: {did_you_mean(str(execution), get_args(Execution))}")
    for name, count in counts.items():
        if count is not None and count < 1:
            raise ConfigError(f"{name} is {count}: expected at least 1.")

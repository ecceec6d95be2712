"""Losses of one task, without a task axis: rows count by their weight, and classes that the task lacks are hidden."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from regard.errors import ConfigError, EpisodeError
from regard.learners.inner.tasks import Rows

InnerLoss = Callable[[Tensor, Tensor], Tensor]
"""(N, out) outputs and (N,) classes or (N, T) targets to (N,) losses."""


def row_class_mass(support: Rows, n_classes: int) -> Tensor:
    """(..., C) summed weight of each class; (..., 0) for targets."""
    if support.y.is_floating_point():
        return support.weight.new_zeros(*support.weight.shape[:-1], 0)
    classes = torch.arange(n_classes, device=support.y.device)
    return ((support.y[..., None] == classes) * support.weight[..., None]).sum(-2)


def class_centres(support: Rows, z: Float[Tensor, "S D"], mass: Float[Tensor, " C"]) -> Float[Tensor, "C D"]:
    """The weighted mean of each class; zeros for a class without weight."""
    classes = torch.arange(mass.shape[0], device=mass.device)
    membership = (support.y[:, None] == classes) * support.weight[:, None]
    return membership.mT.to(z.dtype) @ z / torch.where(mass > 0, mass, 1.0)[:, None]


def class_outputs(output: Float[Tensor, "*N out"], n_classes: int) -> Float[Tensor, "*N C"]:
    """The first C columns.

    Raises:
        EpisodeError: there are fewer.
    """
    if output.shape[-1] < n_classes:
        raise EpisodeError(
            f"an episode of {n_classes} classes came to a model of {output.shape[-1]} outputs: expected at most as "
            "many classes as outputs; give the model more, or use ProtoMAML, whose head fits any number."
        )
    return output[..., :n_classes]


def row_losses(output: Tensor, y: Tensor, mass: Tensor, loss: InnerLoss | None = None) -> Tensor:
    """(N,) losses: cross-entropy among the classes of the task, or mean squared error over the targets.

    Args:
        output: (N, out).
        y: (N,) classes or (N, T) targets.
        mass: (C,) support weight per class; without any weight no class is hidden.
        loss: another loss of (N, C) logits and classes, or (N, T) outputs and targets.

    Raises:
        EpisodeError: the model has fewer outputs than the task has classes, or another number than it has targets.
        ConfigError: the model gives another number of rows than it got.
    """
    if output.shape[0] != y.shape[0]:
        raise ConfigError(
            f"the model gives {output.shape[0]} rows for {y.shape[0]} items: expected one row (out,) per item."
        )
    output = output.to(torch.promote_types(output.dtype, torch.float32))
    if y.is_floating_point():
        if output.shape != y.shape:
            raise EpisodeError(
                f"the model gives {tuple(output.shape)} for targets of {tuple(y.shape)}: expected one output for each "
                "target; make the model with that many."
            )
        return (output - y).square().mean(-1) if loss is None else loss(output, y)
    hidden = (mass <= 0) & (mass > 0).any()
    # Low, but finite: a padded row may be labelled with a class that is absent, and 0 times infinity is NaN.
    logits = torch.where(hidden, torch.finfo(output.dtype).min / 4, class_outputs(output, mass.shape[-1]))
    if loss is not None:
        return loss(logits, y)
    return torch.logsumexp(logits, -1) - logits.gather(-1, y[:, None]).squeeze(-1)


def require_rows(output: object, what: str) -> Tensor:
    """The output of a user's model, if it is one tensor (N, out).

    Raises:
        ConfigError: it is a tuple, a dict or anything else, or a tensor of other axes.
    """
    if isinstance(output, Tensor) and output.ndim == 2:
        return output
    if isinstance(output, Tensor):
        came = f"a tensor of shape {tuple(output.shape)}"
    elif isinstance(output, (tuple, list)):
        came = f"a {type(output).__name__} of {len(output)}"
    elif isinstance(output, dict):
        came = f"a dict of {', '.join(map(repr, output))}"
    else:
        came = f"an object of type {type(output).__name__}"
    raise ConfigError(
        f"{what} gives {came} for N items: expected one tensor (N, out) of logits or predicted targets. Wrap it in a "
        "module whose forward returns that alone, such as model(x)[0] or model(x).flatten(1)."
    )


def weighted_mean(losses: Tensor, weight: Tensor) -> Tensor:
    """Scalar; 0 without weight. Rows of weight 0 add an exact 0, whatever their loss."""
    total = weight.sum()
    return (torch.where(weight > 0, losses, 0.0) * weight).sum() / torch.where(total > 0, total, 1.0)

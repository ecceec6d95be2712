"""Which support examples mattered: how the prediction changes when a row weighs a little more or less.

    influence_qs = d log p(c_q | query q) / d weight_s          c_q: the class predicted for q

For every learner, attending or not, since weights are part of the episode. Positive rows speak for the predicted class,
negative ones against it. `contribution` is weight times influence: to first order, what deleting the row would take
away, and 0 for padding. For a row of weight 0 the influence says what adding it would do, where the learner computes
with such rows at all (hard attention and CrossTransformer skip them and give 0). In regression the predicted mean,
summed over targets, takes the place of log p. Where targets are of different kinds, such as the forces and turns of an
action, a sum lets them cancel: `over_targets="norm"` takes the length of the T derivatives, which has no sign,

    influence_qs = | d mean(query q) / d weight_s |       in the unit of the targets

This is the infinitesimal jackknife (Jaeckel 1972; Koh and Liang 2017, arXiv:1703.04730), with adaptation
differentiated through instead of a Hessian inverted.

Whether to believe it is another question: see `faithfulness`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from regard.episode import Episode
from regard.errors import ConfigError, did_you_mean
from regard.explain.reweighting import Reweighting
from regard.learners.base import AttendingLearner, Learner
from regard.nn.inference import eval_mode

OverTargets = Literal["sum", "norm"]


@dataclass(frozen=True)
class Influence:
    """What mattered to each prediction.

    Args:
        influence: (B, Q, S), as in the module's formula.
        contribution: (B, Q, S), weight times influence; at least 0 where targets are taken by their norm.
        attention: (B, Q, S), a distribution over the rows, for a learner that attends; else None.
        predicted: (B, Q) class that each row of `influence` speaks of; zeros in regression.
        probability: (B, Q) of that class; in regression the predicted mean, summed over targets, or its norm.
    """

    influence: Tensor
    contribution: Tensor
    attention: Tensor | None
    predicted: Tensor
    probability: Tensor


def influence(learner: Learner, episode: Episode, *, over_targets: OverTargets = "sum") -> Influence:
    """Explain every query of the episode.

    Args:
        learner: temporarily in eval mode, then restored; its parameters' gradients are not touched.
        episode: B tasks of Q queries and S support rows.
        over_targets: in regression, "sum" adds the derivatives of all targets, "norm" takes their length.

    Raises:
        ConfigError: the learner is transductive, or an unknown `over_targets`.

    Examples:
        >>> import torch
        >>> from regard.episode import Episode, Support
        >>> from regard.learners import Prototypical
        >>> from regard.nn.flat import Flat
        >>> support = Support(torch.eye(2)[None], torch.tensor([[0, 1]]))
        >>> result = influence(Prototypical(Flat()), Episode(support, torch.eye(2)[None, :1], torch.tensor([[0]])))
        >>> result.predicted, tuple(result.contribution.shape)
        (tensor([[0]]), (1, 1, 2))
    """
    if over_targets not in get_args(OverTargets):
        raise ConfigError(f"over_targets is {over_targets!r}: {did_you_mean(over_targets, get_args(OverTargets))}")
    how = over_targets if episode.support.is_regression else "class"
    with eval_mode(learner):
        reweighting = Reweighting.of(learner, episode)
        n_query, n_rows = episode.query_y.shape[1], episode.n_tasks * episode.support.n_rows
        # What is held for the gradient is several times as much as without one.
        at_once = max(1, reweighting.rows_at_once // 4 // max(1, n_rows))
        parts = [
            _gradients(reweighting.some_queries(slice(at, at + at_once)), min(at_once, n_query - at), how)
            for at in range(0, n_query, at_once)
        ]
        gradient, value, predicted = (torch.cat(each, 1) for each in zip(*parts, strict=True))
        attention = None
        if isinstance(learner, AttendingLearner):
            with torch.no_grad():
                attention = learner.attend(learner.adapt(episode.support), episode.query_x)
        return Influence(
            influence=gradient,
            contribution=gradient * episode.support.weight[:, None],
            attention=attention,
            predicted=predicted,
            probability=value,
        )


def _gradients(
    reweighting: Reweighting, n_query: int, how: Literal["class", "sum", "norm"]
) -> tuple[Tensor, Tensor, Tensor]:
    """(B, Q, S) influences, (B, Q) probabilities or means, and (B, Q) classes that they speak of."""
    weight = reweighting.weights(n_query).clone().requires_grad_()
    with torch.enable_grad():
        output = reweighting.predict(weight)
        if how == "norm":
            totals = output.flatten(0, -2).sum(0)
            each = [torch.autograd.grad(total, weight, retain_graph=True)[0] for total in totals]
            none = torch.zeros_like(output[..., 0], dtype=torch.int64)
            return torch.stack(each).norm(dim=0), output.detach().norm(dim=-1), none
        if how == "sum":
            value, predicted = output.sum(-1), torch.zeros_like(output[..., 0], dtype=torch.int64)
        else:
            value, predicted = output.max(-1)
        # Not used at all where weights change nothing, as with one example per class in CrossTransformer.
        (gradient,) = torch.autograd.grad(value.sum(), weight, materialize_grads=True)
    value = value.detach()
    return gradient, value.exp() if how == "class" else value, predicted

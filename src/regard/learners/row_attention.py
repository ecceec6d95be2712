"""What the learners that attend over support rows share: how a score of every row becomes an answer.

    p_s        = w_s exp(score_s) / sum over rows                       how much row s counts
    logit_k    = log of the summed p_s of class k                       classes
    mean       = sum_s p_s y_s                                          targets
    deviation  = sqrt( sum_s p_s (y_s - mean)^2 + noise^2 )

A subclass gives the scores. `alike` is the label of a pair, for the learners that are trained on pairs.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, Normal

from regard.episode import Episode, Support
from regard.learners.base import EncodingAttendingLearner, hide_absent, or_one
from regard.nn.attention import How, attention_weights


class RowAttentionLearner(EncodingAttendingLearner):
    """Classes by summed attention, targets by averaging with it. Its state is the support with vectors for items.

    Attributes:
        how: how scores become weights, see `regard.nn.attention`.
        n_neighbours: how many rows "hard" keeps.
        noise: the smallest standard deviation of a predicted target, in the target's own unit.
    """

    regresses = True
    how: How = "soft"
    n_neighbours: int = 1
    noise: float = 0.1

    @abstractmethod
    def score(self, state: Support, query_z: Float[Tensor, "B Q *D"]) -> Float[Tensor, "B Q S"]:
        """Larger is nearer; the weight of rows is no concern of it."""

    def adapt_encoded(self, support: Support) -> Support:
        return support

    def predict_encoded(
        self, state: Support, query_z: Float[Tensor, "B Q *D"]
    ) -> Float[Tensor, "B Q C"] | Distribution:
        if state.is_regression:
            return weighted_normal(self.attend_encoded(state, query_z), state.y, self.noise)
        if self.how == "soft":
            return class_logits(self._wide_score(state, query_z), state)
        votes = self.attend_encoded(state, query_z) @ state.one_hot()
        # A class without a vote has a finite logit (its log of almost nothing), so that a loss stays finite.
        logits = votes.clamp_min(torch.finfo(votes.dtype).tiny).log()
        return hide_absent(logits, state.membership().sum(1))

    def attend_encoded(self, state: Support, query_z: Float[Tensor, "B Q *D"]) -> Float[Tensor, "B Q S"]:
        score = self._wide_score(state, query_z)
        return attention_weights(score, state.weight[:, None], self.how, k=self.n_neighbours)

    def _wide_score(self, state: Support, query_z: Tensor) -> Tensor:
        """Scores at least as precise as the weights: bf16 would make steps of 3 in a hundred between rows."""
        score = self.score(state, query_z)
        return score.to(torch.promote_types(score.dtype, state.weight.dtype))


def class_logits(score: Float[Tensor, "B Q S"], support: Support) -> Float[Tensor, "B Q C"]:
    """Scores to the log of the summed weight * exp(score) of each class.

    Each class is scaled by its own best row, so classes far apart lose nothing; and weights come in as factors, so the
    gradient with respect to a weight of 0 is finite.
    """
    weight = support.membership().mT[:, None].to(score.dtype)
    each = score[:, :, None]
    top = torch.where(weight > 0, each.detach(), -torch.inf).amax(-1, keepdim=True)
    top = torch.where(top > -torch.inf, top, 0.0)
    total = (weight * (each - top).clamp_max(30.0).exp()).sum(-1)
    logits = torch.where(total > 0, total, 1.0).log() + top.squeeze(-1)
    return hide_absent(logits, weight.sum((1, 3)))


def weighted_normal(p: Float[Tensor, "B Q S"], target: Float[Tensor, "B S T"], noise: float) -> Normal:
    """Attention and targets to a normal distribution over (B, Q, T)."""
    target = target.to(p.dtype)
    mean = p @ target
    # The direct difference: E[y^2] - E[y]^2 would lose all digits where targets are large.
    spread = (p[..., None] * (target[:, None] - mean[:, :, None]).square()).sum(2)
    # Arguments are not validated: that looks at values, which vmap forbids.
    return Normal(mean, (spread + noise**2).sqrt(), validate_args=False)


def alike(episode: Episode) -> Float[Tensor, "B Q S"]:
    """How alike, from 0 to 1, query and support row are said to be.

    Classes are alike or not. Targets are alike by degrees, exp(-|y_q - y_s|^2 / v), v the variance of the support's
    targets: 1 where equal, exp(-2) for the squared distance that two rows have on average.
    """
    support, query_y = episode.support, episode.query_y
    if not support.is_regression:
        return (query_y[:, :, None] == support.y[:, None]).to(support.weight.dtype)
    weight = support.weight[..., None] / or_one(support.weight.sum(1))[:, None, None]
    mean = (weight * support.y).sum(1, keepdim=True)
    variance = (weight * (support.y - mean).square()).sum((1, 2))
    apart = (query_y[:, :, None] - support.y[:, None]).square().sum(-1)
    return torch.exp(-apart / or_one(variance)[:, None, None])

"""Predictions for the same queries under other support weights, which may differ from query to query.

Every explanation here changes support weights, query by query. So each query is made a task of its own: B tasks of Q
queries become B * Q tasks of one query, with weights (B, Q, S). Since a batch is a loop and queries do not see each
other, the answers are the same; and one backward pass gives the gradient of every query with respect to every row.

Items are encoded once where the learner can (`EncodingLearner`); other learners are given the items again and again,
which for a large encoder takes its time: ask about few queries.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution

from regard.episode import Episode, Items, Support, map_items
from regard.errors import ConfigError
from regard.learners.base import EncodingLearner, Learner, Output

_ROWS_AT_ONCE = 20_000
"""Support rows, over all copies, that one call holds: what bounds the memory."""


@dataclass(frozen=True)
class Reweighting:
    """A learner before an episode; see the module. Make one by `Reweighting.of`."""

    learner: Learner
    support: Support
    query: Items
    encoded: bool

    @classmethod
    def of(cls, learner: Learner, episode: Episode) -> Reweighting:
        """Encode what can be encoded once.

        Raises:
            ConfigError: the learner is transductive: its queries see each other and cannot be asked one by one.
        """
        if learner.transductive:
            raise ConfigError(
                f"{type(learner).__name__} is transductive, so one query's answer depends on the others: expected a "
                "learner whose encoder mixes nothing; norm='group' or norm='batch' gives one."
            )
        if not isinstance(learner, EncodingLearner):
            return cls(learner, episode.support, episode.query_x, False)
        with torch.no_grad():
            support, query_z = learner.encode_episode(episode)
        return cls(learner, support, query_z, True)

    def weights(self, n_query: int) -> Tensor:
        """(B, Q, S): the support's own weights, once for each query."""
        return self.support.weight[:, None].expand(-1, n_query, -1)

    def answer(self, weight: Tensor) -> Tensor:
        """Weights (B, Q, S) to (B, Q, C) log-probabilities; in regression to (B, Q, T) predicted means."""
        n_tasks, n_query, n_rows = weight.shape
        task = torch.arange(n_tasks, device=weight.device).repeat_interleave(n_query)
        query = map_items(lambda t: t.flatten(0, 1)[:, None], self.query)  # type: ignore[type-var]
        flat = weight.flatten(0, 1)
        parts = torch.arange(len(task), device=weight.device).split(max(1, _ROWS_AT_ONCE // max(1, n_rows)))
        answers = [self._ask(task[part], map_items(lambda t, i=part: t[i], query), flat[part]) for part in parts]
        return torch.cat(answers).unflatten(0, (n_tasks, n_query))

    def _ask(self, task: Tensor, query: Items, weight: Tensor) -> Tensor:
        x = map_items(lambda t: t[task], self.support.x)  # type: ignore[type-var]
        support = Support(x, self.support.y[task], weight, self.support.n_classes)
        if self.encoded and isinstance(self.learner, EncodingLearner):
            state = self.learner.adapt_encoded(support)
            return _told(self.learner.predict_encoded(state, query))[:, 0]  # type: ignore[arg-type]
        return _told(self.learner.predict(self.learner.adapt(support), query))[:, 0]


def _told(output: Output) -> Tensor:
    return output.mean if isinstance(output, Distribution) else torch.log_softmax(output, -1)

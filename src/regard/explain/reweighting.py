"""Predictions for the same queries under other support weights, which may differ from query to query.

Every explanation here changes support weights, query by query. So each query becomes a task of its own: B tasks of Q
queries become B * Q tasks of one query, with weights (B, Q, S). Since a batch is a loop and queries do not see each
other, the predictions are the same; and one backward pass gives the gradient of every query with respect to every row.

Items are encoded once for an `EncodingLearner`; other learners get the items again and again, which takes long with a
large encoder: explain few queries at a time.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.distributions import Distribution

from regard.episode import Episode, Items, Support, first_tensor, map_items
from regard.errors import ConfigError
from regard.learners.base import EncodingLearner, Learner

_ENCODED_ROWS, _ROWS = 20_000, 2_000
"""Support rows, over all copies, that one call holds, where items are encoded and where not: what bounds the memory."""


@dataclass(frozen=True)
class Reweighting:
    """A learner and an episode, ready to be predicted under other weights. Made by `Reweighting.of`."""

    learner: Learner
    support: Support
    query: Items
    encoded: bool

    @classmethod
    def of(cls, learner: Learner, episode: Episode) -> Reweighting:
        """Encode what can be encoded once.

        Raises:
            ConfigError: the learner is transductive: its queries see each other and cannot be predicted one by one.
        """
        if learner.transductive:
            raise ConfigError(
                f"{type(learner).__name__} is transductive, so a prediction depends on the other queries: expected "
                "a learner whose encoder mixes nothing; norm='group' or norm='batch' gives one."
            )
        if not isinstance(learner, EncodingLearner):
            return cls(learner, episode.support, episode.query_x, False)
        with torch.no_grad():
            support, query_z = learner.encode_episode(episode)
        return cls(learner, support, query_z, True)

    @property
    def rows_at_once(self) -> int:
        """Support rows, over all copies, that a call without gradients may hold."""
        return _ENCODED_ROWS if self.encoded else _ROWS

    def some_queries(self, chosen: slice) -> Reweighting:
        """The same tasks, with these of their queries."""
        return replace(self, query=map_items(lambda t: t[:, chosen], self.query))

    def weights(self, n_query: int) -> Tensor:
        """(B, Q, S): the support's own weights, once for each query."""
        return self.support.weight[:, None].expand(-1, n_query, -1)

    def predict(self, weight: Tensor) -> Tensor:
        """Weights (B, Q, S) to (B, Q, C) log-probabilities; in regression to (B, Q, T) predicted means."""
        n_tasks, n_query, n_rows = weight.shape
        copies = torch.arange(n_tasks * n_query, device=weight.device)
        outputs: list[Tensor] = []
        for copy in copies.split(max(1, self.rows_at_once // max(1, n_rows))):
            task = copy // n_query
            support = Support(
                _rows(self.support.x, task), self.support.y[task], weight.flatten(0, 1)[copy], self.support.n_classes
            )
            outputs.append(self._answer(support, _rows(self.query, task, copy % n_query))[:, 0])
        return torch.cat(outputs).unflatten(0, (n_tasks, n_query))

    def predict_each(self, weight: Tensor, y: Tensor | None = None, title: str = "") -> Tensor:
        """All Q queries of one task under each of N weightings, which adapts once for each and not once per query.

        Args:
            weight: (N, S).
            y: (N, S) labels in place of the support's own.
            title: of the progress bar, which a terminal shows; none where it is empty.

        Returns:
            (N, Q, C) as `predict`.
        """
        n_rows, n_query = weight.shape[1], first_tensor(self.query).shape[1]
        labels = self.support.y.expand(len(weight), *self.support.y.shape[1:]) if y is None else y
        outputs: list[Tensor] = []
        copies = torch.arange(len(weight), device=weight.device)
        # A learner may hold a number for each two rows, or for each row and query.
        parts = copies.split(max(1, self.rows_at_once // max(1, n_rows * max(n_rows, n_query))))
        shown = bool(title) and len(parts) > 1 and sys.stderr.isatty()
        for copy in track(parts, title, console=Console(stderr=True), disable=not shown, transient=True):
            task = torch.zeros_like(copy)
            support = Support(_rows(self.support.x, task), labels[copy], weight[copy], self.support.n_classes)
            outputs.append(self._answer(support, _rows(self.query, task)))
        return torch.cat(outputs)

    def _answer(self, support: Support, query: Items) -> Tensor:
        """(B, Q, C) log-probabilities or means."""
        if isinstance(self.learner, EncodingLearner) and isinstance(query, Tensor) and self.encoded:
            output = self.learner.predict_encoded(self.learner.adapt_encoded(support), query)
        else:
            output = self.learner.predict(self.learner.adapt(support), query)
        return output.mean if isinstance(output, Distribution) else torch.log_softmax(output, -1)


def _rows(x: Items, task: Tensor, query: Tensor | None = None) -> Items:
    """(B, R, *item) to (N, R, *item) of these tasks, or to (N, 1, *item) of one query of each."""
    if isinstance(x, dict):
        return {key: t[task] if query is None else t[task, query][:, None] for key, t in x.items()}
    return x[task] if query is None else x[task, query][:, None]

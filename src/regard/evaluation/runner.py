"""Runs a learner on many episodes: as they come from their source, or with every item encoded once.

Encoding each item once needs a learner that keeps its encoder fixed (`EncodingLearner`), items that do not change from
episode to episode (a sampler without a transform), and items that do not see each other (`transductive` is false).
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import NamedTuple, final

import numpy as np
import torch
from torch import Tensor

from regard.episode import Items
from regard.evaluation.encoded import encode_items
from regard.evaluation.metrics import Confusion
from regard.learners.base import EncodingLearner, Learner, Output
from regard.sampling.episodes import EpisodeRows, EpisodeSampler
from regard.sampling.source import EpisodeSource


class Predictions(NamedTuple):
    """The learner's output for a batch of B episodes, and the (B, Q, ...) y and (B, Q) weight of their queries."""

    output: Output
    y: Tensor
    weight: Tensor


class EpisodeRunner(ABC):
    """Episodes 0 .. n - 1 of a source, for one learner.

    Attributes:
        size: a number of episodes per batch that is fast on a CPU.
    """

    size: int

    @abstractmethod
    def run(self, part: slice) -> Predictions:
        """Predict some of the episodes as one batch."""

    @abstractmethod
    def digest(self) -> str:
        """16 hex digits that tell these episodes from others."""

    def confusion(self, predicted: Tensor) -> Confusion | None:
        """Which classes were predicted for which, from (n, Q) predictions; None if the classes have no names."""
        return None


@final
class FromSource(EpisodeRunner):
    """Generated episodes: no item occurs twice, so there is nothing to encode once."""

    size = 16

    def __init__(self, learner: Learner, source: EpisodeSource, n_episodes: int, device: torch.device) -> None:
        self.learner, self.source, self.n_episodes, self.device = learner, source, n_episodes, device

    def run(self, part: slice) -> Predictions:
        episode = self.source(np.arange(part.start, part.stop)).to(self.device)
        with torch.inference_mode():
            return Predictions(self.learner(episode), episode.query_y, episode.query_weight)

    def digest(self) -> str:
        """Of all numbers of the first and of the last episode, each by itself, so that batches leave no trace."""
        ends = [self.source([number]) for number in (0, self.n_episodes - 1)]
        items = [x for e in ends for x in (e.support.x, e.support.y, e.query_x, e.query_y)]
        return _digest(type(self.source).__name__, (tensor for x in items for tensor in _tensors(x)))


class RowRunner(EpisodeRunner):
    """Episodes made of the rows of a data set."""

    def __init__(self, sampler: EpisodeSampler, rows: EpisodeRows) -> None:
        self.sampler, self.rows = sampler, rows

    @abstractmethod
    def output(self, rows: EpisodeRows) -> Output:
        """The learner's output for the episodes of these rows."""

    def run(self, part: slice) -> Predictions:
        rows = self.rows[part]
        return Predictions(self.output(rows), rows.query_y, (rows.query >= 0).double())

    def digest(self) -> str:
        return episodes_digest(self.sampler, self.rows)

    def confusion(self, predicted: Tensor) -> Confusion:
        """Class indices of the episodes become classes of the data set again."""
        rows, y = self.rows, self.sampler.dataset.y
        class_of_label = torch.zeros(len(rows), rows.n_classes, dtype=torch.int64)
        task, column = (rows.support >= 0).nonzero(as_tuple=True)
        class_of_label[task, rows.support_y[task, column]] = y[rows.support[task, column]]
        is_real = rows.query >= 0
        predicted_class = class_of_label.gather(1, predicted)[is_real]
        return Confusion.of(self.sampler.dataset.class_names, y[rows.query[is_real]].numpy(), predicted_class.numpy())


@final
class FromItems(RowRunner):
    """Every episode's items are gathered, transformed and given to the learner again."""

    size = 1

    def __init__(self, learner: Learner, sampler: EpisodeSampler, rows: EpisodeRows, device: torch.device) -> None:
        super().__init__(sampler, rows)
        self.learner, self.device = learner, device

    def output(self, rows: EpisodeRows) -> Output:
        # Sampled outside inference mode: what a transform keeps for later must be usable in training.
        episode = self.sampler.gather(rows).to(self.device)
        with torch.inference_mode():
            return self.learner(episode)


@final
class FromEncoded(RowRunner):
    """Every item is encoded once, when the runner is made; episodes are gathered from the vectors."""

    def __init__(
        self,
        learner: EncodingLearner,
        sampler: EpisodeSampler,
        rows: EpisodeRows,
        device: torch.device,
        processes: int = 1,
    ) -> None:
        super().__init__(sampler, rows)
        self.learner = learner
        self.items = encode_items(learner, sampler.dataset, rows, device, processes=processes)
        self.size = 16 if self.items.z.ndim == 2 else 1

    def output(self, rows: EpisodeRows) -> Output:
        with torch.inference_mode():
            support, query_z = self.items.episode(rows)
            return self.learner.predict_encoded(self.learner.adapt_encoded(support), query_z)


def row_runner(
    learner: Learner,
    sampler: EpisodeSampler,
    rows: EpisodeRows,
    device: torch.device,
    *,
    cache: bool = True,
    processes: int = 1,
) -> RowRunner:
    """The runner for episodes of these rows; with `cache`, each item is encoded once if learner and sampler allow it.

    Args:
        processes: that share the encoding; what they encode is the same, bit for bit.
    """
    changes = sampler.transform is not None or learner.transductive
    if cache and isinstance(learner, EncodingLearner) and not changes:
        return FromEncoded(learner, sampler, rows, device, processes)
    return FromItems(learner, sampler, rows, device)


def episode_runner(
    learner: Learner,
    source: EpisodeSource,
    n_episodes: int,
    device: torch.device,
    *,
    cache: bool = True,
    processes: int = 1,
) -> EpisodeRunner:
    """The runner for episodes 0 .. n_episodes - 1 of the source; the other arguments as for `row_runner`."""
    if not isinstance(source, EpisodeSampler):
        return FromSource(learner, source, n_episodes, device)
    return row_runner(learner, source, source.rows(np.arange(n_episodes)), device, cache=cache, processes=processes)


def episodes_digest(sampler: EpisodeSampler, rows: EpisodeRows) -> str:
    """16 hex digits that tell these episodes from others: their rows, the labels, and the items of the first one."""
    first = sampler.gather(rows[:1])
    items = [tensor for x in (first.support.x, first.query_x) for tensor in _tensors(x)]
    indices = [rows.number, rows.support, rows.support_y, rows.query, rows.query_y]
    return _digest("\n".join(sampler.dataset.class_names), [*items, *indices])


def _digest(text: str, tensors: Iterable[Tensor]) -> str:
    digest = hashlib.sha256(text.encode())
    for tensor in tensors:
        digest.update(np.ascontiguousarray(tensor.numpy()).data)
    return digest.hexdigest()[:16]


def _tensors(x: Items) -> list[Tensor]:
    return list(x.values()) if isinstance(x, dict) else [x]

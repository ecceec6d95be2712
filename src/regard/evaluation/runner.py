"""How episodes are asked: as they are, or from items that were encoded once."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from regard.episode import Items
from regard.evaluation.encoded import encode_items
from regard.evaluation.metrics import Confusion
from regard.learners.base import EncodingLearner, Learner, Output
from regard.sampling.dataset import Dataset
from regard.sampling.episodes import EpisodeRows, EpisodeSampler
from regard.sampling.source import EpisodeSource

_ROW_FIELDS = ("number", "support", "support_y", "query", "query_y")


class Predictions(NamedTuple):
    """Of one batch: what the learner said, and (B, Q, ...) y and (B, Q) weight of the queries."""

    output: Output
    y: Tensor
    weight: Tensor


class EpisodeRunner(ABC):
    """Episodes 0 .. n - 1 of a source, for one learner.

    Attributes:
        size: how many at once are quick on a CPU.
    """

    size: int

    @abstractmethod
    def run(self, part: slice) -> Predictions:
        """Some of the episodes as one batch."""

    @abstractmethod
    def digest(self) -> str:
        """16 hex digits that tell these episodes from others."""

    def confusion(self, predicted: Tensor) -> Confusion | None:
        """Which classes were taken for which by (n, Q) answers, where episodes are made of classes with names."""
        return None


class FromSource(EpisodeRunner):
    """Episodes that a source makes up: there is nothing that could be encoded once."""

    size = 16

    def __init__(self, learner: Learner, source: EpisodeSource, n_episodes: int, device: torch.device) -> None:
        self.learner, self.source, self.n_episodes, self.device = learner, source, n_episodes, device

    def run(self, part: slice) -> Predictions:
        episode = self.source(np.arange(part.start, part.stop)).to(self.device)
        with torch.inference_mode():
            return Predictions(self.learner(episode), episode.query_y, episode.query_weight)

    def digest(self) -> str:
        """Of all numbers of the first and of the last episode; each alone, so that batches leave no trace."""
        ends = [self.source([number]) for number in (0, self.n_episodes - 1)]
        pairs = [(e.support.x, e.support.y, e.query_x, e.query_y) for e in ends]
        return _digest(type(self.source).__name__, (t for pair in pairs for x in pair for t in _tensors(x)))


class FromEncoded(EpisodeRunner):
    """Episodes of a data set's rows.

    Each item is encoded once where it can be: the learner keeps its encoder fixed, and items neither change from
    episode to episode nor see each other.
    """

    def __init__(
        self, learner: Learner, sampler: EpisodeSampler, n_episodes: int, device: torch.device, *, cache: bool
    ) -> None:
        self.learner, self.sampler, self.device = learner, sampler, device
        self.rows = sampler.rows(np.arange(n_episodes))
        cached = (
            cache and isinstance(learner, EncodingLearner) and sampler.transform is None and not learner.transductive
        )
        self._answer, self.size = self._cached(learner) if cached else (self._fresh, 1)  # type: ignore[arg-type]

    def run(self, part: slice) -> Predictions:
        rows = _select(self.rows, part)
        return Predictions(self._answer(rows), rows.query_y, (rows.query >= 0).double())

    def digest(self) -> str:
        """Of the rows, the labels, and the items of the first episode."""
        return episodes_digest(self.sampler, self.rows)

    def confusion(self, predicted: Tensor) -> Confusion:
        return _confusion(self.sampler.dataset, self.rows, predicted)

    def _fresh(self, rows: EpisodeRows) -> Output:
        # Sampled outside inference mode: what a transform keeps for later must be usable in training.
        episode = self.sampler.gather(rows).to(self.device)
        with torch.inference_mode():
            return self.learner(episode)

    def _cached(self, learner: EncodingLearner) -> tuple[Callable[[EpisodeRows], Output], int]:
        items = encode_items(learner, self.sampler.dataset, self.rows, self.device)

        def gathered(rows: EpisodeRows) -> Output:
            with torch.inference_mode():
                support, query_z = items.episode(rows)
                return learner.predict_encoded(learner.adapt_encoded(support), query_z)

        return gathered, 16 if items.z.ndim == 2 else 1


def episode_runner(
    learner: Learner, source: EpisodeSource, n_episodes: int, device: torch.device, *, cache: bool
) -> EpisodeRunner:
    """The way that suits the source."""
    if isinstance(source, EpisodeSampler):
        return FromEncoded(learner, source, n_episodes, device, cache=cache)
    return FromSource(learner, source, n_episodes, device)


def episodes_digest(sampler: EpisodeSampler, rows: EpisodeRows) -> str:
    """16 hex digits that tell these episodes from others: their rows, the labels, and the items of the first one."""
    first = sampler.gather(_select(rows, slice(0, 1)))
    items = [tensor for x in (first.support.x, first.query_x) for tensor in _tensors(x)]
    names = "\n".join(sampler.dataset.class_names)
    return _digest(names, [*items, *(getattr(rows, field) for field in _ROW_FIELDS)])


def _digest(text: str, tensors: Iterable[Tensor]) -> str:
    digest = hashlib.sha256(text.encode())
    for tensor in tensors:
        digest.update(np.ascontiguousarray(tensor.numpy()).data)
    return digest.hexdigest()[:16]


def _tensors(x: Items) -> list[Tensor]:
    return list(x.values()) if isinstance(x, dict) else [x]


def _select(rows: EpisodeRows, part: slice) -> EpisodeRows:
    return replace(rows, **{field: getattr(rows, field)[part] for field in _ROW_FIELDS})


def _confusion(dataset: Dataset, rows: EpisodeRows, predicted: Tensor) -> Confusion:
    """Episode labels back to the classes of the data set, query by query."""
    y = dataset.y
    of_label = torch.zeros(len(rows), rows.n_classes, dtype=torch.int64)
    task, place = (rows.support >= 0).nonzero(as_tuple=True)
    of_label[task, rows.support_y[task, place]] = y[rows.support[task, place]]
    asked = rows.query >= 0
    answer = of_label.gather(1, predicted)[asked]
    return Confusion.of(dataset.class_names, y[rows.query[asked]].numpy(), answer.numpy())

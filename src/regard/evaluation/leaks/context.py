"""What a check is given and what it gives back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from torch.distributions import Distribution

from regard.domains.base import Domain, digests
from regard.domains.translation.protocol import EnglishSides
from regard.episode import Episode, Items, map_items
from regard.evaluation.evaluate import device_of
from regard.evaluation.intervals import Interval
from regard.evaluation.leaks.duplicates import is_coarse
from regard.learners.base import Learner
from regard.sampling.dataset import Dataset
from regard.sampling.episodes import EpisodeSampler
from regard.sampling.source import EpisodeSource
from regard.sampling.task_table import TaskTable

Verdict = Literal["passed", "failed", "does not apply"]

LEVEL = 0.999
"""Level of intervals: some fifteen checks, and hardly ever a false alarm."""

_SHOWN = 3


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Args:
        check: what must hold.
        verdict: "passed", "failed" or "does not apply".
        proof: the numbers, or the first items, or the reason.
    """

    check: str
    verdict: Verdict
    proof: str


@dataclass(frozen=True)
class LeakContext:
    """What a check looks at.

    Args:
        learner: in eval mode.
        sampler: of test episodes.
        splits: data set by split, "train", "validation" and "test" among them where known.
        n_episodes: how many episodes are sampled.
        tolerance: largest difference of probabilities that is rounding; larger ones are looked at in float64.
        domain: of the items, where it is known.
        tables: of data with several tasks per item, all labels of the tasks of each split, on whatever items.
        item_ids: of such data, the items that the episodes of each split are made of.
        english: of translation, the English of training and of the test languages.
    """

    learner: Learner
    sampler: EpisodeSource
    splits: Mapping[str, Dataset] = field(default_factory=dict)
    n_episodes: int = 50
    tolerance: float = 1e-3
    domain: Domain | None = None
    tables: Mapping[str, TaskTable] = field(default_factory=dict)
    item_ids: Mapping[str, Sequence[str]] = field(default_factory=dict)
    english: EnglishSides | None = None
    _kept: dict[str, dict[int, Any]] = field(default_factory=lambda: defaultdict(dict), repr=False)

    def numbers(self) -> range:
        """The episodes that are sampled."""
        return range(self.n_episodes)

    def episode(self, number: int) -> Episode:
        """One episode as a batch of one, as the learner gets it."""
        return self.sampler([number]).to(device_of(self.learner))

    def items(self, number: int) -> tuple[Items, Items]:
        """(S, *item) and (Q, *item) of one episode as the learner gets them, without padding, on the CPU."""
        episode = self.episode(number)
        return (
            map_items(lambda t: t[0][episode.support.weight[0] > 0].cpu(), episode.support.x),
            map_items(lambda t: t[0][episode.query_weight[0] > 0].cpu(), episode.query_x),
        )

    def labels(self, number: int) -> tuple[Tensor, Tensor]:
        """(S,) and (Q,) labels, or (S, T) and (Q, T) targets, of the same rows as `items`."""
        episode = self.episode(number)
        return (
            episode.support.y[0][episode.support.weight[0] > 0].cpu(),
            episode.query_y[0][episode.query_weight[0] > 0].cpu(),
        )

    def rows(self, number: int) -> tuple[Tensor, Tensor] | None:
        """(S,) and (Q,) rows of the data set, padding left out; None where the sampler does not tell them."""
        if not isinstance(self.sampler, EpisodeSampler):
            return None
        rows = self.sampler.rows([number])
        return rows.support[0][rows.support[0] >= 0], rows.query[0][rows.query[0] >= 0]

    def is_coarse(self) -> bool:
        """Whether the data set has equal items in different classes."""
        if not isinstance(self.sampler, EpisodeSampler):
            return False
        kept = self._kept["coarse"]
        if not kept:
            kept[0] = is_coarse(self.sampler.dataset.x, self.sampler.dataset.y)
        return bool(kept[0])

    def knows_classes(self, number: int) -> bool:
        """Whether `classes` are those of the data set."""
        return self._data_classes(number) is not None

    def classes(self, number: int) -> tuple[Tensor, Tensor]:
        """(S,) and (Q,) classes of the rows of `items`: those of the data set, or else labels of this episode."""
        known = self._data_classes(number)
        if known is not None:
            return known
        support, query = self.labels(number)
        if support.is_floating_point():
            # Targets: no two items are of one class.
            return torch.arange(len(support)), torch.arange(len(support), len(support) + len(query))
        return support, query

    def _data_classes(self, number: int) -> tuple[Tensor, Tensor] | None:
        if not isinstance(self.sampler, EpisodeSampler):
            return None
        dataset, table = self.sampler.dataset, self._kept["digest"]
        if not table:
            table[0] = dict(zip(digests(dataset.x), dataset.y.tolist(), strict=True))
        # By content first: a sampler may do to its episodes what its rows do not tell.
        found = [[table[0].get(digest, -1) for digest in digests(x)] for x in self.items(number)]
        rows = self.rows(number)
        support, query = self.labels(number)
        if min(min(f, default=-1) for f in found) < 0:
            if rows is None or len(rows[0]) != len(support) or len(rows[1]) != len(query):
                return None
            return dataset.y[rows[0]], dataset.y[rows[1]]
        return torch.tensor(found[0]), torch.tensor(found[1])

    def answer(self, episode: Episode) -> Tensor:
        """(B, Q, C) probabilities."""
        return probabilities(self.learner, episode)


def probabilities(learner: Learner, episode: Episode) -> Tensor:
    """(B, Q, C) probabilities, or (B, Q, T) means where the learner predicts numbers."""
    # Not inference mode: learners that adapt by gradient could not.
    with torch.no_grad():
        output = learner(episode)
    if isinstance(output, Distribution):
        return output.mean.double().cpu()
    return output.double().softmax(-1).cpu()


Check = Callable[[LeakContext], Finding]


def judged(check: str, faults: Sequence[str], otherwise: str) -> Finding:
    """Failed with the first faults, or passed with `otherwise`."""
    if not faults:
        return Finding(check, "passed", otherwise)
    more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    return Finding(check, "failed", "; ".join(faults[:_SHOWN]) + more)


def percent(interval: Interval) -> str:
    """A share in percent, for people."""
    return f"{100 * interval.mean:+.1f} ±{100 * interval.half_width:.1f}"

"""Where a recipe's episodes come from: splits of a labelled data set, or tasks generated as they are needed.

What comes back are episodes of the splits "train", "validation" and "test", and how new items of this kind are read: a
small JSON description that a checkpoint keeps, so that `regard predict` can turn a user's files into what the learner
knows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from regard.domains.base import Domain, Reader
from regard.domains.options import EpisodeOptions
from regard.episode import Items, first_tensor
from regard.errors import ConfigError, DataError, did_you_mean
from regard.sampling.dataset import Dataset
from regard.sampling.episodes import EpisodeSampler, Transform
from regard.sampling.source import EpisodeSource
from regard.sampling.splits import shuffled_classes
from regard.sampling.task_table import TaskTable
from regard.signatures import call_checked

if TYPE_CHECKING:
    from regard.domains.translation.protocol import EnglishSides


class Data(ABC):
    """Abstract: a source of episodes for each split.

    Attributes:
        domain: what kind of data this is.
        title: for people.
        encoder: options of an encoder that only the data knows, such as the size of images.
    """

    domain: Domain
    title: str
    encoder: dict[str, Any]

    @property
    @abstractmethod
    def items(self) -> dict[str, Any]:
        """How further items are read, as JSON; see `describe_items`."""

    @property
    def task_labels(self) -> Mapping[str, TaskTable]:
        """Of data with several tasks per item: all labels of the tasks of each split, whatever items it is made of."""
        return {}

    @property
    def item_ids(self) -> Mapping[str, Sequence[str]]:
        """Of such data, the items that the episodes of each split are made of."""
        return {}

    @property
    def english_sides(self) -> EnglishSides | None:
        """Of translation, the English of training and of the test languages; None of other data."""
        return None

    @property
    def evaluation_split(self) -> str:
        """The split on which a trained learner is evaluated: "test", or "validation" where data has none."""
        return "test"

    @abstractmethod
    def source(self, split: str, episodes: EpisodeOptions, seed: int) -> EpisodeSource:
        """Episodes of one split.

        Raises:
            DataError: there is no such split, or it cannot be cut into such episodes.
            ConfigError: episodes of a kind that this data does not have.
        """

    @abstractmethod
    def training(self, episodes: EpisodeOptions, seed: int) -> EpisodeSource:
        """The episodes to train on. Raises as `source`."""

    def context(self, n_items: int, seed: int) -> Items | None:
        """So many items of the training split, unlabelled, for a learner that keeps some; None where there are none."""
        return None

    def split_title(self, split: str, episodes: EpisodeOptions) -> str:
        """What results are of, such as "glyphs/test"."""
        return f"{self.title}/{split}"


def describe_items(domain: Domain, reader: Reader, n_views: int = 1) -> dict[str, Any]:
    """How items are read, as a checkpoint keeps it.

    Args:
        domain: of them.
        reader: as it is before it has seen any example.
        n_views: views of a task by default, see `Domain.views`.
    """
    views = {} if n_views == 1 else {"n_views": n_views}
    return {"domain": domain.name, "reader": reader.to_dict(), **views}


@dataclass(frozen=True)
class LabelledData(Data):
    """Splits of a data set of labelled items.

    Args:
        domain, title, encoder: as `Data`.
        splits: data set by split.
        reader: of further items.
        n_views: views of a task by default.
        things: by split, what the items were read from, where that shows them better than the items themselves.
    """

    domain: Domain
    title: str
    splits: dict[str, Dataset]
    reader: Reader
    encoder: dict[str, Any] = field(default_factory=dict)
    n_views: int = 1
    things: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    @property
    def items(self) -> dict[str, Any]:
        return describe_items(self.domain, self.reader, self.n_views)

    def thing(self, split: str, row: int) -> Any:
        """What `Domain.render` shows of a row of a split."""
        return self.things[split][row] if split in self.things else first_tensor(self.split(split).x)[row]

    @property
    def evaluation_split(self) -> str:
        return "test" if "test" in self.splits else "validation"

    def source(self, split: str, episodes: EpisodeOptions, seed: int) -> EpisodeSampler:
        return self.sampler(episodes, self.classes(split, episodes), seed)

    def training(self, episodes: EpisodeOptions, seed: int) -> EpisodeSampler:
        return self.sampler(episodes, self.classes("train", episodes), seed, self.transform(episodes))

    def split(self, name: str) -> Dataset:
        """One split.

        Raises:
            DataError: there is none of that name.
        """
        if name not in self.splits:
            raise DataError(f"this data has no split {name!r}: {did_you_mean(name, self.splits)}")
        return self.splits[name]

    def training_on(self, n_classes: int, seed: int = 0) -> Self:
        """With only so many of the training classes: those of a smaller number are among those of a larger one.

        Args:
            n_classes: how many to keep.
            seed: another seed, other classes.

        Raises:
            ConfigError: more than there are, or fewer than two.
        """
        train = self.split("train")
        if not 2 <= n_classes <= train.n_classes:
            raise ConfigError(f"n_training_classes is {n_classes}: expected 2 to {train.n_classes}, those there are.")
        kept = shuffled_classes(train, seed)[:n_classes]
        return replace(self, splits={**self.splits, "train": train.select_classes(sorted(kept))})

    def classes(self, split: str, episodes: EpisodeOptions) -> Dataset:
        """The classes that such episodes are drawn from; a domain may make more of them, as by rotation."""
        return self.split(split)

    def transform(self, episodes: EpisodeOptions) -> Transform | None:
        """A random change of training items; none by default."""
        return None

    @staticmethod
    def sampler(
        episodes: EpisodeOptions, dataset: Dataset, seed: int, transform: Transform | None = None
    ) -> EpisodeSampler:
        """Episodes of this kind from `dataset`.

        Raises:
            ConfigError: no classes, or a range of queries.
        """
        if not episodes.n_way or isinstance(episodes.n_query, tuple):
            raise ConfigError(
                f"n_way is {episodes.n_way} and n_query {episodes.n_query}: labelled items need an n_way of at least "
                "1, and one number of queries per class."
            )
        return EpisodeSampler(
            dataset,
            episodes.n_way,
            episodes.n_shot,
            episodes.n_query,
            seed=seed,
            within_groups=getattr(episodes, "within_groups", False),
            even_groups=getattr(episodes, "even_groups", False),
            labels=getattr(episodes, "labels", "episode"),
            transform=transform,
        )


_STREAMS = {"test": 0, "train": 1, "validation": 2}
"""Other tasks under one seed. The tests of seed 0 are those of the sampler's own defaults."""


@dataclass(frozen=True)
class GeneratedData(Data):
    """Tasks generated as they are needed, such as functions or synthetic tables; the splits never share one.

    Args:
        domain, title, encoder: as `Data`.
        sampler: the class that generates them; it takes n_shot, n_query, seed and stream, and n_way where it has
            classes.
        reader: of a user's items.
        options: further options of the sampler.

    Raises:
        ConfigError: an option that the sampler does not have, or one that is set elsewhere.
    """

    domain: Domain
    title: str
    sampler: Callable[..., EpisodeSource]
    reader: Reader
    options: Mapping[str, Any] = field(default_factory=dict)
    encoder: dict[str, Any] = field(default_factory=dict)
    has_classes: bool = False

    def __post_init__(self) -> None:
        for option in (*self._rows(EpisodeOptions()), "seed", "stream"):
            if option in self.options:
                raise ConfigError(
                    f"data.{option}: numbers of rows and classes are set in episodes, and the seed is train.seed."
                )
        call_checked(self.sampler, self.options, f"data {self.title}")

    @property
    def items(self) -> dict[str, Any]:
        return describe_items(self.domain, self.reader)

    def source(self, split: str, episodes: EpisodeOptions, seed: int) -> EpisodeSource:
        if split not in _STREAMS:
            raise DataError(f"{self.title} has no split {split!r}: {did_you_mean(split, _STREAMS)}")
        return self._make(episodes, seed, split)

    def training(self, episodes: EpisodeOptions, seed: int) -> EpisodeSource:
        return self.source("train", episodes, seed)

    def _make(self, episodes: EpisodeOptions, seed: int, split: str) -> EpisodeSource:
        options = {**self.options, **self._rows(episodes), "seed": seed, "stream": _STREAMS[split]}
        return call_checked(self.sampler, options, f"data {self.title}")

    def _rows(self, episodes: EpisodeOptions) -> dict[str, Any]:
        rows = {"n_shot": episodes.n_shot, "n_query": episodes.n_query}
        return {"n_way": episodes.n_way, **rows} if self.has_classes else rows

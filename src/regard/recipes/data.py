"""The data that a recipe can name: data sets of labelled items, and families of functions.

A data set is a function whose keyword arguments are the options of `data:`; a family is a sampler's class.

What comes back are the parts "train", "validation" and "test", and how new items of this kind are read: a small JSON
description that a checkpoint keeps, so that `regard predict` can turn a user's files into what the learner knows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch

from regard.domains.images.distort import Distortion
from regard.domains.tables.prior import TablePrior
from regard.episode import Items
from regard.errors import ConfigError, DataError, did_you_mean
from regard.recipes.components import call_checked
from regard.recipes.config import Episodes, Part, TrainEpisodes
from regard.sampling.dataset import Dataset
from regard.sampling.episodes import EpisodeSampler, Transform
from regard.sampling.functions import FunctionSampler, Oscillations, Sinusoids
from regard.sampling.gaussian_processes import GaussianProcesses
from regard.sampling.source import EpisodeSource
from regard.sampling.splits import shuffled_classes, split_by_group, split_classes


class Tasks(ABC):
    """Where a recipe's episodes come from.

    Attributes:
        title: for people.
        items: how more such items are read: {"kind": "images", "size": 28, ...}, {"kind": "texts", ...}, as JSON.
        encoder: options of an encoder that only the data knows, such as the size of images; used where it has them.
    """

    title: str
    items: dict[str, Any]
    encoder: dict[str, Any]

    @property
    def asked_part(self) -> str:
        """The part that a finished learner is asked about: "test", or "validation" where data has none."""
        return "test"

    @abstractmethod
    def source(self, part: str, episodes: Episodes, seed: int) -> EpisodeSource:
        """Episodes of one part.

        Raises:
            DataError: there is no such part, or it cannot be cut into such episodes.
            ConfigError: episodes of a kind that this data does not have.
        """

    @abstractmethod
    def practice(self, episodes: TrainEpisodes, seed: int) -> EpisodeSource:
        """The episodes to practise on. Raises as `source`."""


@dataclass(frozen=True)
class Data(Tasks):
    """Parts of a data set of labelled items.

    Args:
        title, items, encoder: as `Tasks`.
        parts: data set by part.
    """

    title: str
    parts: dict[str, Dataset]
    items: dict[str, Any]
    encoder: dict[str, Any]

    @property
    def asked_part(self) -> str:
        return "test" if "test" in self.parts else "validation"

    def source(self, part: str, episodes: Episodes, seed: int) -> EpisodeSampler:
        return episode_sampler(episodes, self._classes(part, episodes), seed)

    def practice(self, episodes: TrainEpisodes, seed: int) -> EpisodeSampler:
        strengths = {} if episodes.distortion is True else episodes.distortion
        distortion = None if strengths is False else call_checked(Distortion, strengths, "episodes.distortion")
        return episode_sampler(episodes, self._classes("train", episodes), seed, distortion, episodes.labels)

    def practising_on(self, n_classes: int, seed: int = 0) -> Data:
        """With only so many of the training classes: those of a smaller number are among those of a larger one.

        Args:
            n_classes: how many to keep.
            seed: another seed, other classes.

        Raises:
            ConfigError: more than there are, or fewer than two.
        """
        train = self.part("train")
        if not 2 <= n_classes <= train.n_classes:
            raise ConfigError(f"practice_classes is {n_classes}: expected 2 to {train.n_classes}, those there are.")
        kept = shuffled_classes(train, seed)[:n_classes]
        return replace(self, parts={**self.parts, "train": train.select_classes(sorted(kept))})

    def _classes(self, part: str, episodes: Episodes) -> Dataset:
        return self.part(part).with_rotations() if episodes.rotations else self.part(part)

    def part(self, name: str) -> Dataset:
        """One part.

        Raises:
            DataError: there is none of that name.
        """
        if name not in self.parts:
            raise DataError(f"this data has no part {name!r}: {did_you_mean(name, self.parts)}")
        return self.parts[name]


def episode_sampler(
    episodes: Episodes,
    dataset: Dataset,
    seed: int,
    transform: Transform | None = None,
    labels: Literal["episode", "data"] = "episode",
) -> EpisodeSampler:
    """Episodes of this kind from `dataset`.

    Raises:
        ConfigError: no classes are asked for, or a range of queries.
    """
    if not episodes.n_way or isinstance(episodes.n_query, tuple):
        raise ConfigError(
            f"n_way is {episodes.n_way} and n_query {episodes.n_query}: items of classes need an n_way of at least 1, "
            "and one number of queries a class."
        )
    return EpisodeSampler(
        dataset,
        episodes.n_way,
        episodes.n_shot,
        episodes.n_query,
        seed=seed,
        within_groups=episodes.within_groups,
        labels=labels,
        transform=transform,
    )


@dataclass(frozen=True)
class Tables(Tasks):
    """Tables made up as they are asked for, by `regard.domains.tables.prior`; the parts never share one.

    In such recipes n_shot is the number of support rows of a table, and n_query that of its query rows, over all
    classes. With an n_way of 0 there are numbers to be predicted.

    Args:
        options: of `TablePrior`; numbers of rows are the episodes' and seeds the run's.

    Raises:
        ConfigError: an option that it does not have, or one that is said elsewhere.
    """

    options: dict[str, Any]
    title: str = "tables"
    items: dict[str, Any] = field(default_factory=lambda: {"kind": "table"})
    encoder: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for option in ("n_way", "n_shot", "n_query", "seed", "stream"):
            if option in self.options:
                raise ConfigError(f"data.{option}: say it in episodes, and the seed in train.seed.")
        call_checked(TablePrior, self.options, "data tables")

    def source(self, part: str, episodes: Episodes, seed: int) -> TablePrior:
        if part not in _STREAMS:
            raise DataError(f"these tables have no part {part!r}: {did_you_mean(part, _STREAMS)}")
        unfit = [k for k in ("within_groups", "rotations", "distortion") if getattr(episodes, k, False)]
        if unfit:
            raise ConfigError(f"{', '.join(unfit)}: tables have none of that; leave it out.")
        rows = {"n_way": episodes.n_way, "n_shot": episodes.n_shot, "n_query": episodes.n_query}
        options = {**self.options, **rows, "seed": seed, "stream": _STREAMS[part]}
        return call_checked(TablePrior, options, "data tables")  # type: ignore[no-any-return]

    def practice(self, episodes: TrainEpisodes, seed: int) -> TablePrior:
        return self.source("train", episodes, seed)


@dataclass(frozen=True)
class Functions(Tasks):
    """Functions made up as they are asked for; train, validation and test never share one.

    Args:
        title: the name in `FUNCTIONS`.
        sampler: the class that makes them.
        options: of it; numbers of rows are the episodes' and seeds the run's.

    Raises:
        ConfigError: an option that it does not have, or one that is said elsewhere.
    """

    title: str
    sampler: Callable[..., FunctionSampler]
    options: dict[str, Any]
    items: dict[str, Any] = field(default_factory=lambda: {"kind": "numbers"})
    encoder: dict[str, Any] = field(default_factory=lambda: {"n_inputs": 1})

    def __post_init__(self) -> None:
        for option in ("n_shot", "n_query", "seed", "stream"):
            if option in self.options:
                raise ConfigError(f"data.{option}: say n_shot and n_query in episodes, and the seed in train.seed.")
        call_checked(self.sampler, self.options, f"data {self.title}")

    def source(self, part: str, episodes: Episodes, seed: int) -> FunctionSampler:
        if part not in _STREAMS:
            raise DataError(f"these functions have no part {part!r}: {did_you_mean(part, _STREAMS)}")
        unfit = [k for k in ("within_groups", "rotations", "distortion") if getattr(episodes, k, False)]
        if episodes.n_way or unfit:
            raise ConfigError(
                f"{', '.join(unfit) or f'n_way is {episodes.n_way}'}: {self.title} has numbers for targets, and no "
                "classes; say n_way: 0 and leave the rest out."
            )
        rows = {"n_shot": episodes.n_shot, "n_query": episodes.n_query}
        options = {**self.options, **rows, "seed": seed, "stream": _STREAMS[part]}
        return call_checked(self.sampler, options, f"data {self.title}")  # type: ignore[no-any-return]

    def practice(self, episodes: TrainEpisodes, seed: int) -> FunctionSampler:
        return self.source("train", episodes, seed)


FUNCTIONS: dict[str, Callable[..., FunctionSampler]] = {
    "sinusoids": Sinusoids,
    "gaussian_processes": GaussianProcesses,
    "oscillations": Oscillations,
}
"""The families of functions that a recipe can name."""

_STREAMS = {"test": 0, "train": 1, "validation": 2}
"""Other functions under one seed. The tests of seed 0 are those of the sampler's own defaults."""


def load_data(part: Part) -> Tasks:
    """The data set, or the family of functions, that a recipe names.

    Any data set takes `practice_classes`, how many of its training classes to practise on, and `practice_seed`, which.

    Raises:
        ConfigError: an unknown name or option.
        DataError: it cannot be read.
    """
    if part.name in FUNCTIONS:
        return Functions(part.name, FUNCTIONS[part.name], part.options())
    if part.name == "tables":
        return Tables(part.options())
    if part.name not in DATA:
        raise ConfigError(
            f"no data set is called {part.name!r}: {did_you_mean(part.name, [*DATA, *FUNCTIONS, 'tables'])}"
        )
    options = part.options()
    n_classes, seed = options.pop("practice_classes", None), options.pop("practice_seed", 0)
    data: Data = call_checked(DATA[part.name], options, f"data {part.name}")
    return data if n_classes is None else data.practising_on(n_classes, seed)


def prepare(items: Mapping[str, Any]) -> Callable[[Sequence[Any]], Items]:
    """A function from a user's things (files, arrays, pictures, sentences) to items, by a checkpoint's description.

    Raises:
        ConfigError: an unknown kind of items.
    """
    if items.get("kind") == "images":
        from regard.domains.images.folder import read_images

        return lambda things: read_images(things, **{k: v for k, v in items.items() if k not in ("kind", "views")})
    if items.get("kind") == "texts":
        from regard.domains.texts.data import Tokenizer

        return Tokenizer.from_dict(items["tokenizer"])
    if items.get("kind") == "numbers":
        return lambda things: torch.as_tensor(things, dtype=torch.get_default_dtype()).reshape(len(things), -1)
    if items.get("kind") == "table":
        from regard.domains.tables.reader import TableReader

        # Columns are of the kinds that the first rows asked have; an estimator learns them once, in `fit`.
        return lambda things: TableReader.learn(things)(things)
    raise ConfigError(f"items of kind {items.get('kind')!r}: expected 'images', 'texts' or 'numbers'; update regard.")


# As the glyphs lie: white ink on black, 20 of 28 pixels, found out by itself from a user's files.
_CHARACTERS = {"kind": "images", "size": 28, "n_channels": 1, "ink": "auto", "box": 20 / 28}
_SMALL_GREY = {"n_channels": 1, "image_size": 28}


def _glyphs(drawings: int = 20, symbols: bool = False, cache: str | None = None) -> Data:
    from regard.domains.images.glyphs import glyphs

    return Data("glyphs", glyphs(cache, drawings=drawings, symbols=symbols), _CHARACTERS, _SMALL_GREY)


def _omniglot(folder: str, split: Literal["vinyals", "background"] = "vinyals") -> Data:
    from regard.domains.images.omniglot import omniglot, omniglot_split

    parts = omniglot_split(omniglot(folder), split, folder)
    if split == "background":
        # Lake's protocol has no validation: the last five background alphabets are kept for it.
        alphabets = sorted(set(parts["background"].class_groups))
        kept = split_by_group(parts["background"], {"train": alphabets[:-5], "validation": alphabets[-5:]})
        parts = {**kept, "test": parts["evaluation"]}
    return Data("omniglot", parts, _CHARACTERS, _SMALL_GREY)


def _characters(
    folder: str | None = None,
    fonts: bool = True,
    handwriting: str = "none",
    twins: float = 0.0,
    cache: str | None = None,
) -> Data:
    from regard.domains.images.characters import BOX, SIZE, characters

    items = {"kind": "images", "size": SIZE, "n_channels": 1, "ink": "auto", "box": BOX, "views": 8}
    parts = characters(folder, fonts=fonts, handwriting=handwriting, twins=twins, cache=cache)
    return Data("characters", parts, items, {"n_channels": 1, "image_size": SIZE})


def _folder(
    folder: str,
    size: int = 84,
    n_channels: int = 3,
    ink: Literal["auto", "dark", "light", "keep"] = "keep",
    train: float = 0.6,
    validation: float = 0.2,
    seed: int = 0,
) -> Data:
    from regard.domains.images.folder import ImageReader, image_folder

    dataset = image_folder(Path(folder), ImageReader(size, n_channels, ink))
    fractions = {"train": train, "validation": validation, "test": 1 - train - validation}
    items = {"kind": "images", "size": size, "n_channels": n_channels, "ink": ink}
    encoder = {"n_channels": n_channels, "image_size": size}
    return Data(Path(folder).name, split_classes(dataset, fractions, seed), items, encoder)


def _packed(
    file: str,
    split: str | None = None,
    prefix: str = "",
    one_a_track: bool = False,
    validation: float = 1 / 7,
    seed: int = 0,
) -> Data:
    from regard.domains.images.packed import packed_images, packed_parts

    dataset = packed_images(file, prefix=prefix, one_a_track=one_a_track)
    # Without a split nothing is for training: a far domain, to be asked about only.
    parts = packed_parts(dataset, split) if split else {"test": dataset}
    if "test" not in parts and "validation" in parts:
        # Its validation is the test then, and a share of the training classes is kept for validation.
        kept = split_classes(parts["train"], {"train": 1 - validation, "validation": validation}, seed)
        parts = {**kept, "test": parts["validation"]}
    side, n_channels = dataset.x.shape[1], 1 if dataset.x.ndim == 3 else dataset.x.shape[-1]  # type: ignore[union-attr]
    items = {"kind": "images", "size": side, "n_channels": n_channels, "ink": "keep"}
    return Data(Path(file).parent.name, parts, items, {"n_channels": n_channels, "image_size": side})


def _clinc150(folder: str) -> Data:
    from regard.domains.texts.data import Tokenizer, datasets, read_clinc, split_domains

    parts = split_domains(read_clinc(Path(folder)))
    train = parts["train"]
    tokenizer = Tokenizer.learn(train.texts, [train.domain[intent] for intent in train.intents])
    items = {"kind": "texts", "tokenizer": tokenizer.to_dict()}
    return Data(
        "clinc150",
        datasets(parts, tokenizer),
        items,
        {"n_tokens": tokenizer.n_tokens, "n_known": tokenizer.n_known},
    )


DATA: dict[str, Callable[..., Data]] = {
    "glyphs": _glyphs,
    "omniglot": _omniglot,
    "characters": _characters,
    "folder": _folder,
    "packed": _packed,
    "clinc150": _clinc150,
}

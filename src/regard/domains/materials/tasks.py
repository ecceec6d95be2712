"""Properties of materials as episodes of regression: one property each, some compositions of it measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from regard.domains.base import Domain
from regard.domains.data import Data, describe_items
from regard.domains.materials.data import (
    Floats,
    Property,
    group_of,
    is_test_system,
    normal_ranks,
    read_folder,
)
from regard.domains.materials.reader import FormulaReader
from regard.domains.options import EpisodeOptions
from regard.domains.registry import find_domain
from regard.episode import Episode, Support
from regard.errors import ConfigError, DataError, did_you_mean
from regard.sampling.counts import Count
from regard.sampling.source import EpisodeSource, Numbers, count_range

SPLITS = ("train", "validation", "test")


class PropertySampler(EpisodeSource):
    """Episodes of one property each, properties in turn by chance.

    Args:
        properties: to draw from.
        n_shot, n_query: support and query rows; a pair draws from an inclusive range.
        ranked: targets are normal ranks of the whole property; else they are as measured.
        seed: of the run.
        stream: keeps apart episodes of one seed that must not be the same.

    Raises:
        DataError: counts below 1, or a property with too few compositions.
    """

    n_way = (0, 0)

    def __init__(
        self,
        properties: Sequence[Property],
        n_shot: Count = 50,
        n_query: Count = 50,
        *,
        ranked: bool = True,
        seed: int = 0,
        stream: int = 0,
    ) -> None:
        self.n_shot = count_range(n_shot, "n_shot")
        self.n_query = n_query
        self.query_range = count_range(n_query, "n_query")
        need = self.n_shot[1] + self.query_range[1]
        self.properties = [p for p in properties if len(p.target) >= need]
        if not self.properties:
            raise DataError(f"no property has {need} compositions: expected one with as many; lower n_shot or n_query.")
        self.seed, self.stream = seed, stream
        self.targets: list[Floats] = [normal_ranks(p.target) if ranked else p.target for p in self.properties]

    def __call__(self, episodes: Numbers) -> Episode:
        number = np.asarray(episodes, dtype=np.int64)
        n_support, n_query = self.n_shot[1], self.query_range[1]
        rows = n_support + n_query
        x = np.zeros((len(number), rows, self.properties[0].fractions.shape[1]), dtype=np.float32)
        y = np.zeros((len(number), rows, 1), dtype=np.float32)
        sizes = np.zeros((len(number), 2), dtype=np.int64)
        for b, episode in enumerate(number.tolist()):
            rng = np.random.default_rng([self.seed, self.stream, episode])
            k = int(rng.integers(len(self.properties)))
            index = rng.choice(len(self.targets[k]), rows, replace=False)
            x[b], y[b, :, 0] = self.properties[k].fractions[index], self.targets[k][index]
            sizes[b] = rng.integers(self.n_shot[0], n_support + 1), rng.integers(self.query_range[0], n_query + 1)
        tensors = torch.from_numpy(x), torch.from_numpy(y)
        weight = [_first(sizes[:, 0], n_support), _first(sizes[:, 1], n_query)]
        support = Support(tensors[0][:, :n_support], tensors[1][:, :n_support], weight[0], 0)
        return Episode(support, tensors[0][:, n_support:], tensors[1][:, n_support:], weight[1], 0)


def _first(count: NDArray[np.int64], n: int) -> torch.Tensor:
    """(B, n) weight 1 for so many rows of each task, 0 for the others."""
    return torch.from_numpy((np.arange(n) < count[:, None]).astype(np.float32))


@dataclass(frozen=True)
class PropertyData(Data):
    """Properties by split: those of the split's groups, on compositions of its chemical systems.

    Args:
        splits: properties by name of the split.
        ranked: whether targets are normal ranks.
    """

    splits: dict[str, list[Property]]
    ranked: bool = True
    domain: Domain = field(default_factory=lambda: find_domain("materials"))
    title: str = "materials"
    encoder: dict[str, Any] = field(default_factory=dict)

    @property
    def items(self) -> dict[str, Any]:
        return describe_items(self.domain, FormulaReader())

    @property
    def evaluation_split(self) -> str:
        return "test"

    def source(self, split: str, episodes: EpisodeOptions, seed: int) -> PropertySampler:
        if split not in self.splits:
            raise DataError(f"materials have no split {split!r}: {did_you_mean(split, self.splits)}")
        stream = SPLITS.index(split)
        return PropertySampler(
            self.splits[split], episodes.n_shot, episodes.n_query, ranked=self.ranked, seed=seed, stream=stream
        )

    def training(self, episodes: EpisodeOptions, seed: int) -> PropertySampler:
        return self.source("train", episodes, seed)


def load_properties(
    folder: str = "materials",
    held_out: Sequence[str] = ("phonons", "exfoliation"),
    validation: Sequence[str] = ("thermal",),
    ranked: bool = True,
) -> PropertyData:
    """A folder of files, one per property, split by group of properties and by chemical system at once.

    Args:
        folder: of CSV files with the columns formula and target.
        held_out, validation: groups for testing and validation, see `regard.domains.materials.data.GROUPS`; a file in
            no group is called by its own name. Their compositions are of chemical systems that training never sees.
        ranked: targets are normal ranks, so that one unit suits all; else as measured.

    Raises:
        DataError: no files, or a split without a property.
        ConfigError: a group that no file belongs to.
    """
    properties = read_folder(Path(folder))
    groups = {p.name: group_of(p.name) for p in properties}
    for group in (*held_out, *validation):
        if group not in groups.values():
            raise ConfigError(
                f"no property is of the group {group!r}: {did_you_mean(group, sorted(set(groups.values())))}"
            )
    splits: dict[str, list[Property]] = {split: [] for split in SPLITS}
    for p in properties:
        group = groups[p.name]
        split = "test" if group in held_out else "validation" if group in validation else "train"
        is_test = np.array([is_test_system(system) for system in p.systems])
        kept = np.flatnonzero(is_test if split == "test" else ~is_test)
        if len(kept):
            splits[split].append(p.rows(kept))
    empty = [split for split, found in splits.items() if not found]
    if empty:
        raise DataError(f"no property is left for {', '.join(empty)}: hold out fewer groups, or give more files.")
    return PropertyData(splits, ranked)

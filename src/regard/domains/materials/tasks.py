"""Properties of materials as episodes of regression: one property each, some compositions of it measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from regard.domains.base import Domain
from regard.domains.data import Data, describe_items
from regard.domains.materials.data import Property, group_of, is_test_system, read_folder, side_by_side
from regard.domains.materials.reader import FormulaReader
from regard.domains.options import EpisodeOptions
from regard.domains.registry import find_domain
from regard.errors import ConfigError, DataError, did_you_mean
from regard.sampling.task_table import TaskTable, TaskTableSampler

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class PropertyData(Data):
    """Properties by split: those of the split's groups, on compositions of its chemical systems.

    Args:
        splits: compositions and their properties by name of the split.
    """

    splits: dict[str, TaskTable]
    domain: Domain = field(default_factory=lambda: find_domain("materials"))
    title: str = "materials"
    encoder: dict[str, Any] = field(default_factory=dict)

    @property
    def items(self) -> dict[str, Any]:
        return describe_items(self.domain, FormulaReader())

    @property
    def task_labels(self) -> Mapping[str, TaskTable]:
        return self.splits

    @property
    def item_ids(self) -> Mapping[str, Sequence[str]]:
        return {split: table.ids for split, table in self.splits.items()}

    @property
    def evaluation_split(self) -> str:
        return "test"

    def source(self, split: str, episodes: EpisodeOptions, seed: int) -> TaskTableSampler:
        if split not in self.splits:
            raise DataError(f"materials have no split {split!r}: {did_you_mean(split, self.splits)}")
        return TaskTableSampler(
            self.splits[split],
            episodes.n_shot,
            episodes.n_query,
            regression=True,
            seed=seed,
            stream=SPLITS.index(split),
        )

    def training(self, episodes: EpisodeOptions, seed: int) -> TaskTableSampler:
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
    found: dict[str, list[Property]] = {split: [] for split in SPLITS}
    for p in properties:
        group = groups[p.name]
        split = "test" if group in held_out else "validation" if group in validation else "train"
        is_test = np.array([is_test_system(system) for system in p.systems])
        kept = np.flatnonzero(is_test if split == "test" else ~is_test)
        if len(kept):
            found[split].append(p.rows(kept))
    empty = [split for split, chosen in found.items() if not chosen]
    if empty:
        raise DataError(f"no property is left for {', '.join(empty)}: hold out fewer groups, or give more files.")
    splits = {}
    for split, chosen in found.items():
        table = side_by_side(chosen, ranked=ranked)
        y = table.target.astype(np.float32)
        splits[split] = TaskTable(torch.from_numpy(table.fractions), y, table.names, table.formulas)
    return PropertyData(splits)

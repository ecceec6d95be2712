"""Assays as data: which assays and which molecules are trained on, and which are evaluated on.

    usual      new assays, known molecules: what the literature calls few-shot molecular property prediction. Nearly
               every test molecule carries labels of training assays too, so that remembering molecules goes far.
    disjoint   new assays and new molecules: molecules are split by scaffold, and training never sees a test molecule.

Assays that would give the answer away leave the training set: readings of a test assay's experiment (by name, see
`family`), Tox21's own in ToxCast (`same_target`), and those whose labels repeat a test assay's (|phi| > 0.6 on 300
shared molecules, see `regard.evaluation.leaks.tasks`).
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.domains.base import Domain
from regard.domains.cached import cached
from regard.domains.data import Data, describe_items
from regard.domains.molecules.assays import Assays, family, in_test_scaffolds, read_assays, same_target
from regard.domains.molecules.chemistry import Molecule
from regard.domains.molecules.features import descriptors, fingerprints
from regard.domains.molecules.reader import DescriptorScale, MoleculeReader, graph_items
from regard.domains.options import EpisodeOptions
from regard.errors import ConfigError, DataError, did_you_mean
from regard.sampling.source import count_range
from regard.sampling.task_table import TaskTable, TaskTableSampler, repeated_tasks

Protocol = Literal["disjoint", "usual"]
LABEL_KEYS = ("assays", "measured")
"""Of training items: the labels that they carry."""
_STREAMS = {"train": 1, "validation": 2, "test": 0}
_EPISODE_SHARE = 5
_EPISODE_ROWS = 96
_LABEL_ROWS = 8
_PRIOR_ROWS = 5


@dataclass(frozen=True)
class AssayData(Data):
    """Splits of assays.

    Args:
        domain, title, encoder: as `Data`.
        splits: a table of molecules and assays by split.
        reader: of further molecules.
        regression: labels are numbers.
        shares: how often each file's assays are drawn in training; by their number by default.
        episode_tasks: numbers of the training targets that only give episodes where the labels of the others train the
            encoder.
        all_items: every molecule of the pool, in its order, for those who draw episodes of their own.
        labels: all labels of the assays of each split, on whatever molecules.
    """

    domain: Domain
    title: str
    splits: dict[str, TaskTable]
    reader: MoleculeReader
    regression: bool = False
    shares: Mapping[str, float] | None = None
    encoder: dict[str, Any] = field(default_factory=dict)
    episode_tasks: tuple[int, ...] = ()
    all_items: dict[str, Tensor] = field(default_factory=dict)
    labels: dict[str, TaskTable] = field(default_factory=dict)

    @property
    def task_labels(self) -> Mapping[str, TaskTable]:
        return self.labels

    @property
    def item_ids(self) -> Mapping[str, Sequence[str]]:
        return {split: table.ids for split, table in self.splits.items()}

    @property
    def items(self) -> dict[str, Any]:
        return describe_items(self.domain, self.reader)

    @property
    def evaluation_split(self) -> str:
        return next(split for split in ("test", "validation", "train") if split in self.splits)

    def table(self, split: str) -> TaskTable:
        """The table of a split; of validation that of training, where nothing was held out.

        Raises:
            DataError: there is none.
        """
        if split == "validation" and split not in self.splits:
            return self.splits["train"]
        if split not in self.splits:
            raise DataError(f"{self.title} has no split {split!r}: {did_you_mean(split, self.splits)}")
        return self.splits[split]

    def source(self, split: str, episodes: EpisodeOptions, seed: int) -> TaskTableSampler:
        if (episodes.n_way == 0) != self.regression or episodes.n_way not in (0, 2):
            expected = "0, since labels are numbers" if self.regression else "2: active or not"
            raise ConfigError(f"n_way is {episodes.n_way}: expected {expected}.")
        with_labels = split == "train" and getattr(episodes, "labels", "episode") == "data"
        both = with_labels and self.regression
        return TaskTableSampler(
            self.table(split).select(tasks=self.episode_tasks) if both else self.table(split),
            episodes.n_shot,
            episodes.n_query,
            regression=self.regression,
            seed=seed,
            stream=_STREAMS.get(split, 3),
            shares=self.shares if split == "train" else None,
            any_items=with_labels and not both,
            n_labelled=count_range(episodes.n_query, "n_query")[1] if both else 0,
        )

    def training(self, episodes: EpisodeOptions, seed: int) -> TaskTableSampler:
        return self.source("train", episodes, seed)

    def context(self, n_items: int, seed: int) -> dict[str, Tensor]:
        """So many training molecules, unlabelled, the same for the same seed."""
        table = self.table("train")
        order = np.random.default_rng(seed).permutation(len(table))
        items = table.rows(np.sort(np.resize(order, n_items)))
        assert isinstance(items, dict)
        return {key: tensor for key, tensor in items.items() if key not in LABEL_KEYS}


def features(molecules: Sequence[Molecule], cache: Path | None) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Counts and raw descriptors of many molecules, kept in a folder where there is one (3 ms a molecule)."""

    def compute() -> dict[str, NDArray[Any]]:
        return {"counts": fingerprints(molecules), "descriptors": descriptors(molecules)}

    settings = {"version": 1, "smiles": hashlib.sha256("\n".join(m.smiles for m in molecules).encode()).hexdigest()}
    found = compute() if cache is None else cached("molecules", settings, compute, cache, packages=("rdkit",))
    return found["counts"], found["descriptors"]


@dataclass(frozen=True)
class Pool:
    """Molecules of several files, each once, with the assays of all.

    Args:
        molecules: N.
        y: (N, T), NaN where not measured.
        names, files: of each assay.
        is_test_scaffold: (N,).
    """

    molecules: tuple[Molecule, ...]
    y: NDArray[np.float32]
    names: tuple[str, ...]
    files: tuple[str, ...]
    is_test_scaffold: NDArray[np.bool_]

    @classmethod
    def of(cls, assays: Mapping[str, Assays]) -> Pool:
        """Joined by canonical SMILES."""
        molecules: dict[str, Molecule] = {}
        for part in assays.values():
            molecules |= {m.smiles: m for m in part.molecules if m.smiles not in molecules}
        number = {smiles: i for i, smiles in enumerate(molecules)}
        columns = []
        for part in assays.values():
            y = np.full((len(molecules), len(part.names)), np.nan, dtype=np.float32)
            y[[number[m.smiles] for m in part.molecules]] = part.y
            columns.append(y)
        found = tuple(molecules.values())
        names = tuple(name for part in assays.values() for name in part.names)
        files = tuple(file for file, part in assays.items() for _ in part.names)
        return cls(found, np.concatenate(columns, 1), names, files, in_test_scaffolds(found))

    def without(self, assays: Sequence[int]) -> Pool:
        """The same molecules without some of the assays."""
        kept = [t for t in range(len(self.names)) if t not in set(assays)]
        names, files = (tuple(values[t] for t in kept) for values in (self.names, self.files))
        return Pool(self.molecules, self.y[:, kept], names, files, self.is_test_scaffold)

    def leaking(self, test: Sequence[int], strict: bool = True) -> NDArray[np.bool_]:
        """(T,) assays that give away the labels of test assays: these themselves are among them.

        Args:
            test: their numbers.
            strict: by their labels too, and not only by name.
        """
        families = {family(self.names[t]) for t in test}
        leaks = np.array([family(name) in families for name in self.names])
        for t in test:
            leaks |= np.array([same_target(name, self.names[t]) for name in self.names])
        for repeated in repeated_tasks(self.y[:, test], self.y) if strict else ():
            leaks[repeated.task] = True
        leaks[list(test)] = True
        return leaks


def assay_splits(
    pool: Pool,
    test: Sequence[int],
    protocol: Protocol = "disjoint",
    validation_share: float = 0.1,
    strict: bool = True,
) -> dict[str, tuple[NDArray[np.bool_], list[int]]]:
    """Molecules and assays of each split.

    Args:
        pool: everything.
        test: numbers of the test assays.
        protocol: whether training leaves test scaffolds alone.
        validation_share: of assay families that are held out of training, but for those that a training assay gives
            away; 0 trains on all.
        strict: as of `Pool.leaking`.
    """
    free = np.flatnonzero(~pool.leaking(test, strict))
    held = np.array([zlib.crc32(f"v{family(pool.names[t])}".encode()) % 1000 < 1000 * validation_share for t in free])
    while (given_away := held & pool.leaking(free[~held].tolist(), strict)[free]).any():
        held &= ~given_away
    train, validation = free[~held].tolist(), free[held].tolist()
    molecules = ~pool.is_test_scaffold if protocol == "disjoint" else np.ones(len(pool.molecules), dtype=bool)
    splits = {"train": (molecules, train)}
    if validation:
        splits["validation"] = (molecules, validation)
    if test:
        splits["test"] = (pool.is_test_scaffold if protocol == "disjoint" else molecules, list(test))
    return splits


def load_assays(
    domain: Domain,
    folder: str,
    files: Sequence[str] = ("tox21", "toxcast450"),
    test: Sequence[str] = ("SR-HSE", "SR-MMP", "SR-p53"),
    protocol: Protocol = "disjoint",
    validation_share: float = 0.1,
    shares: Mapping[str, float] | None = None,
    cache: str | None = None,
    with_graphs: bool = False,
    test_file: str | None = None,
) -> AssayData:
    """Assays from files of one folder, or of your own.

    Args:
        domain: of the data.
        folder: where the files are.
        files: names without .csv or .csv.gz; each is a group of assays.
        test: names of assays that are held out, or of files, all of whose assays are.
        protocol: "disjoint" (new molecules) or "usual" (known molecules).
        validation_share: of assay families, for validation.
        shares: how often each file is drawn in training.
        cache: a folder where features of molecules are kept.
        with_graphs: items have graphs too.
        test_file: another file, all of whose assays are the test.

    Raises:
        DataError: files that cannot be read, or no such assay.
    """
    assays = {name: read_assays(_file(Path(folder).expanduser(), name)) for name in files}
    tested = list(test)
    if test_file is not None:
        assays["test_file"] = read_assays(Path(test_file).expanduser())
        tested = ["test_file"]
    kinds = {part.has_classes for part in assays.values()}
    if len(kinds) > 1:
        raise DataError("some of the files have classes (0 and 1) and some values: expected one kind.")
    pool = Pool.of(assays)
    numbers: list[int] = []
    for name in tested:
        found = [t for t in range(len(pool.names)) if name in (pool.names[t], pool.files[t])]
        if not found:
            raise DataError(f"no assay or file is called {name!r}: {did_you_mean(name, (*pool.names, *assays))}")
        numbers += found
    folder_of_features = None if cache is None else Path(cache).expanduser()
    return pool_data(
        domain,
        pool,
        numbers,
        protocol,
        validation_share=validation_share,
        shares=shares,
        cache=folder_of_features,
        files=tuple(files),
        with_graphs=with_graphs,
    )


def pool_data(
    domain: Domain,
    pool: Pool,
    test: Sequence[int],
    protocol: Protocol,
    *,
    files: Sequence[str],
    validation_share: float = 0.0,
    shares: Mapping[str, float] | None = None,
    cache: Path | None = None,
    with_graphs: bool = False,
    strict: bool = True,
) -> AssayData:
    """A pool as data: `test` are the numbers of test assays, `files` those trained on; see `load_assays`."""
    splits = assay_splits(pool, test, protocol, validation_share, strict)
    splits["train"] = (splits["train"][0], [t for t in splits["train"][1] if pool.files[t] in files])
    counts, raw = features(pool.molecules, cache)
    reader = MoleculeReader(DescriptorScale.fit(raw[splits["train"][0]]), with_graphs)
    items = reader.items(counts, raw)
    if with_graphs:
        items |= graph_items(pool.molecules)
    table = TaskTable(items, pool.y, pool.names, tuple(m.smiles for m in pool.molecules), pool.files)
    # Without items: only who has which label is looked at.
    ids = replace(table, x=torch.zeros(len(table), 0))
    labels = {split: ids.select(tasks=tasks) for split, (_, tasks) in splits.items()}
    tables = {}
    for split, (molecules, tasks) in splits.items():
        labelled = molecules & (~np.isnan(pool.y[:, tasks])).any(1)
        tables[split] = table.select(labelled, tasks)
    known_labels = pool.y[~np.isnan(pool.y)]
    if not np.isin(known_labels, (0, 1)).all():
        tables["train"], encoder, episode_tasks = with_values(tables["train"])
        return AssayData(domain, "assays", tables, reader, True, shares, encoder, episode_tasks, items, labels)
    train = tables["train"] = with_assay_labels(tables["train"])
    encoder = {
        "groups": [train.groups.count(file) for file in dict.fromkeys(train.groups)],
        "assay_weights": loss_weights((~np.isnan(train.y)).sum(0), len(train)),
    }
    return AssayData(domain, "assays", tables, reader, False, shares, encoder, (), items, labels)


def loss_weights(known: NDArray[np.integer[Any]], n_items: int) -> list[float]:
    """Of each assay, by the root of its number of labels; the labels weigh as much as there are molecules."""
    weights = 1 / np.sqrt(np.maximum(known, 1))
    weights *= n_items / max((weights * known).sum(), 1)
    return np.round(weights, 6).tolist()


def with_assay_labels(table: TaskTable) -> TaskTable:
    """Items that hold their own labels in all assays, +1, -1, or 0 for unknown: for the multi-task part of a loss."""
    labels = np.nan_to_num(2 * table.y - 1, nan=0.0).astype(np.int8)
    assert isinstance(table.x, dict)
    return TaskTable({**table.x, "assays": torch.from_numpy(labels)}, table.y, table.names, table.ids, table.groups)


def with_values(table: TaskTable) -> tuple[TaskTable, dict[str, Any], tuple[int, ...]]:
    """Targets whose values train an encoder, and others that give episodes to a kernel on its features.

    One in five targets of many measurements is kept for episodes, and so are all molecules that are measured there: of
    targets and molecules that an encoder was trained on, its features look better than they are.

    Returns:
        The table, whose items hold their values in the other targets, standardised per target ("assays", "measured");
        the options of an AssayNetwork; and the numbers of the targets kept for episodes.
    """
    count = (~np.isnan(table.y)).sum(0)
    large = np.flatnonzero(count >= min(_EPISODE_ROWS, count.max(initial=0)))
    large = sorted(large.tolist(), key=lambda t: zlib.crc32(table.names[t].encode()))
    episode_tasks = tuple(sorted(large[::_EPISODE_SHARE]))
    kept_rows = (~np.isnan(table.y[:, episode_tasks])).any(1)
    y = table.y.astype(np.float64)
    y[kept_rows] = np.nan
    y[:, episode_tasks] = np.nan
    known = ~np.isnan(y)
    trained = np.flatnonzero(known.sum(0) >= min(_LABEL_ROWS, known.sum(0).max(initial=0)))
    y, known = np.nan_to_num(y[:, trained]), known[:, trained]
    count = known.sum(0)
    prior_mean, prior_variance = y[known].mean() if known.any() else 0.0, y[known].var() if known.any() else 1.0
    mean = (y.sum(0) + _PRIOR_ROWS * prior_mean) / (count + _PRIOR_ROWS)
    square = (known * np.square(y - mean)).sum(0)
    deviation = np.sqrt((square + _PRIOR_ROWS * prior_variance) / (count + _PRIOR_ROWS)) + 1e-6
    values = np.where(known, (y - mean) / deviation, 0).astype(np.float32)
    assert isinstance(table.x, dict)
    x = {**table.x, "assays": torch.from_numpy(values), "measured": torch.from_numpy(known.astype(np.uint8))}
    options = {"groups": [len(trained)], "assay_weights": loss_weights(count, int(known.any(1).sum())), "values": True}
    return replace(table, x=x), options, episode_tasks


def _file(folder: Path, name: str) -> Path:
    for suffix in (".csv.gz", ".csv", ""):
        if (path := folder / f"{name}{suffix}").is_file():
            return path
    raise DataError(f"{folder} has no {name}.csv.gz: expected {name}.csv.gz or {name}.csv there.")

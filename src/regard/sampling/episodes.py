"""Labelled items to few-shot classification episodes: indices for a whole batch at once, then one gather.

Ways, shots and query counts live here and nowhere else in the house.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.episode import Episode, Support
from regard.errors import DataError
from regard.sampling.dataset import Dataset
from regard.sampling.random import bits, uniform, without_replacement

_CLASSES, _ROWS, _GROUP, _NOISE, _SIZES = range(5)

Count = int | tuple[int, int]
"""A fixed number, or an inclusive range that each episode draws from."""


class Transform(Protocol):
    """A random change of items as a pure function of explicit noise, so that an episode stays a pure function of (seed, i)."""

    n_noise: int

    def __call__(self, x: Tensor, noise: Tensor) -> Tensor:
        """x: (N, *item), noise: (N, n_noise) in (0, 1); returns (N, *item')."""
        ...


@dataclass(frozen=True)
class EpisodeRows:
    """Which rows of a data set make B episodes: all that a manifest must hold.

    Args:
        number: (B,) the episode numbers.
        support: (B, S) row of the data set; -1 is padding.
        support_y: (B, S) class index within the episode; 0 where padded.
        query: (B, Q), as support.
        query_y: (B, Q).
        n_classes: C.
    """

    number: Tensor
    support: Tensor
    support_y: Tensor
    query: Tensor
    query_y: Tensor
    n_classes: int

    def __len__(self) -> int:
        return self.number.shape[0]


class EpisodeSampler:
    """Samples classification episodes; number i is a pure function of (seed, i), whatever batch it is drawn in.

    Args:
        dataset: where items come from.
        n_way: classes an episode; a pair draws from an inclusive range, anew for each episode.
        n_shot: support rows a class; a pair draws anew for each class, which makes unbalanced support sets.
        n_query: query rows a class.
        seed: the run's seed.
        within_groups: draw all classes of an episode from one group, chosen in proportion to its number of classes.
        transform: a random change of items, applied after the gather, such as distortion.

    Raises:
        DataError: too few classes, or a class with fewer items than n_shot + n_query.
    """

    def __init__(
        self,
        dataset: Dataset,
        n_way: Count = 5,
        n_shot: Count = 1,
        n_query: int = 15,
        *,
        seed: int = 0,
        within_groups: bool = False,
        transform: Transform | None = None,
    ) -> None:
        self.dataset, self.seed, self.transform = dataset, seed, transform
        self.n_way, self.n_shot, self.n_query = _range(n_way, "n_way"), _range(n_shot, "n_shot"), n_query
        self.within_groups = within_groups
        y = dataset.y.numpy()
        self._sizes = np.bincount(y, minlength=dataset.n_classes).astype(np.int64)
        self._by_class = np.argsort(y, kind="stable").astype(np.int64)
        self._starts = np.concatenate([[0], np.cumsum(self._sizes)[:-1]]).astype(np.int64)
        self._set_groups()
        self._check_sizes()

    def _set_groups(self) -> None:
        names = self.dataset.class_groups if self.within_groups else ("",) * self.dataset.n_classes
        if self.within_groups and not names:
            raise DataError(
                "within_groups=True, and the classes have no groups: give Dataset class_groups, or sample across."
            )
        number = {name: i for i, name in enumerate(dict.fromkeys(names))}
        group = np.array([number[name] for name in names], dtype=np.int64)
        counts = np.bincount(group, minlength=len(number)).astype(np.int64)
        order = np.argsort(group, kind="stable").astype(np.int64)
        large = counts >= self.n_way[1]
        if not large.any():
            raise DataError(
                f"n_way is {self.n_way[1]}, and the largest {'group' if self.within_groups else 'data set'} has "
                f"{counts.max(initial=0)} classes: lower n_way{', or sample across groups' if self.within_groups else ''}."
            )
        self._group_size, self._group_start = counts[large], (np.cumsum(counts) - counts)[large]
        self._class_order, self._group_share = order, np.cumsum(counts[large]) / counts[large].sum()

    def _check_sizes(self) -> None:
        need = self.n_shot[1] + self.n_query
        short = [
            (int(size), name) for size, name in zip(self._sizes, self.dataset.class_names, strict=True) if size < need
        ]
        if short:
            size, name = min(short)
            raise DataError(
                f"class {name!r} has {size} items, and n_shot + n_query asks for {need}"
                f"{f' ({len(short)} classes are too small)' if len(short) > 1 else ''}: "
                "lower n_shot or n_query, or leave small classes out."
            )

    def rows(self, episodes: Sequence[int] | NDArray[np.int64]) -> EpisodeRows:
        """The data set rows of these episodes, all indices at once."""
        number = np.asarray(episodes, dtype=np.int64)
        ways, shots = self.n_way[1], self.n_shot[1]
        per_class = shots + self.n_query
        classes = self._classes(number)
        words = bits(self.seed, _ROWS, number, ways * 2 * per_class).reshape(len(number), ways, 2 * per_class)
        picked = without_replacement(words, self._sizes[classes], per_class)
        rows = self._by_class[self._starts[classes][..., None] + picked]
        label = np.broadcast_to(np.arange(ways)[None, :, None], rows.shape)
        present, shot_present = self._present(number)
        support = np.where(shot_present, rows[..., :shots], -1).reshape(len(number), -1)
        query = np.where(present[..., None], rows[..., shots:], -1).reshape(len(number), -1)
        support_y = np.where(support >= 0, label[..., :shots].reshape(len(number), -1), 0)
        query_y = np.where(query >= 0, label[..., shots:].reshape(len(number), -1), 0)
        return EpisodeRows(*map(torch.from_numpy, (number, support, support_y, query, query_y)), ways)

    def _classes(self, number: NDArray[np.int64]) -> NDArray[np.int64]:
        ways = self.n_way[1]
        words = bits(self.seed, _CLASSES, number, 2 * ways)
        group = np.zeros(len(number), dtype=np.int64)
        if len(self._group_size) > 1:
            group = np.searchsorted(self._group_share, uniform(self.seed, _GROUP, number, 1)[:, 0]).astype(np.int64)
            group = np.minimum(group, len(self._group_size) - 1)
        picked = without_replacement(words, self._group_size[group], ways)
        return self._class_order[self._group_start[group][:, None] + picked]

    def _present(self, number: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """(B, ways) which classes and (B, ways, shots) which shots are there, where ways or shots vary."""
        (way_low, ways), (shot_low, shots) = self.n_way, self.n_shot
        noise = uniform(self.seed, _SIZES, number, 1 + ways)
        n_way = way_low + np.floor(noise[:, :1] * (ways - way_low + 1)).astype(np.int64)
        n_shot = shot_low + np.floor(noise[:, 1:] * (shots - shot_low + 1)).astype(np.int64)
        present = np.arange(ways)[None, :] < n_way
        return present, present[..., None] & (np.arange(shots) < n_shot[..., None])

    def gather(self, rows: EpisodeRows) -> Episode:
        """Rows to an episode: one gather, then the transform."""
        index = torch.cat([rows.support, rows.query], dim=1)
        x = self.dataset.rows(index.clamp_min(0))
        if self.transform is not None:
            x = self._transformed(self.transform, x, rows.number.numpy())
        n_support = rows.support.shape[1]
        part = (lambda s: {k: v[:, s] for k, v in x.items()}) if isinstance(x, dict) else (lambda s: x[:, s])
        weight = (index >= 0).to(torch.get_default_dtype())
        support = Support(part(slice(n_support)), rows.support_y, weight[:, :n_support], rows.n_classes)
        return Episode(support, part(slice(n_support, None)), rows.query_y, weight[:, n_support:], rows.n_classes)

    def _transformed(self, transform: Transform, x: Tensor | dict[str, Tensor], number: NDArray[np.int64]) -> Tensor:
        if isinstance(x, dict):
            raise DataError(
                "transform needs items that are one tensor, and these are a dict: transform the data set instead."
            )
        n_tasks, n_rows = x.shape[:2]
        noise = uniform(self.seed, _NOISE, number, n_rows * transform.n_noise).reshape(n_tasks * n_rows, -1)
        changed = transform(x.flatten(0, 1), torch.from_numpy(noise))
        return changed.unflatten(0, (n_tasks, n_rows))

    def __call__(self, episodes: Sequence[int] | NDArray[np.int64]) -> Episode:
        """Sample these episode numbers as one batch."""
        return self.gather(self.rows(episodes))

    def batches(self, n_episodes: int, batch: int, start: int = 0) -> Iterator[Episode]:
        """Episodes start .. start + n_episodes - 1, `batch` at a time."""
        for first in range(start, start + n_episodes, batch):
            yield self(np.arange(first, min(first + batch, start + n_episodes)))


def _range(count: Count, name: str) -> tuple[int, int]:
    low, high = count if isinstance(count, tuple) else (count, count)
    if not 1 <= low <= high:
        raise DataError(f"{name} is {count!r}: expected a number of at least 1, or a range (low, high).")
    return low, high

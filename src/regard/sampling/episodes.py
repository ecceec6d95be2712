"""Labelled items to few-shot classification episodes: indices for a whole batch at once, then one gather.

Ways, shots and query counts live here and nowhere else in the house.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.episode import Episode, Items, Support, map_items
from regard.errors import DataError
from regard.sampling.counts import Count
from regard.sampling.dataset import Dataset
from regard.sampling.memory import BufferPool
from regard.sampling.random import uniform, without_replacement
from regard.sampling.rows import plain_rows
from regard.sampling.scaled import scaled_rows
from regard.sampling.source import EpisodeSource, Numbers, count_range

_CLASSES, _ROWS, _GROUP, _NOISE, _SIZES = range(5)
_ROWS_AT_ONCE = 1024  # a call costs 0.1 ms before the first episode, and 1 microsecond for each


@runtime_checkable
class Transform(Protocol):
    """A random change of items as a pure function of explicit noise: the episode stays one of (seed, i)."""

    @property
    def n_noise(self) -> int:
        """How many numbers one item needs."""
        ...

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

    def __getitem__(self, part: slice | Tensor) -> EpisodeRows:
        """The rows of some of the episodes."""
        tensors = (self.number, self.support, self.support_y, self.query, self.query_y)
        return EpisodeRows(*(t[part] for t in tensors), n_classes=self.n_classes)


class EpisodeSampler(EpisodeSource):
    """Samples classification episodes; number i is a pure function of (seed, i), whatever batch it is drawn in.

    Args:
        dataset: where items come from.
        n_way: classes an episode; a pair draws from an inclusive range, again for each episode.
        n_shot: support rows a class; a pair draws again for each class, which makes unbalanced support sets.
        n_query: query rows a class.
        seed: the run's seed.
        within_groups: draw all classes of an episode from one group, chosen in proportion to its number of classes.
        even_groups: with `within_groups`, all groups are equally likely instead.
        labels: "episode" renumbers the classes of each episode; "data" keeps their number in the data set, and all
            its classes are then the episode's, most of them without a row: for learners that train a classifier.
        transform: a random change of items, applied after the gather, such as distortion.
        dtype: floating-point type in which uint8 items come out, divided by 255. Left out, they stay uint8: the
            encoders take them so, and a quarter of the memory moves. Items of another type stay as they are.

    Raises:
        DataError: too few classes, or a class with fewer items than n_shot + n_query.

    Examples:
        >>> import torch
        >>> data = Dataset.of(torch.randn(60, 8), torch.arange(10).repeat_interleave(6))
        >>> sampler = EpisodeSampler(data, n_way=5, n_shot=1, n_query=3)
        >>> episode = sampler([7])
        >>> tuple(episode.support.x.shape), tuple(episode.query_x.shape)
        ((1, 5, 8), (1, 15, 8))
        >>> bool((sampler([6, 7]).query_x[1] == episode.query_x[0]).all())  # number 7 is the same in any batch
        True
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
        even_groups: bool = False,
        labels: Literal["episode", "data"] = "episode",
        transform: Transform | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.dataset, self.seed, self.transform, self.dtype = dataset, seed, transform, dtype
        self.n_way, self.n_shot = count_range(n_way, "n_way"), count_range(n_shot, "n_shot")
        self.n_query: int = count_range(n_query, "n_query")[1]  # pyright: ignore[reportIncompatibleVariableOverride]
        self.within_groups, self.even_groups, self.labels = within_groups, even_groups, labels
        y = dataset.y.numpy()
        self._sizes = np.bincount(y, minlength=dataset.n_classes).astype(np.int64)
        self._by_class = np.argsort(y, kind="stable").astype(np.int64)
        self._starts = np.concatenate([[0], np.cumsum(self._sizes)[:-1]]).astype(np.int64)
        self._memory = BufferPool()
        self._plain = plain_rows(dataset.x)
        self._scaled = scaled_rows(dataset.x) if transform is None and dtype == torch.float32 else None
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
            where, remedy = ("group", ", or sample across groups") if self.within_groups else ("data set", "")
            raise DataError(
                f"n_way is {self.n_way[1]}, and the largest {where} has {counts.max(initial=0)} classes: "
                f"lower n_way{remedy}."
            )
        self._group_size, self._group_start = counts[large], (np.cumsum(counts) - counts)[large]
        share = np.ones(int(large.sum())) if even_groups else counts[large]
        self._class_order, self._group_share = order, np.cumsum(share) / share.sum()
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

    def rows(self, episodes: Numbers) -> EpisodeRows:
        """The data set rows of these episodes, all indices at once."""
        number = np.asarray(episodes, dtype=np.int64)
        shots = self.n_shot[1]
        per_class = shots + self.n_query
        # The group of each episode, then its classes (B, ways).
        group = np.zeros(len(number), dtype=np.int64)
        if len(self._group_size) > 1:
            group = np.searchsorted(self._group_share, uniform(self.seed, _GROUP, number, 1)[:, 0]).astype(np.int64)
            group = np.minimum(group, len(self._group_size) - 1)
        size, largest = self._group_size[group][:, None], int(self._group_size.max())
        picked = without_replacement(self.seed, _CLASSES, number, size, self.n_way[1], largest)[:, 0]
        classes = self._class_order[self._group_start[group][:, None] + picked]
        largest = int(self._sizes.max())
        picked = without_replacement(self.seed, _ROWS, number, self._sizes[classes], per_class, largest)
        absent = None
        if self.n_way[0] < self.n_way[1] or self.n_shot[0] < self.n_shot[1]:
            (way_low, ways), shot_low = self.n_way, self.n_shot[0]
            noise = uniform(self.seed, _SIZES, number, 1 + ways)
            n_way = way_low + np.floor(noise[:, :1] * (ways - way_low + 1)).astype(np.int64)
            n_shot = shot_low + np.floor(noise[:, 1:] * (shots - shot_low + 1)).astype(np.int64)
            column = np.arange(per_class)
            present = (column < n_shot[..., None]) | (column >= shots)
            absent = ~(present & (np.arange(ways) < n_way)[..., None])
        support, support_y = self._labelled(classes, picked, absent, slice(shots))
        query, query_y = self._labelled(classes, picked, absent, slice(shots, None))
        return EpisodeRows(torch.from_numpy(number), support, support_y, query, query_y, self._n_labels)

    @property
    def _n_labels(self) -> int:
        return self.n_way[1] if self.labels == "episode" else self.dataset.n_classes

    def _labelled(
        self, classes: NDArray[np.int64], picked: NDArray[np.int64], absent: NDArray[np.bool_] | None, part: slice
    ) -> tuple[Tensor, Tensor]:
        """(B, ways * rows) data set rows and their class index within the episode, of a part of each class's."""
        row = self._by_class.take(self._starts[classes][..., None] + picked[..., part])
        number = np.arange(row.shape[1]) if self.labels == "episode" else classes
        label = np.broadcast_to(number[..., None], row.shape)
        if absent is not None:
            row[absent[..., part]], label = -1, np.where(absent[..., part], 0, label)
        flat = (len(row), row.shape[1] * row.shape[2])
        return torch.from_numpy(row).view(flat), torch.from_numpy(np.array(label, order="C")).view(flat)

    def gather(self, rows: EpisodeRows) -> Episode:
        """Rows to an episode: one gather for support and queries, then the transform.

        Raises:
            DataError: a row beyond the data set.
        """
        largest = max(int(index.max()) if index.numel() else -1 for index in (rows.support, rows.query))
        if largest >= len(self.dataset):
            raise DataError(
                f"row {largest} is asked for, and the data set has {len(self.dataset)} items: expected rows drawn from "
                "this data set."
            )
        return next(self._gather(rows, max(len(rows), 1)))

    def _gather(self, rows: EpisodeRows, batch: int) -> Iterator[Episode]:
        """Rows to episodes, `batch` at a time: items for each batch, all that is small for all at once and then split.

        A batch of 32 is some 0.2 ms, and each small call of PyTorch 1 to 8 microseconds.
        """
        dtype = torch.get_default_dtype()
        support, query = (
            (index.clamp_min(0), label, (index >= 0).to(dtype))
            for index, label in ((rows.support, rows.support_y), (rows.query, rows.query_y))
        )
        parts = (part.split(batch) for part in (rows.number, *support, *query))
        for number, index, y, weight, query_index, query_y, query_weight in zip(*parts, strict=True):
            n, shape, query_shape = index.numel(), index.shape, query_index.shape
            # All support rows of the batch, then all query rows: each is one piece of memory.
            noise = None
            if self.transform is not None:
                n_rows, n_noise = shape[1] + query_shape[1], self.transform.n_noise
                noise = torch.from_numpy(uniform(self.seed, _NOISE, number.numpy(), n_rows * n_noise))
                pieces = noise.unflatten(1, (n_rows, n_noise)).split((shape[1], query_shape[1]), 1)
                noise = torch.cat([piece.flatten(0, 1) for piece in pieces])
            items = self._items(torch.cat((index.reshape(-1), query_index.reshape(-1))), noise)
            x, query_x = _unflatten(items, slice(n), shape), _unflatten(items, slice(n, None), query_shape)
            yield Episode(Support(x, y, weight, rows.n_classes), query_x, query_y, query_weight, rows.n_classes)

    def _items(self, index: Tensor, noise: Tensor | None) -> Items:
        """(N,) rows of the data set to (N, *item)."""
        if self._scaled is not None and self._scaled.fits(len(index)):
            return self._scaled(index)
        x = self.dataset.rows(index) if self._plain is None else self._plain(index)
        if self.transform is not None and noise is not None:
            if isinstance(x, dict):
                raise DataError(
                    "transform needs items that are one tensor, and these are a dict: transform the data set instead."
                )
            x = self.transform(x, noise.to(x.device))
        if self.dtype is None or isinstance(x, dict) or x.dtype != torch.uint8:
            return x
        out = (
            self._memory.empty(tuple(x.shape), self.dtype)
            if x.device.type == "cpu"
            else torch.empty_like(x, dtype=self.dtype)
        )
        # Two passes: mixed arithmetic of bytes and floats in one is slower.
        return out.copy_(x).mul_(1 / 255)

    def __call__(self, episodes: Numbers) -> Episode:
        """Sample these episode numbers as one batch."""
        rows = self.rows(episodes)
        return next(self._gather(rows, max(len(rows), 1)))

    def batches(self, n_episodes: int, batch: int, start: int = 0) -> Iterator[Episode]:
        """Episodes start .. start + n_episodes - 1, `batch` at a time."""
        block = max(batch, _ROWS_AT_ONCE // batch * batch)
        for first in range(start, start + n_episodes, block):
            yield from self._gather(self.rows(np.arange(first, min(first + block, start + n_episodes))), batch)


def _unflatten(items: Items, part: slice, shape: torch.Size) -> Items:
    """(N, *item) to (B, R, *item), of a part of N."""
    return map_items(lambda t: t[part].view(*shape, *t.shape[1:]), items)

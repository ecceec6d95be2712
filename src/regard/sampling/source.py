"""What every source of episodes promises, whatever its tasks are made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from regard.episode import Episode
from regard.errors import DataError
from regard.sampling.counts import Count

Numbers = Sequence[int] | NDArray[np.int64]
"""Episode numbers."""


class EpisodeSource(ABC):
    """Episode numbers to one batch, as a pure function of (seed, number).

    Attributes:
        seed: of its episodes.
        n_way: classes an episode, as an inclusive range; (0, 0) where targets are numbers.
        n_shot: support rows a class, or a task where there are no classes, as an inclusive range.
        n_query: query rows, counted likewise.
        sequences: whether targets are sequences of tokens, such as sentences.
    """

    sequences: bool = False
    seed: int
    n_way: tuple[int, int]
    n_shot: tuple[int, int]
    n_query: Count

    @abstractmethod
    def __call__(self, episodes: Numbers) -> Episode:
        """These episodes as one batch."""

    def batches(self, n_episodes: int, batch: int, start: int = 0) -> Iterator[Episode]:
        """Episodes start .. start + n_episodes - 1, `batch` at a time."""
        end = start + n_episodes
        return (self(np.arange(first, min(first + batch, end))) for first in range(start, end, batch))


def count_range(count: Count, name: str) -> tuple[int, int]:
    """A number as a range of one.

    Raises:
        DataError: below 1, or a range that runs backwards.
    """
    low, high = count if isinstance(count, tuple) else (count, count)
    if not 1 <= low <= high:
        raise DataError(f"{name} is {count!r}: expected a number of at least 1, or a range (low, high).")
    return low, high

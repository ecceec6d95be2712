"""The episodes of each step, sampled in the background while the step before is learned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from regard.episode import Episode
from regard.errors import ConfigError, DivergenceError

Source = Callable[[NDArray[np.int64]], Episode]
"""Episode numbers to one batch, as a pure function: `EpisodeSampler` and its like."""


class Batches:
    """Step t takes the episodes t * B .. t * B + B - 1, of which rank r of W takes every W-th.

    Every rank has as many, so the mean of the ranks' gradients is the gradient of one process that takes all. Since an
    episode is a function of its number, sampling ahead changes nothing but the waiting.

    Args:
        source: makes episodes of numbers.
        per_step: B, over all ranks.
        rank: r.
        n_ranks: W.
        device: where episodes are wanted.

    Raises:
        ConfigError: B is not a multiple of W.
    """

    def __init__(self, source: Source, per_step: int, rank: int, n_ranks: int, device: torch.device) -> None:
        if per_step % n_ranks:
            raise ConfigError(
                f"tasks_per_step is {per_step} for {n_ranks} processes: expected a multiple, so that each has as many."
            )
        self.source, self.per_step, self.rank, self.n_ranks, self.device = source, per_step, rank, n_ranks, device
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="regard-episodes")
        self._ahead: tuple[int, Future[Episode]] | None = None

    def numbers(self, step: int) -> NDArray[np.int64]:
        """This rank's episode numbers of a step."""
        return np.arange(step * self.per_step + self.rank, (step + 1) * self.per_step, self.n_ranks, dtype=np.int64)

    def take(self, step: int) -> Episode:
        """The batch of a step; starts on the next."""
        ahead = self._ahead
        waiting = ahead[1] if ahead is not None and ahead[0] == step else self._start(step)
        episode = waiting.result()
        self._ahead = (step + 1, self._start(step + 1))
        return episode.to(self.device)

    def _start(self, step: int) -> Future[Episode]:
        return self._pool.submit(self.source, self.numbers(step))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def naming_episodes(numbers: NDArray[np.int64], checkpoint: Path) -> Iterator[None]:
    """Where the task of a batch diverged, say which episode that is, and which weights are from before it.

    Args:
        numbers: of the batch's episodes.
        checkpoint: the last one.
    """
    try:
        yield
    except DivergenceError as error:
        if error.task is None:
            raise
        raise DivergenceError(
            f"in episode {numbers[error.task]}: {error} The weights before it are in {checkpoint}.", task=error.task
        ) from error

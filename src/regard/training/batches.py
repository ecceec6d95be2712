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
    """Step t takes the episodes t * B .. t * B + B - 1, in chunks, of which rank r of W takes every W-th.

    Since an episode is a function of its number, sampling ahead changes nothing but the waiting.

    Args:
        source: makes episodes of numbers.
        per_step: B, over all ranks.
        rank: r.
        n_ranks: W.
        device: where episodes are wanted.
        at_once: episodes per chunk; None for a single chunk of every W-th episode per rank.

    Raises:
        ConfigError: B is not a multiple of W, or of W chunks.
    """

    def __init__(
        self,
        source: Source,
        per_step: int,
        rank: int,
        n_ranks: int,
        device: torch.device,
        at_once: int | None = None,
    ) -> None:
        if per_step % (n_ranks * (at_once or 1)):
            chunks = f" and tasks_at_once {at_once}" if at_once not in (None, 1) else ""
            raise ConfigError(
                f"tasks_per_step is {per_step} for {n_ranks} processes{chunks}: expected a multiple, so that each has "
                "as many."
            )
        self.source, self.per_step, self.rank, self.n_ranks, self.device = source, per_step, rank, n_ranks, device
        self.at_once = at_once
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="regard-episodes")
        self._ahead: tuple[int, Future[list[Episode]]] | None = None

    def chunks(self, step: int) -> list[NDArray[np.int64]]:
        """This rank's episode numbers of a step, one array per chunk."""
        first, last = step * self.per_step, (step + 1) * self.per_step
        if self.at_once is None:
            return [np.arange(first + self.rank, last, self.n_ranks, dtype=np.int64)]
        starts = range(first + self.rank * self.at_once, last, self.n_ranks * self.at_once)
        return [np.arange(start, start + self.at_once, dtype=np.int64) for start in starts]

    def take(self, step: int) -> list[Episode]:
        """The chunks of a step; starts on the next step's."""
        ahead = self._ahead
        waiting = ahead[1] if ahead is not None and ahead[0] == step else self._start(step)
        episodes = waiting.result()
        self._ahead = (step + 1, self._start(step + 1))
        return [episode.to(self.device) for episode in episodes]

    def _start(self, step: int) -> Future[list[Episode]]:
        return self._pool.submit(lambda: [self.source(numbers) for numbers in self.chunks(step)])

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

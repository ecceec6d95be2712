"""A sampler of Regard where a loop written for another library expects its task set or loader."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from regard.interop.episodes import EasyfslTask, Order, to_easyfsl, to_learn2learn, to_torchmeta
from regard.sampling.source import EpisodeSource


class Learn2LearnTasks:
    """Stands for learn2learn's `TaskDataset` and its `Taskset`: `sample()`, `len`, indexing and iteration.

    Args:
        source: of the episodes; number i is task i.
        n_tasks: its length; indices beyond it come round again.
        order: where support rows stand in a task, see `Order`.
    """

    def __init__(self, source: EpisodeSource, n_tasks: int, *, order: Order = "alternating") -> None:
        self.source, self.n_tasks = source, n_tasks
        self.order: Order = order
        self._next = 0

    def __len__(self) -> int:
        return self.n_tasks

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        """(rows, *item) data and (rows,) labels of one task."""
        if not -self.n_tasks <= number < self.n_tasks:
            raise IndexError(f"task {number} of {self.n_tasks}")
        return to_learn2learn(self.source([number % self.n_tasks]), order=self.order)[0]

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return (self[number] for number in range(self.n_tasks))

    def sample(self) -> tuple[Tensor, Tensor]:
        """The next task, where learn2learn draws one: a run is the same again."""
        number, self._next = self._next, (self._next + 1) % self.n_tasks
        return self[number]


class TorchmetaBatches:
    """Stands for torchmeta's `BatchMetaDataLoader`: iterates over batches {"train": ..., "test": ...}.

    Args:
        source: of the episodes.
        batch_size: tasks per batch.
        n_batches: how many batches one pass gives.
    """

    def __init__(self, source: EpisodeSource, batch_size: int, n_batches: int) -> None:
        self.source, self.batch_size, self.n_batches = source, batch_size, n_batches

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
        return map(to_torchmeta, self.source.batches(self.n_batches * self.batch_size, self.batch_size))


class EasyfslTasks:
    """Stands for a `DataLoader` with easyfsl's `TaskSampler`: iterates over its five-tuples.

    Args:
        source: of the episodes.
        n_tasks: how many one pass gives.
    """

    def __init__(self, source: EpisodeSource, n_tasks: int) -> None:
        self.source, self.n_tasks = source, n_tasks

    def __len__(self) -> int:
        return self.n_tasks

    def __iter__(self) -> Iterator[EasyfslTask]:
        return (task for episode in self.source.batches(self.n_tasks, 1) for task in to_easyfsl(episode))

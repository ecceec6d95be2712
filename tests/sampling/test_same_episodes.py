"""The same seed gives the same episodes in every release, with every default as documented; and edges of sizes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from regard.episode import Episode, first_tensor
from regard.errors import DataError
from regard.sampling import Dataset, EpisodeSampler, GaussianProcesses, Oscillations, Sinusoids
from regard.sampling.manifest import read_manifest, write_manifest
from regard.sampling.memory import BufferPool
from regard.sampling.task_table import TaskTable, TaskTableSampler


def numbered(n_classes: int = 8, each: int = 20) -> Dataset:
    """Items that are their own number."""
    n = n_classes * each
    return Dataset.of(torch.arange(n, dtype=torch.float32)[:, None], torch.arange(n) % n_classes)


def table(n: int = 60) -> TaskTable:
    y = np.stack([np.arange(n) % 2, np.arange(n) // 2 % 2], 1).astype(np.float32)
    return TaskTable(torch.arange(n, dtype=torch.float32)[:, None], y, ("a", "b"), tuple(map(str, range(n))))


def fingerprint(episode: Episode) -> list[float]:
    """Shapes, and some numbers that depend on every item, target and weight, and on their order."""
    support = episode.support
    numbers = [*first_tensor(support.x).shape, *first_tensor(episode.query_x).shape, episode.n_classes]
    for t in (support.x, support.y, support.weight, episode.query_x, episode.query_y, episode.query_weight):
        flat = first_tensor(t).double().flatten() if not isinstance(t, torch.Tensor) else t.double().flatten()
        numbers.append(round(float((flat * torch.cos(torch.arange(len(flat)).double())).sum()), 3))
    return numbers


SOURCES: dict[str, Callable[[], Callable[[list[int]], Episode]]] = {
    "EpisodeSampler": lambda: EpisodeSampler(numbered()),
    "EpisodeSampler-ways": lambda: EpisodeSampler(numbered(), (2, 6), 2, 3, seed=5),
    "EpisodeSampler-shots": lambda: EpisodeSampler(numbered(), 4, (1, 5), 3, seed=5),
    "TaskTableSampler": lambda: TaskTableSampler(table()),
    "TaskTableSampler-shots": lambda: TaskTableSampler(table(), (2, 6), 4, seed=1),
    "Sinusoids": lambda: Sinusoids(),
    "Sinusoids-sizes": lambda: Sinusoids((3, 9), (2, 7), seed=4, stream=2),
    "Oscillations": lambda: Oscillations(),
    "GaussianProcesses": lambda: GaussianProcesses(),
}
EXPECTED: dict[str, list[float]] = {
    "EpisodeSampler": [2, 5, 1, 2, 75, 1, 5, -46.327, -7.49, 0.422, 370.159, -8.963, -0.504],
    "EpisodeSampler-ways": [2, 12, 1, 2, 18, 1, 6, 147.22, -7.77, 0.006, -52.29, -6.539, -0.062],
    "EpisodeSampler-shots": [2, 20, 1, 2, 12, 1, 4, 159.658, -3.097, -0.061, -182.226, -7.58, -0.541],
    "TaskTableSampler": [2, 20, 1, 2, 20, 1, 2, 20.552, 2.707, 1.515, 31.912, 2.707, 1.515],
    "TaskTableSampler-shots": [2, 12, 1, 2, 8, 1, 2, -21.767, -0.201, 4.256, -24.719, 2.472, 0.715],
    "Sinusoids": [2, 10, 1, 2, 10, 1, 0, -5.945, 4.5, 1.132, 5.773, 2.0, 1.132],
    "Sinusoids-sizes": [2, 9, 1, 2, 4, 1, 0, -0.929, -4.548, -1.716, -3.283, 3.541, 2.884],
    "Oscillations": [2, 20, 1, 2, 5, 1, 0, 1.245, -4.664, 1.515, 0.038, 0.055, 0.422],
    "GaussianProcesses": [2, 17, 1, 2, 11, 1, 0, -7.51, 0.985, 1.409, 0.22, -2.119, 0.992],
}


@pytest.mark.parametrize("name", list(SOURCES))
def test_the_same_seed_gives_the_same_episodes_in_every_release(name: str) -> None:
    assert fingerprint(SOURCES[name]()([0, 3])) == pytest.approx(EXPECTED[name], abs=2e-2)


def test_a_range_of_ways_alone_or_of_shots_alone_is_drawn_whole() -> None:
    ways = EpisodeSampler(numbered(), (2, 4), 2, 3)(range(60))
    assert set((ways.support.weight.sum(1) / 2).tolist()) == {2.0, 3.0, 4.0}
    shots = EpisodeSampler(numbered(), 3, (1, 3), 3)(range(60))
    assert set(shots.support.weight.view(60, 3, 3).sum(-1).flatten().tolist()) == {1.0, 2.0, 3.0}
    rows = TaskTableSampler(table(), (2, 4), 3)(range(60))
    assert set(rows.support.weight.view(60, 2, 4).sum(-1).flatten().tolist()) == {2.0, 3.0, 4.0}


def test_a_task_of_just_enough_rows_is_taken_and_of_one_less_refused() -> None:
    episode = TaskTableSampler(table(20), 6, 4)([0])
    assert sorted(torch.cat([episode.support.x[0], episode.query_x[0]])[:, 0].tolist()) == list(range(20))  # type: ignore[index]
    with pytest.raises(DataError):
        TaskTableSampler(table(20), 6, 5)
    GaussianProcesses(n_shot=5, n_query=(3, 9), n_points=8)
    with pytest.raises(DataError, match="n_points"):
        GaussianProcesses(n_shot=5, n_query=(3, 9), n_points=7)


def test_a_manifest_knows_absent_rows_from_rows_that_cannot_be(tmp_path) -> None:
    data, path = numbered(), tmp_path / "episodes.json"
    write_manifest(path, EpisodeSampler(data, (2, 5), 1, 2).rows([0, 1, 2]), data)
    text = path.read_text()
    read_manifest(path, data)
    for part in ("support", "query"):
        start = text.index("-1", text.index(f'"{part}"'))
        path.write_text(f"{text[:start]}-2{text[start + 2 :]}")
        with pytest.raises(DataError, match=f"{part} rows outside"):
            read_manifest(path, data)


def test_a_buffer_comes_back_once_nobody_holds_it() -> None:
    pool = BufferPool()
    lent = pool.bytes(100_000)
    address = lent.ctypes.data
    del lent
    between = np.empty(100_000, dtype=np.uint8)  # what the system would take that memory for
    assert pool.bytes(50_000).ctypes.data == address != between.ctypes.data

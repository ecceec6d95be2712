"""Tasks of other libraries become episodes and come back bit for bit; what they cannot hold is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from regard.episode import Episode, Support
from regard.errors import EpisodeError
from regard.interop import (
    from_easyfsl,
    from_learn2learn,
    from_torchmeta,
    to_easyfsl,
    to_learn2learn,
    to_torchmeta,
)
from regard.interop.episodes import Order
from regard.sampling import Dataset, EpisodeSampler


def sampler(n_way: int | tuple[int, int] = 4, n_shot: int | tuple[int, int] = 2, n_query: int = 2) -> EpisodeSampler:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, 3, 5, generator=generator)
    return EpisodeSampler(Dataset.of(x, torch.arange(10).repeat_interleave(6)), n_way, n_shot, n_query)


def same_task(a: Episode, b: Episode, task: int) -> None:
    """Rows of one task in both, whatever their order and padding."""

    def rows(x: Tensor, y: Tensor, weight: Tensor) -> list[tuple[float, ...]]:
        table = torch.cat([y[:, None].float(), x.flatten(1)], 1)[weight > 0]
        return sorted(map(tuple, table.tolist()))

    for part in ("support", "query"):
        found = []
        for episode in (a, b):
            s = episode.support
            tensors = (
                (s.x, s.y, s.weight)
                if part == "support"
                else (
                    episode.query_x,
                    episode.query_y,
                    episode.query_weight,
                )
            )
            found.append(rows(*(t[task] for t in tensors)))
        assert found[0] == found[1]


@pytest.mark.parametrize("order", ["alternating", "first"])
@pytest.mark.parametrize(("n_way", "n_shot"), [(2, 1), (4, 2), (5, 3)])
def test_learn2learn_round_trip_is_bit_equal(order: Order, n_way: int, n_shot: int) -> None:
    episode = sampler(n_way, n_shot, n_shot)([0, 1, 2])
    tasks = to_learn2learn(episode, order=order)
    back = from_learn2learn(tasks, n_shot=n_shot, order=order)
    for task in range(3):
        same_task(episode, back, task)
    for (x, y), (again_x, again_y) in zip(tasks, to_learn2learn(back, order=order), strict=True):
        assert torch.equal(x, again_x)
        assert torch.equal(y, again_y)


def test_alternating_is_what_the_loop_of_learn2learn_reads() -> None:
    """Every second row of a task sorted by class, as its published examples index it."""
    n_way, n_shot = 4, 2
    episode = sampler(n_way, n_shot, n_shot)([3])
    x, y = to_learn2learn(episode, order="alternating")[0]
    support = torch.zeros(len(y), dtype=torch.bool)
    support[torch.arange(n_shot * n_way) * 2] = True
    back = from_learn2learn([(x, y)], n_shot=n_shot, order="alternating")
    assert torch.equal(x[support], back.support.x[0])
    assert torch.equal(y[~support], back.query_y[0])


def test_labels_of_any_integers_are_numbered() -> None:
    x = torch.arange(8.0)[:, None]
    y = torch.tensor([70, 70, 70, 70, -3, -3, -3, -3])
    episode = from_learn2learn([(x, y)], n_shot=1, order="first")
    assert episode.support.x[0, :, 0].tolist() == [0, 4]
    assert episode.support.y[0].tolist() == [1, 0]
    assert episode.query_y[0].tolist() == [1, 1, 1, 0, 0, 0]


def test_counts_that_do_not_fit_the_order_are_refused() -> None:
    x, y = torch.zeros(6, 2), torch.tensor([0, 0, 0, 1, 1, 1])
    with pytest.raises(EpisodeError, match=r"3 rows of class 0.*2 \* n_shot = 2"):
        from_learn2learn([(x, y)], n_shot=1, order="alternating")
    with pytest.raises(EpisodeError, match=r"not all in a row"):
        from_learn2learn([(x[:4], torch.tensor([0, 1, 0, 1]))], n_shot=1, order="alternating")
    with pytest.raises(EpisodeError, match=r"more than n_shot = 3"):
        from_learn2learn([(x, y)], n_shot=3, order="first")
    with pytest.raises(EpisodeError, match="1 support and 2 query rows"):
        to_learn2learn(sampler(3, 1, 2)([0]), order="alternating")


@pytest.mark.parametrize(("n_way", "n_shot", "n_query"), [(2, 1, 3), (4, 2, 2), (5, 3, 1)])
def test_torchmeta_round_trip_is_bit_equal(n_way: int, n_shot: int, n_query: int) -> None:
    episode = sampler(n_way, n_shot, n_query)([0, 1])
    back = from_torchmeta(to_torchmeta(episode))
    assert torch.equal(back.support.x, episode.support.x)
    assert torch.equal(back.support.y, episode.support.y)
    assert torch.equal(back.query_x, episode.query_x)
    assert torch.equal(back.query_y, episode.query_y)


def test_torchmeta_regression_keeps_its_targets() -> None:
    x, y = torch.randn(2, 4, 1), torch.randn(2, 4, 1)
    episode = from_torchmeta({"train": (x, y), "test": (x + 1, y + 1)})
    assert episode.n_classes == 0
    assert torch.equal(episode.query_y, y + 1)


def test_other_keys_and_shapes_are_named() -> None:
    with pytest.raises(EpisodeError, match=r"\['support'\].*'train' and 'test'"):
        from_torchmeta({"support": ()})
    with pytest.raises(EpisodeError, match=r"test has inputs \(2, 3, 1\) and targets \(2, 4\)"):
        from_torchmeta(
            {
                "train": (torch.zeros(2, 4, 1), torch.zeros(2, 4).long()),
                "test": (torch.zeros(2, 3, 1), torch.zeros(2, 4).long()),
            }
        )


@pytest.mark.parametrize(("n_way", "n_shot", "n_query"), [(2, 1, 3), (4, 2, 2), (5, 3, 1)])
def test_easyfsl_round_trip_is_bit_equal(n_way: int, n_shot: int, n_query: int) -> None:
    episode = sampler(n_way, n_shot, n_query)([5, 6])
    back = from_easyfsl(to_easyfsl(episode))
    assert torch.equal(back.support.x, episode.support.x)
    assert torch.equal(back.query_y, episode.query_y)


def test_tasks_of_different_sizes_are_padded_and_come_back() -> None:
    episode = sampler((2, 4), (1, 3), 2)([0, 1, 2, 3])
    tasks = to_easyfsl(episode)
    assert len({len(task[0]) for task in tasks}) > 1
    back = from_easyfsl(tasks)
    for task in range(4):
        same_task(episode, back, task)


def test_a_query_without_support_is_refused() -> None:
    x = torch.zeros(2, 3)
    with pytest.raises(EpisodeError, match="queries of class 9"):
        from_easyfsl([(x, torch.tensor([0, 1]), x, torch.tensor([0, 9]), [0, 1])])


def test_weights_that_others_cannot_hold_are_refused() -> None:
    support = Support(torch.zeros(1, 2, 3), torch.tensor([[0, 1]]), torch.tensor([[1.0, 0.5]]))
    episode = Episode(support, torch.zeros(1, 1, 3), torch.tensor([[0]]))
    for convert in (to_easyfsl, to_torchmeta):
        with pytest.raises(EpisodeError, match="weight"):
            convert(episode)


def test_items_that_are_a_dict_are_refused() -> None:
    items = {"ids": torch.zeros(1, 2, 3).long()}
    episode = Episode(Support(items, torch.tensor([[0, 1]])), items, torch.tensor([[0, 1]]))
    with pytest.raises(EpisodeError, match="dict"):
        to_easyfsl(episode)

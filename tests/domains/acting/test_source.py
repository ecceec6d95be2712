"""Demonstrations as episodes: rows, padding, what is shown and what is asked."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from regard.domains.acting.demonstrations import Demonstrations, record
from regard.domains.acting.source import DemonstrationSource
from regard.domains.acting.steps import StepReader
from regard.domains.robots.reach2d import Reach2D
from regard.errors import ConfigError, DataError


def counted(lengths: tuple[int, ...], tasks: tuple[int, ...], noisy: tuple[bool, ...] | None = None) -> Demonstrations:
    """Step t of demonstration d is observed as [d, t], and its action is 100 d + t."""
    pairs = [
        (np.stack([np.full(n, d), np.arange(n)], 1), (100 * d + np.arange(n))[:, None]) for d, n in enumerate(lengths)
    ]
    return Demonstrations.of(pairs, tasks, noisy)


def test_rows_are_spread_evenly_with_first_and_last() -> None:
    x, y, weight = StepReader(4).rows(counted((10, 4, 3), (0, 0, 0)))
    assert x[0, :, 1].tolist() == [0, 3, 6, 9] and x[1, :, 1].tolist() == [0, 1, 2, 3]
    assert weight.tolist() == [[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 0]]
    assert x[2, :3, 1].tolist() == [0, 1, 2]
    torch.testing.assert_close(x[0, :, 2], torch.tensor([0, 3, 6, 9]) / 9)
    assert (x[0, :, 3] == 1).all() and y[0, :, 0].tolist() == [0, 3, 6, 9]
    assert not StepReader(4, shows_progress=False).rows(counted((10,), (0,)))[0][..., 2:].any()


def test_queries_are_of_demonstrations_that_are_not_shown() -> None:
    source = DemonstrationSource(
        counted((5,) * 12, (0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2), (False, False, False, True) * 3),
        StepReader(3),
        (1, 2),
        40,
    )
    episode = source(range(50))
    shown, asked = episode.support.x[..., 0], episode.query_x[..., 0]
    for b in range(50):
        present = episode.support.weight[b] > 0
        demonstrations = set(shown[b, present].tolist())
        assert len(demonstrations) * 3 == int(present.sum()) and len(demonstrations) in (1, 2)
        assert not any(d % 4 == 3 for d in demonstrations)  # disturbed ones are not shown
        others = set(asked[b].tolist())
        assert not demonstrations & others and {int(d) // 4 for d in others | demonstrations} == {int(min(others)) // 4}
        assert len(others) == 4 - len(demonstrations)
    torch.testing.assert_close(episode.query_y[..., 0], 100 * asked + episode.query_x[..., 1])
    assert not episode.query_x[..., 2:].any()


def test_an_episode_is_a_function_of_its_number() -> None:
    source = DemonstrationSource(record(Reach2D(), range(5), 3, 1), StepReader(6), (1, 3), 8, seed=3)
    together, alone = source([4, 9, 2]), source([9])
    torch.testing.assert_close(together.query_x[1:2], alone.query_x)
    torch.testing.assert_close(together.support.x[1:2], alone.support.x)
    torch.testing.assert_close(together.support.weight[1:2], alone.support.weight)
    other = DemonstrationSource(source.demonstrations, StepReader(6), (1, 3), 8, seed=3, stream=1)([9])
    assert not torch.equal(other.query_x, alone.query_x)


def test_blind_shows_nothing() -> None:
    source = DemonstrationSource(record(Reach2D(), range(3), 2), StepReader(6), 1, 8, blind=True)
    assert not source([0, 1]).support.weight.any()


def test_too_few_demonstrations_are_named() -> None:
    with pytest.raises(DataError, match=r"task 1 has 1 demonstrations, 1 of them undisturbed: expected 1 to show and"):
        DemonstrationSource(counted((3, 3, 3), (0, 0, 1)), StepReader(3))


def test_a_support_of_tasks_with_different_numbers() -> None:
    sets = [counted((5, 2), (0, 0)), counted((4,), (0,))]
    support = StepReader(3).support(sets, [[1.0, 0.5], [2.0]])
    assert support.weight.tolist() == [[1, 1, 1, 0.5, 0.5, 0], [2, 2, 2, 0, 0, 0]] and support.is_regression
    with pytest.raises(DataError, match="trust of task 1 has shape"):
        StepReader(3).support(sets, [[1, 1], [1, 1]])
    with pytest.raises(DataError, match="one size of each"):
        StepReader(3).support([sets[0], Demonstrations.of([(np.zeros((2, 5)), np.zeros((2, 1)))])])


def test_the_reader_scales_and_is_kept() -> None:
    demonstrations = record(Reach2D(), range(5), 2)
    reader = StepReader(7).scaled_to(demonstrations.observations)
    scaled = reader(demonstrations.observations)[:, :2]
    torch.testing.assert_close(scaled.mean(0), torch.zeros(2), atol=1e-5, rtol=0)
    assert StepReader.from_dict(reader.to_dict()) == reader and reader(np.zeros((2, 3, 2))).shape == (2, 3, 4)
    with pytest.raises(DataError, match="3 numbers: expected 2, as in training"):
        reader(np.zeros((1, 3)))
    with pytest.raises(DataError, match="not finite"):
        reader(np.array([[0, np.inf]]))
    with pytest.raises(ConfigError, match="n_rows is 1"):
        StepReader(1)
    with pytest.raises(ConfigError, match="the reader of steps"):
        StepReader.from_dict({"n_rows": "many"})

"""Random numbers of different purposes come from different streams: one says nothing of another."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor

from regard.sampling import Dataset, EpisodeSampler
from regard.sampling import episodes as e
from regard.sampling.functions import Sinusoids
from regard.sampling.random import bits, uniform

SEED = 5


class Noise:
    """Items become their noise."""

    n_noise = 1

    def __call__(self, x: Tensor, noise: Tensor) -> Tensor:
        return noise


def test_the_noise_of_a_transform_is_of_its_own_stream() -> None:
    dataset = Dataset.of(torch.zeros(60, 1), torch.arange(12).repeat_interleave(5))
    source = EpisodeSampler(dataset, 4, 2, 2, seed=SEED, transform=Noise())
    task = source([3])
    seen = torch.cat([task.support.x, task.query_x], 1).flatten().double().numpy()  # type: ignore[list-item]
    drawn = {
        s: uniform(SEED, s, np.array([3]), len(seen))[0] for s in (e._CLASSES, e._ROWS, e._GROUP, e._NOISE, e._SIZES)
    }
    np.testing.assert_allclose(np.sort(seen), np.sort(drawn.pop(e._NOISE)), atol=1e-6)
    for stream, others in drawn.items():
        assert not np.isin(np.round(seen, 6), np.round(others, 6)).any(), f"as in stream {stream}"


def test_streams_seeds_and_episodes_share_no_words() -> None:
    words = [bits(seed, stream, np.arange(20), 8).ravel() for seed in (0, 1) for stream in range(6)]
    assert len(np.unique(np.concatenate(words))) == 2 * 6 * 20 * 8


@pytest.mark.parametrize("seed", [0, 1])
def test_the_noise_of_functions_says_nothing_of_where_they_are_seen_or_what_they_are(seed: int) -> None:
    def both(noise: float) -> tuple[np.ndarray, np.ndarray]:
        task = Sinusoids(8, 1, noise=noise, seed=seed)(range(600))
        return task.support.x[..., 0].double().numpy(), task.support.y[..., 0].double().numpy()  # type: ignore[index]

    (x, y), (same, clean) = both(1.0), both(0.0)
    np.testing.assert_array_equal(x, same)
    noise = y - clean
    assert abs(noise.mean()) < 0.06 and abs(noise.std() - 1) < 0.05
    # Of 4,800 pairs, independence has a rank correlation of 0.014 in standard deviation.
    assert abs(spearmanr(x.ravel(), noise.ravel()).statistic) < 0.07
    waves = Sinusoids(8, 1, seed=seed).waves(np.arange(600))
    for parameter in (waves.amplitude, waves.phase):
        for column in range(4):
            assert abs(spearmanr(parameter, noise[:, column]).statistic) < 0.2
            assert abs(spearmanr(parameter, x[:, column]).statistic) < 0.2

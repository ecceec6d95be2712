"""Functions as tasks: numbers decide everything, and the exact posterior is somebody else's too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, ExpSineSquared, Kernel, Matern, WhiteKernel

from regard.episode import Episode, Support
from regard.errors import ConfigError, DataError
from regard.sampling import FunctionSampler, GaussianProcesses, Oscillations, Sinusoids
from regard.sampling.random import normal


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def samplers() -> dict[str, FunctionSampler]:
    return {
        "sinusoids": Sinusoids(seed=3),
        "noisy sinusoids of 2 to 7 rows": Sinusoids((2, 7), (1, 4), noise=0.3, seed=3),
        "oscillations": Oscillations((5, 9), 3, seed=3),
        **{kernel: GaussianProcesses(kernel=kernel, block=1, seed=3) for kernel in ("rbf", "matern52", "periodic")},
    }


def rows(episode: Episode) -> list[torch.Tensor]:
    """The rows that are there, of support and query: what padding must not change."""
    support = episode.support
    parts = [(support.x, support.y, support.weight), (episode.query_x, episode.query_y, episode.query_weight)]
    return [t[w > 0] for x, y, w in parts for t in (x, y)]  # type: ignore[index]


@pytest.mark.parametrize("name", list(samplers()))
def test_an_episode_is_a_function_of_its_number(name: str) -> None:
    sampler = samplers()[name]
    together = sampler([4, 9, 0]).check()
    for b, number in enumerate([4, 9, 0]):
        for one, many in zip(rows(sampler([number])), rows(together.tasks(slice(b, b + 1))), strict=True):
            torch.testing.assert_close(one, many, rtol=1e-12, atol=1e-12)
    assert together.n_classes == 0 and together.support.is_regression
    assert not torch.equal(rows(sampler([1]))[1][:2], rows(sampler([2]))[1][:2])


def test_seed_and_stream_make_other_episodes() -> None:
    first = Sinusoids()([0]).support.y
    for other in (Sinusoids(seed=1), Sinusoids(stream=1)):
        assert not torch.isclose(first, other([0]).support.y).any()


def test_sinusoids_follow_the_protocol_of_the_paper() -> None:
    sampler = Sinusoids(10, 5)
    number = np.arange(4000)
    episode, waves = sampler(number), sampler.waves(number)
    x, y = episode.support.x, episode.support.y
    assert isinstance(x, torch.Tensor) and x.shape == (4000, 10, 1) and episode.query_y.shape == (4000, 5, 1)
    amplitude, phase = waves.amplitude[:, None, None], waves.phase[:, None, None]
    np.testing.assert_allclose(y.numpy(), amplitude * np.sin(x.numpy() - phase))
    for values, low, high in ((waves.amplitude, 0.1, 5), (waves.phase, 0, np.pi), (x.flatten().numpy(), -5, 5)):
        assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 1e-3


def test_normals_are_normal_and_have_no_memory() -> None:
    z = normal(0, 1, np.arange(200), 50)
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-3
    assert abs(np.corrcoef(z[:, 0], z[:, 1])[0, 1]) < 0.2 and abs(np.corrcoef(z[0], z[1])[0, 1]) < 0.5
    np.testing.assert_array_equal(normal(0, 1, np.array([7]), 3)[0], z[7, :3])


def test_rows_vary_within_their_range_and_leave_room() -> None:
    support, query = GaussianProcesses(block=1).sizes(np.arange(3000))
    assert (support.min(), support.max(), query.min()) == (3, 46, 3)
    assert (support + query).max() == 49
    alike, _ = GaussianProcesses().sizes(np.arange(64))
    assert all(len(set(alike[i : i + 16])) == 1 for i in range(0, 64, 16)) and len(set(alike)) > 1
    assert bool((GaussianProcesses()(range(16, 32)).support.weight == 1).all())


# ---- Gaussian processes ----------------------------------------------------------------------------------------------


def scikit_kernel(name: str, scale: float, length: float, period: float, noise: float) -> Kernel:
    shape = {
        "rbf": RBF(length, "fixed"),
        "matern52": Matern(length, "fixed", nu=2.5),
        "periodic": ExpSineSquared(length, period, "fixed", "fixed"),
    }[name]
    return ConstantKernel(scale**2, "fixed") * shape + WhiteKernel(noise**2, "fixed")


@pytest.mark.parametrize("kernel", ["rbf", "matern52", "periodic"])
def test_the_posterior_is_that_of_scikit_learn(kernel: str) -> None:
    sampler = GaussianProcesses(kernel=kernel, block=1, seed=5)
    episode, process = sampler(range(5)), sampler.process(range(5))
    assert isinstance(episode.query_x, torch.Tensor) and isinstance(episode.support.x, torch.Tensor)
    ours = process.posterior(episode.support, episode.query_x)
    for b in range(5):
        task = episode.tasks(slice(b, b + 1))
        x, y, query_x, query_y = (t.numpy() for t in rows(task))
        parameters = [float(t[b]) for t in (process.scale, process.lengthscale, process.period)]
        theirs = GaussianProcessRegressor(scikit_kernel(kernel, *parameters, 0.02), alpha=0, optimizer=None).fit(x, y)
        mean, deviation = theirs.predict(query_x, return_std=True)
        asked = task.query_weight[0] > 0
        np.testing.assert_allclose(ours.mean[b, asked, 0], mean.ravel(), rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(ours.stddev[b, asked, 0], deviation.ravel(), rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(
            ours.log_prob(episode.query_y)[b, asked, 0], stats.norm(mean, deviation).logpdf(query_y.ravel()), rtol=1e-5
        )


@pytest.mark.parametrize("kernel", ["rbf", "matern52", "periodic"])
def test_draws_are_as_the_posterior_expects_them(kernel: str) -> None:
    sampler = GaussianProcesses(kernel=kernel)
    number = np.arange(1200)
    episode = sampler(number)
    assert isinstance(episode.query_x, torch.Tensor)
    posterior = sampler.process(number).posterior(episode.support, episode.query_x)
    # The first query of each episode: z scores of independent draws.
    z = ((episode.query_y - posterior.mean) / posterior.stddev)[:, 0, 0].numpy()
    assert stats.kstest(z, "norm").pvalue > 1e-3


def test_a_weight_of_two_is_the_row_twice_for_the_posterior() -> None:
    sampler = GaussianProcesses(5, 3, n_points=None)
    episode, process = sampler([0, 1]), sampler.process([0, 1])
    support, query_x = episode.support, episode.query_x
    assert isinstance(support.x, torch.Tensor) and isinstance(query_x, torch.Tensor)
    weight = support.weight.clone()
    weight[:, 1] = 2
    twice = Support(*(torch.cat([t, t[:, 1:2]], 1) for t in (support.x, support.y, support.weight)))
    a, b = (process.posterior(s, query_x) for s in (replace(support, weight=weight), twice))
    torch.testing.assert_close(a.mean, b.mean)
    torch.testing.assert_close(a.stddev, b.stddev)


def test_oscillations_are_autoregressive() -> None:
    sampler = Oscillations(6, 3, noise=0.0, frequency=(0.5, 0.5), radius=(0.9, 0.9))
    episode = sampler([0])
    y = torch.cat([episode.support.y, episode.query_y], 1)[0, :, 0]
    torch.testing.assert_close(y[2:], 2 * 0.9 * np.cos(0.5) * y[1:-1] - 0.9**2 * y[:-2])
    assert isinstance(episode.query_x, torch.Tensor)
    torch.testing.assert_close(episode.query_x[0, :, 0] * 9, torch.tensor([6.0, 7.0, 8.0]))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Sinusoids(0), DataError, "n_shot is 0"),
        (lambda: Sinusoids(amplitude=(5, 1)), ConfigError, "amplitude is"),
        (lambda: Sinusoids(noise=-1), ConfigError, "noise is"),
        (lambda: GaussianProcesses(kernel="rfb"), ConfigError, "did you mean 'rbf'"),
        (lambda: GaussianProcesses(noise=0), ConfigError, "positive"),
        (lambda: GaussianProcesses(n_points=20), DataError, "n_points is 20"),
    ],
)
def test_what_makes_no_sense_is_refused(make: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()  # type: ignore[operator]

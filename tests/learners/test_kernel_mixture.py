"""The kernel mixture against SciPy's multivariate t distribution, one process at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_t, norm
from scipy.stats import t as student

from encoders import Parts, Same
from regard.episode import Support
from regard.errors import ConfigError, EpisodeError
from regard.estimators import FewShotRegressor
from regard.learners.kernel_mixture import KernelMixture


@pytest.fixture(autouse=True)
def _double() -> object:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def task(n_rows: int = 7) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rows (1, n, 5), positive targets (1, n, 1), queries (1, 3, 5)."""
    generator = torch.Generator().manual_seed(0)
    x, query = torch.randn(1, n_rows, 5, generator=generator), torch.randn(1, 3, 5, generator=generator)
    return x, x[..., :1].exp() * 3 + 0.1, query


def by_scipy(learner: KernelMixture, x: np.ndarray, y: np.ndarray, query: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of the mixture's prediction, by one multivariate t distribution per process."""
    parts = [slice(0, 2), slice(2, 5)]
    n = len(x)
    log_weight, medians, halves = [], [], []
    for logarithm in (False, True):
        seen = np.log(y) if logarithm else y
        centre, unit = seen.mean(), seen.std()
        for subset, power, length in learner.kernels:
            kernels = []
            for block in subset:
                rows = [np.concatenate([x, query])[:, parts[block]]]
                apart = np.abs(rows[0][:, None] - rows[0][None]) ** power
                distance = apart.sum(-1)
                kernels.append(np.exp(-distance / distance[:n, :n].mean() / length))
            for noise in learner.noises:
                k = np.mean(kernels, 0) + 10
                system = k[:n, :n] + noise * np.eye(n)
                r = (seen - centre) / unit
                like = multivariate_t(np.zeros(n), system, df=2).logpdf(r) - n * np.log(unit)
                log_weight.append(like - np.log(y).sum() * logarithm)
                m = k[n:, :n] @ np.linalg.solve(system, r)
                inverse = np.linalg.inv(system)
                v = 11 - np.einsum("qs,st,qt->q", k[n:, :n], inverse, k[n:, :n]) + noise
                size = (1 + r @ inverse @ r / 2) / (1 + n / 2)
                m, reach = m * unit + centre, student.ppf(0.975, n + 2) * np.sqrt(v * size) * unit
                medians.append(np.exp(m) if logarithm else m)
                halves.append((np.exp(m + reach) - np.exp(m - reach)) / 2 if logarithm else reach)
    w = np.exp(np.array(log_weight) - np.max(log_weight))
    w /= w.sum()
    mean = w @ np.array(medians)
    variance = w @ ((np.array(halves) / norm.ppf(0.975)) ** 2 + (np.array(medians) - mean) ** 2)
    return np.maximum(mean, 0), np.sqrt(variance)


def test_it_is_an_average_of_processes_by_their_likelihood() -> None:
    x, y, query = task()
    learner = KernelMixture(Same(5), blocks=(2, 3), noises=(0.05, 0.5))
    with torch.no_grad():
        output = learner.predict_encoded(learner.adapt_encoded(Support(x, y)), query)
    mean, deviation = by_scipy(learner, x[0].numpy(), y[0, :, 0].numpy(), query[0].numpy())
    np.testing.assert_allclose(output.mean[0, :, 0].numpy(), mean, rtol=1e-9)
    np.testing.assert_allclose(output.stddev[0, :, 0].numpy(), deviation, rtol=2e-3)


def test_a_target_that_is_not_positive_is_never_a_logarithm() -> None:
    x, y, _ = task()
    learner = KernelMixture(Same(5))
    assert float(learner.adapt(Support(x, y)).share.detach()[:, 1].sum()) > 0.5
    assert float(learner.adapt(Support(x, y - y.min())).share.detach()[:, 1].sum()) == 0
    plain = KernelMixture(Same(5), logarithms=False)
    assert float(plain.adapt(Support(x, y)).share.detach()[:, 1].sum()) == 0


def test_units_do_not_matter() -> None:
    x, y, query = task()
    learner = KernelMixture(Same(5))
    a, b = (learner.predict_encoded(learner.adapt_encoded(Support(x, s * y)), query) for s in (1.0, 1000.0))
    torch.testing.assert_close(b.mean, 1000 * a.mean)
    torch.testing.assert_close(b.stddev, 1000 * a.stddev)


def test_equal_targets_and_equal_rows_are_survived() -> None:
    x, y, query = task()
    learner = KernelMixture(Same(5))
    for support in (Support(x, torch.full_like(y, 4.0)), Support(torch.zeros_like(x), y)):
        output = learner.predict_encoded(learner.adapt_encoded(support), query)
        assert bool((output.mean.isfinite() & output.stddev.isfinite()).all())
    constant = learner.predict_encoded(learner.adapt_encoded(Support(x, torch.full_like(y, 4.0))), query)
    torch.testing.assert_close(constant.mean, torch.full((1, 3, 1), 4.0))


@pytest.mark.parametrize("value", [5.0, 1e-7, -3e4])
def test_deviations_of_equal_targets_are_of_their_size(value: float) -> None:
    """Not of what is left of them by rounding: the logarithms of three fives have a deviation of 1e-16."""
    x, y, query = task(3)
    learner = KernelMixture(Same(5))
    output = learner.predict_encoded(learner.adapt_encoded(Support(x, torch.full_like(y, value))), query)
    assert bool((output.stddev > 0.1 * abs(value)).all())


def test_more_rows_than_memory_holds_are_refused() -> None:
    many = Support(torch.zeros(1, 10_000, 5), torch.zeros(1, 10_000, 1))
    with pytest.raises(EpisodeError, match="takes at most 4000: give it a sample"):
        KernelMixture(Same(5)).adapt(many)


def test_the_estimator_leaves_zero_where_it_is() -> None:
    """Shifted by their mean, as for other learners, no targets would all be positive."""
    x, y, query = task(30)
    model = FewShotRegressor(KernelMixture(Same(5))).fit(x[0].numpy(), y[0, :, 0].numpy())
    assert float(model.state_.share[:, 1].sum()) > 0.5
    expected = KernelMixture(Same(5)).double()
    output = expected.predict_encoded(expected.adapt_encoded(Support(x, y)), query)
    np.testing.assert_allclose(model.predict(query[0].numpy()), output.mean[0, :, 0].detach().numpy(), rtol=1e-5)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="sum to the encoder's 5"):
        KernelMixture(Same(5), blocks=(2, 2))
    with pytest.raises(ConfigError, match="above 0"):
        KernelMixture(Same(5), noises=(0.0,))
    with pytest.raises(ConfigError, match="gives parts"):
        KernelMixture(Parts())

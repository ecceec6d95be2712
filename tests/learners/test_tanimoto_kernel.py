"""The Tanimoto kernel against plain Gaussian processes in NumPy, and what its training moves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from regard.episode import Episode, Items, Support
from regard.errors import ConfigError
from regard.learners.tanimoto_kernel import TanimotoKernel
from regard.nn.encoder import Encoder
from regard.nn.tanimoto import tanimoto

N_COUNTS, N_LEARNED = 6, 3


class Labelled(Encoder):
    """Counts, then a linear map of the other features, which is trained by the sum of its outputs."""

    parts = False
    n_fixed_features, n_features = N_COUNTS, N_COUNTS + N_LEARNED

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(4, N_LEARNED)

    def forward(self, x: Items) -> Tensor:
        assert isinstance(x, Tensor)
        return torch.cat([x[..., :N_COUNTS], self.map(x[..., N_COUNTS:])], -1)

    def label_loss(self, x: Items) -> Tensor:
        assert isinstance(x, Tensor)
        return self.map(x[..., N_COUNTS:]).sum(-1)


def rows(n: int, seed: int = 0) -> Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.concatenate([rng.integers(0, 5, (n, N_COUNTS)), rng.normal(size=(n, 4))], 1))


def by_numpy(learner: TanimotoKernel, z: np.ndarray, y: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of the rows after the first n, one process per mixture."""
    number = {name: learner.number(name).item() for name in learner.log}
    counts, f = z[:, :N_COUNTS], z[:, N_COUNTS:]
    levels, here = np.minimum(counts, 3), (counts > 0).astype(float)
    t = [np.minimum(a[:, None], a).sum(-1) / np.maximum(a[:, None], a).sum(-1) for a in (levels, here)]
    structure = (t[0] + number["presence"] * t[1]) / (1 + number["presence"])
    apart = np.square(f[:, None] - f).mean(-1)
    q = number["linear"]
    learned = (np.exp(-apart / 2 / number["length"] ** 2) + q * f @ f.T / N_LEARNED) / (1 + q)
    own = y.mean()
    near = np.exp(-(((own - learner.mean) / (2 * learner.deviation)) ** 2) / 2)
    prior = learner.deviation_rows * near
    unit = np.sqrt((np.square(y - own).sum() + prior * learner.deviation**2) / (n + prior))
    start = near * (learner.mean + learner.shift.item() * learner.deviation) + (1 - near) * own
    residual, noise = (y - start) / unit, number["noise"] + 1e-3
    log_p, means, variances = [], [], []
    for m in np.linspace(0, 1, len(learner.mixture)):
        k = number["amplitude"] * (m * structure + (1 - m) * learned) + number["constant"]
        system = k[:n, :n] + noise * np.eye(n)
        log_p.append(-(residual @ np.linalg.solve(system, residual) + np.linalg.slogdet(system)[1]) / 2)
        means.append(k[n:, :n] @ np.linalg.solve(system, residual))
        variances.append(np.diag(k[n:, n:] - k[n:, :n] @ np.linalg.solve(system, k[:n, n:])) + noise)
    score = 10 * learner.log_prior.detach().numpy() + number["evidence"] * np.array(log_p)
    share = np.exp(score - score.max())
    share /= share.sum()
    mean = share @ np.array(means)
    spread = share @ (np.array(variances) + np.square(means)) - mean**2
    return mean * unit + start, np.sqrt(spread) * unit


@pytest.mark.parametrize("centre", [0.3, 6.0])
def test_answers_are_those_of_gaussian_processes_mixed_by_evidence(centre: float) -> None:
    torch.manual_seed(0)
    learner = TanimotoKernel(Labelled(), mean=0.5, deviation=1.5).double()
    with torch.no_grad():
        for parameter in [*learner.log.values(), learner.log_prior, learner.shift]:
            parameter += 0.05 * torch.randn(parameter.shape)
        x, y = rows(14), torch.randn(1, 9, 1, dtype=torch.float64) + centre
        output = learner.predict(learner.adapt(Support(x[None, :9], y)), x[None, 9:])
        z = learner.encoder(x).numpy()
    assert isinstance(output, Normal)
    mean, deviation = by_numpy(learner, z, y[0, :, 0].numpy(), 9)
    np.testing.assert_allclose(output.mean[0, :, 0], mean, rtol=1e-9)
    np.testing.assert_allclose(output.stddev[0, :, 0], deviation, rtol=1e-9)


def episode(n_labelled: int) -> Episode:
    x, n_query = rows(12 + n_labelled), 4 + n_labelled
    y = torch.from_numpy(np.random.default_rng(1).normal(size=(1, 12 + n_labelled, 1)))
    weight = (torch.arange(n_query) < 4).double()[None]
    return Episode(Support(x[None, :8], y[:, :8]), x[None, 8:], y[:, 8:], weight, 0)


def test_labels_train_the_encoder_and_queries_the_kernel() -> None:
    learner = TanimotoKernel(Labelled()).double()
    learner.loss(episode(5)).sum().backward()
    weight = learner.encoder.map.weight  # type: ignore[attr-defined]
    expected = rows(17)[12:, N_COUNTS:].mean(0).expand(N_LEARNED, 4)
    torch.testing.assert_close(weight.grad, expected)
    of_kernel = {name: value.grad for name, value in learner.log.items()}
    other = TanimotoKernel(Labelled()).double()
    other.load_state_dict(learner.state_dict())
    short = episode(5)
    cut = Episode(short.support, short.query_x[:, :4], short.query_y[:, :4], short.query_weight[:, :4], 0)  # type: ignore[index]
    other.loss(cut).sum().backward()  # no rows with labels: queries train the encoder as well
    for name, value in other.log.items():
        torch.testing.assert_close(value.grad, of_kernel[name])
    assert not torch.allclose(other.encoder.map.weight.grad, expected)  # type: ignore[attr-defined]


def test_tanimoto_of_nothing_is_one_and_settings_are_checked() -> None:
    assert tanimoto(torch.zeros(1, 3), torch.zeros(1, 3)).item() == 1
    with pytest.raises(ConfigError, match="n_mixtures is 1"):
        TanimotoKernel(Labelled(), n_mixtures=1)

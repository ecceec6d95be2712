"""Metrics of predicted distributions: every number is computed in a second way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from sklearn.metrics import mean_absolute_error, mean_squared_error
from torch import Tensor
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    Laplace,
    LogNormal,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    StudentT,
    Uniform,
)

from regard.episode import Items, Support
from regard.errors import ConfigError, EpisodeError
from regard.evaluation import (
    TARGET_METRICS,
    compare,
    compare_learners,
    evaluate,
    from_json,
    ranks,
    target_metrics,
    to_json,
)
from regard.evaluation.targets import crps, crps_by_quantiles, crps_by_samples
from regard.learners.base import Learner
from regard.learners.linear_probe import LinearProbe
from regard.learners.matching import Matching
from regard.nn.mlp import MLP
from regard.sampling import GaussianProcesses, Sinusoids
from regard.training import TrainConfig
from regard.training.validation import is_better, metric_of, validate


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(before)


def answers(n_tasks: int = 6, n_query: int = 9, width: int = 2) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean, deviation and target (B, Q, T), and weight (B, Q) with zeros."""
    generator = torch.Generator().manual_seed(0)
    mean, y = torch.randn(2, n_tasks, n_query, width, generator=generator)
    deviation = 0.2 + torch.rand(mean.shape, generator=generator)
    weight = (torch.rand(n_tasks, n_query, generator=generator) < 0.7).double()
    weight[:, 0] = 1
    return mean, deviation, y, weight


def test_equals_scikit_learn_and_scipy() -> None:
    mean, deviation, y, weight = answers()
    ours = target_metrics(Normal(mean, deviation), y, weight)
    assert tuple(ours) == TARGET_METRICS
    for b in range(len(y)):
        m, s, t = (v[b][weight[b] > 0].numpy().ravel() for v in (mean, deviation, y))
        low, high = stats.norm(m, s).interval(0.95)
        expected = {
            "mse": mean_squared_error(t, m),
            "rmse": np.sqrt(mean_squared_error(t, m)),
            "mae": mean_absolute_error(t, m),
            "nll": -stats.norm(m, s).logpdf(t).mean(),
            "coverage": np.mean((low <= t) & (t <= high)),
        }
        assert {name: float(ours[name][b]) for name in expected} == pytest.approx(expected)


def test_weights_are_sample_weights_and_padding_is_absent() -> None:
    mean, deviation, y, weight = answers()
    weight[:, 1] = 2
    ours = target_metrics(Normal(mean, deviation), y.masked_fill(weight[..., None] == 0, torch.nan), weight)
    twice = (torch.cat([v, v[:, 1:2]], 1) for v in (mean, deviation, y, weight.clamp_max(1)))
    again_mean, again_deviation, again_y, again_weight = twice
    again = target_metrics(Normal(again_mean, again_deviation), again_y, again_weight)
    for name in TARGET_METRICS:
        torch.testing.assert_close(ours[name], again[name])


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Normal(0.3, 0.7), stats.norm(0.3, 0.7)),
        (Laplace(0.3, 0.7), stats.laplace(0.3, 0.7)),
        (Uniform(-1.0, 2.0, validate_args=False), stats.uniform(-1, 3)),
        (LogNormal(0.1, 0.5, validate_args=False), stats.lognorm(0.5, scale=np.exp(0.1))),
    ],
)
def test_crps_is_the_integral_of_its_definition(ours: Distribution, theirs: object) -> None:
    for y in (0.2, 0.9, 1.9):
        below = integrate.quad(lambda x: theirs.cdf(x) ** 2, -30, y, points=[-1], limit=200)[0]  # type: ignore[attr-defined]
        above = integrate.quad(lambda x: (1 - theirs.cdf(x)) ** 2, y, 60, points=[2], limit=200)[0]  # type: ignore[attr-defined]
        t = torch.full((1, 1, 1), y)
        marginal = ours.expand((1, 1, 1))
        assert float(crps(marginal, t)) == pytest.approx(below + above, rel=2e-4)
        assert float(crps_by_quantiles(marginal, t)) == pytest.approx(below + above, rel=2e-4)
        samples = marginal.sample(torch.Size([40_000]))
        assert float(crps_by_samples(samples, t)) == pytest.approx(below + above, abs=0.02)


def test_crps_of_samples_is_that_of_all_pairs() -> None:
    samples, y = torch.randn(7, 2, 3, 1), torch.randn(2, 3, 1)
    pairs = (samples[:, None] - samples[None]).abs().sum((0, 1)) / (7 * 6)
    torch.testing.assert_close(crps_by_samples(samples, y), (samples - y).abs().mean(0) - pairs / 2)


def test_axes_as_events_or_batches_and_joint_targets() -> None:
    mean, deviation, y, weight = answers()
    apart = target_metrics(Normal(mean, deviation), y, weight)
    together = target_metrics(Independent(Normal(mean, deviation), 1), y, weight)
    joint = target_metrics(MultivariateNormal(mean, torch.diag_embed(deviation.square())), y, weight)
    for name in TARGET_METRICS:
        torch.testing.assert_close(apart[name], together[name])
        # Without a distribution function it is samples that say crps and coverage.
        torch.testing.assert_close(
            apart[name], joint[name], **({"rtol": 0, "atol": 0.1} if name in ("crps", "coverage") else {})
        )


@pytest.mark.parametrize("kind", ["student", "mixture"])
def test_distributions_without_quantiles(kind: str) -> None:
    mean, deviation, y, weight = answers(width=1)
    parts = Normal(torch.stack([mean, mean], -1), torch.stack([deviation, deviation], -1))
    output = {
        "student": StudentT(1e6, mean, deviation),
        "mixture": MixtureSameFamily(Categorical(torch.ones(*mean.shape, 2)), parts),
    }[kind]
    state = torch.random.get_rng_state()
    ours, normal = (target_metrics(d, y, weight) for d in (output, Normal(mean, deviation)))
    assert torch.equal(state, torch.random.get_rng_state())
    for name in ("mse", "nll"):
        torch.testing.assert_close(ours[name], normal[name], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours["crps"], normal["crps"], rtol=0, atol=0.05)


def test_another_shape_is_refused() -> None:
    mean, deviation, y, weight = answers()
    for output in (Normal(mean[..., :1], deviation[..., :1]), Independent(Normal(mean, deviation), 2)):
        with pytest.raises(EpisodeError, match="one distribution for each query"):
            target_metrics(output, y, weight)


# ---- evaluate --------------------------------------------------------------------------------------------------------


def learners() -> dict[str, Learner]:
    return {"probe": LinearProbe(MLP(1, 8, (16,))), "matching": Matching(MLP(1, 8, (16,)))}


def test_evaluate_asks_functions_and_batches_leave_no_trace() -> None:
    source = GaussianProcesses(block=1, seed=4)
    learner = learners()["probe"].eval()
    result = evaluate(learner, source, 9, data="gp")
    for batch in (1, 4):
        other = evaluate(learner, source, 9, batch=batch)
        for name in TARGET_METRICS:
            np.testing.assert_allclose(result.per_episode[name], other.per_episode[name], rtol=1e-8)
        assert other.digest == result.digest
    for i in range(9):
        episode = source([i])
        with torch.no_grad():
            error = learner(episode).mean - episode.query_y
        assert result.per_episode["mse"][i] == pytest.approx(float(error.square().mean()))
    assert (result.n_way, result.n_shot, result.n_query) == (0, (3, 46), (3, 46))
    assert result.calibration is None and result.confusion is None
    others = [GaussianProcesses(block=1, seed=4, stream=1), GaussianProcesses(block=1, seed=4, kernel="matern52")]
    assert all(evaluate(learner, other, 9).digest != result.digest for other in others)


def test_results_of_functions_are_compared_written_and_read() -> None:
    results, comparisons = compare_learners(learners(), Sinusoids(10, 20), 40, data="sinusoids")
    assert [c.metric for c in comparisons] == list(TARGET_METRICS)
    more = {name: values + 0.01 for name, values in results[0].per_episode.items()}
    told = compare([results[0], replace(results[0], learner="more", per_episode=more)])
    assert [c.better for c in told] == ["probe"] * 5 + [None]
    assert ranks(told, "crps") == {"probe": 1, "more": 2}
    read, compared = from_json(to_json(results, comparisons, raw=True))
    assert [r.n_query for r in read] == [20, 20] and read[0].n_way == 0 and compared == comparisons
    assert compare(read) == comparisons


def test_classes_and_numbers_are_told_apart() -> None:
    class Logits(Learner):
        regresses = True

        def adapt(self, support: Support) -> Support:
            return support

        def predict(self, state: Support, query_x: Items) -> Tensor:
            assert isinstance(query_x, Tensor)
            return query_x

    with pytest.raises(EpisodeError, match="answered with a Tensor"):
        evaluate(Logits(), Sinusoids(), 3)


def test_validation_needs_no_special_case() -> None:
    source, learner = Sinusoids(10, 20), learners()["probe"]
    assert metric_of(source, TrainConfig()) == "nll"
    with pytest.raises(ConfigError, match="targets are numbers"):
        metric_of(source, TrainConfig(validation_metric="accuracy"))
    value = validate(learner, source, TrainConfig(validation_episodes=20))
    assert value == pytest.approx(evaluate(learner, source, 20).metrics["nll"].mean)
    assert is_better("nll", 1.0, 2.0) and not is_better("nll", 2.0, 1.0)

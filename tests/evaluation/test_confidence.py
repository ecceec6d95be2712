"""Temperature, threshold and refusal: against other ways of computing them, and on episodes whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from regard.episode import Items, Support
from regard.errors import ConfigError, DataError, EpisodeError
from regard.evaluation import confidence as c
from regard.evaluation.confidence import Confidence, best_temperature, fit_confidence, measure_confidence
from regard.learners import Prototypical
from regard.learners.base import Learner
from regard.nn.flat import Flat
from regard.sampling.dataset import Dataset
from regard.sampling.episodes import EpisodeSampler


def points(n_classes: int = 12, spread: float = 0.6, seed: int = 0) -> Dataset:
    generator = torch.Generator().manual_seed(seed)
    centre = 3 * torch.randn(n_classes, 1, 6, generator=generator)
    x = centre + spread * torch.randn(n_classes, 12, 6, generator=generator)
    return Dataset(
        x.flatten(0, 1), torch.arange(n_classes).repeat_interleave(12), tuple(f"c{i:02d}" for i in range(n_classes))
    )


def sampler(seed: int = 0, spread: float = 0.6, n_way: int | tuple[int, int] = 4) -> EpisodeSampler:
    return EpisodeSampler(points(spread=spread, seed=seed), n_way, 2, 4, seed=seed)


def learner(scale: float = 1.0) -> Prototypical:
    return Prototypical(Flat(), scale=scale)


@pytest.mark.parametrize("true", [0.3, 1.0, 4.0])
def test_the_temperature_is_found_again(true: float) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = 3 * torch.randn(20_000, 5, generator=generator, dtype=torch.float64)
    y = torch.multinomial(torch.softmax(logits / true, -1), 1, generator=generator)[:, 0]
    assert best_temperature(logits, y) == pytest.approx(true, rel=0.05)


def test_the_temperature_is_where_the_slope_is_zero() -> None:
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(500, 4, generator=generator, dtype=torch.float64)
    y = torch.randint(3, (500,), generator=generator)
    y[:300] = logits[:300, :3].argmax(-1)
    logits[:, 3] = -1e9  # as absent as a class can be that still has a slope
    t = torch.tensor(best_temperature(logits, y), dtype=torch.float64, requires_grad=True)
    torch.nn.functional.cross_entropy(logits / t, y).backward()
    assert t.grad is not None and abs(float(t.grad)) < 1e-3


def test_the_threshold_is_the_best_of_all_thresholds() -> None:
    generator = np.random.default_rng(3)
    score = torch.from_numpy(np.round(generator.random(200), 2))
    right = torch.from_numpy(generator.random(200) < score.numpy())
    found = c._threshold(score, right, 0.2)
    errors = {float(t): float((~right[score >= t]).double().mean()) for t in score.unique()}
    assert found == min(t for t, error in errors.items() if error <= 0.2)


def test_no_threshold_reaches_the_target_and_nothing_is_answered() -> None:
    score = torch.tensor([0.1, 0.9], dtype=torch.float64)
    assert c._threshold(score, torch.tensor([False, False]), 0.1) > 0.9


def test_open_episodes_have_queries_without_support_and_the_others_are_as_they_were() -> None:
    wide = c._with_more_classes(sampler(), 2)
    rows = wide.rows(range(5))
    opened, known = c._without_support(rows, 2)
    y = wide.dataset.y
    assert opened.n_classes == 4
    for b in range(5):
        is_real = opened.support[b] >= 0
        supported = set(y[opened.support[b][is_real]].tolist())
        queried = y[opened.query[b]]
        assert len(supported) == 4
        assert all((int(kind) in supported) == bool(k) for kind, k in zip(queried, known[b], strict=True))
        name = dict(zip(y[opened.support[b][is_real]].tolist(), opened.support_y[b][is_real].tolist(), strict=True))
        assert all(
            name[int(kind)] == int(label)
            for kind, label, k in zip(queried, opened.query_y[b], known[b], strict=True)
            if k
        )


def test_a_learner_of_numbers_has_no_confidence() -> None:
    class Numbers(Learner):
        def adapt(self, support: Support) -> None:
            return None

        def predict(self, state: None, query_x: Items) -> torch.distributions.Normal:
            return torch.distributions.Normal(torch.zeros(1, 20, 1), 1.0)

    with pytest.raises(EpisodeError, match="Numbers predicts a Normal: expected logits"):
        fit_confidence(Numbers(), sampler(), n_episodes=2)


def test_ways_may_vary() -> None:
    confidence = fit_confidence(learner(), sampler(n_way=(2, 4)), n_episodes=10)
    assert np.isfinite(confidence.threshold)


def test_overconfidence_is_cooled_and_unknown_classes_are_refused() -> None:
    hot = learner(scale=30.0)
    confidence = fit_confidence(hot, sampler(spread=1.5), target_error=0.05, n_unknown=2)
    report = measure_confidence(hot, sampler(seed=5, spread=1.5), confidence, n_unknown=2)
    assert confidence.temperature > 10
    assert confidence.trust[2] > 0
    for name in ("nll", "brier", "ece"):
        assert report.after[name].mean < report.before[name].mean
    assert report.error.mean < 0.1 and report.answered.mean > 0.5 and report.refused.mean > 0.8
    assert report.auroc > 0.9


def test_the_target_holds_on_the_episodes_it_was_set_on() -> None:
    confidence = fit_confidence(learner(), sampler(), target_error=0.1, n_unknown=2, n_episodes=100)
    report = measure_confidence(learner(), sampler(), confidence, n_unknown=2, n_episodes=100)
    assert report.error.mean <= 0.1 + 1e-12
    lower = replace(confidence, threshold=confidence.threshold * 0.8)
    assert measure_confidence(learner(), sampler(), lower, n_unknown=2, n_episodes=100).error.mean > 0.1


def test_without_a_threshold_everything_is_answered() -> None:
    logits = torch.randn(7, 3)
    assert bool(Confidence().answers(logits).all())
    assert torch.allclose(Confidence().probabilities(logits), torch.softmax(logits.double(), -1))


def test_probabilities_and_trust_are_those_of_the_formulas() -> None:
    confidence = Confidence(temperature=2.5, trust=(-0.4, 1.5, 0.2))
    logits = torch.tensor([[2.0, -1.0, 0.5], [3.0, -torch.inf, 3.0]])
    power = np.exp(logits.double().numpy() / 2.5)
    p = power / power.sum(1, keepdims=True)
    np.testing.assert_allclose(confidence.probabilities(logits).numpy(), p, rtol=1e-12)
    score = -0.4 + 1.5 * np.log(p.max(1)) + 0.2 * np.array([2.0, 3.0])
    np.testing.assert_allclose(confidence.trusts(logits).numpy(), 1 / (1 + np.exp(-score)), rtol=1e-12)


def test_the_report_compares_with_and_without_the_temperature() -> None:
    confidence = Confidence(temperature=3.0)
    report = measure_confidence(learner(scale=0.3), sampler(spread=1.5), confidence, n_episodes=20)
    predictions = c._predict(learner(scale=0.3), sampler(spread=1.5), 1, 20)
    known = predictions.known
    for temperature, told in ((1.0, report.before), (3.0, report.after)):
        log_p = torch.log_softmax(predictions.logits.double() / temperature, -1)
        nll = -log_p.gather(-1, predictions.y[..., None])[..., 0]
        expected = (nll * known).sum(1) / known.sum(1)
        assert told["nll"].mean == pytest.approx(float(expected.mean()))


def test_a_query_at_the_threshold_is_answered() -> None:
    logits = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.9, 0.0]])
    threshold = float(Confidence().trusts(logits)[0])
    assert Confidence(threshold=threshold).answers(logits).tolist() == [True, True, False]


def test_equal_scores_are_answered_together_or_not_at_all() -> None:
    score = torch.tensor([0.5, 0.9, 0.1, 0.5], dtype=torch.float64)
    right = torch.tensor([True, True, False, False])
    # At 0.5 one of three answers is wrong; the first of the two at 0.5 cannot be had without the second.
    assert c._threshold(score, right, 0.34) == 0.5
    assert c._threshold(score, right, 0.32) == 0.9
    assert c._threshold(score, right, 0.5) == 0.1


def test_auroc_counts_ties_as_half() -> None:
    score = torch.tensor([0.3, 0.3, 0.8, 0.3])
    assert c.auroc(score, torch.tensor([True, False, True, False])) == pytest.approx((0.5 + 0.5 + 1 + 1) / 4)


def test_trust_is_the_share_of_right_answers() -> None:
    confidence = fit_confidence(learner(), sampler(spread=1.5), n_unknown=2, n_episodes=100)
    predictions = c._predict(learner(), sampler(spread=1.5), 2, 100)
    trust = confidence.trusts(predictions.logits)
    right = ((predictions.logits.argmax(-1) == predictions.y) & predictions.known).double()
    # The first-order conditions of a logistic regression: residuals sum to 0, also against each signal.
    signals = c._signals(predictions.logits, confidence.temperature)
    residual = right - trust
    assert abs(float(residual.mean())) < 1e-3
    assert (
        float((residual[..., None] * (signals - signals.mean((0, 1))) / signals.std((0, 1))).mean((0, 1)).abs().max())
        < 1e-3
    )


def test_json_and_back() -> None:
    for confidence in (Confidence(), Confidence(2.5, (-1.0, 0.5, 2.0), 0.9, 0.05)):
        assert Confidence.from_dict(confidence.to_dict()) == confidence


def test_mistakes_are_reported() -> None:
    with pytest.raises(ConfigError, match="between 0 and 1"):
        fit_confidence(learner(), sampler(), target_error=5)
    with pytest.raises(ConfigError, match="at least 1 class"):
        fit_confidence(learner(), sampler(), n_unknown=0)
    with pytest.raises(DataError, match="lower n_way"):
        fit_confidence(learner(), sampler(n_way=12))

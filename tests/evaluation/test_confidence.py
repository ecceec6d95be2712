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


def test_a_header_without_confidence_answers_everything_uncalibrated() -> None:
    assert Confidence.kept_in({}) == Confidence() == Confidence(1.0, (0.0, 1.0, 0.0), 0.0, 1.0)
    kept = Confidence(2.0, (0.5, 1.5, -0.25), 0.75, 0.1)
    assert Confidence.kept_in({"confidence": kept.to_dict(), "other": 1}) == kept
    assert isinstance(Confidence.kept_in({"confidence": kept.to_dict()}).trust, tuple)


def test_the_report_counts_real_queries_only_and_by_their_own_kind() -> None:
    """Ways vary, so that there is padding: every share again by a loop over real queries."""
    episodes, model = sampler(n_way=(2, 5), spread=1.6), learner(0.3)
    predictions = c._predict(model, episodes, 2, 12)
    half = float(Confidence(1.7, (0.2, 1.1, 0.1)).trusts(predictions.logits)[predictions.weight > 0].median())
    report = measure_confidence(
        model, episodes, Confidence(1.7, (0.2, 1.1, 0.1), half, 0.2), n_unknown=2, n_episodes=12
    )
    assert bool((predictions.weight == 0).any()), "nothing is padded"
    counts = dict.fromkeys(("known", "unknown", "answered", "refused", "given", "wrong"), 0)
    for e, q in (predictions.weight > 0).nonzero().tolist():
        logits, known = predictions.logits[e, q], bool(predictions.known[e, q])
        p = torch.softmax(logits / 1.7, -1)
        trust = 1 / (1 + np.exp(-(0.2 + 1.1 * float(p.max().log()) + 0.1 * float(logits.max()))))
        right = known and int(logits.argmax()) == int(predictions.y[e, q])
        counts["known" if known else "unknown"] += 1
        counts["answered"] += known and trust >= half - 1e-12
        counts["refused"] += not known and trust < half - 1e-12
        counts["given"] += trust >= half - 1e-12
        counts["wrong"] += trust >= half - 1e-12 and not right
    assert 0 < counts["wrong"] < counts["given"]
    assert report.answered.mean == pytest.approx(counts["answered"] / counts["known"])
    assert report.refused.mean == pytest.approx(counts["refused"] / counts["unknown"])
    assert report.error.mean == pytest.approx(counts["wrong"] / counts["given"])
    assert report.answered.low < report.answered.mean < report.answered.high


def test_a_ratio_and_its_interval_are_those_of_the_delta_method() -> None:
    rng = np.random.default_rng(0)
    bottom = rng.integers(1, 9, (40, 3)).astype(np.float64)
    top = bottom * rng.uniform(0.2, 0.6, (40, 3))
    found = c._ratio(top, bottom)
    a, b = top.sum(1), bottom.sum(1)
    # Var(a/b) by the covariance matrix of the two sums, instead of by residuals.
    ratio, n = a.mean() / b.mean(), 40
    v = np.cov(a, b)
    deviation = np.sqrt((v[0, 0] - 2 * ratio * v[0, 1] + ratio**2 * v[1, 1]) / n) / b.mean()
    from scipy.stats import t

    assert found.mean == pytest.approx(ratio) and found.half_width == pytest.approx(t.ppf(0.975, n - 1) * deviation)
    assert c._ratio(top * 0, bottom * 0).high == 0.0


def test_trust_is_constant_where_all_are_right_or_all_wrong() -> None:
    signals = torch.randn(6, 2, dtype=torch.float64)
    for right, answer in ((True, 1.0), (False, 0.0)):
        trust = c._regression(signals, torch.full((6,), right))
        assert trust[1:] == (0.0, 0.0)
        assert float(Confidence(trust=trust).trusts(torch.randn(3, 4)).mean()) == pytest.approx(answer, abs=1e-8)


def test_calibration_is_measured_on_the_queries_of_known_classes_with_and_without_temperature() -> None:
    episodes, model = sampler(spread=1.2), learner(2.0)
    predictions = c._predict(model, episodes, 1, 10)
    for temperature in (1.0, 3.0):
        measured = c._calibration(predictions, temperature)
        losses = []
        for e in range(10):
            known = predictions.known[e] & (predictions.weight[e] > 0)
            logits, y = predictions.logits[e][known].double() / temperature, predictions.y[e][known]
            losses.append(float(torch.nn.functional.cross_entropy(logits, y)))
        assert measured["nll"].mean == pytest.approx(np.mean(losses), rel=1e-6)

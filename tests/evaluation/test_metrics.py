"""Thousands of episodes at once give what scikit-learn gives one by one."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, log_loss, precision_score, recall_score
from torch import Tensor

from regard.evaluation.metrics import METRICS, Calibration, Confusion, ece_by_episode, episode_metrics


def random_answers(n_tasks: int = 40, n_query: int = 17, n_classes: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    """Logits with absent classes, labels that miss some classes, and padding."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(n_tasks, n_query, n_classes, generator=generator)
    y = torch.randint(n_classes, (n_tasks, n_query), generator=generator)
    n_present = torch.randint(2, n_classes + 1, (n_tasks,), generator=generator)
    logits = logits.masked_fill(torch.arange(n_classes) >= n_present[:, None, None], -torch.inf)
    y = y % n_present[:, None]
    weight = (torch.rand(n_tasks, n_query, generator=generator) < 0.7).double()
    weight[:, 0] = 1
    return logits, y, weight


def test_equals_scikit_learn() -> None:
    logits, y, weight = random_answers()
    ours, _ = episode_metrics(logits, y, weight)
    for i in range(len(y)):
        kept = weight[i] > 0
        true, p = y[i][kept].numpy(), torch.softmax(logits[i][kept].double(), -1).numpy()
        answer = p.argmax(-1)
        macro = {"average": "macro", "zero_division": 0}
        expected = {
            "accuracy": accuracy_score(true, answer),
            "precision": precision_score(true, answer, **macro),
            "recall": recall_score(true, answer, **macro),
            "f1": f1_score(true, answer, **macro),
            "nll": log_loss(true, p, labels=range(p.shape[1])),
            "brier": np.mean(np.sum((p - np.eye(p.shape[1])[true]) ** 2, axis=1)),
        }
        assert {name: float(ours[name][i]) for name in expected} == pytest.approx(expected), f"episode {i}"
    assert {*ours, "ece"} == set(METRICS)


def test_weights_are_sample_weights() -> None:
    logits, y, weight = random_answers()
    weight = weight * torch.rand(weight.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ours, _ = episode_metrics(logits, y, weight)
    for i in range(10):
        kept = weight[i] > 0
        true, answer, w = (t[kept].numpy() for t in (y[i], logits[i].argmax(-1), weight[i]))
        expected = f1_score(true, answer, sample_weight=w, average="macro", zero_division=0)
        assert float(ours["f1"][i]) == pytest.approx(expected)


def test_padding_changes_nothing() -> None:
    logits, y, weight = random_answers()
    changed, other = logits.clone(), y.clone()
    changed[weight == 0] = 99.0
    other[weight == 0] = 0
    (a, a_bins), (b, b_bins) = episode_metrics(logits, y, weight), episode_metrics(changed, other, weight)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert torch.equal(a_bins, b_bins)


def test_one_certain_mistake_stays_finite() -> None:
    logits = torch.tensor([[[0.0, -torch.inf]]])
    ours, _ = episode_metrics(logits, torch.tensor([[1]]), torch.ones(1, 1))
    assert float(ours["nll"]) == pytest.approx(-np.log(np.finfo(np.float64).eps))
    assert float(ours["brier"]) == 2.0


def test_calibration_equals_a_plain_loop_over_bins() -> None:
    logits, y, weight = random_answers()
    _, bins = episode_metrics(logits, y, weight)
    p = torch.softmax(logits.double(), -1)[weight > 0].numpy()
    confidence, right = p.max(1), p.argmax(1) == y[weight > 0].numpy()
    edges, expected = np.linspace(0, 1, 16), 0.0
    for low, high in pairwise(edges):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    curve = Calibration.of(bins.numpy())
    assert curve.ece == pytest.approx(expected)
    assert ece_by_episode(bins.numpy()).mean() == pytest.approx(expected)
    assert curve.count.sum() == weight.sum()
    assert np.allclose(curve.edges, edges)


def test_a_calibrated_learner_is_told_from_an_overconfident_one() -> None:
    generator = np.random.default_rng(0)
    p = generator.uniform(0.5, 1, size=(200, 50))
    y = torch.from_numpy((generator.uniform(size=p.shape) > p).astype(np.int64))
    honest = torch.from_numpy(np.log(np.stack([p, 1 - p], -1)))
    for logits, bounds in ((honest, (0, 0.02)), (4 * honest, (0.1, 0.3))):
        _, bins = episode_metrics(logits, y, torch.ones(y.shape))
        assert bounds[0] <= Calibration.of(bins.numpy()).ece < bounds[1]


def test_confusion_counts_pairs() -> None:
    true, predicted = np.array([0, 0, 2, 2, 2]), np.array([0, 1, 2, 2, 0])
    confusion = Confusion.of(("a", "b", "c"), true, predicted)
    assert confusion.matrix().tolist() == [[1, 1, 0], [0, 0, 0], [1, 0, 2]]
    assert confusion.matrix([2, 0]).tolist() == [[2, 1], [0, 1]]

"""The baselines are what scikit-learn computes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from regard.learners.linear_probe import LinearProbe
from regard.learners.nearest_neighbour import NearestNeighbour
from regard.testing import random_episode


@pytest.mark.parametrize("penalty", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("width", [3, 40])
def test_linear_probe_equals_logistic_regression(penalty: float, width: int) -> None:
    episode = random_episode(0, (width,), n_way=4, n_shot=5, n_query=8)
    p = LinearProbe(penalty=penalty)(episode).softmax(-1).numpy()
    for b in range(3):
        x, y, w = episode.support.x[b], episode.support.y[b], episode.support.weight[b]  # type: ignore[index]
        oracle = LogisticRegression(C=1 / penalty, solver="newton-cg", tol=1e-12, max_iter=10_000)
        oracle.fit(x[w > 0].numpy(), y[w > 0].numpy(), sample_weight=w[w > 0].numpy())
        expected = np.zeros_like(p[b])
        expected[:, oracle.classes_] = oracle.predict_proba(episode.query_x[b].numpy())  # type: ignore[index]
        np.testing.assert_allclose(p[b], expected, atol=1e-6)


@pytest.mark.parametrize("width", [3, 40])
def test_linear_probe_equals_ridge(width: int) -> None:
    episode = random_episode(1, (width,), n_targets=2)
    normal = LinearProbe(penalty=0.7, noise=0.5)(episode)
    for b in range(3):
        x, y, w = episode.support.x[b].numpy(), episode.support.y[b].numpy(), episode.support.weight[b].numpy()  # type: ignore[index]
        oracle = Ridge(alpha=0.7).fit(x, y, sample_weight=w)
        np.testing.assert_allclose(normal.mean[b].numpy(), oracle.predict(episode.query_x[b].numpy()), rtol=1e-8)  # type: ignore[index]
        variance = np.average((oracle.predict(x) - y) ** 2, axis=0, weights=w) + 0.25
        np.testing.assert_allclose(normal.stddev[b, 0].numpy(), np.sqrt(variance), rtol=1e-8)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_nearest_neighbour_equals_scikit_learn(k: int) -> None:
    classes, targets = random_episode(2, n_shot=4), random_episode(2, n_shot=4, n_targets=2)
    p = NearestNeighbour(n_neighbours=k)(_whole(classes)).softmax(-1).numpy()
    mean = NearestNeighbour(n_neighbours=k)(_whole(targets)).mean.numpy()
    for b in range(3):
        x, query = classes.support.x[b].numpy(), classes.query_x[b].numpy()  # type: ignore[index]
        oracle = KNeighborsClassifier(k).fit(x, classes.support.y[b].numpy())
        np.testing.assert_allclose(p[b], oracle.predict_proba(query), atol=1e-12)
        x, query = targets.support.x[b].numpy(), targets.query_x[b].numpy()  # type: ignore[index]
        regressor = KNeighborsRegressor(k).fit(x, targets.support.y[b].numpy())
        np.testing.assert_allclose(mean[b], regressor.predict(query), rtol=1e-10)


def test_raw_pixels_need_no_encoder() -> None:
    episode = random_episode(3, (4, 4))
    pixels = (torch.rand(episode.support.x.shape) * 255).to(torch.uint8)  # type: ignore[union-attr]
    support = replace(episode.support, x=pixels, weight=torch.ones_like(episode.support.weight))
    itself = replace(episode, support=support, query_x=pixels, query_y=support.y, query_weight=support.weight)
    assert bool((NearestNeighbour()(itself).argmax(-1) == support.y).all())
    assert bool(LinearProbe()(itself)[:2].isfinite().all())


def _whole(episode):  # type: ignore[no-untyped-def]
    return replace(episode, support=replace(episode.support, weight=torch.ones_like(episode.support.weight)))

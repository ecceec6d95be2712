"""FewShotRegressor: means and deviations over views against a mixture of normals, offsets, shapes and messages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution, Normal

from regard.domains.registry import find_domain
from regard.domains.views import Views
from regard.episode import Items, Support, first_tensor, map_items
from regard.errors import ConfigError, EpisodeError
from regard.estimators import FewShotClassifier, FewShotRegressor
from regard.learners.base import Learner


class MeanOfSupport(Learner):
    """Predicts the weighted mean of the support's targets plus the query's first number; deviation: its second."""

    classifies, regresses = False, True

    def adapt(self, support: Support) -> Tensor:
        weight = support.weight[..., None]
        return (support.y * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True)

    def predict(self, state: Any, query_x: Items) -> Distribution | Tensor:
        x = first_tensor(query_x)
        mean = state + x[..., :1]
        return Normal(mean, x[..., 1:2].expand_as(mean) + 0 * mean)


class Bare(MeanOfSupport):
    """The mean alone, without a deviation."""

    def predict(self, state: Any, query_x: Items) -> Tensor:
        return state + first_tensor(query_x)[..., :1]


class Shifted(Views):
    """View e adds e to everything."""

    def __init__(self, n: int) -> None:
        self.n = n

    def support(self, items: Items) -> Items:
        return map_items(lambda t: torch.stack([t + e for e in range(self.n)]), items)

    queries = support


X = np.array([[0.5, 1.0], [1.5, 2.0], [-1.0, 0.5]])


def test_one_view_is_the_learners_own_answer() -> None:
    y = np.array([1.0, 2.0, 6.0])
    model = FewShotRegressor(MeanOfSupport().double()).fit(X, y)
    mean, deviation = model.predict(X, return_std=True)
    np.testing.assert_allclose(mean, 3 + X[:, 0], rtol=1e-6)
    np.testing.assert_allclose(deviation, X[:, 1], rtol=1e-6)
    np.testing.assert_allclose(model.predict(X), mean)


def test_the_deviation_of_several_views_holds_the_spread_of_their_means(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(find_domain("arrays")), "views", lambda _, n, *rest: Shifted(n))
    model = FewShotRegressor(MeanOfSupport().double(), n_estimators=3).fit(X, np.zeros(3))
    mean, deviation = model.predict(X, return_std=True)
    means, deviations = (X[:, i] + np.arange(3)[:, None] for i in (0, 1))
    np.testing.assert_allclose(mean, means.mean(0), rtol=1e-6)
    # The variance of a mixture: the mean of variances and the variance of means.
    np.testing.assert_allclose(deviation, np.sqrt((deviations**2).mean(0) + means.var(0)), rtol=1e-6)


def test_targets_keep_their_shape_and_weights_decide_the_offset() -> None:
    y = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 90.0]])
    model = FewShotRegressor(MeanOfSupport().double()).fit(X, y, sample_weight=[1.0, 3.0, 0.0])
    expected = np.average(y, 0, [1, 3, 0]) + X[:, :1]
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-6)
    assert model.predict(X, return_std=True)[1].shape == (3, 2)
    np.testing.assert_allclose(model._offset, [1.75, 17.5])
    column = FewShotRegressor(MeanOfSupport().double()).fit(X, y[:, :1])
    assert column.predict(X).shape == (3, 1)
    assert FewShotRegressor(MeanOfSupport().double()).fit(X, y[:, 0]).predict(X).shape == (3,)


def test_far_targets_lose_no_digits_where_the_learner_computes_in_float32() -> None:
    y = np.array([1e9 + 0.25, 1e9 + 0.5, 1e9 + 0.75])
    np.testing.assert_allclose(FewShotRegressor(MeanOfSupport()).fit(X, y).predict(X) - 1e9, 0.5 + X[:, 0], atol=1e-5)


def test_a_learner_without_deviations_predicts_means_only() -> None:
    model = FewShotRegressor(Bare().double()).fit(X, np.array([1.0, 2.0, 6.0]))
    np.testing.assert_allclose(model.predict(X), 3 + X[:, 0], rtol=1e-6)
    with pytest.raises(ConfigError, match="Bare predicts no deviation"):
        model.predict(X, return_std=True)


def test_chunks_of_queries_change_nothing() -> None:
    y = np.array([1.0, 2.0, 6.0])
    whole = FewShotRegressor(MeanOfSupport().double()).fit(X, y).predict(X)
    for size in (1, 2, 3):
        np.testing.assert_array_equal(
            FewShotRegressor(MeanOfSupport().double(), chunk_size=size).fit(X, y).predict(X), whole
        )


def test_classes_and_numbers_are_not_mixed_up() -> None:
    with pytest.raises(ConfigError, match="MeanOfSupport is for regression"):
        FewShotClassifier(MeanOfSupport()).fit(X, ["a", "b", "a"])
    for settings in ({"chunk_size": 0}, {"n_estimators": 0}):
        with pytest.raises(ConfigError, match="is 0: expected"):
            FewShotRegressor(MeanOfSupport(), **settings).fit(X, [1.0, 2.0, 3.0])
    with pytest.raises(EpisodeError, match="X 3 rows"):
        FewShotRegressor(MeanOfSupport()).fit(X, [1.0, 2.0])
    with pytest.raises(ConfigError, match="does not attend"):
        FewShotRegressor(MeanOfSupport()).fit(X, [1.0, 2.0, 3.0]).attention(X)

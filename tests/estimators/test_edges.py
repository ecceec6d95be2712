"""What estimators say on the way, defaults, and numbers at the edge of what floats hold."""

from __future__ import annotations

import logging
from inspect import signature
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from regard.estimators import FewShotClassifier, FewShotRegressor, base
from regard.learners import LinearProbe, NearestNeighbour

X = np.random.default_rng(0).normal(size=(12, 3))


def test_a_long_prediction_says_how_far_it_is_and_a_short_one_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = FewShotClassifier(NearestNeighbour(), chunk_size=2).fit(X, np.arange(12) % 2)
    # A clock that goes on by 2 s whenever it is read: 6 s are over as the last chunk begins, and 8 as that is told.
    clock = count(100, 2)
    monkeypatch.setattr(base, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    with caplog.at_level(logging.WARNING, "regard.estimators"):
        model.predict(X[:8])
        assert [record.message for record in caplog.records] == ["6 of 8 queries predicted, some 3 s left"]
        caplog.clear()
        model.predict(X[:6])
        assert not caplog.records


def test_targets_of_any_size_are_predicted_to_the_same_digits() -> None:
    y = X @ [1.0, -2.0, 0.5]
    expected = FewShotRegressor(LinearProbe()).fit(X, y).predict(X)
    for power in (300, -300, 1000):
        scaled = FewShotRegressor(LinearProbe()).fit(X, y * 2.0**power)
        np.testing.assert_allclose(scaled.predict(X) / 2.0**power, expected, rtol=0.05, atol=0.1)
        assert scaled._unit != 1.0
    # It is the distance from their mean that is large or small, not the targets.
    assert FewShotRegressor(LinearProbe()).fit(X, 8e29 + 1e29 * (np.arange(12) % 2))._unit == 1.0


def test_defaults_are_those_of_the_documentation() -> None:
    for estimator in (FewShotClassifier, FewShotRegressor):
        assert signature(estimator).parameters["chunk_size"].default == 256
    assert FewShotRegressor().__sklearn_tags__().target_tags.multi_output


def test_labels_from_a_file_are_as_wide_as_they_need() -> None:
    model = FewShotClassifier()
    assert model._restore({"dtype": "<U6", "classes": ["abcde", "f"]}) == 2
    assert model.classes_.dtype == np.dtype("<U5")
    model._restore({"dtype": "<U100000000", "classes": ["abcde", "f"]})
    assert model.classes_.nbytes == 40 and model.classes_.tolist() == ["abcde", "f"]


def test_chunks_are_cut_where_they_should_be() -> None:
    x = torch.randn(7, 3, generator=torch.Generator().manual_seed(1)).numpy()
    whole = FewShotRegressor(LinearProbe(), chunk_size=7).fit(X, X[:, 0])
    for size in (1, 2, 3, 6, 8):
        parts = FewShotRegressor(LinearProbe(), chunk_size=size).fit(X, X[:, 0])
        np.testing.assert_allclose(parts.predict(x), whole.predict(x), atol=1e-6)

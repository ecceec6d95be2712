"""What estimators say on the way, defaults, and numbers at the edge of what floats hold."""

from __future__ import annotations

import logging
from inspect import signature
from itertools import count
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import NotFittedError
from torch import Tensor

from regard.domains.views import Views
from regard.episode import Items, map_items
from regard.errors import EpisodeError
from regard.estimators import FewShotClassifier, FewShotRegressor, base
from regard.learners import AttentionMetaLearner, LinearProbe, NearestNeighbour, Prototypical
from regard.nn.flat import Flat
from regard.nn.sequence import TokenLSTM

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
    # A unit is a power of two that floats hold, and so is its square's root.
    assert FewShotRegressor(LinearProbe()).fit(X, (np.arange(12) % 2) * 1.5 * 2.0**1020)._unit == 2.0**1000
    assert FewShotRegressor(LinearProbe()).fit(X, (np.arange(12) % 2) * 1.5 * 2.0**-1020)._unit == 2.0**-1000
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
    # Only strings have a width to choose.
    model._restore({"dtype": "<i8", "classes": [3, 5]})
    assert model.classes_.dtype == np.int64 and model.classes_.tolist() == [3, 5]


def test_chunks_are_cut_where_they_should_be() -> None:
    x = torch.randn(7, 3, generator=torch.Generator().manual_seed(1)).numpy()
    whole = FewShotRegressor(LinearProbe(), chunk_size=7).fit(X, X[:, 0])
    for size in (1, 2, 3, 6, 8):
        parts = FewShotRegressor(LinearProbe(), chunk_size=size).fit(X, X[:, 0])
        np.testing.assert_allclose(parts.predict(x), whole.predict(x), atol=1e-6)


def test_small_weights_move_the_offset_of_targets() -> None:
    y, weight = np.arange(12.0), np.array([0.05] * 6 + [0.01] * 6)
    model = FewShotRegressor(LinearProbe()).fit(X, y, weight)
    assert model._offset == pytest.approx(np.average(y, weights=weight))


def test_nothing_is_explained_before_fit_and_vectors_have_no_places() -> None:
    model = FewShotClassifier(Prototypical(Flat()))
    with pytest.raises(NotFittedError):
        model.explain(X)
    with pytest.raises(NotFittedError):
        model.attention(X)
    assert model.fit(X, np.arange(12) % 2).saliency(X[:2]) is None


def test_numbers_are_explained_in_the_unit_of_y() -> None:
    y = X[:, 0] + 0.1 * X[:, 1]
    found = FewShotRegressor(NearestNeighbour()).fit(X, y).explain(X[:5] + 0.1)
    other = FewShotRegressor(NearestNeighbour()).fit(X, 16 * y + 1000).explain(X[:5] + 0.1)
    np.testing.assert_allclose(other.drop, 16 * found.drop, atol=1e-4)
    np.testing.assert_allclose(other.probability, 16 * found.probability + 1000, rtol=1e-5)
    np.testing.assert_allclose(found.probability, FewShotRegressor(NearestNeighbour()).fit(X, y).predict(X[:5] + 0.1))
    assert found.trust is not None and other.trust is not None
    assert other.trust.mean == pytest.approx(16 * found.trust.mean, rel=1e-3)


def test_texts_of_another_length_are_explained() -> None:
    torch.manual_seed(0)
    ids = torch.randint(1, 20, (6, 5))
    examples = {"ids": ids, "mask": torch.ones(6, 5)}
    model = FewShotClassifier(AttentionMetaLearner(TokenLSTM(20, 6, 5, parts=True))).fit(examples, [0, 1] * 3)
    for length in (3, 8):
        asked = {"ids": torch.randint(1, 20, (2, length)), "mask": torch.ones(2, length)}
        found = model.explain(asked)
        best = model.predict_proba(asked)
        np.testing.assert_allclose(found.probability, best.max(1), atol=1e-5)


class Turned(Views):
    """One view, in which classes have other numbers."""

    def __init__(self, order: list[int]) -> None:
        self.n, self.order = 1, torch.tensor([order])

    def support(self, items: Items) -> Items:
        return map_items(lambda t: t[None], items)

    queries = support

    def class_order(self, n_classes: int) -> Tensor:
        assert n_classes == self.order.shape[1]
        return self.order


def test_an_explanation_is_in_the_users_classes_whatever_the_view_calls_them() -> None:
    y = np.repeat(["a", "b", "c"], 4)
    plain = FewShotClassifier(Prototypical(Flat())).fit(X, y)
    expected, episode = plain.explain(X[:4]), plain._episode(X[:5])
    assert episode.n_classes == 3 and episode.query_y.shape == (1, 5) and episode.support.y.shape == (1, 12)
    turned = FewShotClassifier(Prototypical(Flat())).fit(X, y)
    turned._views = Turned([2, 0, 1])
    assert turned._episode(X[:4]).support.y[0].tolist() == [2] * 4 + [0] * 4 + [1] * 4
    found = turned.explain(X[:4])
    assert (
        found.predicted.tolist()
        == expected.predicted.tolist()
        == np.searchsorted(["a", "b", "c"], plain.predict(X[:4])).tolist()
    )
    np.testing.assert_allclose(found.contribution, expected.contribution, atol=1e-6)
    numbers = FewShotRegressor(LinearProbe()).fit(X, np.stack([X[:, 0], X[:, 1]], 1))._episode(X[:5])
    assert numbers.n_classes == 0 and numbers.query_y.shape == (1, 5, 2) and numbers.support.y.shape == (1, 12, 2)


def test_names_from_a_file_are_one_for_each_column() -> None:
    model = FewShotClassifier()
    model._recall_columns(["a", "b"], 2)
    assert model.n_features_in_ == 2 and model.feature_names_in_.tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="2 names of 3 columns"):
        model._recall_columns(["a", "b"], 3)


def test_tags_say_what_the_domain_can_miss_and_a_learner_that_is_not_found_allows_nothing() -> None:
    assert FewShotClassifier("tables").__sklearn_tags__().input_tags.allow_nan
    assert not FewShotClassifier(LinearProbe()).__sklearn_tags__().input_tags.allow_nan
    assert not FewShotClassifier("no-such-model").__sklearn_tags__().input_tags.allow_nan


def test_ragged_rows_are_explained_by_the_reader_and_labels_without_an_order_are_refused() -> None:
    model = FewShotClassifier(NearestNeighbour()).fit(X, np.arange(12) % 2)
    with pytest.raises(EpisodeError):
        model.predict([[1.0, 2.0, 3.0], [1.0]])
    with pytest.raises(EpisodeError, match="which have no order"):
        FewShotClassifier(NearestNeighbour()).fit(X, [object(), object()] * 6)


@pytest.mark.parametrize("labels", [[1, "a"], [2.5, "a"], [b"a", "b"], [True, "yes"]])
def test_labels_of_two_types_in_a_list_do_not_become_words_in_silence(labels: list[object]) -> None:
    with pytest.raises(EpisodeError, match="mixes labels of type"):
        FewShotClassifier(NearestNeighbour()).fit(X, labels * 6)


def test_columns_named_by_numbers_and_words_are_refused_in_our_words() -> None:
    frame = pd.DataFrame(X, columns=[0, "b", 2])
    with pytest.raises(EpisodeError, match="Give all columns names of one type"):
        FewShotClassifier("tables", n_estimators=1).fit(frame, np.arange(12) % 2)

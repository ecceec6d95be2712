"""FewShotClassifier: views and their class order, temperature and threshold, columns by name, one pass for all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import NotFittedError
from torch import Tensor

from regard.domains.registry import find_domain
from regard.domains.views import Views
from regard.episode import Items, Support, first_tensor, map_items
from regard.errors import EpisodeError
from regard.estimators import FewShotClassifier
from regard.evaluation.confidence import Confidence
from regard.learners import Matching, Prototypical
from regard.learners.base import Learner
from regard.nn.flat import Flat
from regard.nn.mlp import MLP

X = np.array([[0.0, 0.0], [0.2, 0.1], [3.0, 0.0], [3.1, 0.3], [0.0, 3.0], [0.3, 3.2]])
Y = np.array(["b", "b", "c", "c", "a", "a"])
ASKED = np.array([[0.1, 0.4], [2.0, 1.1], [1.4, 1.6], [0.2, 2.5]])


class Turned(Views):
    """View e numbers class c as c + e and moves every number by a tenth of e."""

    def __init__(self, n: int) -> None:
        self.n = n

    def support(self, items: Items) -> Items:
        return map_items(lambda t: torch.stack([t + e / 10 for e in range(self.n)]), items)

    def queries(self, items: Items) -> Items:
        return map_items(lambda t: torch.stack([t * (1 + e / 10) for e in range(self.n)]), items)

    def class_order(self, n_classes: int) -> Tensor:
        return torch.stack([(torch.arange(n_classes) + e) % n_classes for e in range(self.n)])


@pytest.fixture
def turned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(find_domain("arrays")), "views", lambda _, n, *rest: Turned(n))


def prototypical() -> Prototypical:
    return Prototypical(Flat(), scale=0.5).double()


def by_hand(x: np.ndarray, asked: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    means = np.stack([x[c == Y].mean(0) for c in "abc"])
    logits = -0.5 * ((asked[:, None] - means) ** 2).sum(-1) / temperature
    p = np.exp(logits - logits.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


@pytest.mark.usefixtures("turned")
def test_probabilities_of_views_are_averaged_in_the_order_of_the_classes() -> None:
    model = FewShotClassifier(prototypical(), n_estimators=3).fit(X, Y)
    expected = np.mean([by_hand(X + e / 10, ASKED * (1 + e / 10)) for e in range(3)], 0)
    np.testing.assert_allclose(model.predict_proba(ASKED), expected, atol=1e-6)
    assert model.predict(ASKED).tolist() == [model.classes_[i] for i in expected.argmax(1)]


@pytest.mark.usefixtures("turned")
def test_the_number_of_views_is_that_of_the_model_unless_it_is_set() -> None:
    model = FewShotClassifier(prototypical()).fit(X, Y)
    assert model._views.n == 1
    trained = replace(model._trained, items={**model._trained.items, "n_views": 4})
    assert trained.n_views == 4 and model._trained.n_views == 1
    assert FewShotClassifier(prototypical(), n_estimators=2).fit(X, Y)._views.n == 2


def with_confidence(confidence: Confidence, **settings: Any) -> FewShotClassifier:
    model = FewShotClassifier(prototypical(), **settings).fit(X, Y)
    model._trained = replace(model._trained, confidence=confidence)
    return model


@pytest.mark.parametrize("temperature", [0.25, 1.0, 4.0])
def test_the_temperature_is_in_the_probabilities(temperature: float) -> None:
    model = with_confidence(Confidence(temperature))
    np.testing.assert_allclose(model.predict_proba(ASKED), by_hand(X, ASKED, temperature), atol=1e-6)
    np.testing.assert_allclose(model.predict_all(ASKED).probability, by_hand(X, ASKED, temperature), atol=1e-6)


def test_a_query_at_the_threshold_is_answered_and_one_below_is_not() -> None:
    plain = with_confidence(Confidence())
    logits = plain._pass(ASKED).output
    trust = Confidence().trusts(logits).mean(0)
    assert bool(plain.answers(ASKED).all())
    for row in range(len(ASKED)):
        model = with_confidence(Confidence(threshold=float(trust[row])))
        assert model.answers(ASKED).tolist() == (trust >= trust[row]).tolist()
        assert model.answers(ASKED)[row]
        assert model.predict_all(ASKED).answered.tolist() == model.answers(ASKED).tolist()


@pytest.mark.usefixtures("turned")
def test_trust_is_the_mean_over_views() -> None:
    model = with_confidence(Confidence(), n_estimators=3)
    trust = Confidence().trusts(model._pass(ASKED).output)
    assert trust.shape == (3, 4)
    between = float((trust.mean(0).sort().values[1:3]).mean())
    model._trained = replace(model._trained, confidence=Confidence(threshold=between))
    assert model.answers(ASKED).tolist() == (trust.mean(0) >= between).tolist()
    assert 0 < model.answers(ASKED).sum() < 4


def test_one_pass_says_what_three_calls_say() -> None:
    torch.manual_seed(0)
    learner = Matching(MLP(2, 4)).double()
    model = FewShotClassifier(learner, chunk_size=3).fit(X, Y)
    found = model.predict_all(ASKED)
    np.testing.assert_array_equal(found.label, model.predict(ASKED))
    np.testing.assert_allclose(found.probability, model.predict_proba(ASKED))
    np.testing.assert_array_equal(found.answered, model.answers(ASKED))
    assert found.attention is not None and found.attention.shape == (4, 6)
    np.testing.assert_allclose(found.attention, model.attention(ASKED))
    np.testing.assert_allclose(found.attention.sum(1), 1)
    assert FewShotClassifier(prototypical()).fit(X, Y).predict_all(ASKED).attention is None


@pytest.mark.usefixtures("turned")
def test_attention_is_that_of_the_first_view() -> None:
    torch.manual_seed(0)
    learner = Matching(MLP(2, 4)).double()
    several, one = (FewShotClassifier(learner, n_estimators=n).fit(X, Y).attention(ASKED) for n in (3, 1))
    np.testing.assert_allclose(several, one)


class Numbering(Learner):
    """Logits are the mean of each query and of all queries: a transductive learner shows in how many it is given."""

    classifies = True

    def __init__(self, transductive: bool) -> None:
        super().__init__()
        self._sees_all = transductive
        self.seen: list[int] = []

    @property
    def transductive(self) -> bool:
        return self._sees_all

    def adapt(self, support: Support) -> int:
        return support.n_classes

    def predict(self, state: int, query_x: Items) -> Tensor:
        x = first_tensor(query_x)
        self.seen.append(x.shape[1])
        return x.mean(-1, keepdim=True).expand(*x.shape[:2], state)


@pytest.mark.parametrize(("transductive", "sizes"), [(False, [3, 1]), (True, [4])])
def test_chunks_bound_what_a_learner_gets_unless_it_must_see_all(transductive: bool, sizes: list[int]) -> None:
    model = FewShotClassifier(Numbering(transductive), chunk_size=3).fit(X, Y)
    model._learner.seen.clear()  # type: ignore[operator, union-attr]
    assert model.predict_proba(ASKED).shape == (4, 3)
    assert model._learner.seen == sizes


def test_columns_are_checked_by_name_as_well_as_by_number() -> None:
    frame, asked = (pd.DataFrame(a, columns=["height", "width"]) for a in (X, ASKED))
    model = FewShotClassifier(prototypical()).fit(frame, Y)
    assert model.feature_names_in_.tolist() == ["height", "width"] and model.n_features_in_ == 2
    np.testing.assert_allclose(model.predict_proba(asked), by_hand(X, ASKED), atol=1e-6)
    for wrong in (asked[["width", "height"]], asked.rename(columns={"width": "depth"})):
        with pytest.raises(EpisodeError, match=r"(?s)feature names.*Give the columns of fit"):
            model.predict(wrong)
    model.fit(X, Y)
    with pytest.raises(EpisodeError, match="X has 1 features, but FewShotClassifier is expecting 2 features"):
        model.predict(ASKED[:, :1])
    assert not hasattr(model, "feature_names_in_") and model.n_features_in_ == 2


def test_items_that_differ_from_those_of_fit_are_named() -> None:
    class Bag(Flat):
        def forward(self, x: Any) -> Tensor:
            return x["a"].flatten(1).double()

    model = FewShotClassifier(Prototypical(Bag()).double()).fit({"a": X, "b": X[:, :1]}, Y)
    with pytest.raises(EpisodeError, match="c was not there in fit, which saw a, b") as caught:
        model.predict({"a": ASKED, "c": ASKED})
    assert "b is missing, which fit saw" in str(caught.value)
    pictures = FewShotClassifier(prototypical()).fit(X.reshape(6, 1, 2), Y)
    with pytest.raises(EpisodeError, match=r"X has items of shape \(2, 1\): expected \(1, 2\)"):
        pictures.predict(ASKED[:, :, None])
    with pytest.raises(EpisodeError, match="X has NaN or infinite values"):
        FewShotClassifier(prototypical()).fit(X, Y).predict(np.array([[np.nan, 1.0]]))


def test_weights_decide_and_a_row_of_weight_0_is_absent() -> None:
    weight = np.array([1.0, 3.0, 1.0, 1.0, 1.0, 0.0])
    model = FewShotClassifier(prototypical()).fit(X, Y, sample_weight=weight)
    means = np.stack([np.average(X[c == Y], axis=0, weights=weight[c == Y]) for c in "abc"])
    logits = -0.5 * ((ASKED[:, None] - means) ** 2).sum(-1)
    np.testing.assert_allclose(
        model.predict_proba(ASKED), np.exp(logits) / np.exp(logits).sum(1, keepdims=True), atol=1e-6
    )
    without = FewShotClassifier(prototypical()).fit(X[:5], Y[:5], sample_weight=weight[:5])
    np.testing.assert_allclose(model.predict_proba(ASKED), without.predict_proba(ASKED), atol=1e-9)


def test_nothing_is_predicted_before_fit() -> None:
    for call in ("predict", "predict_proba", "answers", "attention", "predict_all"):
        with pytest.raises(NotFittedError):
            getattr(FewShotClassifier(prototypical()), call)(ASKED)

"""What the estimators share: reading and checking X, several views, explanations, exports and warnings."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import NotFittedError

from regard.domains.base import Reader
from regard.domains.registry import find_domain
from regard.domains.views import Views
from regard.episode import Items, map_items
from regard.errors import ConfigError, EpisodeError
from regard.estimators import FewShotClassifier, FewShotRegressor
from regard.estimators.inputs import join_items
from regard.learners import CrossTransformer, LinearProbe, NearestNeighbour, Prototypical
from regard.limits import N_VIEWS
from regard.nn.conv4 import Conv4
from regard.nn.flat import Flat

X = np.random.default_rng(0).normal(size=(12, 3))
Y = np.arange(12) % 2


class Doubled(Views):
    """Two views: as it is, and times 3 with the classes the other way round."""

    n = 2

    def support(self, items: Items) -> Items:
        return map_items(lambda t: torch.stack([t, 3 * t]), items)

    queries = support

    def class_order(self, n_classes: int) -> torch.Tensor:
        return torch.stack([torch.arange(n_classes), torch.arange(n_classes - 1, -1, -1)])


class Ink(Reader):
    """Arrays as they are; rows of zeros are blank."""

    def __call__(self, things: Any) -> torch.Tensor:
        return torch.as_tensor(np.asarray(things, dtype=np.float32))

    def is_blank(self, items: Items) -> np.ndarray:
        assert isinstance(items, torch.Tensor)
        return (items == 0).all(1).numpy()

    def to_dict(self) -> dict[str, Any]:
        return {}


class Empty(Ink):
    """Reads nothing."""

    def __call__(self, things: Any) -> torch.Tensor:
        return torch.zeros(0, 3)


def test_a_blank_example_is_named_in_fit_and_a_blank_query_is_not_answered() -> None:
    x = X.copy()
    x[4] = 0
    model = FewShotClassifier(Prototypical(Flat()), prepare=Ink())
    with pytest.warns(UserWarning, match="1 of 12 examples blank, first row 4: replace or drop"):
        model.fit(x, Y)
    with pytest.warns(UserWarning, match="1 of 2 queries blank, first row 0"):
        found = model.predict_all(x[4:6])
    assert found.blank.tolist() == [True, False] and found.answered.tolist() == [False, True]
    with pytest.warns(UserWarning, match="1 of 2 queries blank"):
        assert model.answers(x[4:6]).tolist() == [False, True]


def test_an_episode_of_several_views_is_the_first_of_them() -> None:
    model = FewShotClassifier(Prototypical(Flat())).fit(X, Y, sample_weight=np.arange(12.0))
    model._views = Doubled()
    episode = model._episode(X[:5])
    assert isinstance(episode.support.x, torch.Tensor) and isinstance(episode.query_x, torch.Tensor)
    assert episode.support.x.shape == (1, 12, 3) and episode.query_x.shape == (1, 5, 3)
    np.testing.assert_allclose(episode.support.x[0], X, rtol=1e-6)
    np.testing.assert_allclose(episode.query_x[0], X[:5], rtol=1e-6)
    assert episode.support.y.tolist() == [Y.tolist()] and episode.support.weight.tolist() == [list(range(12))]


def test_probabilities_of_two_views_are_averaged_class_by_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(find_domain("arrays")), "views", lambda *_: Doubled())
    both = FewShotClassifier(NearestNeighbour(), n_estimators=2).fit(X, Y)
    monkeypatch.undo()
    # Distances of the second view are three times those of the first, its classes are the same again.
    one = FewShotClassifier(NearestNeighbour()).fit(X, Y)
    three = FewShotClassifier(NearestNeighbour()).fit(3 * X, Y)
    expected = (one.predict_proba(X[:5]) + three.predict_proba(3 * X[:5])) / 2
    np.testing.assert_allclose(both.predict_proba(X[:5]), expected, rtol=1e-5)


def test_where_it_looked_is_a_map_of_pictures_and_nothing_of_columns() -> None:
    pictures = np.random.default_rng(1).normal(size=(6, 8, 8)).astype(np.float32)
    model = FewShotClassifier(CrossTransformer(Conv4(n_filters=4, n_halvings=1, parts=True, image_size=8), d_head=4))
    found = model.fit(pictures, [0, 0, 0, 1, 1, 1]).saliency(pictures[:2])
    assert found is not None
    assert FewShotClassifier(NearestNeighbour()).fit(X, Y).saliency(X[:2]) is None
    with pytest.raises(NotFittedError):
        FewShotClassifier(NearestNeighbour()).saliency(X)


def test_nothing_is_exported_before_fit(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        FewShotClassifier(Prototypical(Flat())).export(tmp_path / "model.onnx")


def test_attention_of_a_learner_that_does_not_attend_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"LinearProbe does not attend.*regard\.explain"):
        FewShotClassifier(LinearProbe()).fit(X, Y).attention(X)
    assert FewShotClassifier(LinearProbe()).fit(X, Y).predict_all(X).attention is None


def test_settings_that_cannot_be_are_found_in_fit() -> None:
    for wrong in (
        {"chunk_size": 0},
        {"n_estimators": 0},
        {"n_estimators": N_VIEWS + 1},
        {"label_weight": -0.1},
        {"label_weight": float("inf")},
        {"label_weight": True},
    ):
        settings: dict[str, Any] = dict(wrong)
        with pytest.raises(ConfigError):
            FewShotClassifier(NearestNeighbour(), **settings).fit(X, Y)
    with pytest.raises(ConfigError):
        FewShotRegressor(LinearProbe(), chunk_size=0).fit(X, X[:, 0])


def test_columns_are_remembered_and_forgotten() -> None:
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    model = FewShotClassifier("tables", n_estimators=1).fit(frame, Y)
    assert model.n_features_in_ == 3 and model.feature_names_in_.tolist() == ["a", "b", "c"]
    with pytest.raises(EpisodeError, match="Give the columns of fit"):
        model.predict(frame[["b", "a", "c"]])
    with pytest.raises(EpisodeError, match="Give the columns of fit"):
        model.predict(frame[["a", "b"]])
    # Fitted again on other things, none of that is left.
    model.set_params(learner=Prototypical(Flat()), prepare=Ink()).fit(X, Y)
    assert not hasattr(model, "n_features_in_") and not hasattr(model, "feature_names_in_")
    arrays = FewShotClassifier(Prototypical(Flat())).fit(X, Y)
    assert arrays.n_features_in_ == 3 and not hasattr(arrays, "feature_names_in_")


def test_items_that_hold_no_numbers_are_named() -> None:
    model = FewShotClassifier(NearestNeighbour()).fit(X, Y)
    for value in (np.nan, np.inf, -np.inf):
        x = X[:3].copy()
        x[1, 1] = value
        with pytest.raises(EpisodeError, match="NaN or infinite"):
            model.predict(x)


def test_sequences_are_joined_at_the_length_of_the_longer() -> None:
    first, second = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[4.0], [5.0]])
    joined = join_items(first, second)
    assert isinstance(joined, torch.Tensor)
    assert joined.tolist() == [[1.0, 2.0, 3.0], [4.0, 0.0, 0.0], [5.0, 0.0, 0.0]]
    both = join_items({"ids": first, "n": torch.tensor([3])}, {"ids": second, "n": torch.tensor([1, 1])})
    assert isinstance(both, dict)
    assert both["ids"].tolist() == joined.tolist() and both["n"].tolist() == [3, 1, 1]
    with pytest.raises(EpisodeError, match="examples have X and names of classes ids"):
        join_items(first, {"ids": second})


def test_a_masked_label_is_missing_and_a_mask_of_nothing_is_none() -> None:
    words = np.array(["a", "b"] * 6)
    with pytest.raises(EpisodeError, match=r"no label for 1 row\(s\), first row 2"):
        FewShotClassifier(NearestNeighbour()).fit(X, np.ma.masked_array(Y, mask=np.arange(12) == 2))
    whole = FewShotClassifier(NearestNeighbour()).fit(X, np.ma.masked_array(Y, mask=False))
    assert whole.classes_.dtype == Y.dtype and whole.predict(X).tolist() == Y.tolist()
    assert FewShotClassifier(NearestNeighbour()).fit(X, words).classes_.dtype.kind == "U"


def test_whole_numbers_are_whole_up_to_where_floats_hold_them() -> None:
    top = float(2**53 - 1)
    labels = FewShotClassifier(NearestNeighbour()).fit(X, np.array([0, top] * 6, dtype=object)).classes_
    assert labels.tolist() == [0, 2**53 - 1] and labels.dtype == np.int64
    for wrong in (2.0**53, -(2.0**53)):
        with pytest.raises(EpisodeError, match="mixes labels"):
            FewShotClassifier(NearestNeighbour()).fit(X, np.array([0, wrong] * 6, dtype=object))


def test_a_regressor_from_a_file_answers_in_the_units_of_its_targets() -> None:
    y = X @ [1.0, -2.0, 0.5] * 2.0**200
    model = FewShotRegressor("tables", n_estimators=1).fit(X, y)
    mean, deviation = model.predict(X, return_std=True)
    assert model._unit > 2.0**190 and bool((deviation > 2.0**180).all()) and bool((deviation < 2.0**205).all())
    fresh = FewShotRegressor()
    assert fresh._restore(model._fitted()) == 0
    assert fresh._unit == model._unit and fresh._flat and fresh._offset.tolist() == model._offset.tolist()
    np.testing.assert_allclose(mean, y, rtol=0.5, atol=2.0**200)


def test_the_tags_of_a_learner_in_hand_are_those_of_its_domain() -> None:
    learner = NearestNeighbour()
    assert FewShotClassifier(learner)._domain() is find_domain("arrays")
    learner.domain = "tables"
    assert FewShotClassifier(learner)._domain() is find_domain("tables")
    assert FewShotClassifier(learner).__sklearn_tags__().input_tags.allow_nan
    assert FewShotClassifier("no-such-model")._domain() is None


def test_no_queries_are_one_clear_error() -> None:
    model = FewShotClassifier(Prototypical(Flat()), prepare=Ink()).fit(X, Y)
    model.reader_ = Empty()
    with pytest.raises(EpisodeError, match="there are no queries"):
        model.predict([])


def test_no_warning_where_there_is_nothing_to_say() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FewShotClassifier(NearestNeighbour()).fit(X, Y).predict_all(X)
        FewShotRegressor(LinearProbe()).fit(X, X[:, 0]).predict(X)

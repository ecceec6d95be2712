"""Estimators of tables: scikit-learn's own checks, names and paths, words and missing cells, files, members."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from regard.errors import CheckpointError, ConfigError, EpisodeError
from regard.estimators import FewShotClassifier, FewShotRegressor, load_estimator, save_estimator
from regard.estimators.base import FewShotEstimator
from regard.evaluation.confidence import Confidence
from regard.learners.prototypical import Prototypical
from regard.learners.table_transformer import TableTransformer
from regard.nn.flat import Flat
from regard.recipes.components import build_learner
from regard.training import load_checkpoint, save_checkpoint

SMALL = {"d_cell": 8, "n_table_layers": 1, "d_row": 8, "n_row_layers": 1, "n_row_heads": 2}


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files of small untrained learners: what they know, their experts know."""
    found = {}
    for targets in ("classes", "numbers"):
        torch.manual_seed(0)
        found[targets] = tmp_path_factory.mktemp("models") / f"{targets}.safetensors"
        options: dict[str, Any] = {"targets": targets, **SMALL}
        spec = {"learner": {"name": "TableTransformer", **options}, "items": {"domain": "tables"}}
        save_checkpoint(found[targets], TableTransformer(**options), spec=spec)
    return found


def mixed() -> tuple[np.ndarray, np.ndarray]:
    """A column of numbers, one of words that tell the classes, one with missing cells."""
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    words = np.where(rng.random(40) < 0.9, y, 1 - y)
    x = np.array([rng.normal(size=40), np.array(["no", "yes"])[words], rng.normal(size=40)], dtype=object).T
    x[::5, 2] = np.nan
    return x, np.where(y == 1, "good", "bad")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [FewShotClassifier, FewShotRegressor])
def test_scikit_learn_finds_nothing_wrong(make: type[FewShotEstimator], paths: dict[str, Path]) -> None:
    path = paths["classes" if make is FewShotClassifier else "numbers"]
    results = check_estimator(make(str(path)), on_fail=None)  # type: ignore[call-arg]
    # Here, unlike in use, annotations are executed, and one check gives __init__ values of every type.
    failed = [r for r in results if r["status"] == "failed" and "TypeCheckError" not in type(r["exception"]).__name__]
    assert failed == []
    assert len([r for r in results if r["status"] == "passed"]) > 50


def test_pipelines_searches_and_cross_validation(paths: dict[str, Path]) -> None:
    x, y = load_iris(return_X_y=True)
    x, y = x[::3], y[::3]
    model = make_pipeline(StandardScaler(), FewShotClassifier(str(paths["classes"])))
    assert cross_val_score(model, x, y, cv=3).mean() > 0.85
    search = GridSearchCV(model, {"fewshotclassifier__n_estimators": [1, 2]}, cv=2).fit(x, y)
    assert search.best_score_ > 0.85
    assert clone(model).get_params()["fewshotclassifier__n_estimators"] is None


def test_words_and_missing_cells(paths: dict[str, Path]) -> None:
    x, y = mixed()
    model = FewShotClassifier(str(paths["classes"])).fit(x[:30], y[:30])
    assert model.score(x[30:], y[30:]) > 0.6
    assert model.predict(x.tolist()).tolist() == model.predict(x).tolist()
    coded = FewShotClassifier(str(paths["classes"]))
    codes = np.array([[a, float(b == "yes"), c] for a, b, c in x], dtype=np.float64)
    np.testing.assert_allclose(coded.fit(codes[:30], y[:30]).predict_proba(codes), model.predict_proba(x))


def test_a_data_frame_is_read_by_its_own_types(paths: dict[str, Path]) -> None:
    pandas = pytest.importorskip("pandas")
    x, y = mixed()
    frame = pandas.DataFrame({"a": x[:, 0].astype(float), "b": x[:, 1], "c": x[:, 2].astype(float)})
    model = FewShotClassifier(str(paths["classes"])).fit(frame, y)
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    np.testing.assert_allclose(
        model.predict_proba(frame), FewShotClassifier(str(paths["classes"])).fit(x, y).predict_proba(x)
    )
    with pytest.raises(EpisodeError, match="feature names should match"):
        model.predict(frame[["b", "a", "c"]])
    both = ColumnTransformer([("all", "passthrough", ["a", "b"])])
    assert make_pipeline(both, FewShotClassifier(str(paths["classes"]))).fit(frame, y).score(frame, y) > 0.6


def test_whole_weights_are_rows_repeated(paths: dict[str, Path]) -> None:
    x, y = load_diabetes(return_X_y=True)
    x, y, weight = x[:20], y[:20], np.arange(20) % 3
    rows = np.repeat(np.arange(20), weight)
    weighted = FewShotRegressor(str(paths["numbers"])).fit(x, y, sample_weight=weight).predict(x)
    np.testing.assert_allclose(weighted, FewShotRegressor(str(paths["numbers"])).fit(x[rows], y[rows]).predict(x))


def test_numbers_come_with_deviations_and_in_columns(paths: dict[str, Path]) -> None:
    x, y = load_diabetes(return_X_y=True)
    model = FewShotRegressor(str(paths["numbers"])).fit(x[:80], y[:80])
    mean, deviation = model.predict(x[80:180], return_std=True)
    inside = np.abs(mean - y[80:180]) < 2 * deviation
    assert 0.8 < inside.mean() <= 1
    assert model.score(x[80:180], y[80:180]) > 0.25
    both = FewShotRegressor(str(paths["numbers"])).fit(x[:80], np.stack([y, -y], 1)[:80]).predict(x[80:90])
    np.testing.assert_allclose(both[:, 0], mean[:10], rtol=1e-4)
    np.testing.assert_allclose(both[:, 0], -both[:, 1], rtol=0.2)


def test_far_numbers_keep_their_digits(paths: dict[str, Path]) -> None:
    x, y = load_iris(return_X_y=True)
    big = np.repeat(x, 15, axis=1)  # enough cells for single precision
    near = FewShotClassifier(str(paths["classes"])).fit(big[::2], y[::2]).predict_proba(big[1::2])
    far = FewShotClassifier(str(paths["classes"])).fit(big[::2] + 1e9, y[::2]).predict_proba(big[1::2] + 1e9)
    np.testing.assert_allclose(far, near, atol=1e-2)


@pytest.mark.parametrize("n_estimators", [1, 4])
def test_a_file_answers_as_what_was_saved(n_estimators: int, paths: dict[str, Path], tmp_path: Path) -> None:
    x, y = mixed()
    model = FewShotClassifier(str(paths["classes"]), n_estimators=n_estimators).fit(x[:30], y[:30])
    save_estimator(model, tmp_path / "model.safetensors")
    again = load_estimator(tmp_path / "model.safetensors")
    assert isinstance(again, FewShotClassifier)
    np.testing.assert_array_equal(again.predict_proba(x), model.predict_proba(x))
    assert again.predict(x).dtype == y.dtype
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(x), model.predict_proba(x))
    target = np.arange(30.0)
    numbers = FewShotRegressor(str(paths["numbers"])).fit(x[:30], target)
    save_estimator(numbers, tmp_path / "numbers.safetensors")
    np.testing.assert_array_equal(load_estimator(tmp_path / "numbers.safetensors").predict(x), numbers.predict(x))


def test_what_calibrate_set_is_in_the_answers_and_in_the_file(paths: dict[str, Path], tmp_path: Path) -> None:
    x, y = mixed()
    plain = FewShotClassifier(paths["classes"]).fit(x, y)
    logits = torch.from_numpy(plain.predict_proba(x)).log()
    assert plain.answers(x).all()
    with pytest.raises(NotFittedError):
        FewShotClassifier(paths["classes"]).answers(x)
    trusts = Confidence(2.0, (0.0, 3.0, 0.0)).trusts(logits).numpy()
    sure = Confidence(2.0, (0.0, 3.0, 0.0), float(np.median(trusts)), 0.05)
    checkpoint = load_checkpoint(paths["classes"])
    spec = {**checkpoint.spec, "confidence": sure.to_dict()}
    save_checkpoint(tmp_path / "c.safetensors", checkpoint.build(lambda s: build_learner(s["learner"])), spec=spec)
    model = FewShotClassifier(tmp_path / "c.safetensors").fit(x, y)
    np.testing.assert_allclose(model.predict_proba(x), (logits / 2).softmax(-1).numpy(), rtol=1e-5)
    assert model.answers(x).any() and not model.answers(x).all()
    save_estimator(model, tmp_path / "e.safetensors")
    again = load_estimator(tmp_path / "e.safetensors")
    assert isinstance(again, FewShotClassifier) and (again.answers(x) == model.answers(x)).all()
    np.testing.assert_allclose(again.predict_proba(x), model.predict_proba(x), rtol=1e-5)


def test_what_cannot_be_saved_or_loaded_says_why(paths: dict[str, Path], tmp_path: Path) -> None:
    x, y = load_iris(return_X_y=True)
    with pytest.raises(ConfigError, match="a name or a path"):
        save_estimator(FewShotClassifier(Prototypical(Flat())).fit(x, y), tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=r"expected 'regard.estimator.2'"):
        load_estimator(paths["classes"])
    (tmp_path / "b.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="expected a file of save_estimator"):
        load_estimator(tmp_path / "b.safetensors")


def test_members_cost_nothing_in_accuracy_and_are_for_tables(paths: dict[str, Path]) -> None:
    x, y = load_iris(return_X_y=True)
    one, four = (FewShotClassifier(str(paths["classes"]), n_estimators=n).fit(x[::5], y[::5]) for n in (1, 4))
    assert abs(one.predict_proba(x) - four.predict_proba(x)).max() < 0.3
    assert four.score(x, y) > 0.9
    np.testing.assert_allclose(four.predict_proba(x).sum(1), 1)
    with pytest.raises(ConfigError, match="Tables and grey drawings do"):
        FewShotClassifier(Prototypical(Flat()), n_estimators=2).fit(x, y)


def test_more_classes_than_codes(paths: dict[str, Path]) -> None:
    rng = np.random.default_rng(0)
    centre = rng.normal(size=(15, 4)) * 9
    y = np.tile(np.arange(15), 6)
    x = centre[y] + rng.normal(size=(90, 4))
    model = FewShotClassifier(str(paths["classes"])).fit(x[:60], y[:60])
    assert model.predict_proba(x).shape == (90, 15)
    assert model.score(x[60:], y[60:]) > 0.8


def test_the_wrong_learner_is_refused(paths: dict[str, Path]) -> None:
    x, y = load_iris(return_X_y=True)
    with pytest.raises(ConfigError, match="is for regression"):
        FewShotClassifier(str(paths["numbers"])).fit(x, y)
    with pytest.raises(ConfigError, match="classifies: expected"):
        FewShotRegressor(str(paths["classes"])).fit(x, y)
    with pytest.raises(ConfigError, match="expected a trained learner: no file"):
        FewShotClassifier("table").fit(x, y)
    with pytest.warns(DataConversionWarning, match="column-vector"):
        FewShotClassifier(str(paths["classes"])).fit(x, y[:, None])


@pytest.mark.parametrize("unit", [1e-200, 1e-40, 1e40, 1e200])
def test_targets_of_any_size(unit: float, paths: dict[str, Path], tmp_path: Path) -> None:
    x, y = load_diabetes(return_X_y=True)
    wanted = FewShotRegressor(str(paths["numbers"])).fit(x[:40], y[:40]).predict(x[40:60], return_std=True)
    model = FewShotRegressor(str(paths["numbers"])).fit(x[:40], y[:40] * unit)
    save_estimator(model, tmp_path / "e.safetensors")
    for again in (model, load_estimator(tmp_path / "e.safetensors")):
        for found, near in zip(again.predict(x[40:60], return_std=True), wanted, strict=True):
            np.testing.assert_allclose(found / unit, near, rtol=1e-6)

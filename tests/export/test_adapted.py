"""A fitted estimator as a file: the examples are inside, and the answers are its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from regard.episode import first_tensor
from regard.estimators import FewShotClassifier
from regard.recipes.trained import TrainedLearner

runtime = pytest.importorskip("onnxruntime", reason="needs the extra export")
pytest.importorskip("onnxscript", reason="needs the extra export")


def test_the_file_averages_over_views_as_the_estimator_does(tmp_path: Path) -> None:
    drawings = TrainedLearner.load("characters").domain.synthetic_things(7, 0)
    assert drawings is not None
    model = FewShotClassifier("characters", n_estimators=3).fit(drawings[:4], list("abca"))
    model.export(tmp_path / "mine.onnx")
    session = runtime.InferenceSession(tmp_path / "mine.onnx", providers=["CPUExecutionProvider"])
    items = first_tensor(model.reader_(drawings[4:])).numpy()
    probability, attention = session.run(["probabilities", "attention"], {"query_x": items})
    assert np.abs(probability - model.predict_proba(drawings[4:])).max() < 1e-5
    assert np.abs(attention - model.attention(drawings[4:])).max() < 1e-5


def test_a_table_is_taken_along_though_it_was_answered_in_double_precision(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(24, 5))
    y = np.where(X[:, 0] + 0.3 * rng.normal(size=24) > 0, "yes", "no")
    X[3, 2] = np.nan
    model = FewShotClassifier("tables").fit(X[:16], y[:16])
    model.export(tmp_path / "table.onnx")
    given = model.reader_(X[16:])
    session = runtime.InferenceSession(tmp_path / "table.onnx", providers=["CPUExecutionProvider"])
    assert isinstance(given, dict)
    feed = {f"query_{name}": (t.float() if t.is_floating_point() else t).numpy() for name, t in given.items()}
    assert [value.name for value in session.get_inputs()] == sorted(feed)
    [probability, *_] = session.run(None, feed)
    np.testing.assert_allclose(probability, model.predict_proba(X[16:]), atol=1e-4)

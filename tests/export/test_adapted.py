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

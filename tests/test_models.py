"""The models that ship: small, read by name, with a card, and of use."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_wine

from regard.estimators import FewShotClassifier, FewShotRegressor, shipped_models
from regard.training import load_checkpoint

FOLDER = files("regard") / "models"


def test_models_are_small_and_have_cards() -> None:
    assert {"tables", "tables-regression"} <= set(shipped_models())
    sizes = [len((FOLDER / f"{name}.safetensors").read_bytes()) for name in shipped_models()]
    assert sum(sizes) <= 8 * 2**20
    for name in shipped_models():
        card = (FOLDER / f"{name}.md").read_text()
        for word in ("Data", "Seed", "Command", "Time", "Scores", "regard train"):
            assert word in card


@pytest.mark.parametrize("name", ["tables", "tables-regression"])
def test_a_model_says_how_it_was_made_and_cannot_be_mistaken_for_a_run(name: str) -> None:
    checkpoint = load_checkpoint(str(FOLDER / f"{name}.safetensors"))
    assert checkpoint.training is None
    assert checkpoint.spec["items"] == {"kind": "table"}
    assert f"`{checkpoint.step}" in (FOLDER / f"{name}.md").read_text()


def test_names_are_enough() -> None:
    x, y = load_wine(return_X_y=True)
    assert FewShotClassifier().fit(x[::4], y[::4]).score(x, y) > 0.9
    x, y = load_diabetes(return_X_y=True)
    mean, deviation = FewShotRegressor().fit(x[::4], y[::4]).predict(x[1::4], return_std=True)
    assert 1 - np.mean((mean - y[1::4]) ** 2) / y.var() > 0.3
    assert 0.85 < np.mean(np.abs(mean - y[1::4]) < 2 * deviation) <= 1

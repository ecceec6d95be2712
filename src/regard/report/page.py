"""The page itself: content through the template, then to the disk, whole or not at all."""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from regard.files import write_whole
from regard.numbers import readable
from regard.report import view
from regard.report.content import ReportContent

if TYPE_CHECKING:
    from jinja2 import Environment


def write_report(path: Path, content: ReportContent) -> None:
    """Write the page to `path`.

    Raises:
        StorageError: the file cannot be written; an old one is untouched.
    """
    write_whole(path, render_report(content).encode())


def _png(content: bytes) -> str:
    """The bytes of a PNG as they are."""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def render_report(content: ReportContent) -> str:
    """The page as text: one HTML document that asks nothing of the network."""
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            content=content,
            series=view.all_series(content),
            blocks=view.blocks(content),
            confidence=None if content.confidence is None else view.confidence(content.confidence),
            cards=[view.card(example) for example in content.examples],
            matrices=[view.matrix(confusion) for confusion in content.confusions],
            panels=view.panels(content) if content.curves else [],
        )
    )


@cache
def environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("regard.report", "."),
        autoescape=True,  # names of classes and learners come from users' folders
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        seconds=view.seconds_text,
        number=view.number,
        readable=readable,
        emphasis=view.emphasis,
        training=view.curve_text,
        png=_png,
    )
    return environment

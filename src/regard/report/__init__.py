"""One self-contained page that shows what was learned, how well, and where the learner attended.

`write_report(path, content)` turns a `ReportContent` into one HTML file: pictures are data: URIs, style and script are
inline, and a content security policy forbids every request, so the page reads the same from a mail attachment in ten
years. It works without JavaScript. Parts that are not given (curves, confusions, looks) leave no empty section.

Left out: choosing what to show. Recipes do that, and hand over arrays.
"""

from __future__ import annotations

from regard.report.content import (
    AttentionExample,
    CalibrationSummary,
    ConfusionPicture,
    Curve,
    Figure,
    ReportContent,
    TextTable,
)
from regard.report.page import render_report, write_report

__all__ = [
    "AttentionExample",
    "CalibrationSummary",
    "ConfusionPicture",
    "Curve",
    "Figure",
    "ReportContent",
    "TextTable",
    "render_report",
    "write_report",
]

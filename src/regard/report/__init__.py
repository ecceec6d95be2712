"""One self-contained page that shows what was learned, how well, and what the learner attended to.

`write_report(path, content)` turns a `ReportContent` into one HTML file: pictures are data: URIs, style and script are
inline, and a content security policy forbids every request, so the page reads the same from a mail attachment in ten
years. It works without JavaScript. What is not given (curves, confusions, examples) leaves no empty section.

Left out: choosing what to show. Commands do that, and hand over values.
"""

from __future__ import annotations

from regard.report.content import (
    AttentionExample,
    ConfidenceSection,
    ConfusionMatrix,
    Figure,
    ReportContent,
    TextTable,
    TrainingCurve,
)
from regard.report.gallery import attention_examples, training_curve
from regard.report.page import render_report, write_report

__all__ = [
    "AttentionExample",
    "ConfidenceSection",
    "ConfusionMatrix",
    "Figure",
    "ReportContent",
    "TextTable",
    "TrainingCurve",
    "attention_examples",
    "render_report",
    "training_curve",
    "write_report",
]

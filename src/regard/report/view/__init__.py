"""Content to what the template draws: texts already written, positions already in percent, pictures already encoded.

A section of the page a file, and `texts` for what they share.
"""

from __future__ import annotations

from regard.report.view.attention_examples import card
from regard.report.view.confidence import confidence_section
from regard.report.view.confusions import matrix
from regard.report.view.curves import panels
from regard.report.view.scores import blocks
from regard.report.view.texts import all_series, curve_text, emphasis, number, seconds_text

__all__ = [
    "all_series",
    "blocks",
    "card",
    "confidence_section",
    "curve_text",
    "emphasis",
    "matrix",
    "number",
    "panels",
    "seconds_text",
]

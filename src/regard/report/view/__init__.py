"""Content to what the template draws: texts already written, positions already in percent, pictures already encoded.

One file per section of the page, and `texts` for what they share.
"""

from __future__ import annotations

from regard.report.view.attention import card
from regard.report.view.confidence import confidence
from regard.report.view.confusions import matrix
from regard.report.view.curves import panels
from regard.report.view.scores import blocks
from regard.report.view.texts import all_series, curve_text, emphasis, number, seconds_text

__all__ = [
    "all_series",
    "blocks",
    "card",
    "confidence",
    "curve_text",
    "emphasis",
    "matrix",
    "number",
    "panels",
    "seconds_text",
]

"""Where each word of a translation came from, drawn: the sentence above, the translation below, lines between words.

Under each word stands the pair that taught it. Lines are the darker the surer; words that no pair gave have none.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from regard.domains.base import Rendering

_CHARACTER, _WIDE, _GAP, _HEIGHT = 8.0, 15.0, 18.0, 150
"""Pixels of a character, of one of a wide script, between words, and of the whole."""


@runtime_checkable
class WordReason(Protocol):
    """Where one word came from; `regard.evaluation.translate.Reason` is one."""

    @property
    def word(self) -> str:
        """As written."""
        ...

    @property
    def source(self) -> str:
        """What gave it: "gloss", "copy", "memory", "pair" or "vocabulary"."""
        ...

    @property
    def share(self) -> float:
        """How much of the word's probability that is."""
        ...

    @property
    def sentence_word(self) -> str | None:
        """Of the sentence that was translated."""
        ...

    @property
    def pair(self) -> int | None:
        """Number of the pair."""
        ...

    @property
    def pair_word(self) -> str | None:
        """Of the pair's source."""
        ...

    @property
    def pair_target(self) -> str | None:
        """Of the pair's target."""
        ...


def draw_alignment(tokens: Sequence[str], reasons: Sequence[WordReason]) -> Rendering:
    """One translation with its reasons, as SVG, and as text for those who cannot see it.

    Args:
        tokens: of the sentence that was translated.
        reasons: one for each word of the translation.
    """
    notes = [describe_reason(reason) for reason in reasons]
    above, width_above = _centres([_width(token) for token in tokens])
    below, width_below = _centres([max(_width(r.word), 0.8 * _width(_under(r))) for r in reasons])
    width = max(width_above, width_below, 40.0)
    top, bottom = (width - width_above) / 2, (width - width_below) / 2
    lines, used = [], [0] * len(tokens)
    for centre, reason in zip(below, reasons, strict=True):
        places = [i for i, token in enumerate(tokens) if token == reason.sentence_word]
        if places:
            i = min(places, key=lambda i: (used[i], i))  # of equal words the one that explains least so far
            used[i] += 1
            lines.append(
                f'<line x1="{above[i] + top:.0f}" y1="28" x2="{centre + bottom:.0f}" y2="92" stroke="currentColor" '
                f'stroke-width="2" stroke-opacity="{0.15 + 0.85 * min(1.0, max(0.0, reason.share)):.2f}"></line>'
            )
    words = [_text(x + top, 20, token) for x, token in zip(above, tokens, strict=True)]
    for x, reason, note in zip(below, reasons, notes, strict=True):
        words.append(_text(x + bottom, 110, reason.word, note))
        words.append(_text(x + bottom, 130, _under(reason), note, small=True))
    svg = (
        f'<svg class="alignment" width="{width:.0f}" height="{_HEIGHT}" viewBox="0 0 {width:.0f} {_HEIGHT}" '
        f'role="img" aria-label="{html.escape("; ".join(notes), quote=True)}">{"".join(lines)}{"".join(words)}</svg>'
    )
    return Rendering(svg, "; ".join(notes))


def describe_reason(reason: WordReason) -> str:
    """One word's reason in words; pairs are counted from 1, as people count rows."""
    share = f"{100 * reason.share:.0f}%"
    if reason.source == "copy":
        return f"{reason.word}: copied from {reason.sentence_word or 'the sentence'} ({share})"
    if reason.pair is None:
        return f"{reason.word}: known from training ({share})"
    if reason.source == "pair":
        return f"{reason.word}: from pair {reason.pair + 1}, whose translation is taken whole"
    taught = f"{reason.pair_word or '?'} = {reason.pair_target or reason.word}"
    start = f"{reason.word}: " if reason.sentence_word is None else f"{reason.word}: for {reason.sentence_word}, "
    return f"{start}from {taught} in pair {reason.pair + 1} ({share})"


def _under(reason: WordReason) -> str:
    if reason.source == "copy":
        return "copied"
    return "" if reason.pair is None else f"pair {reason.pair + 1}"


def _width(text: str) -> float:
    return sum(_WIDE if ord(character) > 0x2E7F else _CHARACTER for character in text)


def _centres(widths: Sequence[float]) -> tuple[list[float], float]:
    """Where the middle of each word stands, and the width of the line."""
    centres, x = [], 0.0
    for width in widths:
        centres.append(x + width / 2 + _GAP / 2)
        x += width + _GAP
    return centres, x


def _text(x: float, y: int, text: str, title: str = "", small: bool = False) -> str:
    inside = f"<title>{html.escape(title)}</title>" if title else ""
    size = ' font-size="11" fill-opacity="0.6"' if small else ' font-size="14"'
    return (
        f'<text x="{x:.0f}" y="{y}" text-anchor="middle" fill="currentColor"{size}>{inside}{html.escape(text)}</text>'
    )

"""What the tests of published pages read in Markdown: headings, code blocks, links and numbers."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]

_BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.S | re.M)


def code_blocks(text: str, language: str | None = None) -> list[str]:
    """The contents of the fenced blocks, of one language or of all."""
    return [body for name, body in _BLOCK.findall(text) if language in (None, name)]


def prose(text: str) -> str:
    """The text without its fenced blocks."""
    return _BLOCK.sub("", text)


def heading_levels(text: str) -> list[int]:
    """1 for #, 2 for ##, ... in order."""
    return [len(marks) for marks in re.findall(r"^(#+) ", prose(text), re.M)]


def numbers(text: str) -> list[str]:
    """Every number outside code, sorted: a translation may move words, but no figure."""
    plain = re.sub(r"`[^`]*`|\]\([^)]*\)", " ", prose(text))
    return sorted(re.findall(r"\d+(?:[.,]\d+)*", plain))


def local_links(text: str) -> list[str]:
    """Targets of links and pictures that are files."""
    return re.findall(r"\]\((?!http|mailto|#)([^)#\s]+)[^)]*\)", prose(text))

"""Names and texts of users in a terminal: shown as they are, and never obeyed.

A file may be called [red], or hold the characters that clear a screen or turn the direction of writing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

# Invisible, and a part of words: joiners of Persian, of Indic scripts and of emoji.
_JOINERS = "\u200c\u200d"


def visible(text: str, keep: str = "") -> str:
    """Characters that a terminal would obey, escaped as Python does; those of `keep` stay.

    Examples:
        >>> visible("a\\x1b[31mb")
        'a\\\\x1b[31mb'
    """
    return "".join(c if c.isprintable() or c in _JOINERS or c in keep else repr(c)[1:-1] for c in text)


def cells(*texts: object) -> list[Text]:
    """Cells of a table of rich: text, not markup."""
    from rich.text import Text

    return [Text(visible(str(text))) for text in texts]

"""References as data, so that what was used can be cited: `regard cite LEARNER` prints them.

They stand in `references.bib` beside this file: one field per line, titles in double braces.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from regard.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Reference:
    """One paper; `venue` is the journal of an article and the book of the others."""

    key: str
    kind: str
    authors: str
    title: str
    venue: str
    year: int
    arxiv: str | None = None

    def bibtex(self) -> str:
        """The BibTeX entry."""
        fields = {
            "author": self.authors,
            "title": f"{{{self.title}}}",
            "journal" if self.kind == "article" else "booktitle": self.venue,
            "year": str(self.year),
        }
        if self.arxiv is not None:
            fields |= {"eprint": self.arxiv, "archiveprefix": "arXiv"}
        lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
        return "\n".join([f"@{self.kind}{{{self.key},", *lines, "}"])


def parse_bibtex(text: str) -> tuple[Reference, ...]:
    """The entries of a BibTeX file of the form that `Reference.bibtex` writes.

    Args:
        text: the file's content.

    Examples:
        >>> reference, = parse_bibtex(find_reference("snell2017").bibtex())
        >>> reference.title, reference.year
        ('Prototypical Networks for Few-shot Learning', 2017)
    """
    references = []
    for kind, key, body in re.findall(r"^@(\w+)\{(\w+),\n(.*?)^\}$", text, re.MULTILINE | re.DOTALL):
        fields = dict(re.findall(r"^  (\w+) = \{(.*)\},$", body, re.MULTILINE))
        venue = fields["journal" if kind == "article" else "booktitle"]
        title = fields["title"].removeprefix("{").removesuffix("}")
        references.append(
            Reference(key, kind, fields["author"], title, venue, int(fields["year"]), fields.get("eprint"))
        )
    return tuple(references)


REFERENCES: tuple[Reference, ...] = parse_bibtex(Path(__file__).with_suffix(".bib").read_text(encoding="utf-8"))


def find_reference(key: str) -> Reference:
    """The reference with this key.

    Raises:
        ConfigError: there is none.
    """
    known = {reference.key: reference for reference in REFERENCES}
    if key not in known:
        raise ConfigError(f"no reference {key!r}: {did_you_mean(key, known)}")
    return known[key]

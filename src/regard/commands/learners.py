"""The methods there are, as a table in the terminal; without PyTorch."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from regard.learners import LEARNERS, find_reference


def show_learners(console: Console | None = None) -> None:
    """Name, year, family, what they predict, whether they attend; and the paper where the terminal is wide."""
    console = console or Console()
    wide = console.width >= 110
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("learner", "year", "family", "for", "attends"):
        table.add_column(heading, no_wrap=True)
    if wide:
        table.add_column("paper", no_wrap=True, overflow="ellipsis", max_width=console.width - 80)
    for row in LEARNERS:
        targets = ", ".join(["classes"] * row.classifies + ["numbers"] * row.regresses + ["sentences"] * row.translates)
        cells = [row.name, str(row.year), ", ".join(row.family), targets, "yes" * row.attends]
        table.add_row(*cells, *[find_reference(row.references[0]).title] * wide)
    console.print(table)

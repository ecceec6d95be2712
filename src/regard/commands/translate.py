"""Translate a file of sentences from a file of sentence pairs: `regard predict` for learners that translate."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from regard.commands.terminal import cells
from regard.domains.translation.pairs import read_pairs
from regard.errors import DataError
from regard.estimators.translator import FewShotTranslator
from regard.evaluation.translate import Translated
from regard.files import write_whole


def translate_files(
    checkpoint: Path | str, support: Path | str, query: Path | str
) -> tuple[list[str], list[Translated]]:
    """The sentences of `query`, one per line, and their translations with reasons.

    Args:
        checkpoint: as of `FewShotTranslator`.
        support: sentence pairs, see `read_pairs`.
        query: a text file.

    Raises:
        DataError: files that are missing, damaged or of another form.
    """
    pairs = read_pairs(Path(support))
    try:
        sentences = [line.strip() for line in Path(query).read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{query} cannot be read ({error}): expected a text file, one sentence per line.") from error
    model = FewShotTranslator(checkpoint).fit([pair.source for pair in pairs], [pair.target for pair in pairs])
    return sentences, model.translate(sentences, reasons=True)


def show_translations(sentences: Sequence[str], found: Sequence[Translated], console: Console | None = None) -> None:
    """A table: sentence, translation, confidence, and the pair on which most of it stands."""
    table = Table("sentence", "translation", "confidence", "mostly from pair", box=None)
    for sentence, answer in zip(sentences, found, strict=True):
        best = max(range(len(answer.evidence)), key=answer.evidence.__getitem__) if answer.evidence else None
        pair = (
            "" if best is None or answer.evidence[best] < 0.05 else f"{best + 1} ({100 * answer.evidence[best]:.0f}%)"
        )
        table.add_row(*cells(sentence, answer.text, f"{answer.confidence:.2f}", pair))
    (console or Console()).print(table)


def write_translations(path: Path, sentences: Sequence[str], found: Sequence[Translated]) -> None:
    """As a JSON list of objects, with the reason of each word."""
    rows = [
        {"sentence": sentence, **{k: v for k, v in asdict(answer).items() if k != "evidence"}}
        for sentence, answer in zip(sentences, found, strict=True)
    ]
    write_whole(path, json.dumps(rows, indent=1, ensure_ascii=False).encode())

"""Sentences and sentence pairs from files: `regard predict` and `regard explain` for learners that translate."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from regard.commands.terminal import cells
from regard.domains.base import Rendering
from regard.domains.translation.pairs import Pair, read_pairs
from regard.errors import DataError
from regard.estimators.translator import FewShotTranslator
from regard.evaluation.translate import Translated
from regard.explain.answers import beside_chance
from regard.explain.translations import PairEffect, TranslationExplanation
from regard.files import write_whole
from regard.report.explanations import ExampleEffect, ExplainedAnswer, write_explanations


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
    model, sentences = _read(checkpoint, support, query)
    return sentences, model.translate(sentences, reasons=True)


def _read(checkpoint: Path | str, support: Path | str, query: Path | str) -> tuple[FewShotTranslator, list[str]]:
    pairs = read_pairs(Path(support))
    try:
        sentences = [line.strip() for line in Path(query).read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{query} cannot be read ({error}): expected a text file, one sentence per line.") from error
    model = FewShotTranslator(checkpoint).fit([pair.source for pair in pairs], [pair.target for pair in pairs])
    return model, sentences


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


_FOOT = (
    "Lines lead from the words of the sentence to those of its translation, the darker the surer; under each word "
    "stands the pair that taught it. Likeness is chrF: 100 is the same translation. Pairs are counted from 1, as the "
    "rows of the file."
)


def explain_translation_files(
    checkpoint: Path | str, support: Path | str, query: Path | str, page: Path, most: int = 50
) -> str:
    """Translate, and write a page that says where each word came from; arguments as `explain_files`.

    Returns:
        How far to believe the page, in one sentence.

    Raises:
        DataError: as `translate_files`, and where the query has no sentence.
    """
    model, sentences = _read(checkpoint, support, query)
    if not sentences:
        raise DataError(f"{query} has no sentence to translate: expected one per line.")
    found = model.explain(sentences[:most])
    answers = [
        ExplainedAnswer(
            name=f"sentence {number}",
            item=Rendering(html.escape(of.sentence), of.sentence),
            answer=of.answer.text,
            probability=None,
            note=f"expected chrF {100 * of.answer.confidence:.0f}",
            picture=of.picture,
            effects=[_pair_effect(model.pairs_[effect.pair], effect) for effect in of.effects],
            turns=[] if of.effects else [_without_effects(of.answer)],
        )
        for number, of in enumerate(found.answers, 1)
    ]
    trust = trust_in_pairs(found)
    write_explanations(page, str(checkpoint), trust, found.believed, answers, _FOOT)
    return trust


def _without_effects(answer: Translated) -> str:
    if any(reason.pair is not None for reason in answer.reasons):
        return "What the pairs taught stands in many of them: no single one holds the translation, so none was deleted."
    return "No pair taught a word of it: the translation is what training taught, or copied."


def trust_in_pairs(found: TranslationExplanation) -> str:
    """How far to believe which pairs are named."""
    if found.trust is None:
        return "Whether the pairs that are named are those that mattered was not measured: that takes two sentences."
    mean, low, high = (f"{v:+.1f}" for v in (found.trust.mean, found.trust.low, found.trust.high))
    measured = (
        f"deleting the pair that is named first changes a translation by {mean} chrF [{low}, {high}] more than "
        "deleting another one"
    )
    if found.believed:
        return f"The pairs named here are the ones that mattered: {measured}."
    return f"Do not believe which pair is named first here: {measured}, {beside_chance(found.trust, 'sentences')}."


def _pair_effect(pair: Pair, effect: PairEffect) -> ExampleEffect:
    said = f"{100 * effect.evidence:.0f}% of the translation stands on it; without it: " + (
        "the same" if effect.change < 1e-9 else f"“{effect.without}” (likeness {100 - effect.change:.0f})"
    )
    return ExampleEffect(
        name=f"pair {effect.pair + 1}",
        label=pair.target,
        item=Rendering(html.escape(pair.source), pair.source),
        drop=effect.change,
        share=effect.evidence,
        said=said,
    )

"""chrF and BLEU of translations, by sacrebleu, with intervals over languages.

One language is one draw of the task, so the unit is the language: its chrF2 and BLEU are those of the corpus of its
queries, and means and paired differences have t-intervals over languages. Popovic 2015 (chrF); Papineni et al. 2002
(BLEU); Post 2018 (sacrebleu).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from regard.errors import DataError
from regard.evaluation.intervals import Interval, mean_interval, paired_interval
from regard.extras import import_extra


class Scores(NamedTuple):
    """Of one language, each from 0 to 100."""

    chrf: float
    bleu: float


def score_translations(translations: Sequence[str], references: Sequence[str]) -> Scores:
    """chrF2 and BLEU of a corpus.

    Raises:
        DataError: numbers that differ, or none.
    """
    if len(translations) != len(references) or not references:
        raise DataError(
            f"{len(translations)} translations and {len(references)} references: expected as many, and one at least."
        )
    bleu = import_extra("sacrebleu", "translation")
    chrf = bleu.corpus_chrf(list(translations), [list(references)]).score
    return Scores(chrf, bleu.corpus_bleu(list(translations), [list(references)]).score)


def sentence_chrf(translation: str, reference: str) -> float:
    """chrF2 of one sentence, for calibration."""
    return import_extra("sacrebleu", "translation").sentence_chrf(translation, [reference]).score


def mean_scores(scores: Mapping[str, Scores], languages: Sequence[str] | None = None) -> dict[str, Interval | float]:
    """The mean of each metric over languages; with its interval from two languages on.

    Args:
        scores: of each language.
        languages: which; all by default.
    """
    chosen = [scores[language] for language in (scores if languages is None else languages)]
    return {
        metric: mean_interval(values) if len(values) > 1 else float(sum(values))
        for metric, values in (("chrf", [s.chrf for s in chosen]), ("bleu", [s.bleu for s in chosen]))
    }


def paired_scores(a: Mapping[str, Scores], b: Mapping[str, Scores]) -> dict[str, Interval]:
    """The mean difference a - b of each metric over the languages that both have.

    Raises:
        DataError: fewer than two of them.
    """
    common = [language for language in a if language in b]
    return {
        "chrf": paired_interval([a[x].chrf for x in common], [b[x].chrf for x in common]),
        "bleu": paired_interval([a[x].bleu for x in common], [b[x].bleu for x in common]),
    }

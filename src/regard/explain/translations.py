"""Why a sentence was translated as it was: where each word came from, and what deleting the pairs behind it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from regard.domains.base import Rendering
from regard.domains.translation.alignment import draw_alignment
from regard.domains.translation.tokens import tokenise_source
from regard.evaluation.consensus import expected_chrf
from regard.evaluation.intervals import Interval, paired_interval
from regard.evaluation.translate import AdaptedTranslator, Translated

_LEAST_EVIDENCE = 0.02
"""Pairs on which less of a translation stands are not deleted."""


@dataclass(frozen=True)
class PairEffect:
    """One pair, and what deleting it does to one translation.

    Args:
        pair: its number.
        evidence: how much of the translation stands on it, 0 to 1.
        without: the translation without it.
        change: 100 - chrF of `without` to the translation; 0 is no change.
    """

    pair: int
    evidence: float
    without: str
    change: float


@dataclass(frozen=True)
class ExplainedTranslation:
    """One sentence.

    Args:
        sentence: that was translated.
        answer: its translation, with the reason of each word.
        picture: the words of both, and lines between them; the reasons in words as its text.
        effects: of the pairs on which most of it stands, these first.
    """

    sentence: str
    answer: Translated
    picture: Rendering
    effects: tuple[PairEffect, ...]


@dataclass(frozen=True)
class TranslationExplanation:
    """Sentences, and how far to believe the pairs that are named.

    Args:
        answers: one for each sentence.
        trust: by how much deleting the pair that is named first changes a translation more than deleting another
            one, in chrF, with its interval over sentences; None where fewer than two sentences can say it.
    """

    answers: tuple[ExplainedTranslation, ...]
    trust: Interval | None

    @property
    def believed(self) -> bool | None:
        """Whether that is above chance; None where it cannot be said."""
        return None if self.trust is None else self.trust.low > 0


def explain_translations(
    adapted: AdaptedTranslator, sentences: Sequence[str], n_pairs: int = 2, seed: int = 0
) -> TranslationExplanation:
    """Translate, say where each word came from, and delete the pairs that are named.

    Args:
        adapted: a learner that has read pairs.
        sentences: to translate.
        n_pairs: most pairs that are deleted for each sentence, one at a time.
        seed: of the choice of other pairs, against which the first named one is held.
    """
    answers = adapted.translate(sentences, reasons=True)
    without = cache(adapted.without)  # a pair that many sentences name is deleted once
    rng = np.random.default_rng(seed)
    present = [i for i, w in enumerate(adapted.weight) if w > 0]

    def deleted(pair: int, row: int) -> PairEffect:
        [other] = without(pair).translate([sentences[row]])
        same = expected_chrf([other.text, answers[row].text], [0, 1])[0]
        return PairEffect(pair, answers[row].evidence[pair], other.text, 100 * (1 - float(same)))

    explained, named, others = [], [], []
    for row, (sentence, answer) in enumerate(zip(sentences, answers, strict=True)):
        evidence = np.array(answer.evidence)
        first = [i for i in np.argsort(-evidence, kind="stable").tolist() if evidence[i] >= _LEAST_EVIDENCE][:n_pairs]
        effects = tuple(deleted(pair, row) for pair in first)
        rest = [i for i in present if i not in first]
        if effects and rest:
            named.append(effects[0].change)
            others.append(deleted(int(rng.choice(rest)), row).change)
        picture = draw_alignment(tokenise_source(sentence), answer.reasons)
        explained.append(ExplainedTranslation(sentence, answer, picture, effects))
    trust = paired_interval(named, others) if len(named) > 1 else None
    return TranslationExplanation(tuple(explained), trust)

"""Where the learner attended: one card per query."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from regard.domains.images.render import data_uri as picture
from regard.domains.images.render import heat
from regard.report.content import AttentionExample

_N_TOP = 3


@dataclass(frozen=True)
class SupportThumbnail:
    """One support picture and the attention it got; `share` is relative to the most attended one."""

    number: int
    name: str
    ink: str
    heat: str
    weight: str
    share: float
    predicted: bool
    true: bool


@dataclass(frozen=True)
class Card:
    """One query and what was said to it.

    `said` is "right" or "wrong" of an answer, "refused" of none where there was a right one, and "rightly refused" of
    none where there was not.
    """

    query: str
    query_heat: str | None
    said: str
    predicted: str
    true: str
    known: bool
    probability: str
    chips: list[SupportThumbnail]
    top: list[SupportThumbnail]


def card(look: AttentionExample) -> Card:
    chips, known = _chips(look), look.true is not None
    if look.answered:
        said = "right" if look.predicted == look.true else "wrong"
    else:
        said = "refused" if known else "rightly refused"
    return Card(
        query=picture(look.query),
        query_heat=None if look.query_heat is None else heat(look.query_heat),
        said=said,
        predicted=look.names[look.predicted],
        true=look.stranger if look.true is None else look.names[look.true],
        known=known,
        probability=f"{look.probability:.0%}",
        chips=chips,
        top=sorted(chips, key=lambda chip: -chip.share)[:_N_TOP],
    )


def _chips(look: AttentionExample) -> list[SupportThumbnail]:
    weight = np.asarray(look.weight, dtype=np.float64)
    share = weight / max(float(weight.max(initial=0)), 1e-12)
    return [
        SupportThumbnail(
            number=s,
            name=look.names[int(label)],
            ink=picture(look.support[s]),
            heat=heat(look.heat[s]),
            weight=f"{weight[s] / max(weight.sum(), 1e-12):.0%}",
            share=round(float(share[s]), 3),
            predicted=look.answered and label == look.predicted,
            true=label == look.true,
        )
        for s, label in enumerate(np.asarray(look.support_label).tolist())
    ]

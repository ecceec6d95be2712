"""What the learner attended to: one card per query."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from regard.domains.base import Rendering
from regard.report.content import AttentionExample

_N_TOP = 3


@dataclass(frozen=True)
class SupportThumbnail:
    """One support example and the attention it got; `share` is relative to the most attended one."""

    number: int
    name: str
    item: Rendering
    weight: str
    share: float
    predicted: bool
    true: bool


@dataclass(frozen=True)
class Card:
    """One query and its answer.

    `outcome` is "right" or "wrong" for an answer, "refused" for none where there was a right one, and "rightly refused"
    for none where there was not.
    """

    query: Rendering
    outcome: str
    predicted: str
    true: str
    known: bool
    probability: str
    thumbnails: list[SupportThumbnail]
    top: list[SupportThumbnail]


def card(example: AttentionExample) -> Card:
    known = example.true is not None
    weight = np.asarray(example.weight, dtype=np.float64)
    share = weight / max(float(weight.max(initial=0)), 1e-12)
    thumbnails = [
        SupportThumbnail(
            number=s,
            name=example.names[int(label)],
            item=example.support[s],
            weight=f"{weight[s] / max(weight.sum(), 1e-12):.0%}",
            share=round(float(share[s]), 3),
            predicted=example.answered and label == example.predicted,
            true=label == example.true,
        )
        for s, label in enumerate(np.asarray(example.support_label).tolist())
    ]
    if example.answered:
        outcome = "right" if example.predicted == example.true else "wrong"
    else:
        outcome = "refused" if known else "rightly refused"
    return Card(
        query=example.query,
        outcome=outcome,
        predicted=example.names[example.predicted],
        true=example.unknown_class if example.true is None else example.names[example.true],
        known=known,
        probability=f"{example.probability:.0%}",
        thumbnails=thumbnails,
        top=sorted(thumbnails, key=lambda thumbnail: -thumbnail.share)[:_N_TOP],
    )

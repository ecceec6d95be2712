"""Which words of a text an answer rests on: by deleting each, see `regard.domains.deletion`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from regard.domains.base import PartSaliency
from regard.domains.deletion import explain_by_deletion
from regard.domains.texts.tokenizer import words

MOST_WORDS = 1_000
"""Over all texts: each is one more text to read."""


def explained_words(model: Any, texts: Sequence[str]) -> list[PartSaliency] | None:
    """How much each word speaks for the answer to each text, and what deleting the strongest two does.

    Words stand between spaces; what a tokenizer cuts one into is as strong as the word.

    Args:
        model: a fitted FewShotClassifier or FewShotRegressor of texts.
        texts: to be answered.

    Returns:
        One per text; None of more than `MOST_WORDS`, and where no text has two words, as of languages without spaces.
    """
    split = [text.split() for text in texts]
    if sum(map(len, split)) > MOST_WORDS or max(map(len, split), default=0) < 2:
        return None
    return [_explained(model, text, parts) for text, parts in zip(texts, split, strict=True)]


def _explained(model: Any, text: str, parts: list[str]) -> PartSaliency:
    tokens = [len(words(part)) for part in parts]
    if len(parts) < 2 or sum(tokens) != len(words(text)):
        return PartSaliency(np.zeros(len(words(text))), "Its words cannot be deleted one by one.")

    def without(deleted: Sequence[Sequence[int]]) -> list[str]:
        return [" ".join(part for number, part in enumerate(parts) if number not in set(gone)) for gone in deleted]

    found = explain_by_deletion(model, without, len(parts), "words", n_deleted=2)
    return PartSaliency(np.repeat(found.strength, tokens), found.sentence)

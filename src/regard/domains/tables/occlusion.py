"""Which columns of a table mattered: each is left out of examples and queries alike, and the table answered again.

So what stands for absence is absence, and no value in place of it; and columns that say the same each seem to matter
little, as one of them is enough.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone

from regard.domains.base import LabelledFiles, PartSaliency

MOST_COLUMNS = 40
"""Each costs a fit and an answer to all queries."""


def explained_columns(model: Any, read: LabelledFiles) -> list[PartSaliency] | None:
    """How much each column speaks for the answer to each query, and what leaving out the strongest does.

    Args:
        model: a FewShotClassifier that was fitted to the examples.
        read: examples and queries.

    Returns:
        One per query; None of one column, and of more than `MOST_COLUMNS`.
    """
    support, asked = (np.array([list(row) for row in rows], dtype=object) for rows in (read.support, read.queries))
    n_columns = support.shape[1]
    if not 1 < n_columns <= MOST_COLUMNS:
        return None
    probability = model.predict_proba(asked)
    answer = probability.argmax(1)
    every = np.arange(len(asked))
    without = np.empty((len(asked), n_columns))
    for column in range(n_columns):
        kept = np.arange(n_columns) != column
        other: Any = clone(model)
        other.fit(support[:, kept], read.labels)
        without[:, column] = other.predict_proba(asked[:, kept])[every, answer]
    now = probability[every, answer]
    drop = np.clip(now[:, None] - without, 0, None)
    strength = drop / np.maximum(drop.max(1, keepdims=True), 1e-12)
    strongest = drop.argmax(1)
    return [
        PartSaliency(
            strength[query],
            f"Without column {strongest[query] + 1} the probability of {str(model.classes_[answer[query]])!r} would be "
            f"{100 * without[query, strongest[query]]:.0f}% instead of {100 * now[query]:.0f}%.",
        )
        for query in range(len(asked))
    ]

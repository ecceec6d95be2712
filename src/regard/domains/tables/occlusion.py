"""Which columns of a table mattered: each is left out of examples and queries alike, and the table answered again.

So what stands for absence is absence, and no value in place of it; and columns that say the same each seem to matter
little, as one of them is enough.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone

from regard.domains.base import LabelledFiles, PartSaliency
from regard.numbers import readable

MOST_COLUMNS = 40
"""Each costs a fit and an answer to all queries."""


def explained_columns(model: Any, read: LabelledFiles) -> list[PartSaliency] | None:
    """How much each column speaks for the answer to each query, and what leaving out the strongest does.

    Args:
        model: a FewShotClassifier or FewShotRegressor that was fitted to the examples.
        read: examples and queries.

    Returns:
        One per query; None of one column, and of more than `MOST_COLUMNS`.
    """
    support, asked = (np.array([list(row) for row in rows], dtype=object) for rows in (read.support, read.queries))
    n_columns = support.shape[1]
    if not 1 < n_columns <= MOST_COLUMNS:
        return None
    classes = getattr(model, "classes_", None)
    every = np.arange(len(asked))
    if classes is None:
        now, answer = model.predict(asked), None
    else:
        probability = model.predict_proba(asked)
        answer = probability.argmax(1)
        now = probability[every, answer]
    without = np.empty((len(asked), n_columns))
    for column in range(n_columns):
        kept = np.arange(n_columns) != column
        other: Any = clone(model)
        other.fit(support[:, kept], read.labels)
        found = other.predict(asked[:, kept]) if answer is None else other.predict_proba(asked[:, kept])
        without[:, column] = found if answer is None else found[every, answer]
    # A number that changes either way has changed; a probability that rises did not rest on the column.
    drop = now[:, None] - without
    drop = np.abs(drop) if answer is None else np.clip(drop, 0, None)
    strength = drop / np.maximum(drop.max(1, keepdims=True), 1e-12)
    strongest = drop.argmax(1)
    names = [repr(name) for name in read.columns] or [f"column {f}" for f in range(1, n_columns + 1)]
    made = []
    for query in range(len(asked)):
        column, other, this = strongest[query], float(without[query, strongest[query]]), float(now[query])
        if classes is None or answer is None:
            said = f"the answer would be {readable(other)} instead of {readable(this)}."
        else:
            name = str(classes[answer[query]])
            said = f"the probability of {name!r} would be {100 * other:.0f}% instead of {100 * this:.0f}%."
        made.append(PartSaliency(strength[query], f"Without {names[column]} {said}"))
    return made

"""Which parts of an item an answer rests on: by deleting each, and asking again.

    strength of a part     how far the log-odds of the answer fall without it, of the part of the largest fall
    the check              what deleting the strongest together does, beside as many others drawn at random

In regression a number may change either way. Occlusion: Zeiler and Fergus 2014, arXiv:1311.2901; of words: Li, Monroe,
Jurafsky 2016, arXiv:1612.08220.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.domains.base import PartSaliency
from regard.numbers import readable

Variants = Callable[[Sequence[Sequence[int]]], Any]
"""Lists of parts that are deleted, to as many items as an estimator takes them."""


def drops(model: Any, variants: Variants, n_parts: int, label: Any = None) -> NDArray[np.float64]:
    """(P,) how far the answer falls without each part; negative where the part speaks against it.

    Args:
        model: a fitted FewShotClassifier, of whose answer the log-odds are looked at, or FewShotRegressor.
        variants: of one item.
        n_parts: P.
        label: whose log-odds; by default the predicted one.
    """
    said = _answers(model, variants([[], *([part] for part in range(n_parts))]), label)[0]
    return said[0] - said[1:]


def explain_by_deletion(
    model: Any,
    variants: Variants,
    n_parts: int,
    what: str,
    n_deleted: int = 3,
    verb: str = "Without",
    n_random: int = 10,
) -> PartSaliency:
    """How much each part of one item speaks for its answer, and what deleting the strongest together does.

    Args:
        model: a fitted FewShotClassifier or FewShotRegressor.
        variants: of one item.
        n_parts: P, at least 1.
        what: the parts are, such as "atoms".
        n_deleted: parts that are deleted together, at most half of them.
        verb: how deleting is said.
        n_random: deletions of as many others, drawn at random.
    """
    fall = drops(model, variants, n_parts)
    fall = np.clip(fall, 0, None) if hasattr(model, "classes_") else np.abs(fall)
    strength = fall / max(float(fall.max(initial=0)), 1e-12)
    order = np.argsort(-strength, kind="stable")
    n = max(1, min(n_deleted, n_parts // 2))
    rng = np.random.default_rng(0)
    others = [rng.permutation(order[n:])[:n].tolist() for _ in range(n_random)] if n_parts > n else []
    _, value, name = _answers(model, variants([[], order[:n].tolist(), *others]))
    now, without, at_random = value[0], value[1], value[2:]
    if name is None:
        begin, tell = "the answer would be", readable
    else:
        begin, tell = f"the probability of {name!r} would be", lambda p: f"{100 * p:.0f}%"
    darkest = f"its {n} darkest {what}" if n > 1 else f"its darkest {what.removesuffix('s')}"
    sentence = f"{verb} {darkest}, {begin} {tell(float(without))} instead of {tell(float(now))}"
    if others:
        drawn = f"{n} others" if n > 1 else "another"
        sentence += f"; {verb.lower()} {drawn}, drawn at random, {tell(float(at_random.mean()))}"
    return PartSaliency(strength, f"{sentence}.")


def _answers(model: Any, items: Any, label: Any = None) -> tuple[NDArray[np.float64], NDArray[np.float64], str | None]:
    """(N,) log-odds of the answer to the first item, its probabilities, and its name; of a regressor numbers alone."""
    if not hasattr(model, "classes_"):
        value = np.asarray(model.predict(items), dtype=np.float64)
        return value, value, None
    probability = np.asarray(model.predict_proba(items), dtype=np.float64)
    column = int(probability[0].argmax() if label is None else np.flatnonzero(model.classes_ == label)[0])
    p = probability[:, column]
    clipped = np.clip(p, 1e-12, 1 - 1e-12)
    return np.log(clipped) - np.log1p(-clipped), p, str(model.classes_[column])

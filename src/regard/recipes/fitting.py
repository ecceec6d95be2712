"""A recipe's episodes fitted to its data: none wider, and none with more examples, than the classes have."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from regard.domains.data import LabelledData
from regard.domains.options import EpisodeOptions
from regard.errors import DataError
from regard.recipes.config import Recipe
from regard.sampling.counts import Count

E = TypeVar("E", bound=EpisodeOptions)


def fitted_to(recipe: Recipe, data: LabelledData, split: str = "test") -> tuple[Recipe, list[str]]:
    """The recipe with no episode wider than the data, and what was changed, for people.

    Args:
        recipe, data: what to fit to what.
        split: on which the trained learners are evaluated.

    Raises:
        DataError: a split with fewer than two classes, or a class with a single item.
    """
    training, training_note = _fitted(recipe.episodes, data, "train")
    validation, validation_note = _fitted(recipe.validation, data, "validation")
    evaluation = [_fitted(episodes, data, split) for episodes in recipe.evaluation]
    notes = [training_note, validation_note, *(note for _, note in evaluation)]
    changes = {
        "episodes": training,
        "validation": validation,
        "evaluation": tuple(dict.fromkeys(episodes for episodes, _ in evaluation)),
    }
    return recipe.model_copy(update=changes), list(dict.fromkeys(note for note in notes if note))


def _fitted(episodes: E, data: LabelledData, split: str) -> tuple[E, str]:
    dataset = data.classes(split, episodes)
    sizes = np.bincount(dataset.y.numpy(), minlength=dataset.n_classes)
    groups = dataset.class_groups if getattr(episodes, "within_groups", False) else ()
    most = max(map(groups.count, set(groups))) if groups else dataset.n_classes
    if most < 2 or sizes.min() < 2:
        small = dataset.class_names[int(sizes.argmin())]
        raise DataError(
            f"split {split!r} has {most} classes, and its class {small!r} {sizes.min()} items: expected at least two "
            "of both; give more classes, or change data.train and data.validation, the shares of the splits."
        )
    room = int(sizes.min())
    shot = _at_most(episodes.n_shot, room - 1)
    fitted = episodes.model_copy(
        update={
            "n_way": _at_most(episodes.n_way, most),
            "n_shot": shot,
            "n_query": _at_most(episodes.n_query, room - highest(shot)),
        }
    )
    if fitted == episodes:
        return episodes, ""
    before, after = (f"{e.title()} with {e.n_query} queries" for e in (episodes, fitted))
    return fitted, f"{split}: {after} instead of {before}, which this data does not have"


def _at_most(count: Count, limit: int) -> Count:
    return (min(count[0], limit), min(count[1], limit)) if isinstance(count, tuple) else min(count, limit)


def highest(count: Count) -> int:
    """The largest number that a count may be."""
    return count[1] if isinstance(count, tuple) else count

"""A recipe's episodes and its data: checked before the first step, and fitted where the user did not set them."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

import numpy as np

from regard.domains.acting.simulated import SimulatedData
from regard.domains.data import Data, LabelledData
from regard.domains.options import EpisodeOptions
from regard.errors import DataError
from regard.recipes.config import Recipe
from regard.sampling.counts import Count

E = TypeVar("E", bound=EpisodeOptions)

COUNTS = ("n_way", "n_shot", "n_query")


def fitted_to(
    recipe: Recipe, data: LabelledData, split: str = "test", *, settings: Collection[str] = ()
) -> tuple[Recipe, list[str]]:
    """The recipe with no episode wider than the data, and what was changed, for people.

    Args:
        recipe, data: what to fit to what.
        split: on which the trained learners are evaluated.
        settings: `key=value` that the user set: those counts stay as they are.

    Raises:
        DataError: a split with fewer than two classes, or a class with a single item.
    """
    chosen = {setting.partition("=")[0].strip() for setting in settings}
    training, training_note = _fitted("episodes", recipe.episodes, data, "train", chosen)
    validation, validation_note = _fitted("validation", recipe.validation, data, "validation", chosen)
    evaluation = [
        _fitted(f"evaluation.{i}", episodes, data, split, chosen) for i, episodes in enumerate(recipe.evaluation)
    ]
    notes = [training_note, validation_note, *(note for _, note in evaluation)]
    changes = {
        "episodes": training,
        "validation": validation,
        "evaluation": tuple(dict.fromkeys(episodes for episodes, _ in evaluation)),
    }
    return recipe.model_copy(update=changes), list(dict.fromkeys(note for note in notes if note))


def check_episodes(recipe: Recipe, data: Data) -> None:
    """Every kind of episodes of the recipe, drawn from its split: before the first step, and not after the last.

    Raises:
        DataError: names each split that is too small, and the keys to set.
    """
    kinds = [("episodes", recipe.episodes, "train"), ("validation", recipe.validation, "validation")]
    if not isinstance(data, SimulatedData) or not data.has_simulator:  # else rollouts, whose tasks are made for them
        kinds += [(f"evaluation.{i}", kind, data.evaluation_split) for i, kind in enumerate(recipe.evaluation)]
    mistakes = []
    for key, episodes, split in kinds:
        try:
            if key == "episodes":
                data.training(episodes, recipe.train.seed)
            else:
                data.source(split, episodes, recipe.train.seed)
        except DataError as error:
            mistakes.append(f"{key}, of the split {split!r}: {error} Set {key}.n_way, n_shot or n_query by --set.")
    if mistakes:
        raise DataError("\n".join(mistakes))


def _fitted(key: str, episodes: E, data: LabelledData, split: str, chosen: Collection[str]) -> tuple[E, str]:
    if {key, key.partition(".")[0]} & set(chosen):
        return episodes, ""
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
    free = [name for name in COUNTS if f"{key}.{name}" not in chosen]
    n_query = highest(episodes.n_query) if "n_query" not in free else 1
    shot = _at_most(episodes.n_shot, max(1, room - n_query)) if "n_shot" in free else episodes.n_shot
    limits = {"n_way": most, "n_shot": highest(shot), "n_query": max(1, room - highest(shot))}
    fitted = episodes.model_copy(update={name: _at_most(getattr(episodes, name), limits[name]) for name in free})
    if fitted == episodes:
        return episodes, ""
    before, after = (f"{e.title()} with {e.n_query} queries" for e in (episodes, fitted))
    return fitted, f"{split}: {after} instead of {before}, which this data does not have"


def _at_most(count: Count, limit: int) -> Count:
    return (min(count[0], limit), min(count[1], limit)) if isinstance(count, tuple) else min(count, limit)


def highest(count: Count) -> int:
    """The largest number that a count may be."""
    return count[1] if isinstance(count, tuple) else count

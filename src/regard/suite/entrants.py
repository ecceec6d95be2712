"""Who takes part: the main methods of each family that fit the kind of data, all on the recipe's encoder.

The recipe says what the encoder is; what only the data knows (size of images, vocabulary) is filled in as ever. Methods
that compare vectors take it with one vector an item, spatial ones with parts. Two exceptions, both told here: MAML and
its kin take "group" norm where the recipe has "batch", since running averages do not go with weights that move in each
task; and they compute in float32, since second derivatives in bfloat16 are noise.

Left out: a search for each method's own settings. Each has its paper's, or the recipe's where the recipe is of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from regard.errors import ConfigError, DataError, did_you_mean
from regard.recipes.config import Episodes, Part, Recipe
from regard.recipes.data import Data
from regard.sampling.counts import Count
from regard.sampling.dataset import Dataset

PIXELS, UNPRACTISED, PROBE = "NearestNeighbour (pixels)", "Prototypical (untrained)", "LinearProbe"
HOST = "SimpleShot"
"""Whose encoder the linear probe stands on: a classifier over all training classes, as in Tian et al. 2020."""

_FEW_QUERIES = 5
_SMALL = 40
"""Side of images that MAML's paper would treat as Omniglot; larger ones as mini-ImageNet."""

Spec = dict[str, Any]


@dataclass(frozen=True)
class Entrant:
    """One method, ready to practise.

    Args:
        name: as it is told.
        recipe: of its practice.
        stands_on: whose trained encoder it takes instead of practising itself.
        practises: whether it does, itself or by whom it stands on; the others are the honest baselines.
    """

    name: str
    recipe: Recipe
    stands_on: str | None = None
    practises: bool = True

    @property
    def folder(self) -> str:
        """A name for its run that every disk takes."""
        return self.name.replace(" (", "-").replace(", ", "-").replace(")", "").replace(" ", "-")


def entrants_for(recipe: Recipe, data: Data, names: Sequence[str] = ()) -> list[Entrant]:
    """The methods for this data, baselines last.

    Args:
        recipe: fitted to the data, see `fitted_to`.
        data: of images or of texts.
        names: only these, and the baselines; all where left out.

    Raises:
        ConfigError: a recipe without an encoder or with a `start`, or a name that is not among them.
    """
    if recipe.start is not None:
        raise ConfigError(
            f"start is {recipe.start!r}: here all methods begin from nothing, or their time would not be equal; "
            "leave it out."
        )
    specs = _specs(recipe, data)
    known = {name.lower(): name for name in (*specs, PROBE)}
    for name in names:
        if name.lower() not in known:
            raise ConfigError(f"no learner {name!r} takes part with {data.title}: {did_you_mean(name, known.values())}")
    chosen = [known[name.lower()] for name in names] or [*specs, PROBE]
    practising = [Entrant(name, _recipe_of(name, specs[name], recipe)) for name in specs if name in chosen]
    return [*practising, *_others(recipe, specs, data, probe=PROBE in chosen and HOST in chosen)]


def _others(recipe: Recipe, specs: dict[str, Spec], data: Data, *, probe: bool) -> list[Entrant]:
    vector = {"encoder": specs[HOST]["encoder"]}
    found = [Entrant(PROBE, _with(recipe, {"name": PROBE, **vector}), HOST)] if probe else []
    found.append(Entrant(UNPRACTISED, _with(recipe, {"name": "Prototypical", **vector}), practises=False))
    if data.items["kind"] == "images":
        flat = {"name": "NearestNeighbour", "encoder": {"name": "Flat"}}
        found.append(Entrant(PIXELS, _with(recipe, flat), practises=False))
    return found


def _specs(recipe: Recipe, data: Data) -> dict[str, Spec]:
    """By name; the recipe's own learner is as the recipe says."""
    encoder = _encoder(recipe)
    vector, parts = _as_vector(encoder), _as_parts(encoder, data.encoder.get("image_size", 0))
    ways = max(_high(e.n_way) for e in (recipe.episodes, recipe.validation, *recipe.evaluation))
    turned = 4 if recipe.episodes.rotations else 1
    specs: dict[str, Spec] = {
        **{name: {"encoder": vector} for name in ("Prototypical", "Matching", "FEAT", "R2D2")},
        "MetaOptNet": {"scale": 10, "encoder": vector},  # learned, and begun where short practice does not wait for it
        HOST: {"n_train_classes": turned * data.part("train").n_classes, "encoder": vector},
    }
    fitting = _of_images if data.items["kind"] == "images" else _of_texts
    specs |= fitting(vector, parts, ways, data)
    own = recipe.learner
    return {**{name: {"name": name, **spec} for name, spec in specs.items()}, own.name: own.spec()}


def _of_images(vector: Spec, parts: Spec, ways: int, data: Data) -> dict[str, Spec]:
    moving = {**vector, "norm": "group"} if vector.get("norm") == "batch" else vector
    inner = _inner_loop(data.encoder["image_size"])
    return {
        "Relation": {"encoder": parts},
        "CrossTransformer": {"d_head": 64, "encoder": parts},
        "MAML": {**inner, "model": {"n_outputs": ways, "encoder": moving}},
        "ANIL": {**inner, "n_outputs": ways, "encoder": moving},
        "ProtoMAML": {"inner_steps": 1, "encoder": moving},
    }


def _of_texts(vector: Spec, parts: Spec, ways: int, data: Data) -> dict[str, Spec]:
    return {
        "AttentionMetaLearner": {"encoder": parts},
        "ANIL": {**_inner_loop(0), "n_outputs": ways, "encoder": vector},
    }


def _inner_loop(side: int) -> Spec:
    """Finn et al. 2017: of their Omniglot for small images and texts, of their mini-ImageNet for larger ones."""
    if side < _SMALL:
        return {"inner_lr": 0.4, "inner_steps": 1, "test_steps": 3}
    return {"inner_lr": 0.01, "inner_steps": 5}


def _encoder(recipe: Recipe) -> Spec:
    options = recipe.learner.options()
    found = options.get("encoder") or (options.get("model") or {}).get("encoder")
    if not isinstance(found, dict):
        raise ConfigError(
            f"the recipe's learner {recipe.learner.name} has no encoder to share: add "
            '"--set learner.encoder={name: Conv4}" or name a recipe that has one.'
        )
    return found


def _as_vector(encoder: Spec) -> Spec:
    """One vector an item. A map is then halved as often as the paper does, not as suits its parts."""
    return {k: v for k, v in encoder.items() if k not in ("parts", "n_halvings")} if encoder.get("parts") else encoder


def _as_parts(encoder: Spec, side: int) -> Spec:
    if encoder.get("parts"):
        return encoder
    if encoder["name"] != "Conv4":
        return {**encoder, "parts": True}
    # Maps of 7 to 13 places a side: enough to be told apart, and not too many to be compared all with all.
    return {**encoder, "parts": True, "n_halvings": max(1, int(np.log2(max(side, 14) / 7)))}


def _recipe_of(name: str, spec: Spec, recipe: Recipe) -> Recipe:
    if name == recipe.learner.name:
        return recipe
    changed = _with(recipe, spec)
    if name in ("MAML", "ANIL", "ProtoMAML"):
        return changed.model_copy(update={"train": recipe.train.model_copy(update={"precision": "32-true"})})
    if name == HOST:
        return changed.model_copy(update={"episodes": recipe.episodes.model_copy(update={"labels": "data"})})
    if "encoder" in spec and not spec["encoder"].get("parts"):
        return _with_more_queries(changed)
    return changed


def _with_more_queries(recipe: Recipe) -> Recipe:
    """Vectors are compared at next to no cost, so a step of them asks more, of fewer tasks: about as many items."""
    episodes = recipe.episodes
    if not isinstance(episodes.n_query, int) or episodes.n_query >= _FEW_QUERIES:
        return recipe
    before, after = (_high(episodes.n_shot) + n for n in (episodes.n_query, _FEW_QUERIES))
    tasks = -(-recipe.train.tasks_per_step * before // after)
    return recipe.model_copy(
        update={
            "episodes": episodes.model_copy(update={"n_query": _FEW_QUERIES}),
            "train": recipe.train.model_copy(update={"tasks_per_step": tasks}),
        }
    )


def _with(recipe: Recipe, spec: Spec) -> Recipe:
    return recipe.model_copy(update={"learner": Part.model_validate(spec)})


# ---- the recipe, fitted to the data ----------------------------------------------------------------------------------


def fitted_to(recipe: Recipe, data: Data, part: str = "test") -> tuple[Recipe, list[str]]:
    """The recipe with no episode wider than the data, and what was changed, for people.

    Args:
        recipe, data: what to fit to what.
        part: that the finished learners are asked about.

    Raises:
        DataError: a part of the data with fewer than two classes, or a class with a single item.
    """
    practice, validation = (
        _fitted(episodes, data.part(name), name)
        for name, episodes in (("train", recipe.episodes), ("validation", recipe.validation))
    )
    test = [_fitted(episodes, data.part(part), part) for episodes in recipe.evaluation]
    told = [line for _, line in (practice, validation, *test) if line]
    evaluation = tuple(dict.fromkeys(episodes for episodes, _ in test))
    changes = {"episodes": practice[0], "validation": validation[0], "evaluation": evaluation}
    return recipe.model_copy(update=changes), list(dict.fromkeys(told))


def _fitted(episodes: Any, dataset: Dataset, part: str) -> tuple[Any, str]:
    sizes = np.bincount(dataset.y.numpy(), minlength=dataset.n_classes)
    groups = dataset.class_groups if episodes.within_groups else ()
    most = max(map(groups.count, set(groups))) if groups else dataset.n_classes
    most *= 4 if episodes.rotations else 1
    if most < 2 or sizes.min() < 2:
        small = dataset.class_names[int(sizes.argmin())]
        raise DataError(
            f"part {part!r} has {most} classes, and its class {small!r} {sizes.min()} items: expected at least two of "
            "both; give more classes, or change data.train and data.validation, the shares of the parts."
        )
    room = int(sizes.min())
    shot = _at_most(episodes.n_shot, room - 1)
    fitted = episodes.model_copy(
        update={
            "n_way": _at_most(episodes.n_way, most),
            "n_shot": shot,
            "n_query": _at_most(episodes.n_query, room - _high(shot)),
        }
    )
    if fitted == episodes:
        return episodes, ""
    return fitted, f"{part}: {_told(fitted)} instead of {_told(episodes)}, which this data does not have"


def _told(episodes: Episodes) -> str:
    return f"{episodes.title()} with {episodes.n_query} queries"


def _at_most(count: Count, limit: int) -> Count:
    return (min(count[0], limit), min(count[1], limit)) if isinstance(count, tuple) else min(count, limit)


def _high(count: Count) -> int:
    return count[1] if isinstance(count, tuple) else count

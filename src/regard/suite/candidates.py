"""The learners that a suite compares: the main methods of each family that fit the domain, all on the recipe's encoder.

The recipe says what the encoder is; what only the data knows (size of images, vocabulary) is filled in as ever. Methods
that compare vectors take it with one vector per item, spatial ones with patches or tokens. Two exceptions: MAML and its
variants take "group" norm where the recipe has "batch", since running averages do not go with weights that move in each
task; and they compute in float32, since second derivatives in bfloat16 are noise.

Left out: a search for each method's own settings. Each has its paper's, or the recipe's where the recipe is of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from regard.domains.base import LearnerContext, Spec
from regard.domains.data import LabelledData
from regard.errors import ConfigError, did_you_mean
from regard.recipes.config import Component, Recipe
from regard.recipes.fitting import highest

UNTRAINED, PROBE = "Prototypical (untrained)", "LinearProbe"
ENCODER_SOURCE = "SimpleShot"
"""Whose encoder the linear probe takes: a classifier over all training classes, as in Tian et al. 2020."""

_FEW_QUERIES = 5


@dataclass(frozen=True)
class Candidate:
    """One method, ready to be trained.

    Args:
        name: in tables of results.
        recipe: of its training.
        encoder_from: whose trained encoder it takes instead of being trained itself.
        trains: whether it is trained, itself or through `encoder_from`; the others are the honest baselines.
    """

    name: str
    recipe: Recipe
    encoder_from: str | None = None
    trains: bool = True

    @property
    def folder(self) -> str:
        """A name for its run that every disk takes."""
        return self.name.replace(" (", "-").replace(", ", "-").replace(")", "").replace(" ", "-")


def candidates_for(recipe: Recipe, data: LabelledData, names: Sequence[str] = ()) -> list[Candidate]:
    """The methods for this data, baselines last.

    Args:
        recipe: fitted to the data, see `regard.recipes.fitting`.
        data: labelled items of any domain.
        names: only these, and the baselines; all by default.

    Raises:
        ConfigError: a recipe without an encoder or with an `init_from`, or a name that is not among them.
    """
    if recipe.init_from is not None:
        raise ConfigError(
            f"init_from is {recipe.init_from!r}: here all methods start from scratch, or their time would not be "
            "equal; leave it out."
        )
    specs = _specs(recipe, data)
    known = {name.lower(): name for name in (*specs, PROBE)}
    for name in names:
        if name.lower() not in known:
            raise ConfigError(f"no learner {name!r} is compared on {data.title}: {did_you_mean(name, known.values())}")
    chosen = [known[name.lower()] for name in names] or [*specs, PROBE]
    candidates = [Candidate(name, _recipe_of(name, specs[name], recipe)) for name in specs if name in chosen]
    vector = {"encoder": specs[ENCODER_SOURCE]["encoder"]}
    if PROBE in chosen and ENCODER_SOURCE in chosen:
        candidates.append(Candidate(PROBE, _with_learner(recipe, {"name": PROBE, **vector}), ENCODER_SOURCE))
    untrained = _with_learner(recipe, {"name": "Prototypical", **vector})
    candidates.append(Candidate(UNTRAINED, untrained, trains=False))
    baseline = data.domain.untrained_baseline()
    if baseline is not None:
        title, spec = baseline
        candidates.append(Candidate(title, _with_learner(recipe, spec), trains=False))
    return candidates


def _specs(recipe: Recipe, data: LabelledData) -> dict[str, Spec]:
    """By name; the recipe's own learner is as the recipe says."""
    options = recipe.learner.options()
    encoder = options.get("encoder") or (options.get("model") or {}).get("encoder")
    if not isinstance(encoder, dict):
        raise ConfigError(
            f"the recipe's learner {recipe.learner.name} has no encoder to share: add "
            '"--set learner.encoder={name: Conv4}" or name a recipe that has one.'
        )
    # One vector per item. A map is then halved as often as the paper does, not as suits its patches.
    has_parts = encoder.get("parts")
    vector = {k: v for k, v in encoder.items() if k not in ("parts", "n_halvings")} if has_parts else encoder
    n_way = max(highest(e.n_way) for e in (recipe.episodes, recipe.validation, *recipe.evaluation))
    context = LearnerContext(vector, _as_parts(encoder, data.encoder.get("image_size", 0)), n_way, data.encoder)
    specs: dict[str, Spec] = {
        **{name: {"encoder": vector} for name in ("Prototypical", "Matching", "FEAT", "R2D2")},
        "MetaOptNet": {"scale": 10, "encoder": vector},  # learned, and started where short training need not wait
        ENCODER_SOURCE: {"n_train_classes": data.classes("train", recipe.episodes).n_classes, "encoder": vector},
        **data.domain.learners(context),
    }
    own = recipe.learner
    return {**{name: {"name": name, **spec} for name, spec in specs.items()}, own.name: own.spec()}


def _as_parts(encoder: Spec, side: int) -> Spec:
    if encoder.get("parts"):
        return encoder
    if encoder["name"] != "Conv4":
        return {**encoder, "parts": True}
    # Maps of 7 to 13 patches a side: enough to be told apart, and not too many to be compared all with all.
    return {**encoder, "parts": True, "n_halvings": max(1, int(np.log2(max(side, 14) / 7)))}


def _recipe_of(name: str, spec: Spec, recipe: Recipe) -> Recipe:
    if name == recipe.learner.name:
        return recipe
    candidate = _with_learner(recipe, spec)
    if name in ("MAML", "ANIL", "ProtoMAML"):
        return candidate.model_copy(update={"train": recipe.train.model_copy(update={"precision": "32-true"})})
    if name == ENCODER_SOURCE:
        return candidate.model_copy(update={"episodes": recipe.episodes.model_copy(update={"labels": "data"})})
    if "encoder" in spec and not spec["encoder"].get("parts"):
        # Vectors are compared at next to no cost: a step has more queries, of fewer tasks, and about as many items.
        episodes = candidate.episodes
        if not isinstance(episodes.n_query, int) or episodes.n_query >= _FEW_QUERIES:
            return candidate
        before, after = (highest(episodes.n_shot) + n for n in (episodes.n_query, _FEW_QUERIES))
        tasks = -(-candidate.train.tasks_per_step * before // after)
        return candidate.model_copy(
            update={
                "episodes": episodes.model_copy(update={"n_query": _FEW_QUERIES}),
                "train": candidate.train.model_copy(update={"tasks_per_step": tasks}),
            }
        )
    return candidate


def _with_learner(recipe: Recipe, spec: Spec) -> Recipe:
    return recipe.model_copy(update={"learner": Component.model_validate(spec)})

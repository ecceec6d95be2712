"""From a recipe to a trained learner, and from a checkpoint back to a learner, its data and its episodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from inspect import signature
from pathlib import Path
from typing import Any

import torch

from regard.errors import CheckpointError, ConfigError
from regard.evaluation import Comparison, Result, adaptation_seconds, compare, evaluate
from regard.evaluation.confidence import Confidence
from regard.learners.base import Learner
from regard.recipes.checkpoints import begin_with, checkpoint_file
from regard.recipes.components import NETWORKS, build_learner, encoder_class
from regard.recipes.config import Episodes, Recipe
from regard.recipes.data import Tasks, load_data
from regard.training import load_checkpoint, train
from regard.training.checkpoint import LAST
from regard.training.progress import Progress


@dataclass(frozen=True)
class Asked:
    """What the command line may ask instead of the recipe's own evaluation; None keeps the recipe's."""

    n_way: int | None = None
    n_shot: int | None = None
    n_query: int | None = None
    episodes: int | None = None
    seed: int = 0
    part: str = "test"

    def settings(self, recipe: Recipe) -> tuple[Episodes, ...]:
        """The kinds of episodes to ask: the recipe's, or one of them with what was asked for put in its place."""
        changes = {k: v for k in ("n_way", "n_shot", "n_query") if (v := getattr(self, k)) is not None}
        if not changes:
            return recipe.evaluation
        return (recipe.evaluation[0].model_copy(update=changes),)


@dataclass(frozen=True)
class Loaded:
    """A learner from a checkpoint, in eval mode, with what it was made by.

    Args:
        learner: ready to adapt.
        recipe: that trained it.
        items: how new items are read, see `regard.recipes.data.prepare`.
        name: of the learner, for tables.
        path: of the file it came from.
        confidence: what `regard calibrate` set; where it never ran, all is answered as it is.
    """

    learner: Learner
    recipe: Recipe
    items: dict[str, Any]
    name: str
    path: Path
    confidence: Confidence = field(default_factory=Confidence)

    def data(self) -> Tasks:
        """Where the episodes of its recipe come from."""
        return load_data(self.recipe.data)


_LATER = "learner.test_steps="
"""What may be said of a trained learner: how many inner steps it takes from now on."""


def load(path: Path | str, settings: Sequence[str] = ()) -> Loaded:
    """A learner from a checkpoint file, from the folder of a run (its best one), or one that ships.

    Args:
        path: file, folder or name.
        settings: `key=value` changes to the recipe, such as data.folder=elsewhere; of the learner only what says how it
            adapts later, learner.test_steps.

    Raises:
        ConfigError: nothing there, or settings that it cannot have.
        CheckpointError: not a checkpoint, or one of another version.
    """
    file = checkpoint_file(path)
    for setting in settings:
        if setting.startswith("learner") and not setting.startswith(_LATER):
            raise ConfigError(f"--set {setting}: a trained learner cannot be changed; train a new one.")
    checkpoint = load_checkpoint(file)
    try:
        spec = checkpoint.spec
        recipe = Recipe.of(spec["recipe"], settings)
        changed = {key: value for key, value in recipe.learner.options().items() if f"learner.{key}=" == _LATER}
        learner = build_learner({**spec["learner"], **changed})
        confidence = Confidence.kept_in(spec)
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{file} holds no recipe ({error}): expected a checkpoint of `regard train`.") from error
    checkpoint.load_into(learner)
    return Loaded(learner.eval(), recipe, spec["items"], recipe.learner.name, file, confidence)


def learner_spec(recipe: Recipe, data: Tasks) -> dict[str, Any]:
    """The recipe's learner, with what only the data knows (image size, vocabulary) filled in where it is left open."""
    return {key: _filled(value, data) if key in NETWORKS else value for key, value in recipe.learner.spec().items()}


def untrained(recipe: Recipe, spec: dict[str, Any]) -> Learner:
    """The learner as its training begins: drawn at random, but for what the recipe says to begin with.

    Args:
        recipe: its `start` counts.
        spec: of the learner, see `learner_spec`.
    """
    learner = build_learner(spec)
    if recipe.start is not None:
        begin_with(learner, recipe.start)
    return learner


def _filled(network: Any, data: Tasks) -> Any:
    if not isinstance(network, dict):
        return network
    if "encoder" in network:  # a model that is an encoder with a head
        return {**network, "encoder": _filled(network["encoder"], data)}
    accepted = signature(encoder_class(str(network.get("name")))).parameters
    return {**{key: value for key, value in data.encoder.items() if key in accepted}, **network}


def train_recipe(
    recipe: Recipe,
    folder: Path,
    *,
    resume: bool = True,
    data: Tasks | None = None,
    progress: Progress | None = None,
    n_steps_ahead: int | None = None,
) -> Path:
    """Train, or go on training, in `folder`; returns the best checkpoint. `n_steps_ahead` is as of `train`.

    Raises:
        RegardError: as the parts of it do.
        KeyboardInterrupt: stopped by Ctrl-C, after the work was saved.
    """
    data = data or load_data(recipe.data)
    spec = learner_spec(recipe, data)
    torch.manual_seed(recipe.train.seed)
    # A run that goes on has its own weights, and needs those it began with no more.
    learner = build_learner(spec) if resume and (folder / LAST).exists() else untrained(recipe, spec)
    # Another seed than training's, so that no validation episode repeats a training one where parts are shared.
    validation = data.source("validation", recipe.validation, recipe.train.seed + 1)
    result = train(
        learner,
        data.practice(recipe.episodes, recipe.train.seed),
        recipe.train,
        validation_sampler=validation,
        folder=folder,
        spec={"recipe": recipe.model_dump(mode="json"), "learner": spec, "items": data.items},
        resume=resume,
        progress=progress,
        n_steps_ahead=n_steps_ahead,
    )
    if result.interrupted:
        raise KeyboardInterrupt(f"stopped at step {result.step}; the same command goes on from there.")
    return result.best_checkpoint or result.last_checkpoint


def evaluate_learner(
    loaded: Loaded, data: Tasks, asked: Asked | None = None, *, name: str, learner: Learner | None = None
) -> list[Result]:
    """One result for each kind of episodes asked."""
    asked, recipe = asked or Asked(), loaded.recipe
    results = []
    for episodes in asked.settings(recipe):
        source = data.source(asked.part, episodes, asked.seed)
        found = evaluate(
            learner or loaded.learner,
            source,
            asked.episodes or recipe.evaluation_episodes,
            name=name,
            data=f"{data.title}/{asked.part}" + (", turned too" if episodes.rotations else ""),
        )
        seconds = adaptation_seconds(learner or loaded.learner, source)
        results.append(replace(found, adaptation_seconds=seconds))
    return results


def compare_checkpoints(
    paths: Sequence[Path], settings: Sequence[str], asked: Asked
) -> tuple[list[Result], list[Comparison]]:
    """Several checkpoints on the episodes of the first one's recipe.

    Raises:
        ConfigError: fewer than two.
    """
    if len(paths) < 2:
        raise ConfigError(f"compare got {len(paths)} checkpoint: expected two or more.")
    first = load(paths[0], settings)
    data = first.data()
    results: list[Result] = []
    for path, name in zip(paths, _distinct_names(paths), strict=True):
        # The recipe of the first decides what is asked; of the others only the learner is used.
        loaded = replace(first, learner=load(path).learner)
        results += evaluate_learner(loaded, data, asked, name=name)
    return results, compare_by_setting(results)


def compare_by_setting(results: Sequence[Result], metrics: Sequence[str] | None = None) -> list[Comparison]:
    """Paired differences within each kind of episodes; of all metrics, if left out."""
    groups: dict[object, list[Result]] = {}
    for result in results:
        groups.setdefault((result.data, result.n_way, result.n_shot), []).append(result)
    return [comparison for group in groups.values() if len(group) > 1 for comparison in compare(group, metrics)]


def _distinct_names(paths: Sequence[Path]) -> list[str]:
    """The learners' names, with the path where two are the same."""
    names = [load(path).name for path in paths]
    return [name if names.count(name) == 1 else f"{name} ({path})" for name, path in zip(names, paths, strict=True)]

"""From a recipe to a trained learner, and from a trained learner to results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from regard.domains.acting.simulated import SimulatedData
from regard.domains.data import Data, LabelledData, describe_items
from regard.domains.options import EpisodeOptions
from regard.domains.translation.data import PairsData
from regard.domains.translation.reader import SentenceReader
from regard.domains.translation.source import EvaluationLanguages
from regard.errors import ConfigError
from regard.evaluation import Comparison, Result, adaptation_seconds, compare, evaluate
from regard.evaluation.evaluate_translations import calibrate_translations, evaluate_translations
from regard.evaluation.rollouts import LearnerPolicy, evaluate_rollouts
from regard.files import make_folder
from regard.learners.base import Learner
from regard.learners.context_memory import RemembersItems
from regard.learners.lexicon_translator import LexiconTranslator
from regard.nn.encoder import FittedEncoder
from regard.recipes.checkpoints import load_matching_weights
from regard.recipes.components import NETWORKS, build_learner, encoder_class
from regard.recipes.config import Recipe, changed
from regard.recipes.data import load_data
from regard.recipes.fitting import check_episodes
from regard.recipes.trained import TrainedLearner
from regard.signatures import options_of
from regard.training import train
from regard.training.checkpoint import load_checkpoint, save_checkpoint
from regard.training.file_format import LAST
from regard.training.progress import Progress


@dataclass(frozen=True)
class EvaluationOptions:
    """What may be evaluated instead of the recipe's own episodes; None keeps the recipe's.

    So many `processes` share the work, with the same results as one.
    """

    n_way: int | None = None
    n_shot: int | None = None
    n_query: int | None = None
    episodes: int | None = None
    seed: int = 0
    split: str = "test"
    processes: int = 1

    def settings(self, recipe: Recipe) -> tuple[EpisodeOptions, ...]:
        """The kinds of episodes: the recipe's, or its first one with these changes.

        Raises:
            ConfigError: changes that such episodes do not have.
        """
        changes = {k: v for k in ("n_way", "n_shot", "n_query") if (v := getattr(self, k)) is not None}
        return (changed(recipe.evaluation[0], **changes),) if changes else recipe.evaluation


def learner_spec(recipe: Recipe, data: Data) -> dict[str, Any]:
    """The recipe's learner; what only the data knows (image size, vocabulary) is filled in where it is left open."""
    return {key: _filled(value, data) if key in NETWORKS else value for key, value in recipe.learner.spec().items()}


def untrained(recipe: Recipe, spec: dict[str, Any]) -> Learner:
    """The learner as its training begins: at random, or with the weights that the recipe starts with.

    Args:
        recipe: its `init_from` counts.
        spec: of the learner, see `learner_spec`.
    """
    learner = build_learner(spec)
    if recipe.init_from is not None:
        load_matching_weights(learner, recipe.init_from)
    return learner


def _filled(network: Any, data: Data) -> Any:
    if not isinstance(network, dict):
        return network
    if "encoder" in network:  # a model that is an encoder with a head
        return {**network, "encoder": _filled(network["encoder"], data)}
    accepted, _ = options_of(encoder_class(str(network.get("name"))))
    return {**{key: value for key, value in data.encoder.items() if key in accepted}, **network}


def checkpoint_content(recipe: Recipe, spec: dict[str, Any], data: Data) -> dict[str, Any]:
    """What a checkpoint keeps beside the weights: enough to build the learner, read items and train it again."""
    return {"recipe": recipe.model_dump(mode="json"), "learner": spec, "items": data.items}


def train_recipe(
    recipe: Recipe,
    folder: Path,
    *,
    resume: bool = True,
    data: Data | None = None,
    progress: Progress | None = None,
    n_steps_ahead: int | None = None,
) -> Path:
    """Train, or resume training, in `folder`; returns the best checkpoint. `n_steps_ahead` is as of `train`.

    Every kind of episodes, those of the evaluation too, is checked before the first step.

    Raises:
        RegardError: as the steps of it do.
        KeyboardInterrupt: stopped by Ctrl-C, after the work was saved.
    """
    make_folder(folder, "the folder of the run,")
    data = data or load_data(recipe.data)
    check_episodes(recipe, data)
    spec = learner_spec(recipe, data)
    torch.manual_seed(recipe.train.seed)
    # A resumed run has its own weights, and no longer needs those it started with.
    if resume and (folder / LAST).exists():
        learner = build_learner(spec)
    else:
        learner = untrained(recipe, spec)
        encoder = getattr(learner, "encoder", None)
        if isinstance(encoder, FittedEncoder) and isinstance(data, LabelledData) and recipe.init_from is None:
            classes = data.split("train")
            encoder.fit(classes.x, classes.y)
    if isinstance(learner, LexiconTranslator) and isinstance(data, PairsData):
        learner.remember_english(data.english_tokens())
    # Another seed than training's, so that no validation episode repeats a training one where splits are shared.
    validation = data.source("validation", recipe.validation, recipe.train.seed + 1)
    for part in (learner, getattr(learner, "encoder", None)):
        if isinstance(part, RemembersItems) and part.n_context:
            context = data.context(part.n_context, recipe.train.seed)
            if context is not None:
                part.remember(context)
    result = train(
        learner,
        data.training(recipe.episodes, recipe.train.seed),
        recipe.train,
        validation_sampler=validation,
        folder=folder,
        spec=checkpoint_content(recipe, spec, data),
        resume=resume,
        progress=progress,
        n_steps_ahead=n_steps_ahead,
    )
    if result.interrupted:
        raise KeyboardInterrupt(f"stopped at step {result.step}; the same command resumes it.")
    if isinstance(data, PairsData) and result.best_checkpoint:
        _calibrate_sentences(result.best_checkpoint, recipe, data)
    return result.best_checkpoint or result.last_checkpoint


def _calibrate_sentences(path: Path, recipe: Recipe, data: PairsData, n_queries: int = 40) -> None:
    """Set the confidence of sentences on the validation languages, and keep it in the checkpoint."""
    trained, checkpoint = TrainedLearner.load(path), load_checkpoint(path)
    reader = trained.reader()
    if isinstance(reader, SentenceReader) and reader.calibration:
        return  # of a finished run that was started again
    languages = data.languages("validation")
    sources = [
        EvaluationLanguages(languages, data.reader, kind.n_shot, n_queries)
        for kind in recipe.evaluation
        if isinstance(kind.n_shot, int)
    ]
    weights = calibrate_translations(trained.learner.eval(), sources)
    reader = SentenceReader(data.reader.words, data.reader.forms, weights)
    spec = {**checkpoint.spec, "items": describe_items(data.domain, reader)}
    save_checkpoint(path, trained.learner, spec=spec, step=checkpoint.step, metrics=checkpoint.metrics)


def evaluate_learner(
    trained: TrainedLearner, data: Data, options: EvaluationOptions | None = None, *, recipe: Recipe | None = None
) -> list[Result]:
    """One result for each kind of episodes.

    Args:
        trained: the learner; results have its name.
        data: with the episodes.
        options: changes to the recipe's evaluation.
        recipe: whose evaluation; the learner's own by default.
    """
    options, recipe = options or EvaluationOptions(), recipe or trained.require_recipe()
    results = []
    if isinstance(data, SimulatedData):
        return [
            success_of(trained, data, episodes, options, options.episodes or recipe.evaluation_episodes)
            for episodes in options.settings(recipe)
        ]
    for episodes in options.settings(recipe):
        source = data.source(options.split, episodes, options.seed)
        if isinstance(source, EvaluationLanguages):
            n_episodes = options.episodes or recipe.evaluation_episodes
            title = data.split_title(options.split, episodes)
            results.append(evaluate_translations(trained.learner, source, n_episodes, name=trained.name, data=title))
            continue
        result = evaluate(
            trained.learner,
            source,
            options.episodes or recipe.evaluation_episodes,
            processes=options.processes,
            name=trained.name,
            data=data.split_title(options.split, episodes),
        )
        results.append(replace(result, adaptation_seconds=adaptation_seconds(trained.learner, source)))
    return results


def success_of(
    trained: TrainedLearner, data: SimulatedData, episodes: EpisodeOptions, options: EvaluationOptions, n_tasks: int
) -> Result:
    """Success of rollouts, for data that has a simulator; where it has none, how well actions are predicted.

    Raises:
        ConfigError: a range of demonstrations.
    """
    if not data.has_simulator:
        source = data.source(options.split, episodes, options.seed)
        return evaluate(trained.learner, source, n_tasks, name=trained.name, data=data.title)
    if isinstance(episodes.n_shot, tuple):
        raise ConfigError(f"evaluation n_shot is {episodes.n_shot}: expected one number of demonstrations.")
    n_starts = getattr(episodes, "n_starts", 1)
    trials = data.trials(options.split, episodes.n_shot, n_tasks, n_starts, options.seed)
    policy = LearnerPolicy(trained.learner, data.reader, blind=data.blind, name=trained.name)
    title = data.split_title(options.split, episodes)
    return evaluate_rollouts(policy, trials, data=title, seed=options.seed)


def compare_checkpoints(
    paths: Sequence[Path], settings: Sequence[str], options: EvaluationOptions
) -> tuple[list[Result], list[Comparison]]:
    """Several checkpoints on the episodes of the first one's recipe.

    Raises:
        ConfigError: fewer than two.
    """
    if len(paths) < 2:
        raise ConfigError(f"compare got {len(paths)} checkpoint: expected two or more.")
    # The recipe of the first decides what is evaluated; of the others only the learner is used.
    learners = [TrainedLearner.load(path, settings if i == 0 else ()) for i, path in enumerate(paths)]
    data, names = learners[0].data(), [trained.name for trained in learners]
    results: list[Result] = []
    for path, trained in zip(paths, learners, strict=True):
        name = trained.name if names.count(trained.name) == 1 else f"{trained.name} ({path})"
        results += evaluate_learner(trained.named(name), data, options, recipe=learners[0].recipe)
    return results, compare_by_setting(results)


def compare_by_setting(results: Sequence[Result], metrics: Sequence[str] | None = None) -> list[Comparison]:
    """Paired differences within each kind of episodes; of all metrics by default."""
    groups: dict[object, list[Result]] = {}
    for result in results:
        groups.setdefault((result.data, result.n_way, result.n_shot), []).append(result)
    return [comparison for group in groups.values() if len(group) > 1 for comparison in compare(group, metrics)]

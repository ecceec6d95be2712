"""Equal training time for each learner, then the very same test episodes, and what each costs.

One folder per learner: one that has finished is not trained again, and one that was stopped is resumed, since
`regard.training.train` does so. A learner that diverges is reported as such, and the others go on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console

from regard.domains.data import LabelledData
from regard.errors import ConfigError, DivergenceError
from regard.evaluation import Comparison, Result
from regard.learners.base import EncodingLearner
from regard.recipes.components import build_learner
from regard.recipes.config import Recipe, changed
from regard.recipes.data import load_data
from regard.recipes.fitting import fitted_to
from regard.recipes.run import (
    EvaluationOptions,
    checkpoint_content,
    compare_by_setting,
    evaluate_learner,
    learner_spec,
)
from regard.recipes.trained import TrainedLearner
from regard.sampling.splits import check_disjoint
from regard.suite.candidates import Candidate, candidates_for
from regard.suite.jobs import Cost, Job, Workers, cost_of, run_jobs, train_candidate
from regard.suite.verdict import Verdict, rank_candidates
from regard.training.checkpoint import save_checkpoint
from regard.training.file_format import BEST
from regard.training.progress import automatic

EPISODES = 400
"""Of each test, by default."""


@dataclass(frozen=True)
class TrainedCandidate:
    """A candidate that was trained on so many classes."""

    name: str
    n_classes: int
    trained: TrainedLearner
    path: Path
    cost: Cost


@dataclass(frozen=True)
class Suite:
    """The outcome.

    Args:
        title: of the data.
        data: on which all were trained and evaluated.
        results: of every learner in every setting, all trained on all classes.
        comparisons: paired differences of accuracy.
        entries: by name.
        failed: name to why, of those that diverged.
        verdict: which is best.
        curve: results by number of classes, all of them last and there with the baselines; one number by default.
        notes: what was fitted to the data.
        minutes: of training each; None where steps were given.
        folder: of the runs.
        split: on which they were evaluated.
    """

    title: str
    data: LabelledData
    results: list[Result]
    comparisons: list[Comparison]
    entries: dict[str, TrainedCandidate]
    failed: dict[str, str]
    verdict: Verdict
    curve: dict[int, list[Result]]
    notes: list[str]
    minutes: float | None
    folder: Path
    split: str = "test"

    @property
    def baselines(self) -> list[str]:
        """Those that were not trained."""
        return [name for name, entry in self.entries.items() if not entry.cost.steps]


def run_suite(
    name: str,
    settings: Sequence[str] = (),
    *,
    out: Path,
    minutes: float = 5.0,
    learners: Sequence[str] = (),
    classes: Sequence[int] = (),
    options: EvaluationOptions | None = None,
    workers: Workers | None = None,
    console: Console | None = None,
) -> Suite:
    """Train the main learners on the recipe's data, and evaluate them on the same episodes.

    Args:
        name: of a recipe, or a YAML file.
        settings: `key=value` changes to it, for all learners alike.
        out: folder of the runs.
        minutes: of training for each.
        learners: only these, and the baselines.
        classes: also train on only so many of the classes, nested: the data-hunger curve.
        options: episodes of the test.
        workers: train several at a time, here or on a cluster; one after the other, in this process, by default.
        console: where to print; the terminal by default.

    Raises:
        ConfigError: data or a learner that does not fit.
        DataError: too few classes or items.
        KeyboardInterrupt: stopped by Ctrl-C; the same call resumes.
    """
    console, options = console or Console(), options or EvaluationOptions()
    recipe = Recipe.read(name, (f"train.max_minutes={minutes}", *settings))
    recipe = recipe.model_copy(update={"evaluation": options.settings(recipe)})
    data = load_data(recipe.data)
    if not isinstance(data, LabelledData):
        raise ConfigError(
            f"{data.title} has no classes of labelled items: expected data such as that of the recipes folder, glyphs, "
            "omniglot, intents; train two learners with `regard train` and compare their runs instead."
        )
    check_disjoint(data.splits)
    recipe, notes = fitted_to(recipe, data, options.split)
    every = data.split("train").n_classes
    wrong = [n for n in classes if not 2 <= n <= every]
    if wrong:
        raise ConfigError(f"--classes {wrong[0]}: expected numbers from 2 to {every}, the classes there are.")
    points = sorted({*classes, every})
    if len(points) > 1:
        # The same training at every point of a curve: no wider than the fewest classes, which may be of any group.
        way = recipe.episodes.n_way
        high = min(points[0], way[1] if isinstance(way, tuple) else way)
        changes: dict[str, object] = {"n_way": (min(way[0], high), high) if isinstance(way, tuple) else high}
        if "within_groups" in type(recipe.episodes).model_fields:
            changes["within_groups"] = False
        recipe = recipe.model_copy(update={"episodes": changed(recipe.episodes, **changes)})
    options = EvaluationOptions(
        episodes=options.episodes or min(EPISODES, recipe.evaluation_episodes), seed=options.seed, split=options.split
    )
    suite = SuiteRun(recipe, data, out, learners, options, console)
    suite.check()
    for note in notes:
        console.print(f"[dim]{note}[/dim]", highlight=False)
    curve = suite.curve(points, workers or Workers())
    results = curve[points[-1]]
    comparisons = compare_by_setting(results, ("accuracy",))
    entries = {name: entry for (name, n), entry in suite.entries.items() if n == points[-1]}
    baselines = [one.name for one in suite.candidates if not one.trains]
    return Suite(
        data.title,
        data,
        results,
        comparisons,
        entries,
        suite.failed,
        rank_candidates(results, comparisons, baselines),
        curve,
        notes,
        recipe.train.max_minutes,
        out,
        options.split,
    )


class SuiteRun:
    """The data, the recipe and the folders that all candidates share."""

    def __init__(
        self,
        recipe: Recipe,
        data: LabelledData,
        out: Path,
        learners: Sequence[str],
        options: EvaluationOptions,
        console: Console,
    ) -> None:
        self.recipe, self.data, self.out, self.options, self.console = recipe, data, out, options, console
        self.candidates = candidates_for(recipe, data, learners)
        self.entries: dict[tuple[str, int], TrainedCandidate] = {}
        self.failed: dict[str, str] = {}
        self.n_classes = data.split("train").n_classes

    def check(self) -> None:
        """Every mistake before any time is spent: learners are built, and episodes of each kind are sampled."""
        self.data.source("validation", self.recipe.validation, 0)
        for episodes in self.recipe.evaluation:
            self.data.source(self.options.split, episodes, 0)
        for candidate in self.candidates:
            build_learner(learner_spec(candidate.recipe, self.data))
            self.data.training(candidate.recipe.episodes, 0)

    def curve(self, points: Sequence[int], workers: Workers) -> dict[int, list[Result]]:
        """Results by number of classes."""
        if not workers.here:
            self.train_ahead(points, workers)
        return {n: self.run(n) for n in points}

    def train_ahead(self, points: Sequence[int], workers: Workers) -> None:
        """Train all candidates side by side; `run` then finds them finished."""
        jobs: dict[tuple[str, Path], tuple[Candidate, int]] = {}
        trained: list[Job] = []
        for n_classes in reversed(points):  # the longest first
            for candidate in self.candidates:
                if candidate.trains and candidate.encoder_from is None:
                    title = f"{candidate.name}{self._where(n_classes)}"
                    job = Job(title, self._recipe(candidate, n_classes), self._folder(candidate, n_classes))
                    jobs[job.name, job.folder] = (candidate, n_classes)
                    trained.append(job)
        self.console.print(f"[bold]{len(trained)} learners[/bold] train, {workers.jobs} at a time.", highlight=False)
        diverged = run_jobs(trained, workers, self.out / "jobs", lambda text: self.console.print(text, highlight=False))
        for key, why in diverged.items():
            self._leave_out(*jobs[key], why)

    def run(self, n_classes: int) -> list[Result]:
        """Train on so many classes and evaluate; results by setting, then by learner."""
        by_learner = []
        all_classes = n_classes == self.n_classes
        # Baselines are the same however few classes there are.
        taking_part = [one for one in self.candidates if all_classes or one.trains]
        for number, candidate in enumerate(taking_part, 1):
            entry = self._entry(candidate, n_classes, f"{candidate.name} ({number} of {len(taking_part)})")
            if entry is None:
                continue
            self.entries[candidate.name, n_classes] = entry
            results = evaluate_learner(entry.trained, self.data, self.options)
            line = ", ".join(f"{r.metrics['accuracy'].mean:.1%} {r.n_way}-way {r.n_shot}-shot" for r in results)
            self.console.print(f"{candidate.name}: {line}", highlight=False)
            by_learner.append(results)
        return [result for setting in zip(*by_learner, strict=True) for result in setting]

    def _where(self, n_classes: int) -> str:
        return "" if n_classes == self.n_classes else f" on {n_classes} classes"

    def _folder(self, candidate: Candidate, n_classes: int) -> Path:
        parent = self.out if n_classes == self.n_classes else self.out / f"{n_classes}-classes"
        return parent / candidate.folder

    def _recipe(self, candidate: Candidate, n_classes: int) -> Recipe:
        recipe = candidate.recipe
        if n_classes == self.n_classes:
            return recipe
        options = {"n_training_classes": n_classes, "training_classes_seed": recipe.train.seed}
        return recipe.model_copy(update={"data": recipe.data.model_copy(update=options)})

    def _leave_out(self, candidate: Candidate, n_classes: int, why: str) -> None:
        self.failed[f"{candidate.name}{self._where(n_classes)}"] = why
        self.console.print(f"[yellow]{candidate.name} diverged and is left out.[/yellow] {why}", highlight=False)

    def _entry(self, candidate: Candidate, n_classes: int, title: str) -> TrainedCandidate | None:
        recipe, folder, where = (
            self._recipe(candidate, n_classes),
            self._folder(candidate, n_classes),
            self._where(n_classes),
        )
        if candidate.encoder_from is not None:
            source = self.entries.get((candidate.encoder_from, n_classes))
            if source is None:
                return None
            # On the encoder that another has trained: its time is the time of both.
            learner = source.trained.learner
            assert isinstance(learner, EncodingLearner)
            entry = self._untrained(candidate, recipe, folder, n_classes, learner.encoder.state_dict())
            seconds, steps, peak = source.cost.training_seconds, source.cost.steps, source.cost.peak_bytes
            return replace(entry, cost=replace(entry.cost, training_seconds=seconds, steps=steps, peak_bytes=peak))
        if not candidate.trains:
            return self._untrained(candidate, recipe, folder, n_classes)
        if f"{candidate.name}{where}" in self.failed:  # in a job of its own
            return None
        all_classes = n_classes == self.n_classes
        data = self.data if all_classes else self.data.training_on(n_classes, recipe.train.seed)
        self.console.print(f"[bold]{title}[/bold] trains{where}.", highlight=False)
        try:
            best, cost = train_candidate(recipe, folder, data, automatic(candidate.name))
        except DivergenceError as error:
            self._leave_out(candidate, n_classes, str(error))
            return None
        trained = TrainedLearner.load(best).named(candidate.name)
        return TrainedCandidate(candidate.name, n_classes, trained, best, cost)

    def _untrained(
        self,
        candidate: Candidate,
        recipe: Recipe,
        folder: Path,
        n_classes: int,
        encoder: Mapping[str, torch.Tensor] | None = None,
    ) -> TrainedCandidate:
        """A checkpoint like any other, so that it can be used and evaluated again."""
        spec = learner_spec(recipe, self.data)
        torch.manual_seed(recipe.train.seed)
        learner = build_learner(spec)
        if encoder is not None:
            assert isinstance(learner, EncodingLearner)
            learner.encoder.load_state_dict(encoder)
        save_checkpoint(folder / BEST, learner, spec=checkpoint_content(recipe, spec, self.data))
        trained, path = TrainedLearner.load(folder).named(candidate.name), folder / BEST
        return TrainedCandidate(candidate.name, n_classes, trained, path, cost_of(trained, path, 0.0, 0, None))

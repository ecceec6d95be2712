"""Equal time of practice for each, then the very same test episodes, and what each costs.

A folder a learner: one that has finished is not trained again, and one that was stopped goes on, since
`regard.training.train` does so. A learner that diverges is told as such, and the others go on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from rich.console import Console

from regard.errors import ConfigError, DivergenceError
from regard.evaluation import Comparison, Result
from regard.files import write_whole
from regard.recipes.components import build_learner
from regard.recipes.config import Recipe
from regard.recipes.data import Data, load_data
from regard.recipes.dry_run import forget_peak, peak_bytes
from regard.recipes.run import Asked, Loaded, compare_by_setting, evaluate_learner, learner_spec, load, train_recipe
from regard.sampling.splits import check_disjoint
from regard.suite.entrants import Entrant, entrants_for, fitted_to
from regard.suite.verdict import Verdict, judge
from regard.training.checkpoint import BEST, LAST, load_checkpoint, save_checkpoint
from regard.training.progress import automatic

EPISODES = 400
"""Of each test, where nothing else is asked."""
_COST = "cost.json"


@dataclass(frozen=True)
class Cost:
    """What a learner takes.

    Args:
        practice_seconds: of the whole practice; 0 without.
        steps: of it.
        parameters: numbers that it has learned.
        file_bytes: of its checkpoint.
        peak_bytes: the most memory that the process held while it practised, libraries and data included; None where
            the system cannot tell, or there was no practice.
    """

    practice_seconds: float
    steps: int
    parameters: int
    file_bytes: int
    peak_bytes: int | None


@dataclass(frozen=True)
class Entry:
    """A learner that has practised on so many classes, ready to be asked."""

    name: str
    n_classes: int
    loaded: Loaded
    cost: Cost


@dataclass(frozen=True)
class Suite:
    """What came of it.

    Args:
        title: of the data.
        results: of every learner in every setting, all practised on all classes.
        comparisons: paired differences of accuracy.
        entries: by name.
        failed: name to why, of those that diverged.
        verdict: who is best.
        curve: results by number of classes, all of them last and there with the baselines; one number, if no more was
            asked.
        told: what was fitted to the data.
        minutes: of practice each; None where steps were given.
        folder: of the runs.
    """

    title: str
    results: list[Result]
    comparisons: list[Comparison]
    entries: dict[str, Entry]
    failed: dict[str, str]
    verdict: Verdict
    curve: dict[int, list[Result]]
    told: list[str]
    minutes: float | None
    folder: Path

    @property
    def baselines(self) -> list[str]:
        """Those that did not practise."""
        return [name for name, entry in self.entries.items() if not entry.cost.steps]


def run_suite(
    name: str,
    settings: Sequence[str] = (),
    *,
    out: Path,
    minutes: float = 5.0,
    learners: Sequence[str] = (),
    classes: Sequence[int] = (),
    asked: Asked | None = None,
    console: Console | None = None,
) -> Suite:
    """Let the main learners practise on the recipe's data, and ask them the same.

    Args:
        name: of a recipe, or a YAML file.
        settings: `key=value` changes to it, for all learners alike.
        out: folder of the runs.
        minutes: of practice for each.
        learners: only these, and the baselines.
        classes: also practise on only so many of the classes, nested: the data-hunger curve.
        asked: episodes of the test.
        console: where to talk; the terminal, if left out.

    Raises:
        ConfigError: data or a learner that does not fit.
        DataError: too few classes or items.
        KeyboardInterrupt: stopped by Ctrl-C; the same call goes on.
    """
    console, asked = console or Console(), asked or Asked()
    recipe = Recipe.read(name, (f"train.max_minutes={minutes}", *settings))
    recipe = recipe.model_copy(update={"evaluation": asked.settings(recipe)})
    data = load_data(recipe.data)
    if not isinstance(data, Data) or data.items["kind"] not in ("images", "texts"):
        raise ConfigError(
            f"{data.title} has no classes of labelled items: expected images or texts, such as the recipes folder, "
            "glyphs, omniglot, intents; train two learners with `regard train` and compare their runs instead."
        )
    check_disjoint(data.parts)
    recipe, told = fitted_to(recipe, data, asked.part)
    points = _points(classes, data)
    if len(points) > 1:
        recipe = _alike(recipe, points[0])
    asked = Asked(
        episodes=asked.episodes or min(EPISODES, recipe.evaluation_episodes), seed=asked.seed, part=asked.part
    )
    contest = _Contest(recipe, data, out, learners, asked, console)
    contest.check()
    for line in told:
        console.print(f"[dim]{line}[/dim]", highlight=False)
    curve = {n: contest.run(n) for n in points}
    results = curve[points[-1]]
    comparisons = compare_by_setting(results, ("accuracy",))
    entries = {name: entry for (name, n), entry in contest.entries.items() if n == points[-1]}
    baselines = [one.name for one in contest.entrants if not one.practises]
    return Suite(
        data.title,
        results,
        comparisons,
        entries,
        contest.failed,
        judge(results, comparisons, baselines),
        curve,
        told,
        recipe.train.max_minutes,
        out,
    )


def _points(classes: Sequence[int], data: Data) -> list[int]:
    every = data.part("train").n_classes
    wrong = [n for n in classes if not 2 <= n <= every]
    if wrong:
        raise ConfigError(f"--classes {wrong[0]}: expected numbers from 2 to {every}, the classes there are.")
    return sorted({*classes, every})


def _alike(recipe: Recipe, fewest: int) -> Recipe:
    """The same practice at every point of a curve: no wider than the fewest classes, which may be of any group."""
    way = recipe.episodes.n_way
    high = min(fewest, way[1] if isinstance(way, tuple) else way)
    changes = {"n_way": (min(way[0], high), high) if isinstance(way, tuple) else high, "within_groups": False}
    return recipe.model_copy(update={"episodes": recipe.episodes.model_copy(update=changes)})


class _Contest:
    """The data, the recipe and the folders that all share."""

    def __init__(
        self, recipe: Recipe, data: Data, out: Path, learners: Sequence[str], asked: Asked, console: Console
    ) -> None:
        self.recipe, self.data, self.out, self.asked, self.console = recipe, data, out, asked, console
        self.entrants = entrants_for(recipe, data, learners)
        self.entries: dict[tuple[str, int], Entry] = {}
        self.failed: dict[str, str] = {}
        self.n_classes = data.part("train").n_classes

    def check(self) -> None:
        """Every mistake before any time is spent: learners are built, and episodes of each kind can be cut."""
        for part, episodes in (
            ("validation", self.recipe.validation),
            *((self.asked.part, e) for e in self.recipe.evaluation),
        ):
            self.data.source(part, episodes, 0)
        for entrant in self.entrants:
            build_learner(learner_spec(entrant.recipe, self.data))
            self.data.practice(entrant.recipe.episodes, 0)

    def run(self, n_classes: int) -> list[Result]:
        """Practise on so many classes, and be asked; results by setting, then by learner."""
        by_learner = []
        whole = n_classes == self.n_classes
        # Baselines are the same however few classes there are.
        taking_part = [one for one in self.entrants if whole or one.practises]
        for number, entrant in enumerate(taking_part, 1):
            entry = self._entry(entrant, n_classes, f"{entrant.name} ({number} of {len(taking_part)})")
            if entry is not None:
                self.entries[entrant.name, n_classes] = entry
                by_learner.append(self._ask(entrant, entry))
        return [result for setting in zip(*by_learner, strict=True) for result in setting]

    def _ask(self, entrant: Entrant, entry: Entry) -> list[Result]:
        results = evaluate_learner(entry.loaded, self.data, self.asked, name=entrant.name)
        told = ", ".join(f"{r.metrics['accuracy'].mean:.1%} {r.n_way}-way {r.n_shot}-shot" for r in results)
        self.console.print(f"{entrant.name}: {told}", highlight=False)
        return results

    def _entry(self, entrant: Entrant, n_classes: int, told: str) -> Entry | None:
        whole = n_classes == self.n_classes
        recipe, data = entrant.recipe, self.data
        if not whole:
            recipe = _on_fewer(recipe, n_classes)
            data = data.practising_on(n_classes, recipe.train.seed)
        folder = self.out / entrant.folder if whole else self.out / f"{n_classes}-classes" / entrant.folder
        if entrant.stands_on is not None:
            host = self.entries.get((entrant.stands_on, n_classes))
            return None if host is None else self._standing(entrant, recipe, folder, host)
        if not entrant.practises:
            return self._unpractised(entrant, recipe, folder, n_classes)
        where = "" if whole else f", {n_classes} classes"
        self.console.print(f"[bold]{told}[/bold] practises{where}.", highlight=False)
        try:
            return self._practised(entrant, recipe, data, folder, n_classes)
        except DivergenceError as error:
            self.failed[entrant.name if whole else f"{entrant.name}{where}"] = str(error)
            self.console.print(f"[yellow]{entrant.name} diverged and is left out.[/yellow] {error}", highlight=False)
            return None

    def _practised(self, entrant: Entrant, recipe: Recipe, data: Data, folder: Path, n_classes: int) -> Entry:
        forgotten = forget_peak()
        best = train_recipe(recipe, folder, data=data, progress=automatic(entrant.name))
        state = (load_checkpoint(folder / LAST).training or {})["state"]
        loaded = load(best)
        before = _known_cost(folder)
        # Of a run that had finished before, nothing was seen now.
        done_before = before is not None and before.steps == state["step"]
        peak = before.peak_bytes if before is not None and done_before else peak_bytes() if forgotten else None
        cost = _cost(loaded, state["seconds"], state["step"], peak)
        write_whole(folder / _COST, json.dumps(asdict(cost)).encode())
        return Entry(entrant.name, n_classes, replace(loaded, name=entrant.name), cost)

    def _standing(self, entrant: Entrant, recipe: Recipe, folder: Path, host: Entry) -> Entry:
        """On the encoder that another has trained: its time is the time of both."""
        entry = self._unpractised(entrant, recipe, folder, host.n_classes, host.loaded.learner.encoder.state_dict())  # type: ignore[union-attr]
        cost = replace(entry.cost, practice_seconds=host.cost.practice_seconds, steps=host.cost.steps)
        return replace(entry, cost=replace(cost, peak_bytes=host.cost.peak_bytes))

    def _unpractised(
        self,
        entrant: Entrant,
        recipe: Recipe,
        folder: Path,
        n_classes: int,
        encoder: Mapping[str, torch.Tensor] | None = None,
    ) -> Entry:
        """A checkpoint like any other, so that it can be used and asked again."""
        spec = learner_spec(recipe, self.data)
        torch.manual_seed(recipe.train.seed)
        learner = build_learner(spec)
        if encoder is not None:
            learner.encoder.load_state_dict(encoder)  # type: ignore[union-attr]
        whole = {"recipe": recipe.model_dump(mode="json"), "learner": spec, "items": self.data.items}
        save_checkpoint(folder / BEST, learner, spec=whole)
        loaded = replace(load(folder), name=entrant.name)
        return Entry(entrant.name, n_classes, loaded, _cost(loaded, 0.0, 0, None))


def _on_fewer(recipe: Recipe, n_classes: int) -> Recipe:
    options = {"practice_classes": n_classes, "practice_seed": recipe.train.seed}
    return recipe.model_copy(update={"data": recipe.data.model_copy(update=options)})


def _known_cost(folder: Path) -> Cost | None:
    file = folder / _COST
    return Cost(**json.loads(file.read_text())) if file.exists() else None


def _cost(loaded: Loaded, seconds: float, steps: int, peak: int | None) -> Cost:
    parameters = sum(p.numel() for p in loaded.learner.parameters())
    return Cost(round(seconds, 3), steps, parameters, loaded.path.stat().st_size, peak)

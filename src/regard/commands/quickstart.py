"""`regard quickstart`: train on letters, evaluate on alphabets never seen, and show what was attended to."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from regard.commands.calibrate import Calibrated, calibrate, show_calibrated
from regard.commands.show import show_results
from regard.domains.data import LabelledData
from regard.episode import first_tensor
from regard.evaluation import Comparison, Result, write_results
from regard.evaluation.provenance import command_line, machine, versions
from regard.explain.faithfulness import Faithfulness, faithfulness
from regard.files import write_whole
from regard.recipes.components import build_learner
from regard.recipes.config import Recipe, changed
from regard.recipes.data import load_data
from regard.recipes.run import EvaluationOptions, compare_by_setting, evaluate_learner, train_recipe
from regard.recipes.trained import TrainedLearner
from regard.report import (
    AttentionExample,
    ConfidenceSection,
    ConfusionMatrix,
    ReportContent,
    TrainingCurve,
    attention_examples,
    training_curve,
    write_report,
)
from regard.sampling.splits import check_disjoint
from regard.training.progress import Progress, Report, automatic

ATTENTION, BASELINE = "CrossTransformer", "Prototypical"

STEPS = {ATTENTION: 360, BASELINE: 560}
"""Training steps: about 75 seconds each on two cores with AVX-512 and bfloat16, whatever machine it is."""

# The baseline has the encoder and about the time of the attention learner, and the episodes that suit it best.
_BASELINE = (
    "learner={name: Prototypical, encoder: {name: Conv4, n_filters: [32, 64, 64, 64], norm: batch}}",
    "episodes.n_query=5",
    "train.tasks_per_step=2",
)
_TIMED_STEPS, _LONG = 40, 200
"""After how many steps the time left is known well enough, and how many seconds are worth a warning."""
_TARGET_ERROR = 0.2
"""Of the answers given. After a minute's training a lower one would leave hardly any answer."""


@dataclass
class _Stages:
    """Seconds of each stage, for the report."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - started


def quickstart(
    out: Path, *, minutes: float | None = None, seed: int = 0, n_episodes: int = 400, console: Console | None = None
) -> Path:
    """Train, test, explain, and write it all to `out`; returns the path of the report.

    Args:
        out: folder for checkpoints, `results.json` and `report.html`; a run that was stopped is resumed there.
        minutes: train each of the two learners for this long instead of a fixed number of steps; results then depend
            on how fast the machine is.
        seed: of everything.
        n_episodes: of each test.
        console: where to print; the terminal by default.

    Raises:
        StorageError: `out` cannot be written.
    """
    console = console or Console()
    stages = _Stages()
    settings = (
        "data.symbols=false",
        "train.validate_every=100",
        f"train.seed={seed}",
        f"evaluation_episodes={n_episodes}",
    )
    recipes = {}
    for name, special in ((ATTENTION, ()), (BASELINE, _BASELINE)):
        length = (f"train.steps={STEPS[name]}", "train.max_minutes=null")
        length = length if minutes is None else (f"train.max_minutes={minutes}",)
        recipes[name] = Recipe.read("glyphs", (*settings, *special, *length))
    with stages.stage("letters rendered"):
        data = load_data(recipes[ATTENTION].data)
        assert isinstance(data, LabelledData)
        check_disjoint(data.splits)
    trained: dict[str, TrainedLearner] = {}
    for name, recipe in recipes.items():
        length = f"{recipe.train.steps:,} steps" if minutes is None else f"{60 * minutes:.0f} seconds"
        console.print(f"[bold]{name}[/bold] trains for {length} on letters of {_scripts(data, 'train')}.")
        with stages.stage(f"{name} trained"):
            best = train_recipe(recipe, out / name, data=data, progress=_Announced(automatic(name), console))
        trained[name] = TrainedLearner.load(best)
    console.print(f"Now tasks of {_scripts(data, 'test')}, which neither has ever seen.")
    with stages.stage("tested"):
        results = _test(trained, data, seed)
    with stages.stage("calibrated"):
        few = max(4, n_episodes // 16)
        best = trained[ATTENTION].path
        assert best is not None
        calibrated = calibrate(best, target_error=_TARGET_ERROR, n_episodes=few, seed=seed + 5, data=data)
    write_whole(out / "checkpoint.safetensors", best.read_bytes())
    comparisons = compare_by_setting(results)
    show_results(results, comparisons, console)
    show_calibrated(calibrated, console)
    write_results(out / "results.json", results, comparisons)
    with stages.stage("explained"):
        attention = replace(trained[ATTENTION], confidence=calibrated.confidence)
        one_shot = recipes[ATTENTION].evaluation[0]
        examples = attention_examples(attention, data, one_shot, seed + 3)
        few = data.source("test", changed(one_shot, n_way=5, n_shot=3, n_query=2), seed + 4)
        trust = faithfulness(attention.learner, few.batches(40, 10), n_deleted=3)
    curves = [curve for name in recipes if (curve := training_curve(name, out / name)) is not None]
    page = out / "report.html"
    content = _content(results, comparisons, examples, trust, curves, data, stages, calibrated)
    write_report(page, content)
    return page


def _scripts(data: LabelledData, split: str) -> str:
    names = list(dict.fromkeys(data.split(split).class_groups))
    return ", ".join(names[:-1]) + " and " + names[-1]


class _Announced:
    """A progress that says once how long the training will take, where that is long."""

    def __init__(self, inner: Progress, console: Console) -> None:
        self._inner, self._console, self._said = inner, console, False

    def start(self, step: int, steps: int | None) -> None:
        self._inner.start(step, steps)

    def advance(self, report: Report) -> None:
        self._inner.advance(report)
        left = report.seconds_left
        if not self._said and left is not None and report.step >= _TIMED_STEPS:
            self._said = True
            if left > _LONG:
                self._console.print(
                    f"This machine needs about {left / 60:.0f} minutes for it; --minutes 2 stops earlier, with "
                    "results that depend on the machine."
                )

    def stop(self) -> None:
        self._inner.stop()


def _test(trained: dict[str, TrainedLearner], data: LabelledData, seed: int) -> list[Result]:
    baseline = data.domain.untrained_baseline()
    assert baseline is not None
    pixels, spec = baseline
    first = trained[ATTENTION]
    every = [*trained.values(), replace(first, learner=build_learner(spec).eval(), name=pixels)]
    # Another seed than training's: other classes, so not needed, but then nobody has to think about it.
    options = EvaluationOptions(seed=seed + 2)
    by_learner = [evaluate_learner(one, data, options, recipe=first.recipe) for one in every]
    # By setting first, then by learner: how a reader compares.
    return [result for setting in zip(*by_learner, strict=True) for result in setting]


def _confusion(result: Result, data: LabelledData, script: str) -> ConfusionMatrix:
    """Which letters of one alphabet were taken for which."""
    assert result.confusion is not None
    test = data.split("test")
    classes = [c for c, group in enumerate(test.class_groups) if group == script]
    position = {c: i for i, c in enumerate(classes)}
    matrix = np.zeros((len(classes), len(classes)))
    found = result.confusion
    for true, predicted, count in zip(found.true, found.predicted, found.count, strict=True):
        if int(true) in position and int(predicted) in position:
            matrix[position[int(true)], position[int(predicted)]] += count
    first = torch.tensor([int((test.y == c).nonzero()[0, 0]) for c in classes])
    names = [data.domain.class_title(test.class_names[c]) for c in classes]
    return ConfusionMatrix(script, matrix, [data.domain.render(x) for x in first_tensor(test.rows(first))], names)


def _content(
    results: Sequence[Result],
    comparisons: Sequence[Comparison],
    examples: Sequence[AttentionExample],
    trust: Faithfulness,
    curves: Sequence[TrainingCurve],
    data: LabelledData,
    stages: _Stages,
    calibrated: Calibrated,
) -> ReportContent:
    one_shot = next(r for r in results if r.learner == ATTENTION)
    accuracy = one_shot.metrics["accuracy"]
    test = data.split("test")
    script = min(set(test.class_groups), key=lambda s: (test.class_groups.count(s), s))
    sentence = (
        f"After {int(curves[0].step[-1]):,} steps ({curves[0].seconds:.0f} seconds) of training on "
        f"{data.split('train').n_classes} letters of {_scripts(data, 'train')}, the learner was shown one drawing of "
        "each of 20 letters of an alphabet it had never seen, and labelled new drawings of them correctly "
        f"**{100 * accuracy.mean:.1f}%** of the time "
        f"(95% interval {100 * accuracy.low:.1f} to {100 * accuracy.high:.1f})."
    )
    d = trust.difference
    believed = (
        f"Deleting the most attended example lowers the probability of its answer by {100 * trust.top.mean:.1f} "
        f"points, another example of the same letter by {100 * trust.random.mean:.1f}; the difference is "
        f"{100 * d.mean:.1f} points [{100 * d.low:.1f}, {100 * d.high:.1f}] over 40 tasks of 5 letters with 3 drawings."
    )
    facts = {**{k: str(v) for k, v in machine().items()}, **{k: str(v) for k, v in versions().items()}}
    facts |= {
        "command": command_line(),
        "date": datetime.date.today().isoformat(),
        "seed of the tests": str(one_shot.seed),
    }
    return ReportContent(
        title="Letters it had never seen",
        sentence=sentence,
        results=results,
        comparisons=comparisons,
        learner=ATTENTION,
        confidence=ConfidenceSection(
            calibrated.confidence, calibrated.report, calibrated.n_known, calibrated.n_unknown
        ),
        examples=examples,
        faithfulness=believed,
        confusions=[_confusion(one_shot, data, script)],
        curves=curves,
        facts=facts,
        stages=stages.seconds,
        caveats=(
            "These are letters of computer typefaces, bent at random, not handwriting.",
            f"Tests are letters of {_scripts(data, 'test')}; no training letter looks like one of them.",
            "Intervals are of the mean over tasks, for this one trained learner; another training run differs.",
            "Prototypical has the same four convolutions and about the same time; the pixels were not trained at all.",
        ),
    )

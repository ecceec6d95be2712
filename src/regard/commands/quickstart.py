"""`regard quickstart`: practise on letters, meet alphabets never seen, answer, and show what was attended to."""

from __future__ import annotations

import csv
import datetime
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from regard.commands.calibrate import Calibrated, calibrate, show_calibrated
from regard.commands.show import show_results
from regard.episode import Episode, Support
from regard.evaluation import Comparison, Result, write_results
from regard.evaluation.confidence import Confidence
from regard.evaluation.provenance import command_line, machine, versions
from regard.explain.faithfulness import Faithfulness, faithfulness
from regard.explain.saliency import saliency_maps
from regard.files import write_whole
from regard.learners import NearestNeighbour
from regard.learners.base import Learner, PartAttendingLearner
from regard.nn.flat import Flat
from regard.recipes.config import Episodes, Recipe
from regard.recipes.data import Data, episode_sampler, load_data
from regard.recipes.run import Asked, Loaded, compare_by_setting, evaluate_learner, load, train_recipe
from regard.report import Certainty, ConfusionPicture, Curve, Look, ReportContent, write_report
from regard.sampling.dataset import Dataset
from regard.sampling.splits import check_disjoint

ATTENTION, BASELINE, PIXELS = "CrossTransformer", "Prototypical", "NearestNeighbour (pixels)"

# The baseline has the encoder and the time of the attention learner, and the shape that suits it best.
_BASELINE = (
    "learner={name: Prototypical, encoder: {name: Conv4, n_filters: [32, 64, 64, 64], norm: batch}}",
    "episodes.n_query=5",
    "train.tasks_per_step=2",
)
_N_LOOKS = 12
_TARGET_ERROR = 0.2
"""Of the answers given. After a minute's practice a lower one would leave hardly any answer."""


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
    out: Path, *, minutes: float = 1.25, seed: int = 0, n_episodes: int = 400, console: Console | None = None
) -> Path:
    """Train, test, explain, and write it all to `out`; returns the path of the report.

    Args:
        out: folder for checkpoints, `results.json` and `report.html`; a run that was stopped goes on there.
        minutes: practice for each of the two trained learners.
        seed: of everything.
        n_episodes: of each test.
        console: where to talk; the terminal, if left out.

    Raises:
        StorageError: `out` cannot be written.
    """
    console = console or Console()
    stages = _Stages()
    settings = (
        "data.symbols=false",
        "train.validate_every=100",
        f"train.max_minutes={minutes}",
        f"train.seed={seed}",
        f"evaluation_episodes={n_episodes}",
    )
    recipes = {ATTENTION: Recipe.read("glyphs", settings), BASELINE: Recipe.read("glyphs", (*settings, *_BASELINE))}
    with stages.stage("letters rendered"):
        data = load_data(recipes[ATTENTION].data)
        assert isinstance(data, Data)
        check_disjoint(data.parts)
    loaded: dict[str, Loaded] = {}
    for name, recipe in recipes.items():
        console.print(
            f"[bold]{name}[/bold] practises for {60 * minutes:.0f} seconds on letters of {_scripts(data, 'train')}."
        )
        with stages.stage(f"{name} trained"):
            loaded[name] = load(train_recipe(recipe, out / name, data=data))
    console.print(f"Now tasks of {_scripts(data, 'test')}, which neither has ever seen.")
    with stages.stage("tested"):
        results = _test(loaded, data, seed)
    with stages.stage("made sure"):
        few = max(4, n_episodes // 16)
        best = loaded[ATTENTION].path
        sure = calibrate(best, target_error=_TARGET_ERROR, n_episodes=few, seed=seed + 5, data=data)
    write_whole(out / "checkpoint.safetensors", loaded[ATTENTION].path.read_bytes())
    comparisons = compare_by_setting(results)
    show_results(results, comparisons, console)
    show_calibrated(sure, console)
    write_results(out / "results.json", results, comparisons)
    with stages.stage("explained"):
        gallery = _Gallery(loaded[ATTENTION].learner, data.part("test"), sure.confidence)
        looks, trust = _explain(gallery, recipes[ATTENTION].evaluation[0], seed)
    page = out / "report.html"
    content = _content(results, comparisons, looks, trust, _curves(out, list(recipes)), data, stages, sure)
    write_report(page, content)
    return page


def _scripts(data: Data, part: str) -> str:
    names = list(dict.fromkeys(data.part(part).class_groups))
    return ", ".join(names[:-1]) + " and " + names[-1]


def _test(loaded: dict[str, Loaded], data: Data, seed: int) -> list[Result]:
    # Another seed than training's: other classes, so not needed, but then nobody has to think about it.
    asked = Asked(seed=seed + 2)
    learners: dict[str, Learner] = {name: one.learner for name, one in loaded.items()}
    learners[PIXELS] = NearestNeighbour(Flat())
    first = loaded[ATTENTION]
    by_learner = [evaluate_learner(first, data, asked, name=name, learner=one) for name, one in learners.items()]
    # By setting first, then by learner: how a reader compares.
    return [result for setting in zip(*by_learner, strict=True) for result in setting]


@dataclass(frozen=True)
class _Gallery:
    """What a look needs to know."""

    learner: Learner
    test: Dataset
    confidence: Confidence


def _explain(gallery: _Gallery, one_shot: Episodes, seed: int) -> tuple[list[Look], Faithfulness]:
    assert isinstance(one_shot.n_query, int) and isinstance(one_shot.n_way, int)
    # The first queries of the first episodes: not chosen for being right or for looking good. One class more than is
    # known: its example is taken away, and its first query is a stranger.
    numbers = range(4)
    sampler = episode_sampler(one_shot.model_copy(update={"n_way": one_shot.n_way + 1}), gallery.test, seed + 3)
    episode, rows = sampler(numbers), sampler.rows(numbers).support
    n_known, each = one_shot.n_way * one_shot.n_query, one_shot.n_query
    asked = [*range(0, each * _N_LOOKS // len(numbers), each), n_known]
    looks = [
        _look(gallery, episode.tasks(slice(b, b + 1)), rows[b], query, one_shot.n_way)
        for b in numbers
        for query in asked
    ]
    few = episode_sampler(Episodes(n_way=5, n_shot=3, n_query=2, within_groups=True), gallery.test, seed + 4)
    return looks, faithfulness(gallery.learner, few.batches(40, 10), n_deleted=3)  # type: ignore[arg-type]


def _look(gallery: _Gallery, task: Episode, rows: torch.Tensor, query: int, n_known: int) -> Look:
    learner = gallery.learner
    assert isinstance(learner, PartAttendingLearner) and isinstance(task.support.x, torch.Tensor)
    kept = task.support.y[0] < n_known
    support = Support(task.support.x[:, kept], task.support.y[:, kept], task.support.weight[:, kept], n_known)
    truth = int(task.query_y[0, query])
    known = truth < n_known
    y = task.query_y[:, query : query + 1].clamp_max(n_known - 1)
    one = Episode(support, task.query_x[:, query : query + 1], y)  # type: ignore[index]
    seen = saliency_maps(learner, one)
    with torch.inference_mode():
        state = learner.adapt(one.support)
        weight = learner.attend(state, one.query_x)[0, 0].numpy()
        logits = learner.predict(state, one.query_x)[0, 0]  # type: ignore[index]
    # A support picture's own map, as bright as the share of the answer it carried.
    heat = seen.support[0, 0] * weight[:, None, None]
    argued = np.clip(seen.query[0, 0], 0, None)
    images = [np.asarray(x) for x in (one.query_x[0, 0], support.x[0])]  # type: ignore[index]
    letters = dict(zip(task.support.y[0].tolist(), gallery.test.y[rows].tolist(), strict=True))
    names = [_letter(gallery.test.class_names[letters[k]]) for k in range(n_known + 1)]
    return Look(
        query=images[0],
        support=images[1],
        support_label=support.y[0].numpy(),
        names=names[:n_known],
        weight=weight,
        heat=heat / max(float(heat.max()), 1e-12),
        query_heat=argued / max(float(argued.max()), 1e-12),
        predicted=int(seen.predicted[0, 0]),
        true=truth if known else None,
        probability=float(gallery.confidence.probabilities(logits).amax()),
        answered=bool(gallery.confidence.answers(logits)),
        stranger="" if known else names[truth],
    )


def _letter(name: str) -> str:
    """ "Georgian/U+2D04" for people: the letter itself, then its script."""
    script, _, code = name.partition("/U+")
    return f"{chr(int(code, 16))} {script}"


def _confusion(result: Result, test: Dataset, script: str) -> ConfusionPicture:
    """Which letters of one alphabet were taken for which."""
    assert result.confusion is not None
    classes = [c for c, group in enumerate(test.class_groups) if group == script]
    place = {c: i for i, c in enumerate(classes)}
    matrix = np.zeros((len(classes), len(classes)))
    found = result.confusion
    for true, predicted, count in zip(found.true, found.predicted, found.count, strict=True):
        if int(true) in place and int(predicted) in place:
            matrix[place[int(true)], place[int(predicted)]] += count
    first = torch.tensor([int((test.y == c).nonzero()[0, 0]) for c in classes])
    names = [_letter(test.class_names[c]) for c in classes]
    return ConfusionPicture(script, matrix, np.asarray(test.rows(first)), names)


def _curves(out: Path, names: Sequence[str]) -> list[Curve]:
    curves = []
    for name in names:
        with (out / name / "metrics.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        trained = [(int(r["step"]), float(r["loss"])) for r in rows if r["loss"]]
        asked = [(int(r["step"]), float(r["validation_accuracy"])) for r in rows if r["validation_accuracy"]]
        (step, loss), (at, accuracy) = (np.array(pairs).reshape(-1, 2).T for pairs in (trained, asked))
        curves.append(Curve(name, step, loss, at, accuracy, float(rows[-1]["seconds"])))
    return curves


def _content(
    results: Sequence[Result],
    comparisons: Sequence[Comparison],
    looks: Sequence[Look],
    trust: Faithfulness,
    curves: Sequence[Curve],
    data: Data,
    stages: _Stages,
    sure: Calibrated,
) -> ReportContent:
    one_shot = next(r for r in results if r.learner == ATTENTION)
    accuracy = one_shot.metrics["accuracy"]
    test = data.part("test")
    script = min(set(test.class_groups), key=lambda s: (test.class_groups.count(s), s))
    sentence = (
        f"After {curves[0].seconds:.0f} seconds of practice on {data.part('train').n_classes} letters of "
        f"{_scripts(data, 'train')}, the learner was shown one drawing of each of 20 letters of an alphabet it had "
        f"never seen, and named new drawings of them right **{100 * accuracy.mean:.1f}%** of the time "
        f"(95% interval {100 * accuracy.low:.1f} to {100 * accuracy.high:.1f})."
    )
    d = trust.difference
    believed = (
        f"Taking away the example it looked at most lowers the probability of its answer by {100 * trust.top.mean:.1f} "
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
        certainty=Certainty(sure.confidence, sure.report, sure.n_known, sure.n_unknown),
        looks=looks,
        faithfulness=believed,
        confusions=[_confusion(one_shot, test, script)],
        curves=curves,
        facts=facts,
        stages=stages.seconds,
        caveats=(
            "These are letters of computer typefaces, bent at random, not handwriting.",
            f"Tests are letters of {_scripts(data, 'test')}; no letter of practice looks like one of them.",
            "Intervals say how sure the mean over tasks is for this one trained learner; another training run differs.",
            "Prototypical has the same four convolutions and the same minutes; the pixels were not trained at all.",
        ),
    )

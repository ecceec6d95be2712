"""Learners on the graph of support and queries beside Prototypical: one encoder, the same steps, the same test episodes.

    python benchmarks/graphs.py --data FOLDER [--only TPN] [--on photographs] [--steps N]

FOLDER holds the folders omniglot and caltech101, as for `paper_tables.py`. "omniglot" and "caltech" train the encoder
from scratch; "photographs" stands on the pretrained body of `photos.py`, frozen (extra `pretrained`), and is evaluated on
the 18 classes that splits.json keeps for validation. Results are written after every learner, and the others stay as
they were measured. A learner whose folder under --runs is complete is not trained again, and one that
was interrupted is resumed. The table of molecules is made by `molecules.py`, with the same learners at equal steps.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does; before PyTorch is loaded

import numpy as np

from common import (
    Document,
    Section,
    argument_parser,
    episodes_of,
    made_by,
    percent,
    read_document,
    render_after,
    summarised,
    table,
)
from regard.commands.show import show_results
from regard.evaluation import read_results, write_results
from regard.learners.base import Learner
from regard.recipes.components import build_learner
from regard.recipes.config import Recipe
from regard.recipes.data import load_data
from regard.recipes.run import EvaluationOptions, compare_by_setting, evaluate_learner, learner_spec, train_recipe
from regard.recipes.trained import load

BASELINE = "Prototypical"
LEARNERS = {
    BASELINE: "name: Prototypical, scale: 0.1",
    "FewShotGNN": "name: FewShotGNN",
    "EGNN": "name: EGNN",
    "TPN": "name: TPN",
}
ON_UNIT_VECTORS = {BASELINE: "name: Prototypical, compare: cosine, scale: 20.0"}
"""Where the encoder gives vectors of length 1."""
UNTRAINED = {("photographs", BASELINE)}
"""On a frozen body nothing is left to train."""


def _tasks(way: int, n_query: int, more: str = "") -> str:
    return f"{{n_way: {way}, n_shot: 1, n_query: {n_query}{more}}}"


_ROTATED = ", rotations: true"
_COMMON = (
    "train.tasks_per_step=2",
    "train.learning_rate=0.002",
    "train.validate_every=200",
    "train.validation_episodes=50",
    "train.precision=32-true",
)
_CALTECH = (
    f"episodes={_tasks(10, 5)}",
    f"validation={_tasks(5, 15)}",
    "evaluation=[{n_way: 5, n_shot: 1, n_query: 15}, {n_way: 5, n_shot: 5, n_query: 15}]",
)
SETTINGS: dict[str, tuple[str, int, tuple[str, ...]]] = {
    "omniglot": (
        "{name: Conv4, n_filters: [16, 32, 64, 64], norm: batch}",
        400,
        (
            "data={name: omniglot, folder: FOLDER/omniglot}",
            f"episodes={_tasks(10, 3, _ROTATED)}",
            f"validation={_tasks(5, 5, _ROTATED)}",
            "evaluation=["
            + ", ".join(f"{{n_way: {w}, n_shot: {s}, n_query: 5{_ROTATED}}}" for w, s in ((5, 1), (5, 5), (20, 1)))
            + "]",
        ),
    ),
    "caltech": (
        "{name: Conv4, norm: batch}",
        400,
        (
            "data={name: packed, file: FOLDER/caltech101/caltech32_shared.npz, split: FOLDER/caltech101/splits.json}",
            *_CALTECH,
        ),
    ),
    "photographs": (
        "{name: PhotoStages, stages: head}",
        200,
        (
            "data={name: packed, file: FOLDER/caltech101/caltech84_jpeg_shared.npz, "
            "split: FOLDER/caltech101/splits.json}",
            *_CALTECH,
            "episodes={n_way: 5, n_shot: [1, 5], n_query: 5}",
        ),
    ),
}
"""Encoder, steps and other settings."""


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(
        __doc__,
        SECTIONS,
        "graphs.json",
        data="the folder that holds the folders omniglot and caltech101",
        seed=2,
        only=tuple(LEARNERS),
    )
    made.add_argument("--on", nargs="+", choices=tuple(SETTINGS), default=tuple(SETTINGS), help="data sets")
    made.add_argument("--steps", type=int, help="of training (default: the data set's)")
    made.add_argument("--episodes", type=int, default=300)
    made.add_argument("--runs", type=Path, default=Path("runs/graphs"))
    return made


def main() -> None:
    """Train what is missing, test everything, write the raw results."""
    arguments = parser().parse_args()
    for data_set in arguments.on:
        encoder, steps, settings = SETTINGS[data_set]
        placed = tuple(setting.replace("FOLDER", str(arguments.data)) for setting in settings)
        steps = arguments.steps or steps
        data = load_data(Recipe.read("omniglot", placed).data)
        described = LEARNERS | (ON_UNIT_VECTORS if data_set == "photographs" else {})
        for name in arguments.only or LEARNERS:
            recipe = Recipe.read(
                "omniglot",
                (
                    *_COMMON,
                    *placed,
                    f"learner={{{described[name]}, encoder: {encoder}}}",
                    f"train.steps={steps}",
                    f"evaluation_episodes={arguments.episodes}",
                ),
            )
            if (data_set, name) in UNTRAINED:
                source: Learner | Path = build_learner(learner_spec(recipe, data)).eval()
            else:
                source = train_recipe(recipe, arguments.runs / data_set / name, data=data)
            trained = replace(load(source), name=name)
            found = evaluate_learner(trained, data, EvaluationOptions(seed=arguments.seed), recipe=recipe)
            # Read only now: another process may have filled in other learners meanwhile.
            results = read_results(arguments.out)[0] if arguments.out.exists() else []
            before = read_document(arguments.out).get("settings", {})
            new = {(r.learner, r.data) for r in found}
            results = [*(r for r in results if (r.learner, r.data) not in new), *found]
            order = list(LEARNERS)
            results.sort(key=lambda r: (r.data, r.n_way, r.n_shot, order.index(r.learner)))
            pairs = [c for c in compare_by_setting(results) if c.b == BASELINE or c.a == BASELINE]
            write_results(
                arguments.out,
                results,
                [c for c in pairs if c.metric == "accuracy"],
                raw=True,
                settings={**before, f"{data_set} steps": str(steps)},
                command="python benchmarks/graphs.py --data FOLDER",
            )
            show_results(found, [])
    render_after(arguments, SECTIONS)


def section(document: Document) -> str:
    """Accuracy of every learner, and its distance from the baseline."""
    results, comparisons = summarised(document)
    blocks = []
    for data in dict.fromkeys(r.data for r in results):
        rows = []
        for r in (r for r in results if r.data == data):
            above = [
                100
                * (1 if c.a == r.learner else -1)
                * np.array([c.difference.mean, c.difference.low, c.difference.high])
                for c in comparisons
                if {c.a, c.b} == {r.learner, BASELINE} and (c.data, c.n_way, c.n_shot) == (data, r.n_way, r.n_shot)
            ]
            difference = [f"{d[0]:+.2f} [{d[1:].min():+.2f}, {d[1:].max():+.2f}]" for d in above]
            name = f"{r.learner} (transductive)" if r.transductive else r.learner
            cost = f"{1000 * (r.adaptation_seconds or 0):.3g}"
            rows.append([episodes_of(r), name, percent(r), *(difference or [""]), cost])
        head = ["task", "learner", "accuracy", f"points above {BASELINE}", "ms to adapt"]
        blocks += [f"### {data}", table(head, rows)]
    steps = ", ".join(f"{name} {n}" for name, n in document["settings"].items())
    return "\n\n".join([*blocks, f"Training: {steps}.", made_by(document)])


SECTIONS = (Section("graphs", "graphs.json", section),)


if __name__ == "__main__":
    main()

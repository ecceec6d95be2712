"""What bf16 costs in accuracy: Prototypical on the glyphs, trained in fp32 and in bf16, evaluated on the same tasks.

    python benchmarks/bf16_cost.py [--steps 500] [--seeds 3] [--episodes 1000]

Both precisions take the same number of steps on the same episodes from the same weights, once per seed, and are then
evaluated in fp32. The weights that fp32 trained are also evaluated in bf16. Each difference is paired over the same
episodes; how far the seeds' differences lie apart says what chance in training does. Writes
benchmarks/results/bf16_cost.json.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does; before PyTorch is loaded

import numpy as np
import torch

from common import (
    Document,
    Section,
    argument_parser,
    command_line,
    episodes_of,
    made_by,
    or_tie,
    percent,
    points,
    render_after,
    summarised,
    table,
)
from regard.domains.data import Data
from regard.evaluation import Comparison, Interval, Result, compare, mean_interval, write_results
from regard.recipes.config import Recipe
from regard.recipes.data import load_data
from regard.recipes.run import EvaluationOptions, evaluate_learner, train_recipe
from regard.recipes.trained import load

_ENCODER = "{name: Conv4, n_filters: [32, 64, 64, 64], norm: batch}"
_SETTINGS = (
    "data.symbols=false",
    f"learner={{name: Prototypical, encoder: {_ENCODER}}}",
    "episodes.n_query=5",
    "train.tasks_per_step=2",
    "train.max_minutes=null",
    "train.validate_every=1000000",
)
PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(__doc__, SECTIONS, "bf16_cost.json", seed=2)
    made.add_argument("--steps", type=int, default=500)
    made.add_argument("--seeds", type=int, default=3, help="seeds of training: 0, 1, ...")
    made.add_argument("--episodes", type=int, default=1000)
    made.add_argument("--runs", type=Path, default=Path("runs/bf16_cost"))
    return made


def main() -> None:
    """Train what is missing, evaluate, write."""
    arguments = parser().parse_args()
    data = load_data(Recipe.read("glyphs", _SETTINGS).data)
    results: list[Result] = []
    comparisons: list[Comparison] = []
    for seed in range(arguments.seeds):
        of_seed = [results_of(arguments, seed, trained, "fp32", data) for trained in PRECISIONS]
        of_seed.append(results_of(arguments, seed, "fp32", "bf16", data))
        for fp32, *others in zip(*of_seed, strict=True):
            comparisons += [c for other in others for c in compare([other, fp32], ["accuracy"])]
        results += [result for several in of_seed for result in several]
        print("seed", seed, *(f"{c.a} - {c.b}: {c.difference}" for c in comparisons), sep="\n", flush=True)
    settings = {"steps": arguments.steps, "seeds": arguments.seeds, "over seeds": over_seeds(comparisons)}
    write_results(arguments.out, results, comparisons, settings=settings, command=command_line())
    render_after(arguments, SECTIONS)


def results_of(arguments: argparse.Namespace, seed: int, trained: str, evaluated: str, data: Data) -> list[Result]:
    """One learner's results: trained in one precision, unless that was done before, and evaluated in one."""
    train = (f"train.steps={arguments.steps}", f"train.seed={seed}", f"train.precision={PRECISIONS[trained]}")
    recipe = Recipe.read("glyphs", (*_SETTINGS, *train))
    loaded = load(train_recipe(recipe, arguments.runs / f"{trained}-{seed}", data=data))
    name = f"trained in {trained}, evaluated in {evaluated}, seed {seed}"
    with torch.autocast("cpu", torch.bfloat16, enabled=evaluated == "bf16"):
        return evaluate_learner(
            loaded.named(name), data, EvaluationOptions(seed=arguments.seed, episodes=arguments.episodes)
        )


def over_seeds(comparisons: list[Comparison]) -> list[dict[str, Any]]:
    """Mean of the seeds' paired differences, and its interval over seeds, for each way of using bf16."""
    groups: dict[tuple[str, Any, Any], list[float]] = {}
    for c in comparisons:
        groups.setdefault((c.a.rpartition(",")[0], c.n_way, c.n_shot), []).append(c.difference.mean)
    return [
        {"what": what, "n_way": n_way, "n_shot": n_shot, **_interval(differences)}
        for (what, n_way, n_shot), differences in groups.items()
    ]


def _interval(differences: list[float]) -> dict[str, float]:
    interval = mean_interval(np.array(differences))
    return {"mean": interval.mean, "low": interval.low, "high": interval.high}


def section(document: Document) -> str:
    """Accuracy in bf16 less that in fp32."""
    results, comparisons = summarised(document)
    settings = document["settings"]
    rows = [[r.learner, episodes_of(r), r.episodes, percent(r)] for r in results]
    paired = [f"- {episodes_of(c)}, {c.a} - {c.b}: {points(c.difference)}{or_tie(c)}" for c in comparisons]
    means = [
        f"- {d['n_way']}-way {d['n_shot']}-shot, {d['what']}: {points(Interval(d['mean'], d['low'], d['high']))}"
        for d in settings["over seeds"]
    ]
    return "\n\n".join(
        [
            f"## What bf16 costs: Prototypical on the glyphs, {settings['steps']} steps, {settings['seeds']} seeds",
            table(["learner", "episodes", "number", "accuracy"], rows),
            "Paired differences of accuracy, over the same episodes:",
            "\n".join(paired),
            "The mean of the seeds' differences from training and evaluating in fp32, its interval over seeds:",
            "\n".join(means),
            made_by(document),
        ]
    )


SECTIONS = (Section("bf16_cost", "bf16_cost.json", section),)


if __name__ == "__main__":
    main()

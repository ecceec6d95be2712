"""The data-hunger curve on the glyphs: accuracy on unseen letters against the number of training letters.

    python benchmarks/data_hunger.py [--steps 600] [--classes 16 64 256] [--episodes 400] [--runs runs/data_hunger]

Every learner takes as many steps at every point, on nested and seeded letters of the training scripts, in tasks as wide
as the smallest number of letters allows; the last point is all letters. Steps and not minutes, so that a machine with other work gives
the same curve. Pixels and an untrained encoder are the baselines. What was trained before (its folder under --runs is
complete) is not trained again. Writes results/data_hunger.json with per-episode values, and docs/data_hunger.png.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does; before PyTorch is loaded

from common import (
    DOCS,
    Document,
    Section,
    argument_parser,
    command_line,
    episodes_of,
    made_by,
    percent,
    render_after,
    summarised,
    table,
)
from regard.evaluation import write_results
from regard.files import write_whole
from regard.recipes.run import EvaluationOptions
from regard.suite import run_suite, show_suite
from regard.suite.hunger import curve_picture


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(__doc__, SECTIONS, "data_hunger.json", seed=2)
    made.add_argument("--steps", type=int, default=600)
    made.add_argument("--classes", type=int, nargs="+", default=[16, 64, 256])
    made.add_argument("--episodes", type=int, default=400)
    made.add_argument("--learners", nargs="+", default=["Prototypical", "CrossTransformer"])
    made.add_argument("--runs", type=Path, default=Path("runs/data_hunger"))
    made.add_argument("--picture", type=Path, default=DOCS / "data_hunger.png")
    return made


def main() -> None:
    """Train what is missing, test everything, write the raw results and the picture."""
    arguments = parser().parse_args()
    settings = (
        "data.symbols=false",
        "train.max_minutes=null",
        f"train.steps={arguments.steps}",
        f"train.validate_every={max(1, arguments.steps // 4)}",
        "train.tensorboard=false",
    )
    suite = run_suite(
        "glyphs",
        settings,
        out=arguments.runs,
        learners=arguments.learners,
        classes=arguments.classes,
        options=EvaluationOptions(episodes=arguments.episodes, seed=arguments.seed),
    )
    show_suite(suite)
    results = [result for found in suite.curve.values() for result in found]
    points = [n for n, found in suite.curve.items() for _ in found]
    seconds = {name: entry.cost.training_seconds for name, entry in suite.entries.items()}
    about = {
        "steps": arguments.steps,
        "classes": points,  # of each result
        "baselines": suite.baselines,
        "training": suite.entries[arguments.learners[0]].trained.require_recipe().episodes.title(),
        "seconds": seconds,
    }
    write_results(arguments.out, results, suite.comparisons, raw=True, settings=about, command=command_line())
    write_whole(arguments.picture, curve_picture(suite.curve, suite.baselines))
    render_after(arguments, SECTIONS)


def section(document: Document) -> str:
    """Accuracy against the number of training classes."""
    results, _ = summarised(document)
    settings = document["settings"]
    numbers = sorted(set(settings["classes"]))
    found = {(r.learner, episodes_of(r), n): percent(r) for r, n in zip(results, settings["classes"], strict=True)}
    rows = []
    for name, episodes in dict.fromkeys(key[:2] for key in found):
        # A baseline is not trained, and so is the same at every number.
        constant = found.get((name, episodes, numbers[-1]), "") if name in settings["baselines"] else ""
        rows.append([name, episodes, *(found.get((name, episodes, n), constant) for n in numbers)])
    return "\n\n".join(
        [
            f"## Unseen letters, against the number of training letters: {settings['steps']} steps each",
            "![accuracy against the number of training classes](../data_hunger.png)",
            table(["learner", "episodes", *(f"{n:,} letters" for n in numbers)], rows),
            f"Training is {settings['training']} at every point, on nested letters of all training scripts; one training "
            "run each. Accuracy in percent ± half-width of the 95% interval.",
            made_by(document),
        ]
    )


SECTIONS = (Section("data_hunger", "data_hunger.json", section),)


if __name__ == "__main__":
    main()

"""A trained recipe evaluated by its own evaluation, with what its training was.

    regard train glyphs; python benchmarks/recipes.py glyphs
    regard train maml_omniglot --set data.folder=FOLDER; python benchmarks/recipes.py maml_omniglot --data FOLDER

Writes benchmarks/results/RECIPE_recipe.json.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does; before PyTorch is loaded

from common import (
    RESULTS,
    Document,
    Section,
    argument_parser,
    command_line,
    episodes_of,
    made_by,
    or_tie,
    packed_test,
    percent,
    points,
    render_after,
    summarised,
    table,
)
from regard.commands.show import show_results
from regard.evaluation import write_results
from regard.recipes.run import EvaluationOptions, evaluate_learner
from regard.recipes.trained import load

RECIPES = ("glyphs", "maml_omniglot")


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(
        __doc__,
        SECTIONS,
        "RECIPE_recipe.json",
        data="the folder of the recipe's data, where it reads any",
        test="packed images (.npz)",
        data_required=False,
        seed=0,
    )
    made.add_argument("recipe", choices=RECIPES)
    made.add_argument("--run", type=Path, help="folder of the trained run (default runs/RECIPE)")
    return made


def main() -> None:
    """Evaluate, print, write."""
    arguments = parser().parse_args()
    settings = packed_test(arguments.test) if arguments.test else []
    if arguments.data and not arguments.test:
        settings = [f"data.folder={arguments.data}"]
    loaded = load(arguments.run or Path("runs") / arguments.recipe, settings)
    results = evaluate_learner(loaded, loaded.data(), EvaluationOptions(seed=arguments.seed))
    show_results(results, [])
    if arguments.out == RESULTS / "RECIPE_recipe.json":
        arguments.out = RESULTS / f"{arguments.recipe}_recipe{'_test' if arguments.test else ''}.json"
    about = {"recipe": arguments.recipe, "steps": loaded.require_recipe().train.steps}
    write_results(arguments.out, results, settings=about, command=command_line())
    render_after(arguments, SECTIONS)


def trained_section(document: Document, title: str) -> str:
    """Accuracy of trained learners and what stands beside them, and paired differences."""
    results, comparisons = summarised(document)
    is_timed = any(r.adaptation_seconds is not None for r in results)
    heads = ["learner", "episodes", "number", "accuracy", "precision", "recall", "F1", *["ms to adapt"] * is_timed]
    rows = []
    for r in results:
        name = f"{r.learner}{' (transductive)' if r.transductive else ''}"
        milliseconds = [f"{1000 * (r.adaptation_seconds or 0):.3g}"] * is_timed
        metrics = (percent(r, metric) for metric in ("accuracy", "precision", "recall", "f1"))
        rows.append([name, episodes_of(r), r.episodes, *metrics, *milliseconds])
    blocks = [f"## {title}", table(heads, rows)]
    differences = [
        f"- {c.a} - {c.b}, {episodes_of(c)}: {points(c.difference, 1)}{or_tie(c)}"
        for c in comparisons
        if c.metric == "accuracy"
    ]
    blocks += ["Paired differences of accuracy:", "\n".join(differences)] if differences else []
    if settings := document.get("settings"):
        blocks.append(f"{'; '.join(f'{key}: {value}' for key, value in settings.items())}.")
    return "\n\n".join([*blocks, made_by(document)])


SECTIONS = (
    Section("glyphs_recipe", "glyphs_recipe.json", lambda d: trained_section(d, "Unseen letters, the recipe `glyphs`")),
    Section(
        "maml_omniglot_recipe",
        "maml_omniglot_recipe.json",
        lambda d: trained_section(d, "Omniglot, rotations as classes, the recipe `maml_omniglot`"),
    ),
)


if __name__ == "__main__":
    main()

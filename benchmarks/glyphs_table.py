"""Every learner on the glyphs: encoders of the same width, the same minutes of training, the very same test episodes.

    python benchmarks/glyphs_table.py [--minutes 1.25] [--episodes 400] [--only Prototypical R2D2]

Writes benchmarks/results/glyphs_table.json with per-episode values. A learner that was trained before (its folder under
--runs is complete) is not trained again. The linear probe uses the encoder that Prototypical trained.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does; before PyTorch is loaded

from common import (
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
from regard.commands.show import show_results
from regard.evaluation import Result, write_results
from regard.learners import LinearProbe, NearestNeighbour, Prototypical
from regard.learners.base import Learner
from regard.nn.flat import Flat
from regard.recipes.config import Recipe
from regard.recipes.data import load_data
from regard.recipes.run import EvaluationOptions, compare_by_setting, evaluate_learner, train_recipe
from regard.recipes.trained import TrainedLearner, load

_VECTOR = "{name: Conv4, n_filters: [32, 64, 64, 64], norm: batch}"
_MAPS = "{name: Conv4, n_filters: [32, 64, 64, 64], norm: batch, n_halvings: 2, parts: true}"
# The cheap heads get more queries per step, which suits them; time is what is held equal.
_CHEAP = ("episodes.n_query=5", "train.tasks_per_step=2")
LEARNERS: dict[str, tuple[str, ...]] = {
    "Siamese": (f"learner={{name: Siamese, encoder: {_VECTOR}}}", *_CHEAP),
    "Triplet": (f"learner={{name: Triplet, encoder: {_VECTOR}}}", *_CHEAP),
    "Matching": (f"learner={{name: Matching, encoder: {_VECTOR}}}", *_CHEAP),
    "Prototypical": (f"learner={{name: Prototypical, encoder: {_VECTOR}}}", *_CHEAP),
    "Relation": (f"learner={{name: Relation, encoder: {_MAPS}}}", "train.tasks_per_step=2"),
    "FEAT": (f"learner={{name: FEAT, encoder: {_VECTOR}}}", *_CHEAP),
    "CrossTransformer": (),
    "R2D2": (f"learner={{name: R2D2, encoder: {_VECTOR}}}", *_CHEAP),
    "MetaOptNet": (f"learner={{name: MetaOptNet, scale: 10, encoder: {_VECTOR}}}", *_CHEAP),
    "WeightGenerator": (f"learner={{name: WeightGenerator, encoder: {_VECTOR}}}", *_CHEAP),
    "VERSA": (f"learner={{name: VERSA, encoder: {_VECTOR}}}", *_CHEAP),
    "CNAPs": (f"learner={{name: CNAPs, encoder: {_VECTOR}}}", *_CHEAP),
}


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(__doc__, SECTIONS, "glyphs_table.json", seed=2, only=tuple(LEARNERS))
    made.add_argument("--minutes", type=float, default=1.25, help="of training, each learner")
    made.add_argument("--episodes", type=int, default=400)
    made.add_argument("--runs", type=Path, default=Path("runs/glyphs_table"))
    return made


def main() -> None:
    """Train what is missing, test everything, write the raw results."""
    arguments = parser().parse_args()
    names = arguments.only or list(LEARNERS)
    common = (
        "data.symbols=false",
        f"train.max_minutes={arguments.minutes}",
        "train.validate_every=100",
        f"evaluation_episodes={arguments.episodes}",
    )
    data = load_data(Recipe.read("glyphs", common).data)
    loaded: dict[str, TrainedLearner] = {}
    for name in names:
        recipe = Recipe.read("glyphs", (*common, *LEARNERS[name]))
        best = train_recipe(recipe, arguments.runs / name, data=data)
        loaded[name] = load(best)
        print(name, "is trained", flush=True)
    learners: dict[str, Learner] = {"NearestNeighbour": NearestNeighbour(Flat())}
    if "Prototypical" in loaded:
        prototypical = loaded["Prototypical"].learner
        assert isinstance(prototypical, Prototypical)
        learners["LinearProbe"] = LinearProbe(prototypical.encoder)
    learners |= {name: one.learner for name, one in loaded.items()}
    host, results = loaded[names[0]], list[Result]()
    for name, learner in learners.items():
        results += evaluate_learner(
            replace(host, learner=learner, name=name), data, EvaluationOptions(seed=arguments.seed)
        )
    show_results(results, [])
    settings = {"minutes": str(arguments.minutes), "episodes": str(arguments.episodes)}
    comparisons = compare_by_setting(results)
    write_results(arguments.out, results, comparisons, raw=True, settings=settings, command=command_line())
    render_after(arguments, SECTIONS)


def section(document: Document) -> str:
    """Accuracy and more of every learner."""
    results, _ = summarised(document)
    metrics = ("accuracy", "precision", "recall", "f1", "ece")
    rows = [[r.learner, episodes_of(r), *(percent(r, m) for m in metrics), f"{r.seconds:.1f}"] for r in results]
    return "\n\n".join(
        [
            f"## Unseen letters, after {document['settings']['minutes']} minutes of training each",
            "Letters of unseen scripts, distorted; encoders of the same width, the same tasks for all. Half a minute shows "
            "who learns fast, not who is best in the end: Siamese and Relation have hardly begun by then.",
            table(["learner", "episodes", "accuracy", "precision", "recall", "F1", "ECE", "test seconds"], rows),
            made_by(document),
        ]
    )


SECTIONS = (Section("glyphs_table", "glyphs_table.json", section),)


if __name__ == "__main__":
    main()

"""Every learner on the glyphs, the same encoder's width, the same minutes of practice, the very same test episodes.

    python benchmarks/glyphs_table.py [--minutes 1.25] [--episodes 400] [--learners Prototypical R2D2]

Writes benchmarks/results/glyphs_table.json with per-episode values. A learner that was trained before (its folder under
--runs is complete) is not trained again. The linear probe stands on the encoder that Prototypical trained. Some learners
only, by --learners, are written to results/glyphs_table_some.json.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does; before PyTorch is loaded

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
# The cheap heads get more queries a step, which suits them; time is what is held equal.
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


def main() -> None:
    """Train what is missing, test everything, write the raw results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.25)
    parser.add_argument("--episodes", type=int, default=400)
    parser.add_argument("--runs", type=Path, default=Path("runs/glyphs_table"))
    parser.add_argument("--learners", nargs="+", choices=LEARNERS, default=list(LEARNERS))
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    whole = set(arguments.learners) == set(LEARNERS)
    file = "glyphs_table.json" if whole else "glyphs_table_some.json"
    out = arguments.out or Path(__file__).parent / "results" / file
    common = (
        "data.symbols=false",
        f"train.max_minutes={arguments.minutes}",
        "train.validate_every=100",
        f"evaluation_episodes={arguments.episodes}",
    )
    data = load_data(Recipe.read("glyphs", common).data)
    loaded: dict[str, TrainedLearner] = {}
    for name in arguments.learners:
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
    host, results = loaded[arguments.learners[0]], list[Result]()
    for name, learner in learners.items():
        results += evaluate_learner(host, data, EvaluationOptions(seed=2), name=name, learner=learner)
    comparisons = compare_by_setting(results)
    show_results(results, [])
    write_results(out, results, comparisons, raw=True, settings=vars_as_text(arguments))


def vars_as_text(arguments: argparse.Namespace) -> dict[str, str]:
    """The settings of the run, as JSON holds them."""
    return {key: str(value) for key, value in vars(arguments).items() if key != "out"}


if __name__ == "__main__":
    main()

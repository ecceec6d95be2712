"""The data-hunger curve on the glyphs: accuracy on letters never seen against how many letters there were to practise on.

    python benchmarks/data_hunger.py [--steps 600] [--classes 16 64 256] [--episodes 400] [--runs runs/data_hunger]

Every learner takes as many steps at every point, on nested and seeded letters of the training scripts, in tasks as wide
as the fewest letters allow; the last point is all letters. Steps and not minutes, so that a machine with other work gives
the same curve. Pixels and an untrained encoder are the baselines. What was trained before (its folder under --runs is
complete) is not trained again. Writes results/data_hunger.json with per-episode values, and docs/data_hunger.png.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does; before PyTorch is loaded

from regard.evaluation import write_results
from regard.files import write_whole
from regard.recipes.run import EvaluationOptions
from regard.suite import run_suite, show_suite
from regard.suite.hunger import curve_picture

HERE = Path(__file__).parent


def main() -> None:
    """Train what is missing, test everything, write the raw results and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--classes", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--episodes", type=int, default=400)
    parser.add_argument("--learners", nargs="+", default=["Prototypical", "CrossTransformer"])
    parser.add_argument("--runs", type=Path, default=Path("runs/data_hunger"))
    parser.add_argument("--out", type=Path, default=HERE / "results" / "data_hunger.json")
    parser.add_argument("--picture", type=Path, default=HERE.parent / "docs" / "data_hunger.png")
    arguments = parser.parse_args()
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
        options=EvaluationOptions(episodes=arguments.episodes, seed=2),
    )
    show_suite(suite)
    results = [result for found in suite.curve.values() for result in found]
    points = [n for n, found in suite.curve.items() for _ in found]
    seconds = {name: entry.cost.practice_seconds for name, entry in suite.entries.items()}
    told = {
        "steps": arguments.steps,
        "classes": points,  # of each result
        "baselines": suite.baselines,
        "practice": suite.entries[arguments.learners[0]].loaded.recipe.episodes.title(),
        "seconds": seconds,
    }
    command = f"python benchmarks/data_hunger.py --steps {arguments.steps} --episodes {arguments.episodes}"
    write_results(arguments.out, results, suite.comparisons, raw=True, settings=told, command=command)
    write_whole(arguments.picture, curve_picture(suite.curve, suite.baselines))


if __name__ == "__main__":
    main()

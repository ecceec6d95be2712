"""Sinusoids, 10 points known: a transformer neural process beside MAML, on the very same tasks.

    python benchmarks/sinusoid.py --only MAML        (or regard train sinusoid --out runs/sinusoid/MAML)
    regard train sinusoid_tnp
    python benchmarks/sinusoid_in_context.py [--runs runs/sinusoid/MAML runs/sinusoid_tnp] [--episodes 1000]

Each run is read as it lies, and its recipe says how it was trained; MAML takes its ten inner steps. Tasks are the test tasks
of seed 0, with 100 points asked, the same for all; differences are paired. Writes benchmarks/results/sinusoid_in_context.json
and docs/sinusoid_in_context.png.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does; before PyTorch is loaded

import matplotlib
import torch

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from torch.distributions import Normal

from regard.commands.show import show_results
from regard.episode import first_tensor
from regard.evaluation import compare, evaluate, write_results
from regard.recipes.trained import TrainedLearner, load
from regard.sampling import Sinusoids

HERE = Path(__file__).parent
N_SHOT = 10


def draw(loaded: list[TrainedLearner], path: Path) -> None:
    """The first two test tasks, a row each; a column a learner."""
    source, x = Sinusoids(N_SHOT, 1), torch.linspace(-5, 5, 300)[None, :, None]
    figure, axes = plt.subplots(
        2, len(loaded), figsize=(4.5 * len(loaded), 5), sharex=True, sharey="row", squeeze=False
    )
    for row, number in zip(axes, (0, 1), strict=True):
        support, waves = source([number]).support, source.waves([number])
        for axis, each in zip(row, loaded, strict=True):
            with torch.no_grad():
                answer = each.learner.predict(each.learner.adapt(support), x)
            assert isinstance(answer, Normal)
            mean, deviation = answer.mean[0, :, 0], answer.stddev[0, :, 0]
            axis.plot(x[0, :, 0], waves(x[..., 0].double().numpy())[0], color="0.75", linewidth=4, label="the function")
            if each.name != "MAML":  # whose deviation is a constant
                axis.fill_between(x[0, :, 0], mean - 2 * deviation, mean + 2 * deviation, alpha=0.25, linewidth=0)
            axis.plot(x[0, :, 0], mean, label=each.name)
            axis.plot(first_tensor(support.x)[0, :, 0], support.y[0, :, 0], "o", color="crimson", markersize=5)
            axis.legend(fontsize=8, loc="best", framealpha=0.8)
    figure.suptitle(f"{N_SHOT} points of a sinusoid never seen (the first two test tasks)", fontsize=11)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, nargs="+", default=[Path("runs/sinusoid/MAML"), Path("runs/sinusoid_tnp")])
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "sinusoid_in_context.json")
    parser.add_argument("--picture", type=Path, default=HERE.parent / "docs" / "sinusoid_in_context.png")
    args = parser.parse_args()
    loaded = [load(run) for run in args.runs]
    source = Sinusoids(N_SHOT, 100)
    results = [
        evaluate(each.learner, source, args.episodes, name=each.name, data="sinusoids/test", batch=100)
        for each in loaded
    ]
    comparisons = compare(results, ["mse"])
    show_results(results, comparisons)
    slim = [replace(result, per_episode={"mse": result.per_episode["mse"]}) for result in results]
    settings = {"recipes": {each.name: each.recipe.model_dump(mode="json") for each in loaded}}
    write_results(args.out, slim, comparisons, settings=settings, raw=True)
    draw(loaded, args.picture)


if __name__ == "__main__":
    main()

"""Sinusoids, 10 support points: a transformer neural process beside MAML, on the very same tasks.

    python benchmarks/sinusoid.py --only MAML        (or regard train sinusoid --out runs/sinusoid/MAML)
    regard train sinusoid_tnp
    python benchmarks/sinusoid_in_context.py [--runs runs/sinusoid/MAML runs/sinusoid_tnp] [--episodes 1000]

The recipe of each run says how it was trained; MAML takes its ten inner steps. Data are the test tasks of seed 0, with
100 query points, the same for all; differences are paired. Writes benchmarks/results/sinusoid_in_context.json and
docs/sinusoid_in_context.png.
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

from common import (
    DOCS,
    Document,
    Section,
    argument_parser,
    command_line,
    made_by,
    plus_minus,
    render_after,
    summarised,
    table,
)
from regard.commands.show import show_results
from regard.episode import first_tensor
from regard.evaluation import compare, evaluate, write_results
from regard.recipes.trained import TrainedLearner, load
from regard.sampling import Sinusoids

N_SHOT = 10


def draw(loaded: list[TrainedLearner], path: Path) -> None:
    """The first two test tasks, one row each; one column per learner."""
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
    figure.suptitle(f"{N_SHOT} points of an unseen sinusoid (the first two test tasks)", fontsize=11)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(__doc__, SECTIONS, "sinusoid_in_context.json", seed=0)
    made.add_argument("--runs", type=Path, nargs="+", default=[Path("runs/sinusoid/MAML"), Path("runs/sinusoid_tnp")])
    made.add_argument("--episodes", type=int, default=1000)
    made.add_argument("--picture", type=Path, default=DOCS / "sinusoid_in_context.png")
    return made


def main() -> None:
    """Evaluate, write, draw."""
    args = parser().parse_args()
    loaded = [load(run) for run in args.runs]
    source = Sinusoids(N_SHOT, 100, seed=args.seed)
    results = [
        evaluate(each.learner, source, args.episodes, name=each.name, data="sinusoids/test", batch=100)
        for each in loaded
    ]
    comparisons = compare(results, ["mse"])
    show_results(results, comparisons)
    slim = [replace(result, per_episode={"mse": result.per_episode["mse"]}) for result in results]
    settings = {"recipes": {each.name: each.require_recipe().model_dump(mode="json") for each in loaded}}
    write_results(args.out, slim, comparisons, settings=settings, raw=True, command=command_line())
    draw(loaded, args.picture)
    render_after(args, SECTIONS)


def section(document: Document) -> str:
    """Mean squared error of each, and the paired difference."""
    results, comparisons = summarised(document)
    rows = [[r.learner, r.n_shot, plus_minus(r.metrics["mse"])] for r in results]
    paired = [
        f"- {c.a} - {c.b}: {c.difference.mean:+.3f} [{c.difference.low:+.3f}, {c.difference.high:+.3f}]"
        f"{', a tie' if c.tie else ''}"
        for c in comparisons
    ]
    return "\n\n".join(
        [
            f"## Sinusoids in context: mean squared error, {results[0].episodes:,} tasks",
            "The recipe `sinusoid_tnp`, which answers in one pass, and MAML after ten inner steps.",
            table(["learner", "support points", "squared error"], rows),
            "Paired difference over the same tasks:",
            "\n".join(paired),
            "![Predictions of both](../sinusoid_in_context.png)",
            made_by(document),
        ]
    )


SECTIONS = (Section("sinusoid_in_context", "sinusoid_in_context.json", section),)


if __name__ == "__main__":
    main()

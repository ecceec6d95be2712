"""Sinusoid regression by the protocol of MAML: how good after 0, 1, 5 and 10 inner steps, beside oracle and fine-tuning.

    python benchmarks/sinusoid.py [--steps 15000] [--schedule cosine] [--episodes 1000] [--only NAME ...]

Each learner is the recipe `sinusoid` with another learner in it: a network 1-40-40-1, 25 tasks per step, 10 support
points in training. The recipe's 70,000 steps at one learning rate are the paper's; here it falls to 0 over fewer, which
takes about a minute of a core for each learner; --steps 70000 --schedule constant is the paper's. Tests are the same
tasks for all, with 5 and with 10 support points and 100 queries. A run that was stopped is resumed. --only trains and
stops. Writes benchmarks/results/sinusoid.json (of raw values the errors alone) and docs/sinusoid.png.

    oracle       knows that tasks are a sin(x) + b cos(x): least squares, exact where there is no noise
    fine-tuning  the same network, trained on all tasks as if they were one, then moved by inner steps as MAML's, at the
                 best of five rates on validation tasks
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does; before PyTorch is loaded

import matplotlib
import torch
from torch import Tensor
from torch.distributions import Normal
from torch.nn import functional as F

matplotlib.use("Agg")
from matplotlib import pyplot as plt

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
from regard.episode import Episode, Support, Value, first_tensor
from regard.errors import DataError, DivergenceError
from regard.evaluation import Result, compare, evaluate, write_results
from regard.learners.base import Learner, task_mean
from regard.learners.inner.loop import GradientLearner
from regard.learners.maml import MAML
from regard.nn.mlp import MLP
from regard.recipes.config import Recipe
from regard.recipes.data import load_data
from regard.recipes.run import train_recipe
from regard.recipes.trained import load
from regard.sampling import Sinusoids
from regard.training import load_checkpoint, train

STEPS = (0, 1, 5, 10)
SHOTS = (5, 10)
FINE_TUNING = "fine-tuning"
FINE_TUNING_RATES = (0.0003, 0.001, 0.003, 0.01, 0.02)

_NETWORK = "model: {name: MLP, n_features: 1, hidden: [40, 40]}"
LEARNERS = {
    "MAML": (),
    "FOMAML": ("learner.first_order=true",),
    # Its paper's one step: with rates learned for that, more of them diverge on some tasks, and the table says so.
    "MetaSGD": (f"learner={{name: MetaSGD, {_NETWORK}}}",),
    # Five steps of Adam, as its authors have it for images; at their rate of 0.001 ten steps hardly move.
    "Reptile": (f"learner={{name: Reptile, {_NETWORK}, inner_lr: 0.01, test_steps: 10}}",),
}


@dataclass(frozen=True)
class Waves(Value):
    """coefficients: (B, 2, 1) of sin and cos."""

    coefficients: Tensor


@final
class Oracle(Learner):
    """Least squares on sin(x) and cos(x), in float64."""

    regresses, classifies = True, False

    def adapt(self, support: Support) -> Waves:
        root = support.weight.double().sqrt()[..., None]
        return Waves(torch.linalg.lstsq(root * _basis(support.x), root * support.y.double()).solution)

    def predict(self, state: Waves, query_x: Any) -> Normal:
        mean = _basis(query_x) @ state.coefficients
        return Normal(mean, torch.full_like(mean, 0.1))


def _basis(x: Any) -> Tensor:
    x = first_tensor(x).double()
    return torch.cat([x.sin(), x.cos()], -1)


@final
class Everything(Learner):
    """One network for all tasks: what fine-tuning starts from."""

    regresses, classifies = True, False

    def __init__(self) -> None:
        super().__init__()
        self.model = MLP(1, 1, (40, 40))

    def adapt(self, support: Support) -> Support:
        return support

    def predict(self, state: Support, query_x: Any) -> Normal:
        mean = self.model(query_x.flatten(0, 1)).view_as(query_x)
        return Normal(mean, torch.full_like(mean, 0.1))

    def loss(self, episode: Episode) -> Tensor:
        error = F.mse_loss(self(episode).mean, episode.query_y, reduction="none")
        return task_mean(error[..., 0], episode.query_weight)


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(__doc__, SECTIONS, "sinusoid.json", seed=0, only=(*LEARNERS, FINE_TUNING))
    made.add_argument("--steps", type=int, default=15_000)
    made.add_argument("--schedule", choices=["cosine", "constant"], default="cosine")
    made.add_argument("--runs", type=Path, default=Path("runs/sinusoid"))
    made.add_argument("--episodes", type=int, default=1000)
    made.add_argument("--picture", type=Path, default=DOCS / "sinusoid.png")
    return made


def main() -> None:
    """Train where needed, test all, write, draw."""
    arguments = parser().parse_args()
    names = arguments.only or [*LEARNERS, FINE_TUNING]
    settings = (f"train.steps={arguments.steps}", f"train.schedule={arguments.schedule}")
    learners = {name: trained(name, arguments.runs / name, settings) for name in names}
    if arguments.only:
        return
    results: list[Result] = []
    for n_shot in SHOTS:
        results += test(learners, n_shot, arguments.episodes, arguments.seed)
    comparisons = [c for group in _by_shot(results) for c in compare(group, ["mse"])]
    show_results(results, [])
    rate = learners[FINE_TUNING].rule.describe()
    about = {
        "inner_steps": list(STEPS),
        "training": f"Each network was trained on 10 support points for {arguments.steps:,} steps of 25 tasks by Adam, from "
        "0.001 falling to 0. The paper's protocol has 70,000 steps at 0.001 throughout: `--steps 70000 --schedule "
        f"constant`. Fine-tuning took {rate}, the best of five on validation tasks."
        if arguments.schedule == "cosine"
        else f"Trained for {arguments.steps:,} steps at 0.001.",
    }
    slim = [replace(r, per_episode={"mse": r.per_episode["mse"]}) for r in results]
    write_results(arguments.out, slim, comparisons, settings=about, raw=True, command=command_line())
    draw(learners, arguments.picture)
    render_after(arguments, SECTIONS)


def recipe(name: str, settings: tuple[str, ...]) -> Recipe:
    """The recipe `sinusoid`, with another learner in it."""
    return Recipe.read("sinusoid", (*settings, *LEARNERS.get(name, ())))


def trained(name: str, folder: Path, settings: tuple[str, ...]) -> GradientLearner:
    """Train, or resume, or read what is there."""
    if name != FINE_TUNING:
        learner = load(train_recipe(recipe(name, settings), folder)).learner
        assert isinstance(learner, GradientLearner)
        return learner
    chosen = recipe("MAML", settings)
    data, everything = load_data(chosen.data), Everything()
    validation = data.source("validation", chosen.validation, chosen.train.seed + 1)
    result = train(
        everything,
        data.training(chosen.episodes, chosen.train.seed),
        chosen.train,
        validation_sampler=validation,
        folder=folder,
    )
    load_checkpoint(result.best_checkpoint or result.last_checkpoint).load_into(everything)
    candidates = [MAML(everything.model, inner_lr=rate, test_steps=STEPS[-1]) for rate in FINE_TUNING_RATES]
    return min(candidates, key=lambda one: evaluate(one, validation, 1000, batch=100).metrics["mse"].mean).eval()


def test(learners: dict[str, GradientLearner], n_shot: int, n_episodes: int, seed: int) -> list[Result]:
    """All learners on the same tasks, at every number of inner steps; the oracle last."""
    source, data = Sinusoids(n_shot, 100, seed=seed), "sinusoids/test"
    results = []
    for name, learner in learners.items():
        for steps in STEPS:
            learner.test_steps = steps
            title = f"{name}, {_steps(steps)}"
            try:
                results.append(evaluate(learner, source, n_episodes, name=title, data=data, batch=100))
            except (DivergenceError, DataError) as error:  # weights, or predictions, that are not finite
                print(f"{title}, {n_shot} points: {error}")
                break
    return [*results, evaluate(Oracle(), source, n_episodes, name="oracle", data=data, batch=100)]


def draw(learners: dict[str, GradientLearner], path: Path, n_shot: int = 5) -> None:
    """The first two test tasks, before and after: one row per task, one column per learner."""
    source = Sinusoids(n_shot, 1)
    x = torch.linspace(-5, 5, 200)[:, None]
    shown = [name for name in ("MAML", "MetaSGD", "Reptile", FINE_TUNING) if name in learners]
    figure, axes = plt.subplots(2, len(shown), figsize=(3.1 * len(shown), 5), sharex=True, sharey="row", squeeze=False)
    for row, number in zip(axes, (0, 1), strict=True):
        support, waves = source([number]).support, source.waves([number])
        for axis, name in zip(row, shown, strict=True):
            axis.plot(x[:, 0], waves(x.double().numpy().T)[0], color="0.75", linewidth=4, label="the function")
            for steps, style in ((0, ":"), (1, "--"), (10, "-"))[: 2 if name == "MetaSGD" else 3]:
                learners[name].test_steps = steps
                with torch.no_grad():
                    answer = learners[name].predict(learners[name].adapt(support), x[None]).mean  # type: ignore[union-attr]
                colour = plt.get_cmap("viridis")({0: 0.75, 1: 0.45, 10: 0.05}[steps])
                axis.plot(x[:, 0], answer[0, :, 0], style, color=colour, label=f"after {_steps(steps)}")
            points = first_tensor(support.x)[0, :, 0]
            axis.plot(points, support.y[0, :, 0], "o", color="crimson", markersize=5, label="support points")
    for axis, name in zip(axes[0], shown, strict=True):
        axis.set_title(name)
    figure.suptitle(f"{n_shot} points of an unseen sinusoid (the first two test tasks)", fontsize=11)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="lower center", ncols=5, frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    figure.savefig(path, dpi=110)


def _steps(n: int) -> str:
    return f"{n} step{'' if n == 1 else 's'}"


def _by_shot(results: list[Result]) -> list[list[Result]]:
    """What is compared: each learner at its last number of steps that did not diverge."""
    groups = []
    for n_shot in SHOTS:
        last = {r.learner.partition(", ")[0]: r for r in results if r.n_shot == n_shot}
        groups.append(list(last.values()))
    return groups


def section(document: Document) -> str:
    """Mean squared error after each number of inner steps."""
    results, comparisons = summarised(document)
    steps = document["settings"]["inner_steps"]
    found = {(*r.learner.partition(", ")[::2], r.n_shot): plus_minus(r.metrics["mse"]) for r in results}
    rows = []
    for n_shot, name in dict.fromkeys((n_shot, name) for name, _, n_shot in found):
        if (name, "", n_shot) in found:  # the exact answer takes no steps
            cells = ["", "", "", found[name, "", n_shot]]
        else:
            cells = [found.get((name, _steps(k), n_shot), "diverges") for k in steps]
        rows.append([name, n_shot, *cells])
    paired = [
        f"- {c.n_shot} points, {c.a} - {c.b}: {c.difference.mean:+.3f} [{c.difference.low:+.3f}, "
        f"{c.difference.high:+.3f}]{', a tie' if c.tie else ''}"
        for c in comparisons
        if c.a.startswith("MAML") and c.b != "oracle"
    ]
    return "\n\n".join(
        [
            f"## Sinusoids: mean squared error after inner steps, {results[0].episodes:,} tasks",
            table(["learner", "support points", *(_steps(k) for k in steps)], rows),
            "Paired differences at the last number of steps of each, over the same tasks:",
            "\n".join(paired),
            "![Fits before and after inner steps](../sinusoid.png)",
            document["settings"]["training"],
            made_by(document),
        ]
    )


SECTIONS = (Section("sinusoid", "sinusoid.json", section),)


if __name__ == "__main__":
    main()

"""Gaussian process regression in context: nats per target from the exact posterior, trained on RBF alone.

    regard train gp_tnp; regard train gp_anp
    python benchmarks/gp_regression.py [--runs runs/gp_tnp runs/gp_anp] [--episodes 3008]

Every learner is evaluated on the same tasks, by the protocol of the sampler's defaults (see
`regard.sampling.gaussian_processes`). Two yardsticks stand beside them, both as marginals of each target:

    exact       the posterior of the very process that made the task: it knows the lengthscale and the scale
    guessing    the posterior under the prior over lengthscales and scales, by a grid of both: a mixture of normals, the best
                that is possible without knowing them; "guessing, normal" is the normal of its mean and variance, the best
                that a learner can do whose prediction is one normal distribution. RBF tasks only, whose prior it is.

A gap is exact minus learner, in nats per target, averaged within a task and then over tasks, with a paired 95% interval
over blocks of 16 tasks, which have as many rows.
Writes benchmarks/results/gp_regression.json and docs/gp_regression.png.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does; before PyTorch is loaded

import matplotlib
import numpy as np
import torch
from torch import Tensor
from torch.distributions import Normal

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from common import DOCS, Document, Section, argument_parser, made_by, provenance, render_after, table, write_document
from regard.episode import Episode, first_tensor
from regard.evaluation.intervals import mean_interval
from regard.learners.base import Learner, task_mean
from regard.recipes.trained import load
from regard.sampling.gaussian_processes import GaussianProcesses

KERNELS = ("rbf", "matern52", "periodic")
BLOCK = 16
EXACT, GUESSING, GUESSING_NORMAL = "exact", "guessing", "guessing, normal"


def log_likelihoods(learners: dict[str, Learner], kernel: str, n_episodes: int, seed: int) -> dict[str, Tensor]:
    """(n_episodes,) mean log-likelihood of the targets of each task, by every learner and yardstick."""
    source = GaussianProcesses(kernel=kernel, seed=seed)
    found: dict[str, list[Tensor]] = {}
    for start in range(0, n_episodes, BLOCK):
        number = np.arange(start, start + BLOCK)
        episode = source(number)
        answers = {name: normal(learner, episode) for name, learner in learners.items()}
        answers[EXACT] = source.process(number).posterior(episode.support, episode.query_x)
        scored = {name: answer.log_prob(episode.query_y.double())[..., 0] for name, answer in answers.items()}
        if kernel == "rbf":
            scored |= guess(source, episode)
        for name, score in scored.items():
            found.setdefault(name, []).append(task_mean(score, episode.query_weight.double()))
    return {name: torch.cat(parts) for name, parts in found.items()}


def normal(learner: Learner, episode: Episode) -> Normal:
    """A learner's prediction, in float64."""
    with torch.no_grad():
        answer = learner(episode)
    assert isinstance(answer, Normal)
    return Normal(answer.mean.double(), answer.stddev.double(), validate_args=False)


def guess(source: GaussianProcesses, episode: Episode, n_lengths: int = 40, n_scales: int = 30) -> dict[str, Tensor]:
    """(B, Q) log-likelihoods of the targets under the prior over processes, task by task."""
    lengths, scales = _middles(source.lengthscale, n_lengths), _middles(source.scale, n_scales)
    pairs = [_guess_task(source.noise, lengths, scales, episode.tasks(slice(b, b + 1))) for b in range(episode.n_tasks)]
    return dict(zip((GUESSING, GUESSING_NORMAL), map(torch.stack, zip(*pairs, strict=True)), strict=True))


def _middles(limits: tuple[float, float], n: int) -> Tensor:
    low, high = limits
    return low + (high - low) * (torch.arange(n, dtype=torch.float64) + 0.5) / n


def _guess_task(noise: float, lengths: Tensor, scales: Tensor, task: Episode) -> tuple[Tensor, Tensor]:
    """(Q,) twice. One eigendecomposition per lengthscale serves all scales: s^2 K + noise^2 I shares its vectors with K."""
    present = task.support.weight[0] > 0
    x, y = first_tensor(task.support.x)[0, present, 0].double(), task.support.y[0, present, 0].double()
    asked, target = first_tensor(task.query_x)[0, :, 0].double(), task.query_y[0, :, 0].double()

    def correlation(a: Tensor, b: Tensor) -> Tensor:
        return torch.exp(-0.5 * ((a[:, None] - b) / lengths[:, None, None]).square())

    value, vector = torch.linalg.eigh(correlation(x, x))
    square = scales.square()[None, :, None]
    spread = square * value.clamp_min(0)[:, None] + noise**2  # (L, Z, S)
    cross, seen = vector.mT @ correlation(x, asked), vector.mT @ y  # (L, S, Q), (L, S)
    mean = torch.einsum("lzs,ls,lsq->lzq", square / spread, seen, cross).flatten(0, 1)
    explained = torch.einsum("lzs,lsq->lzq", square.square() / spread, cross.square())
    variance = (square + noise**2 - explained).clamp_min(noise**2).flatten(0, 1)
    evidence = -0.5 * ((seen.square()[:, None] / spread) + spread.log()).sum(-1).flatten()
    log_p = torch.log_softmax(evidence, 0)[:, None]
    mixture = torch.logsumexp(log_p + Normal(mean, variance.sqrt()).log_prob(target), 0)
    p = log_p.exp()
    centre = (p * mean).sum(0)
    width = (p * (variance + (mean - centre).square())).sum(0).sqrt()
    return mixture, Normal(centre, width).log_prob(target)


def summary(found: dict[str, Tensor]) -> dict[str, dict[str, object]]:
    """Mean log-likelihood of each, and the gap to the exact posterior."""
    return {
        name: {
            "log_likelihood": _interval(score),
            "gap": _interval(found[EXACT] - score),
        }
        for name, score in found.items()
    }


def _interval(values: Tensor) -> dict[str, float]:
    """Of the mean over blocks, as tasks of one block have as many rows and so are alike."""
    interval = mean_interval(values.view(-1, BLOCK).mean(1).numpy())
    return {key: round(getattr(interval, key), 5) for key in ("mean", "low", "high")}


def draw(learners: dict[str, Learner], path: Path, numbers: tuple[int, ...] = (16, 48, 240)) -> None:
    """Test tasks, one row each; one column per learner, over the exact posterior."""
    source, x = GaussianProcesses(), torch.linspace(-2, 2, 400)[None, :, None]
    figure, axes = plt.subplots(
        len(numbers),
        len(learners),
        figsize=(5.2 * len(learners), 2.5 * len(numbers)),
        sharex=True,
        sharey="row",
        squeeze=False,
    )
    for line, (row, number) in enumerate(zip(axes, numbers, strict=True)):
        support = source([number]).support
        exact = source.process([number]).posterior(support, x)
        for axis, (name, learner) in zip(row, learners.items(), strict=True):
            with torch.no_grad():
                answer = learner.predict(learner.adapt(support), x)
            assert isinstance(answer, Normal)
            _band(axis, x, exact, "0.6", "exact posterior")
            _band(axis, x, answer, "tab:blue", name)
            axis.plot(first_tensor(support.x)[0, :, 0], support.y[0, :, 0], "o", color="crimson", markersize=4)
            if line == 0:
                axis.legend(fontsize=8, loc="upper right", framealpha=0.8)
    figure.suptitle("Mean and two deviations beside the exact posterior; the dots are all a learner saw", fontsize=11)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def _band(axis: plt.Axes, x: Tensor, answer: Normal, colour: str, label: str) -> None:
    mean, deviation = answer.mean[0, :, 0], answer.stddev[0, :, 0]
    axis.fill_between(x[0, :, 0], mean - 2 * deviation, mean + 2 * deviation, color=colour, alpha=0.25, linewidth=0)
    axis.plot(x[0, :, 0], mean, color=colour, label=label)


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(__doc__, SECTIONS, "gp_regression.json", seed=0)
    made.add_argument("--runs", type=Path, nargs="+", default=[Path("runs/gp_tnp"), Path("runs/gp_anp")])
    made.add_argument("--episodes", type=int, default=3008, help="rounded up to blocks of 16")
    made.add_argument("--picture", type=Path, default=DOCS / "gp_regression.png")
    return made


def main() -> None:
    """Evaluate, print, write, draw."""
    arguments = parser().parse_args()
    loaded = [load(run) for run in arguments.runs]
    learners = {type(each.learner).__name__: each.learner.eval() for each in loaded}
    n_episodes = math.ceil(arguments.episodes / BLOCK) * BLOCK
    found = {kernel: log_likelihoods(learners, kernel, n_episodes, arguments.seed) for kernel in KERNELS}
    tables = {kernel: summary(scores) for kernel, scores in found.items()}
    for kernel, rows in tables.items():
        for name, row in rows.items():
            print(f"{kernel:9} {name:24} {json.dumps(row)}")
    document = {
        **provenance(seed=arguments.seed, interval=f"95%, over blocks of {BLOCK} tasks"),
        "episodes": n_episodes,
        "recipes": {type(each.learner).__name__: each.require_recipe().model_dump(mode="json") for each in loaded},
        "results": tables,
        "raw": {k: {name: [round(v, 5) for v in s.tolist()] for name, s in of.items()} for k, of in found.items()},
    }
    write_document(arguments.out, document, indent=None)
    draw(learners, arguments.picture)
    render_after(arguments, SECTIONS)


def section(document: Document) -> str:
    """Nats per target below the exact posterior."""

    def cell(interval: dict[str, float]) -> str:
        return f"{interval['mean']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"

    tables = document["results"]
    rows = [["exact, log-likelihood", *(cell(t[EXACT]["log_likelihood"]) for t in tables.values())]]
    rows += [
        [name, *(cell(t[name]["gap"]) if name in t else "" for t in tables.values())]
        for name in tables["rbf"]
        if name != EXACT
    ]
    return "\n\n".join(
        [
            f"## Gaussian processes: nats per target below the exact posterior, {document['episodes']:,} tasks per kernel",
            "Learners were trained on rbf alone. Exact is the log-likelihood of the posterior that knows the lengthscale "
            "and the scale; guessing knows neither and has the prior over both, by a grid.",
            table(["who", *tables], rows),
            "![Predictions beside the exact posterior](../gp_regression.png)",
            made_by(document),
        ]
    )


SECTIONS = (Section("gp_regression", "gp_regression.json", section),)


if __name__ == "__main__":
    main()

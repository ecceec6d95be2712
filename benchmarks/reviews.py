"""Sentiment of reviews (ARSC): what five positive and five negative reviews of a task add to a classifier of all tasks.

    python benchmarks/reviews.py --data arsc_source19.jsonl.gz [--test arsc_targets.jsonl.gz] [--steps 260]

The last two layers of the body are trained on the reviews of the source tasks with one joint head: a score s(x) of how
positive a review is, and a threshold per star threshold. What a task's support can add is measured apart:

    joint            s(x) > the mean of the thresholds                                         no support
    with support     s(x) > a threshold moved towards the middle of the support's scores       1 number per task
    ridge            ridge and prototypes on the vectors of the support alone
    both             s(x) with its moved threshold, and the ridge's margin, weighted as on the development tasks

Six domains are kept apart from training (--held). How far the threshold moves and what the ridge weighs is chosen on
their tasks; without --test these tasks are what is reported too, each with what is chosen on the five other domains.
Every task has ten draws of five positive and five negative reviews, or its own support where the file has one. Balanced
accuracy; intervals are over tasks, and of what the support adds also over domains, whose three tasks share reviews.
Reviews are for research only: nothing trained here ships. Writes benchmarks/results/reviews.json.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does; before PyTorch is loaded

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common import (
    Document,
    Section,
    argument_parser,
    made_by,
    out_with_test,
    provenance,
    render_after,
    table,
    write_document,
)
from regard.domains.texts.body import StateReader
from regard.domains.texts.corpora import LabelledTexts, ReviewTask, read_reviews
from regard.episode import Support
from regard.evaluation.intervals import mean_interval
from regard.learners import RidgePrototypes
from regard.nn.flat import Flat
from regard.nn.pretrained.text import PretrainedText
from regard.sampling.random import bits

HELD = ("apparel", "beauty", "camera_photo", "cell_phones_service", "magazines", "software")
METHODS = ("joint", "with support", "ridge", "both")
MOVES = (0.0, 0.2, 0.35, 0.5, 0.75, 1.0)
SHARES = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0)
Settings = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Scored:
    """A task as the trained body sees it: vectors and joint scores of support (10) and queries, labels 0 and 1."""

    domain: str
    z: Tensor
    score: Tensor
    y: Tensor
    query_z: Tensor
    query_score: Tensor
    query_y: Tensor


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(
        __doc__, SECTIONS, "reviews.json", data="the file of source tasks", test="target tasks, in that form", seed=0
    )
    made.add_argument("--steps", type=int, default=260, help="of 16 reviews")
    made.add_argument("--held", nargs="+", default=HELD, help="source domains to choose settings on")
    made.add_argument("--per-cell", type=int, default=30, help="reviews of each task and label to train on")
    return made


def main() -> None:
    """Train, choose, measure, write."""
    arguments = parser().parse_args()
    torch.manual_seed(arguments.seed)
    tasks = read_reviews(arguments.data)
    source = [task for task in tasks if task.domain not in arguments.held]
    held = [task for task in tasks if task.domain in arguments.held]
    states = StateReader("minilm", 2, most_tokens=96)
    began = time.process_time()
    encoder, head = trained_on(states, source, arguments)
    seconds = time.process_time() - began
    held_draws = [scored(states, encoder, head, task) for task in held]
    tested, draws = held, held_draws
    if arguments.test:
        tested = read_reviews(arguments.test)
        draws = [scored(states, encoder, head, task) for task in tested]
    accuracy: dict[str, list[float]] = {name: [] for name in METHODS}
    settings = []
    for task, of_task in zip(tested, draws, strict=True):
        others = [each for several in held_draws for each in several if arguments.test or each.domain != task.domain]
        settings.append(choose(others))
        for name in METHODS:
            accuracy[name].append(float(np.mean([balanced(answers(name, d, *settings[-1]), d) for d in of_task])))
    document: Document = {
        **provenance(seed=arguments.seed, interval="95%, over tasks"),
        "tasks": [f"{task.domain} {task.threshold}" for task in tested],
        "accuracy": accuracy,
        "settings": settings,
        "training_cpu_seconds": seconds,
    }
    for name in METHODS:
        interval = mean_interval(np.array(accuracy[name]))
        print(f"{name}: {100 * interval.mean:.2f} ± {100 * interval.half_width:.2f}")
    arguments.out = out_with_test(arguments, "reviews.json")
    write_document(arguments.out, document)
    render_after(arguments, SECTIONS)


def trained_on(
    states: StateReader, tasks: Sequence[ReviewTask], arguments: argparse.Namespace
) -> tuple[PretrainedText, nn.Linear]:
    """The last two layers and a joint head, trained on reviews of all tasks; the head's bias is the mean threshold."""
    thresholds = sorted({task.threshold for task in tasks})
    texts, labels, kind = [], [], []
    for task in tasks:
        some = task.reviews.rows(
            [i for i, s in enumerate(task.reviews.splits) if s == "train"] or range(len(task.reviews))
        )
        some = some.at_most(arguments.per_cell)
        texts += some.texts
        labels += [float(int(label) > 0) for label in some.labels]
        kind += [thresholds.index(task.threshold)] * len(some)
    x, y, t = states(texts), torch.tensor(labels), torch.tensor(kind)
    encoder = states.encoder
    head, bias = nn.Linear(encoder.n_features, 1), nn.Parameter(torch.zeros(len(thresholds)))
    with torch.no_grad():
        head.weight.mul_(0.1)
    layers = [p for p in encoder.parameters() if p.requires_grad]
    groups = [{"params": layers, "lr": 1e-4}, {"params": [*head.parameters(), bias], "lr": 1e-2}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    rates = [group["lr"] for group in optimizer.param_groups]
    # As many negative as positive reviews count.
    weight = torch.where(y > 0, 1 / y.mean(), 1 / (1 - y.mean())) / 2
    for step in range(arguments.steps):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * min(1.0, (step + 1) / 20) * 0.5 * (1 + math.cos(math.pi * step / arguments.steps))
        rows = torch.randint(len(y), (16,))
        z = vectors(encoder, {name: value[rows] for name, value in x.items()})
        score = 10 * head(z)[:, 0] - bias[t[rows]]
        loss = F.binary_cross_entropy_with_logits(score, y[rows], weight[rows])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(layers, 1.0)
        optimizer.step()
        if step % 20 == 0:
            print(f"step {step}: loss {loss.item():.3f}", flush=True)
    with torch.no_grad():
        head.bias.sub_(bias.mean() / 10)
    return encoder, head


def vectors(encoder: PretrainedText, x: dict[str, Tensor]) -> Tensor:
    """(N, D) of length 1: reviews have no entities, so the three thirds of an item's vector are the same."""
    return F.normalize(encoder(x)[:, : encoder.n_features], dim=-1)


def scored(
    states: StateReader, encoder: PretrainedText, head: nn.Linear, task: ReviewTask, n_draws: int = 10
) -> list[Scored]:
    """Five and five reviews of a task as support, its own or several times drawn from its training reviews; at most 60
    queries of each label.
    """
    reviews, rows = task.reviews, range(len(task.reviews))
    train = [i for i in rows if reviews.splits[i] == "train"]
    rest = [i for i in rows if reviews.splits[i] == "test"] or [i for i in rows if reviews.splits[i] != "train"]

    def encoded(part: LabelledTexts) -> tuple[Tensor, Tensor, Tensor]:
        with torch.no_grad():
            z = vectors(encoder, states(part.texts))
            return z, 10 * head(z)[:, 0], torch.tensor([int(int(label) > 0) for label in part.labels])

    queries = encoded(reviews.rows(rest).at_most(60))
    result = []
    for draw in range(n_draws if len(train) > 20 else 1):
        order = np.argsort(bits(draw, 7, np.array([len(train)], dtype=np.int64), len(train))[0])
        support = encoded(reviews.rows([train[i] for i in order]).at_most(5))
        result.append(Scored(task.domain, *support, *queries))
    return result


def answers(name: str, task: Scored, moved: float, share: float) -> Tensor:
    """(Q,) how positive each query is; above 0 is positive."""
    if name == "joint":
        return task.query_score
    if name == "ridge":
        return ridge_margin(task)
    middle = (task.score[task.y == 1].mean() + task.score[task.y == 0].mean()) / 2
    with_support = task.query_score - moved * middle
    return with_support if name == "with support" else with_support + share * ridge_margin(task)


@cache
def ridge_margin(task: Scored) -> Tensor:
    """(Q,) by how much ridge and prototypes, on the support's vectors alone, find each query positive."""
    learner = RidgePrototypes(Flat()).eval()
    with torch.no_grad():
        logits = learner.predict(learner.adapt(Support(task.z[None], task.y[None], n_classes=2)), task.query_z[None])
    assert isinstance(logits, Tensor)
    return logits[0, :, 1] - logits[0, :, 0]


def balanced(answer: Tensor, task: Scored) -> float:
    """Mean of the shares of positive and of negative queries that are right."""
    right = (answer > 0).long() == task.query_y
    return float(np.mean([right[task.query_y == label].float().mean().item() for label in (0, 1)]))


def choose(tasks: Sequence[Scored]) -> Settings:
    """How far the threshold moves and what the ridge weighs, together, by balanced accuracy on these tasks."""
    values = {pair: np.mean([both_balanced(task, *pair) for task in tasks]) for pair in product(MOVES, SHARES)}
    return max(values, key=lambda pair: values[pair])


@cache
def both_balanced(task: Scored, moved: float, share: float) -> float:
    """Of the answer of both, under these settings."""
    return balanced(answers("both", task, moved, share), task)


def section(document: Document) -> str:
    """Balanced accuracy, and what the support adds."""
    accuracy = {name: 100 * np.array(values) for name, values in document["accuracy"].items()}
    domains = np.array([task.split()[0] for task in document["tasks"]])
    rows = []
    for name, values in accuracy.items():
        over = values - accuracy["joint"]
        by_domain = mean_interval(np.array([over[domains == domain].mean() for domain in dict.fromkeys(domains)]))
        added = [f"{v.mean:+.1f} [{v.low:+.1f}, {v.high:+.1f}]" for v in (mean_interval(over), by_domain)]
        own = mean_interval(values)
        rows.append([name, f"{own.mean:.1f} ± {own.half_width:.1f}", *(["", ""] if name == "joint" else added)])
    moved, share = (np.array(column) for column in zip(*document["settings"], strict=True))
    n_tasks, n_domains = len(domains), len(set(domains))
    return "\n".join(
        [
            f"## Sentiment of reviews (ARSC), {n_tasks} tasks of {n_domains} domains never trained on",
            "",
            table(["method", "balanced accuracy", "over joint, by task", "over joint, by domain"], rows),
            "",
            f"The threshold moves by {moved.min()} to {moved.max()} of the way and the ridge weighs {share.min()} to "
            f"{share.max()}; training took {document['training_cpu_seconds']:.0f} s of one core.",
            "",
            made_by(document),
        ]
    )


SECTIONS = (Section("reviews", "reviews.json", section),)


if __name__ == "__main__":
    main()

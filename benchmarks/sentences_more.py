"""What else could stand on the vectors of `sentences`: FEAT, adaptation on the support, class names with a learned weight.

    python benchmarks/sentences_more.py --data FOLDER [--trained RUN] [--lora RUN] [--episodes 100]

FOLDER holds clinc150/, banking77/ and huffpost/. Everything stands on the trained encoder's vectors, which are computed
once, and sees the same episodes of test classes:

    FEAT                  trained by episodes of the training classes on these vectors
    adapted               a linear map of the vectors, fine-tuned on each support by leaving rows out (`FineTuned`)
    adapted, by rule      the same where the support's leave-one-out loss is high, as validation tasks set it
    names, weight 1       the name of each class as one example of it
    LoRA                  low-rank adapters in the last two layers in place of their weights, by the same recipe:
                          regard train sentences --set learner.encoder.lora_rank=16 --set train.learning_rate=0.001
    names, learned        the name counts exp(a + b log(examples per class)) examples; a and b by validation episodes

What is learned besides FEAT is learned on validation classes. Writes benchmarks/results/sentences_more.json.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, cast

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does; before PyTorch is loaded

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common import (
    Document,
    Section,
    argument_parser,
    command_line,
    episodes_of,
    made_by,
    or_tie,
    percent,
    points,
    render_after,
    summarised,
    table,
)
from regard.commands.show import show_results
from regard.domains.texts.corpora import LabelledTexts
from regard.domains.texts.sentences import SOURCES
from regard.episode import Episode, Items, Support, first_tensor
from regard.evaluation import compare, evaluate, write_results
from regard.learners import FEAT, FineTuned, RidgePrototypes
from regard.learners.base import EncodingLearner, Learner
from regard.nn.encoder import Encoder
from regard.recipes.trained import TrainedLearner
from regard.sampling import Dataset, EpisodeSampler
from sentences import Column, Vectors, class_names, head_on

CORPORA = ("clinc150", "banking77", "huffpost")
BASELINE = "sentences"
N_QUERY = 10


class Mapped(Encoder):
    """Vectors z to unit(z + z A), A from 0."""

    parts = False

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.n_features = n_features
        self.change = nn.Parameter(torch.zeros(n_features, n_features))

    def forward(self, x: Items) -> Tensor:
        assert isinstance(x, dict)
        return F.normalize(x["tuned"] + x["tuned"] @ self.change, dim=-1)


class Named(EncodingLearner):
    """A head with one more example per class, its name, which counts exp(a + b log n) where a class has n examples."""

    def __init__(self, head: RidgePrototypes, n_features: int) -> None:
        super().__init__()
        self.head, self.n_features = head, n_features
        self.encoder = Column("tuned and name", 2 * n_features)
        self.log_weight, self.power = nn.Parameter(torch.tensor(0.0)), nn.Parameter(torch.tensor(0.0))

    def adapt_encoded(self, support: Support) -> object:
        z, name = support.x.split(self.n_features, -1)
        mass = support.membership().sum(1).gather(1, support.y).clamp_min(1)
        # Spread over the rows of a class.
        weight = support.weight * (self.log_weight + self.power * mass.log()).exp() / mass
        rows = torch.cat([support.weight, weight], 1)
        more = Support(torch.cat([z, name], 1), support.y.repeat(1, 2), rows, support.n_classes)
        return self.head.adapt_encoded(more)

    def predict_encoded(self, state: object, query_z: Tensor) -> Tensor:
        return cast(Tensor, self.head.predict_encoded(cast(Any, state), query_z[..., : self.n_features]))


def main() -> None:
    """Encode, train what is trained, evaluate, write."""
    arguments = parser().parse_args()
    torch.manual_seed(arguments.seed)
    trained = TrainedLearner.load(arguments.trained)
    others = {"LoRA": TrainedLearner.load(arguments.lora)} if arguments.lora else {}
    data = encoded(trained, others, arguments)
    learners = {**methods(trained, data, arguments.steps), **_of_runs(others, data)}
    results = []
    for name in CORPORA:
        for n_shot in (1, 5):
            source = EpisodeSampler(data[name, "test"], 5, n_shot, N_QUERY, seed=1)
            for method, learner in learners.items():
                results.append(evaluate(learner.eval(), source, arguments.episodes, name=method, data=name, batch=10))
                accuracy = results[-1].metrics["accuracy"].mean
                print(f"{name} {n_shot}-shot {method}: {100 * accuracy:.2f}", flush=True)
    pairs = []
    for name in CORPORA:
        for n_shot in (1, 5):
            group = [r for r in results if (r.data, r.n_shot) == (name, n_shot)]
            pairs += [pair for pair in compare(group, ["accuracy"]) if BASELINE in (pair.a, pair.b)]
    show_results(results, pairs)
    named = learners["names, learned"]
    assert isinstance(named, Named)
    a, b = named.log_weight.item(), named.power.item()
    about = {"weight of a name": [math.exp(a) * n**b for n in (1, 5)]}
    write_results(arguments.out, results, pairs, settings=about, command=command_line(), raw=True)
    render_after(arguments, SECTIONS)


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(
        __doc__, SECTIONS, "sentences_more.json", data="folders clinc150, banking77, huffpost", seed=0
    )
    made.add_argument("--trained", default="sentences", metavar="RUN", help="a model by name or the folder of a run")
    made.add_argument("--lora", metavar="RUN", help="a run of that recipe with adapters")
    made.add_argument("--episodes", type=int, default=100)
    made.add_argument("--steps", type=int, default=300, help="of FEAT and of the weight of names")
    return made


def encoded(
    trained: TrainedLearner, others: Mapping[str, TrainedLearner], arguments: argparse.Namespace
) -> dict[tuple[str, str], Dataset]:
    """The vectors of every corpus and split, those of the names of its classes, and those of other runs."""
    vectors, data = Vectors(trained), {}
    of_others = {name: Vectors(other) for name, other in others.items()}
    for name in CORPORA:
        for split, texts in SOURCES[name](arguments.data / name).items():
            some: LabelledTexts = texts.at_most({"train": 20, "validation": 30, "test": 60}[split])
            names = class_names(name, some, arguments.data)
            z, of_name = vectors.trained(some.texts), vectors.trained(list(names.values()))
            row = {label: i for i, label in enumerate(names)}
            both = torch.cat([z, of_name[[row[label] for label in some.labels]]], 1)
            more = {other: its.trained(some.texts) for other, its in of_others.items()}
            data[name, split] = Dataset.of({"tuned": z, "tuned and name": both, **more}, some.labels)
    return data


def methods(trained: TrainedLearner, data: dict[tuple[str, str], Dataset], steps: int) -> dict[str, Learner]:
    """By name; all that is trained is trained here."""
    n_features = first_tensor(data["clinc150", "test"].x).shape[1]
    head = partial(_head, trained)
    feat = FEAT(Column("tuned", n_features), temperature=0.1)
    train(feat, data, "train", steps, 1e-4)
    named, equal = (Named(head(Column("tuned", n_features)), n_features) for _ in range(2))
    train(named, data, "validation", steps // 3, 0.05)
    adapted = FineTuned(head(Mapped(n_features)), 15, learning_rate=1e-3)
    tasks = [EpisodeSampler(data[name, "validation"], 5, 5, N_QUERY, seed=2)(range(20)) for name in CORPORA]
    return {
        BASELINE: head(Column("tuned", n_features)),
        "FEAT": feat,
        "adapted": adapted,
        "adapted, by rule": adapted.calibrated(tasks, level=0.67),
        "names, weight 1": equal,
        "names, learned": named,
    }


def _of_runs(others: Mapping[str, TrainedLearner], data: dict[tuple[str, str], Dataset]) -> dict[str, Learner]:
    n_features = first_tensor(data["clinc150", "test"].x).shape[1]
    return {name: _head(other, Column(name, n_features)) for name, other in others.items()}


def _head(trained: TrainedLearner, encoder: Encoder) -> RidgePrototypes:
    """The head of a run, on another encoder, which alone is trained."""
    made = head_on(encoder, trained).requires_grad_(False)
    encoder.requires_grad_(True)
    return made


def train(learner: Learner, data: dict[tuple[str, str], Dataset], split: str, steps: int, learning_rate: float) -> None:
    """By episodes of all corpora in turn."""
    optimizer = torch.optim.Adam([p for p in learner.parameters() if p.requires_grad], learning_rate)
    for step, episode in zip(range(steps), episodes(data, split), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * (1 - step / steps)
        loss = learner.loss(episode).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def episodes(data: dict[tuple[str, str], Dataset], split: str) -> Iterator[Episode]:
    """Eight tasks at a time, of each corpus in turn, of 1 to 5 examples."""
    samplers = [EpisodeSampler(data[name, split], 5, (1, 5), N_QUERY, seed=3) for name in CORPORA]
    number = 0
    while True:
        for sampler in samplers:
            yield sampler(range(number, number + 8))
        number += 8


def section(document: Document) -> str:
    """Accuracy by corpus and shots, and paired differences over the model as it is."""
    results, comparisons = summarised(document)
    kinds = list(dict.fromkeys((r.data, episodes_of(r)) for r in results))
    names = list(dict.fromkeys(r.learner for r in results))
    accuracy = {(r.data, episodes_of(r), r.learner): percent(r) for r in results}
    above = {}
    for c in comparisons:
        d, other = c.difference, c.b if c.a == BASELINE else c.a
        flipped = d if c.a == other else type(d)(0.0 - d.mean, 0.0 - d.high, 0.0 - d.low)
        above[c.data, episodes_of(c), other] = points(flipped) + or_tie(c)
    heads = ["method", *(f"{data}, {episodes}" for data, episodes in kinds)]
    weights = ", ".join(f"{w:.2f}" for w in document["settings"]["weight of a name"])
    return "\n\n".join(
        [
            "## What else could stand on these vectors",
            f"{results[0].episodes} episodes of test classes each; accuracy, and points above `{BASELINE}`, paired. A name "
            f"learned to count as {weights} examples, at one and at five examples per class.",
            table(heads, [[name, *(accuracy[(*kind, name)] for kind in kinds)] for name in names]),
            table(heads, [[name, *(above[(*kind, name)] for kind in kinds)] for name in names if name != BASELINE]),
            made_by(document),
        ]
    )


SECTIONS = (Section("sentences_more", "sentences_more.json", section),)


if __name__ == "__main__":
    main()

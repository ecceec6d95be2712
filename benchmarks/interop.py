"""One loop of each of learn2learn, torchmeta and easyfsl, as their own documentation writes it, on our sampler.

    python benchmarks/interop.py [--seed 0] [--steps 60]

The peers must be installed (benchmarks/README.md). Generated data: 60 classes that differ in 4 of 32 numbers, 40 for
training. Each loop trains and validates on our episodes through `regard.interop`; then its method is evaluated as a
`Learner` by `regard.evaluate` on the same validation episodes, which must give the accuracy that the loop counted
itself. easyfsl's prototypes are also compared with `Prototypical` on the same encoder. Writes
benchmarks/results/interop.json.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common import Document, Section, argument_parser, made_by, provenance, render_after, table, write_document
from peers import import_easyfsl, import_learn2learn, import_torchmeta
from regard.evaluation import evaluate
from regard.interop import (
    EasyfslTasks,
    Learn2LearnTasks,
    TorchmetaBatches,
    learner_from_easyfsl,
    learner_from_learn2learn,
    learner_from_torchmeta,
)
from regard.learners import Learner, Prototypical
from regard.nn.mlp import MLP
from regard.sampling import Dataset, EpisodeSampler

N_WAY, N_SHOT, TASKS, INNER_STEPS, INNER_LR, N_VALIDATION = 5, 2, 4, 3, 0.4, 200


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(__doc__, SECTIONS, "interop.json", seed=0)
    made.add_argument("--steps", type=int, default=60, help="meta-steps of each loop (default 60)")
    return made


def samplers(seed: int) -> tuple[EpisodeSampler, EpisodeSampler]:
    """Training episodes and validation episodes of other classes."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.cat([2 * torch.randn(60, 1, 4, generator=generator), torch.zeros(60, 1, 28)], -1)
    items = (centres + torch.randn(60, 20, 32, generator=generator)).flatten(0, 1)
    data = Dataset.of(items, torch.arange(60).repeat_interleave(20))
    training, validation = (
        EpisodeSampler(data.select_classes(classes), N_WAY, N_SHOT, N_SHOT, seed=seed)
        for classes in (range(40), range(40, 60))
    )
    return training, validation


def network() -> nn.Sequential:
    """As small networks of their examples."""
    return nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, N_WAY))


def accuracy(scores: Tensor, y: Tensor) -> float:
    """Of one task."""
    return float((scores.argmax(1) == y).float().mean())


def learn2learn_loop(steps: int, seed: int) -> Document:
    """Its `fast_adapt`: every second row of a task is support."""
    l2l = import_learn2learn()
    training, validation = samplers(seed)
    maml = l2l.algorithms.MAML(network(), lr=INNER_LR, first_order=False)
    optimizer = torch.optim.Adam(maml.parameters(), 0.003)

    def fast_adapt(batch: tuple[Tensor, Tensor], learner: Any) -> tuple[Tensor, float]:
        data, labels = batch
        adaptation_indices = torch.zeros(data.size(0), dtype=torch.bool)
        adaptation_indices[torch.arange(N_SHOT * N_WAY) * 2] = True
        for _ in range(INNER_STEPS):
            learner.adapt(F.cross_entropy(learner(data[adaptation_indices]), labels[adaptation_indices]))
        predictions = learner(data[~adaptation_indices])
        return F.cross_entropy(predictions, labels[~adaptation_indices]), accuracy(
            predictions, labels[~adaptation_indices]
        )

    tasks = Learn2LearnTasks(training, steps * TASKS)
    held_out = Learn2LearnTasks(validation, N_VALIDATION)

    def validate() -> float:
        return sum(fast_adapt(task, maml.clone())[1] for task in held_out) / len(held_out)

    before = validate()
    for _ in range(steps):
        optimizer.zero_grad()
        for _ in range(TASKS):
            error, _ = fast_adapt(tasks.sample(), maml.clone())
            error.backward()
        for p in maml.parameters():
            p.grad.data.mul_(1.0 / TASKS)
        optimizer.step()
    return _entry(before, validate(), learner_from_learn2learn(maml, inner_steps=INNER_STEPS), validation)


def torchmeta_loop(steps: int, seed: int) -> Document:
    """Its MAML example: a MetaModule, and `gradient_update_parameters` for each task of a batch."""
    torchmeta = import_torchmeta()
    modules, update = torchmeta.modules, torchmeta.utils.gradient_based.gradient_update_parameters
    training, validation = samplers(seed)

    class Network(modules.MetaModule):  # a class of its own, as torchmeta's users write one
        def __init__(self) -> None:
            super().__init__()
            self.layers = modules.MetaSequential(modules.MetaLinear(32, 64), nn.ReLU(), modules.MetaLinear(64, N_WAY))

        def forward(self, x: Tensor, params: Any = None) -> Tensor:
            return self.layers(x, params=self.get_subdict(params, "layers"))

    model = Network()
    optimizer = torch.optim.Adam(model.parameters(), 0.003)

    def adapted(x: Tensor, y: Tensor) -> Any:
        params = None
        for _ in range(INNER_STEPS):
            inner = F.cross_entropy(model(x, params=params), y)
            model.zero_grad()
            params = update(model, inner, params=params, step_size=INNER_LR)
        return params

    def validate() -> float:
        total = 0.0
        for batch in TorchmetaBatches(validation, batch_size=TASKS, n_batches=N_VALIDATION // TASKS):
            for x, y, query_x, query_y in zip(*batch["train"], *batch["test"], strict=True):
                total += accuracy(model(query_x, params=adapted(x, y)), query_y)
        return total / N_VALIDATION

    before = validate()
    for batch in TorchmetaBatches(training, batch_size=TASKS, n_batches=steps):
        model.zero_grad()
        outer = torch.zeros(())
        for x, y, query_x, query_y in zip(*batch["train"], *batch["test"], strict=True):
            outer = outer + F.cross_entropy(model(query_x, params=adapted(x, y)), query_y)
        outer.div_(TASKS)
        outer.backward()
        optimizer.step()
    ours = learner_from_torchmeta(model, update, inner_steps=INNER_STEPS, inner_lr=INNER_LR)
    return _entry(before, validate(), ours, validation)


def easyfsl_loop(steps: int, seed: int) -> Document:
    """Its episodic training tutorial, validated by its own `evaluate`."""
    import_easyfsl()
    prototypical = import_module("easyfsl.methods").PrototypicalNetworks
    its_evaluate = import_module("easyfsl.utils").evaluate
    training, validation = samplers(seed)
    model = prototypical(MLP(32, 64))
    optimizer = torch.optim.Adam(model.parameters(), 0.003)

    def validate() -> float:
        return float(its_evaluate(model, EasyfslTasks(validation, N_VALIDATION), device="cpu", use_tqdm=False))

    before = validate()
    for images, labels, query_images, query_labels, _ in EasyfslTasks(training, steps * TASKS):
        optimizer.zero_grad()
        model.process_support_set(images, labels)
        loss = F.cross_entropy(model(query_images), query_labels)
        loss.backward()
        optimizer.step()
    entry = _entry(before, validate(), learner_from_easyfsl(model), validation)
    ours = evaluate(Prototypical(copy.deepcopy(model.backbone)), validation, N_VALIDATION).metrics["accuracy"].mean
    return {**entry, "prototypical_of_regard": ours}


def _entry(before: float, after: float, learner: Learner, validation: EpisodeSampler) -> Document:
    interval = evaluate(learner, validation, N_VALIDATION).metrics["accuracy"]
    return {
        "before": before,
        "after": after,
        "evaluated_by_regard": interval.mean,
        "half_width": interval.half_width,
    }


LOOPS: dict[str, Callable[[int, int], Document]] = {
    "learn2learn": learn2learn_loop,
    "torchmeta": torchmeta_loop,
    "easyfsl": easyfsl_loop,
}


def main() -> None:
    """Run the loops, write, print."""
    arguments = parser().parse_args()
    torch.set_num_threads(1)
    loops: Document = {}
    for name, loop in LOOPS.items():
        torch.manual_seed(arguments.seed)
        loops[name] = loop(arguments.steps, arguments.seed)
        print(name, loops[name])
    document = {
        "work": {"n_way": N_WAY, "n_shot": N_SHOT, "steps": arguments.steps, "episodes": N_VALIDATION},
        "loops": loops,
        **provenance(seed=arguments.seed, interval="95%, over validation episodes"),
    }
    write_document(arguments.out, document)
    render_after(arguments, SECTIONS)


def section(document: Document) -> str:
    """Accuracy of each loop."""
    work = document["work"]
    rows = [
        [
            name,
            f"{100 * entry['before']:.2f}",
            f"{100 * entry['after']:.2f}",
            f"{100 * entry['evaluated_by_regard']:.2f} ± {100 * entry['half_width']:.2f}",
        ]
        for name, entry in document["loops"].items()
    ]
    ours = 100 * document["loops"]["easyfsl"]["prototypical_of_regard"]
    return "\n\n".join(
        [
            "## Loops of other libraries on Regard's sampler",
            f"{work['n_way']}-way {work['n_shot']}-shot on {work['episodes']} validation episodes of unseen classes, in percent, "
            f"before and after {work['steps']} meta-steps.",
            table(
                ["loop of", "before, counted by the loop", "after, counted by the loop", "after, by `regard.evaluate`"],
                rows,
            ),
            f"`Prototypical` of Regard on the encoder that easyfsl's loop trained: {ours:.2f}.",
            made_by(document),
        ]
    )


SECTIONS = (Section("interop", "interop.json", section),)


if __name__ == "__main__":
    main()

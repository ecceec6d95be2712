"""Steps of MAML, ANIL and ridge regression beside learn2learn, higher and torchopt, interleaved in one process.

    python benchmarks/gradient_speed.py [--threads 1 2] [--only sinusoid ...] [--rounds 7]

A step is the meta-gradient of a batch of tasks, second order, and Adam. All learn from the same tensors with the same
starting weights, and before anything is timed, every contender's loss and meta-gradient are compared with those of a
plain loop in float64. Peers get the model as their users write it: convolution, batch norm on batch statistics, ReLU,
max-pool, in PyTorch's default memory layout; and, in their favour, no biases under batch norm, no running averages, and
Regard's fused Adam. Memory is measured in a fresh process for each contender.

Writes benchmarks/results/gradient_speed.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does; before PyTorch is loaded

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from common import (
    Document,
    Section,
    argument_parser,
    command_line,
    interleaved,
    made_by,
    medians,
    provenance,
    read_document,
    render_after,
    table,
    times_as_fast,
    write_document,
)
from peers import MAML_PEERS, Task, learn2learn_maml
from regard.episode import Episode, Support
from regard.learners.maml import MAML
from regard.learners.r2d2 import R2D2
from regard.nn.conv4 import Conv4
from regard.nn.headed import Headed

WAY, QUERY = 5, 15
Net = Literal["sinusoid", "pool", "stride"]
Step = Callable[[], object]
BARS = {("sinusoid", 1): 30.0, ("sinusoid", 5): 45.0, ("pool", 1): 1.6, ("pool", 5): 1.4, ("stride", 1): 1.2}
BARS[("stride", 5)] = 1.2


@dataclass(frozen=True)
class Work:
    """What is timed: a network, B tasks, K inner steps; "MAML", "ANIL" or "ridge"."""

    net: Net
    n_tasks: int
    n_steps: int
    method: str = "MAML"
    device: str = "cpu"

    @property
    def name(self) -> str:
        """For the table."""
        steps = f", {self.n_steps} step{'s' * (self.n_steps > 1)}" if self.method != "ridge" else ""
        return f"{self.method}, {self.net}, {self.n_tasks} tasks{steps}"

    @property
    def inner_lr(self) -> float:
        """Small enough that nothing diverges from weights as they start."""
        return 0.01 if self.net == "sinusoid" else 0.1

    @property
    def loss(self) -> Callable[[Tensor, Tensor], Tensor]:
        """Of a peer."""
        return F.mse_loss if self.net == "sinusoid" else F.cross_entropy


WORKS = [
    *(Work("sinusoid", 25, k) for k in (1, 5)),
    *(Work(net, b, k) for net in ("pool", "stride") for b in (4, 32) for k in (1, 5)),
    Work("pool", 4, 5, "ANIL"),
    Work("pool", 4, 0, "ridge"),
]


# ---- tasks and networks, the same for all ----------------------------------------------------------------------------


def tasks_of(work: Work, dtype: torch.dtype) -> list[Task]:
    """Sinusoids of 10 and 10 points; or images of noise, since time does not depend on what they show."""
    generator = torch.Generator().manual_seed(1)

    def uniform(*size: int) -> Tensor:
        return torch.rand(size, generator=generator, dtype=torch.float64)

    tasks: list[Task] = []
    for _ in range(work.n_tasks):
        if work.net == "sinusoid":
            amplitude, phase, x = 0.1 + 4.9 * uniform(1), torch.pi * uniform(1), 10 * uniform(20, 1) - 5
            y = amplitude * torch.sin(x - phase)
            tasks.append((x[:10].to(dtype), y[:10].to(dtype), x[10:].to(dtype), y[10:].to(dtype)))
        else:
            y = torch.arange(WAY)
            x, query_x = uniform(WAY, 1, 28, 28).to(dtype), uniform(WAY * QUERY, 1, 28, 28).to(dtype)
            tasks.append((x, y, query_x, y.repeat_interleave(QUERY)))
    return [(a.to(work.device), b.to(work.device), c.to(work.device), d.to(work.device)) for a, b, c, d in tasks]


def episode_of(work: Work, tasks: Sequence[Task]) -> Episode:
    """The same tasks as one value."""
    x, y, query_x, query_y = (torch.stack(t) for t in zip(*tasks, strict=True))
    if work.net != "sinusoid":
        x, query_x = x[:, :, 0], query_x[:, :, 0]
    return Episode(Support(x, y), query_x, query_y)


def plain_model(net: Net) -> nn.Module:
    """As a peer's user writes it."""
    if net == "sinusoid":
        return dense()
    layers: list[nn.Module] = []
    for i in range(4):
        stride = 2 if net == "stride" else 1
        layers += [nn.Conv2d(64 if i else 1, 64, 3, stride, padding=1, bias=False)]
        layers += [nn.BatchNorm2d(64, track_running_stats=False), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if net == "pool" else []
    layers += [nn.Flatten()] if net == "pool" else [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(64, WAY))


def our_model(net: Net) -> nn.Module:
    """As Regard has it: the same numbers, otherwise laid out."""
    return dense() if net == "sinusoid" else Headed(our_encoder(net), WAY)


def our_encoder(net: Net) -> Conv4:
    """Conv4 of 64 filters."""
    by = "pool" if net == "pool" else "stride"
    return Conv4(norm="transductive", halve_by=by, pool="flat" if net == "pool" else "mean")


def dense() -> nn.Sequential:
    """1-40-40-1."""
    return nn.Sequential(nn.Linear(1, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 1))


def same_start(model: nn.Module, dtype: torch.dtype, device: str) -> nn.Module:
    """Weights drawn in one order, whatever the parameters are called; scales of batch norm are not all 1."""
    generator = torch.Generator().manual_seed(0)
    model = model.to(device, dtype)
    middle = 0.8 if any(isinstance(m, nn.Conv2d) for m in model.modules()) else 0.0
    with torch.no_grad():
        for p in model.parameters():
            fan_in = p[0].numel() if p.ndim > 1 else 1
            drawn = torch.randn(p.shape, generator=generator, dtype=torch.float64)
            p.copy_(drawn * (1 / fan_in) ** 0.5 if p.ndim > 1 else middle + 0.2 * drawn)
    return model


# ---- contenders ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Contender:
    """gradients() -> mean loss leaves the meta-gradient on the parameters."""

    model: nn.Module
    gradients: Callable[[], Tensor]

    def step(self) -> Step:
        """With Adam."""
        adam = torch.optim.Adam(self.model.parameters(), lr=1e-3, fused=True)

        def step() -> None:
            adam.zero_grad()
            self.gradients()
            adam.step()

        return step


def plain_loop(work: Work, dtype: torch.dtype) -> Contender:
    """functional_call and autograd.grad: what all others are compared with."""
    model, tasks = same_start(plain_model(work.net), dtype, work.device), tasks_of(work, dtype)

    def gradients() -> Tensor:
        total = torch.zeros((), dtype=dtype, device=work.device)
        for x, y, query_x, query_y in tasks:
            weights: dict[str, Tensor] = dict(model.named_parameters())
            for _ in range(work.n_steps):
                inner = adapting(work, weights)
                value = work.loss(functional_call(model, weights, (x,)), y)
                slopes = torch.autograd.grad(value, list(inner.values()), create_graph=True)
                weights = weights | {n: w - work.inner_lr * g for (n, w), g in zip(inner.items(), slopes, strict=True)}
            value = work.loss(functional_call(model, weights, (query_x,)), query_y) / len(tasks)
            value.backward()
            total += value.detach()
        return total

    return Contender(model, gradients)


def adapting(work: Work, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """All of them, or for ANIL the last layer's two."""
    return dict(list(weights.items())[-2:]) if work.method == "ANIL" else weights


def peer(name: str) -> Callable[[Work, torch.dtype], Contender]:
    """A peer on its user's model."""

    def make(work: Work, dtype: torch.dtype) -> Contender:
        model, tasks = same_start(plain_model(work.net), dtype, work.device), tasks_of(work, dtype)
        run = MAML_PEERS[name](model, work.loss, work.inner_lr, work.n_steps)
        return Contender(model, lambda: run(tasks))

    return make


def learn2learn_anil(work: Work, dtype: torch.dtype) -> Contender:
    """Its example of ANIL: features once, and MAML on the head."""
    model, tasks = same_start(plain_model(work.net), dtype, work.device), tasks_of(work, dtype)
    assert isinstance(model, nn.Sequential)
    features, head = model[:-1], model[-1]
    run = learn2learn_maml(head, work.loss, work.inner_lr, work.n_steps)

    def gradients() -> Tensor:
        total = torch.zeros((), dtype=dtype, device=work.device)
        for x, y, query_x, query_y in tasks:
            total = total + run([(features(x), y, features(query_x), query_y)]) / len(tasks)
        for p in model.parameters():
            p.grad = None if p.grad is None else p.grad / len(tasks)
        return total

    return Contender(model, gradients)


def regard(execution: Any) -> Callable[[Work, torch.dtype], Contender]:
    """MAML of Regard by one execution."""

    def make(work: Work, dtype: torch.dtype) -> Contender:
        model = same_start(our_model(work.net), dtype, work.device)
        only = "head.*" if work.method == "ANIL" else None
        learner = MAML(
            model, inner_lr=work.inner_lr, inner_steps=work.n_steps, adapt_only=only, execution=execution
        ).train()
        return Contender(learner, backward_of(learner, episode_of(work, tasks_of(work, dtype))))

    return make


def regard_ridge(work: Work, dtype: torch.dtype) -> Contender:
    """R2D2 of Regard."""
    learner = R2D2(our_encoder(work.net)).to(work.device, dtype)
    return Contender(learner, backward_of(learner, episode_of(work, tasks_of(work, dtype))))


def backward_of(learner: nn.Module, episode: Episode) -> Callable[[], Tensor]:
    """Mean loss and its backward."""

    def gradients() -> Tensor:
        loss: Tensor = learner.loss(episode).mean()  # type: ignore[operator]
        loss.backward()
        return loss.detach()

    return gradients


def contenders(work: Work) -> dict[str, Callable[[Work, torch.dtype], Contender]]:
    """Peers first."""
    if work.method == "ridge":
        maml = {name: peer(name) for name in MAML_PEERS}
        return {**maml, "regard": regard_ridge}
    if work.method == "ANIL":
        return {"learn2learn": learn2learn_anil, "plain loop": plain_loop, "regard": regard("loop")}
    ours = {"regard": regard("loop")}
    if work.net == "sinusoid":
        ours = {"regard vmap": regard("vmap"), "regard": regard("compiled")}
    return {**{name: peer(name) for name in MAML_PEERS}, "plain loop": plain_loop, **ours}


# ---- the same answer -------------------------------------------------------------------------------------------------


def check(work: Work) -> dict[str, float]:
    """Largest relative difference in float64 of loss and of each meta-gradient from the plain loop's."""
    found = {}
    few = replace(work, n_tasks=2)
    expected = answer(plain_loop(few, torch.float64))
    for name, make in contenders(few).items():
        got = answer(make(few, torch.float64))
        gaps = [((a - b).norm() / b.norm().clamp(min=1e-12)).item() for a, b in zip(got, expected, strict=True)]
        found[name] = max(gaps)
        if not found[name] < 1e-8:
            raise SystemExit(f"{work.name}: {name} differs from the plain loop by {found[name]:.2g}, expected < 1e-8.")
    return found


def answer(contender: Contender) -> list[Tensor]:
    """Loss and meta-gradients."""
    loss = contender.gradients()
    return [loss, *(p.grad.detach() for p in contender.model.parameters() if p.grad is not None)]


# ---- time and memory -------------------------------------------------------------------------------------------------


def row(work: Work, threads: int, rounds: int) -> Document:
    """One line of the table."""
    torch.set_num_threads(threads)
    load = round(os.getloadavg()[0], 1)
    differences = check(work) if work.method != "ridge" else {}
    steps = {name: make(work, torch.float32).step() for name, make in contenders(work).items()}
    repeats = {name: 20 if work.net == "sinusoid" and "regard" in name else 1 for name in steps}
    seconds = interleaved(steps, rounds, warm_up=2, repeats=repeats)
    median = medians(seconds)
    best = min((name for name in seconds if name in MAML_PEERS), key=lambda name: median[name])
    ratio = times_as_fast(seconds, best)
    bar = BARS.get((work.net, work.n_steps)) if work.method == "MAML" else None
    return {
        "work": work.name,
        "threads": threads,
        "best_peer": best,
        "ratio_to_best_peer": {name: round(value, 2) for name, value in ratio.items()},
        "bar": bar,
        "seconds": seconds,
        "difference_from_plain_loop_float64": differences,
        "load_before": load,  # of two cores; above 2, others were at work beside the benchmark
        "command": command_line(),
    }


def peak_memory(name: str) -> float:
    """MiB above what was there before the first step, of three steps of Conv4 with 10 inner steps."""
    work = Work("pool", 4, 10)
    torch.set_num_threads(1)
    step = contenders(work)[name](work, torch.float32).step()
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before = _status("VmRSS")
    for _ in range(3):
        step()
    return (_status("VmHWM") - before) / 1024


def _status(key: str) -> int:
    """KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


def memory() -> dict[str, float]:
    """Of each contender, in a process of its own."""
    found = {}
    for name in [*MAML_PEERS, "plain loop", "regard"]:
        command = [sys.executable, str(Path(__file__)), "--memory-of", name]
        found[name] = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])
    return found


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(__doc__, SECTIONS, "gradient_speed.json")
    made.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    made.add_argument("--rounds", type=int, default=7)
    made.add_argument(
        "--only", nargs="+", default=[], help="substrings of the names of works (default: all, and memory)"
    )
    made.add_argument("--memory", action="store_true", help="memory alone")
    made.add_argument("--memory-of", help="print the peak of one contender, in MiB")
    return made


def main() -> None:
    """Measure, print, write."""
    arguments = parser().parse_args()
    if arguments.memory_of:
        print(peak_memory(arguments.memory_of))
        return
    if not arguments.memory:
        works = [work for work in WORKS if not arguments.only or any(name in work.name for name in arguments.only)]
        for threads in arguments.threads:
            for work in works:
                n_rounds = arguments.rounds if work.n_tasks < 32 else max(arguments.rounds // 2, 2)
                measured = row(work, threads, n_rounds)
                print(json.dumps({k: v for k, v in measured.items() if k != "seconds"}), flush=True)
                write(arguments.out, {f"{work.name}, {threads} cores": measured}, None)
    if arguments.memory or not arguments.only:
        write(arguments.out, {}, memory())
    render_after(arguments, SECTIONS)


def write(out: Path, rows: dict[str, Any], memory_mib: dict[str, float] | None) -> None:
    """Rows measured now take the place of those of the same name; each says how it was measured."""
    document = read_document(out) or {"rows": {}, "peak_memory_mib_10_inner_steps": {}}
    document["rows"] |= rows
    document["peak_memory_mib_10_inner_steps"] = memory_mib or document["peak_memory_mib_10_inner_steps"]
    document["title"] = "MAML, ANIL and ridge regression against learn2learn, higher and torchopt"
    document["summary"] = {name: r["ratio_to_best_peer"]["regard"] for name, r in document["rows"].items()}
    commands = list(dict.fromkeys(r["command"] for r in document["rows"].values()))
    write_document(out, {**document, **provenance(), "command": commands})


def section(document: Document) -> str:
    """Meta-gradients against the peers: ratios of medians, and peak memory."""
    peers = ("learn2learn", "higher", "torchopt")
    rows = []
    for name, measured in sorted(document["rows"].items()):
        ratio = {k: f"{v:.2f}" for k, v in measured["ratio_to_best_peer"].items()}
        own = [name, measured["bar"] or "-", ratio["regard"], *(ratio.get(peer, "-") for peer in peers)]
        rows.append([*own, measured["best_peer"], measured["load_before"]])
    memory_mib = ", ".join(f"{name} {mib:.0f}" for name, mib in document["peak_memory_mib_10_inner_steps"].items())
    return "\n\n".join(
        [
            f"## {document['title']}",
            "Steps per second, as a multiple of the best peer's. Load is that of the machine before the row was timed; above "
            "its number of cores, others worked beside it.",
            table(["work", "bar", "regard", *peers, "best peer", "load"], rows),
            f"Peak memory of 10 inner steps on Conv4, MiB: {memory_mib}.",
            made_by(document),
        ]
    )


SECTIONS = (Section("gradient_speed", "gradient_speed.json", section),)


if __name__ == "__main__":
    main()

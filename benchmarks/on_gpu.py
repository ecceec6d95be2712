"""Every row of speed on one GPU, beside the peers that are installed, in at most eight minutes.

    python benchmarks/on_gpu.py [--minutes 8] [--device cuda] [--tiny]

Rows: meta-gradients of MAML on convolutions and a dense network (by loop, by vmap, compiled), training Prototypical,
the in-context Transformer, sampling into device memory, and evaluation. Before a row is timed its answers are compared
with float64 on the CPU: losses and meta-gradients of every contender with a plain loop's, predictions with the same
learner's. Contenders of a row run in turns, and the clock waits for the device after each call. A row for which no time
is left is named in the results. `--tiny` makes everything small, so that all of it runs on a CPU in a test.

Writes benchmarks/results/on_gpu.json, with the name of the card; on a CPU only with `--out`, for it is of GPUs.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does; before PyTorch is loaded

import torch
from torch import Tensor, nn

import context_speed
import gradient_speed
import training_speed
from common import (
    RESULTS,
    Document,
    Section,
    argument_parser,
    interleaved,
    made_by,
    medians,
    provenance,
    render_after,
    table,
    times_as_fast,
    write_document,
)
from gradient_speed import Work
from peers import MAML_PEERS, easyfsl_episodes, learn2learn_episodes
from regard.evaluation import evaluate
from regard.learners import CrossTransformer, Prototypical
from regard.nn.conv4 import Conv4
from regard.sampling.dataset import Dataset
from regard.sampling.episodes import EpisodeSampler

Step = Callable[[], object]
ROUNDS = 15
LARGEST_GAP = {"gradient": 1e-8, "forward": 1e-6}
"""Relative, in float64 against float64 on the CPU. Evaluation reads items in single precision."""


@dataclass(frozen=True)
class Size:
    """How large the rows are."""

    works: tuple[Work, ...]
    n_classes: int
    n_items: int
    n_way: int
    n_episodes: int
    batch: int
    rounds: int
    compiled: bool


def full(device: str) -> Size:
    """As the other benchmarks of speed."""
    works = [Work("sinusoid", 25, k, device=device) for k in (1, 5)]
    works += [Work("pool", b, k, device=device) for b in (4, 32) for k in (1, 5)]
    works += [Work("stride", 32, 5, device=device)]
    return Size(tuple(works), 1623, 20, 20, 1000, 32, ROUNDS, True)


def tiny(device: str) -> Size:
    """For a test on a CPU; the sizes of the scripts whose rows these are, too."""
    training_speed.WAY, training_speed.QUERY = 3, 1
    context_speed.N_TASKS, context_speed.N_CONTEXT, context_speed.N_QUERY, context_speed.N_LAYERS = 1, 5, 3, 1
    return Size((Work("sinusoid", 2, 1, device=device), Work("stride", 2, 1, device=device)), 12, 8, 3, 4, 2, 2, False)


@dataclass(frozen=True)
class Row:
    """Contenders of one piece of work.

    Args:
        what: for the table.
        unit: how many of what a call does.
        steps: contender to one call.
        baseline: whom ratios are to.
        gaps: largest difference of each contender from float64 on the CPU; empty where nothing is computed.
        absent: peers that are not installed, and contenders that failed, with their reason.
    """

    what: str
    unit: str
    steps: dict[str, Step]
    baseline: str
    gaps: dict[str, float]
    absent: dict[str, str]


# ---- rows ------------------------------------------------------------------------------------------------------------


def gradients(work: Work, compiled: bool) -> Row:
    """MAML: the meta-gradient of a batch of tasks and Adam."""
    makers = {name: gradient_speed.peer(name) for name in MAML_PEERS}
    makers |= {"plain loop": gradient_speed.plain_loop}
    executions = ("loop", "vmap", "compiled") if compiled else ("loop", "vmap")
    makers |= {f"regard {how}": gradient_speed.regard(how) for how in executions}
    few = replace(work, n_tasks=2)
    expected = gradient_speed.answer(gradient_speed.plain_loop(replace(few, device="cpu"), torch.float64))
    steps: dict[str, Step] = {}
    gaps: dict[str, float] = {}
    absent: dict[str, str] = {}
    for name, make in makers.items():
        try:
            got = [value.cpu() for value in gradient_speed.answer(make(few, torch.float64))]
            step = make(work, torch.float32).step()
            step()
        except Exception as error:  # a peer that is not installed or fails here is named, and the others are measured
            absent[name] = f"{type(error).__name__}: {str(error)[:120]}"
            continue
        gaps[name] = max(
            ((a - b).norm() / b.norm().clamp(min=1e-12)).item() for a, b in zip(got, expected, strict=True)
        )
        steps[name] = step
    return Row(work.name, "step", steps, _baseline(steps), gaps, absent)


def prototypical(device: str) -> Row:
    """Training Conv4-64, 20-way 1-shot, 5 queries per class."""
    torch.manual_seed(1)
    way, query = training_speed.WAY, training_speed.QUERY
    x_support, x_query = torch.rand(way, 28, 28).to(device), torch.rand(way * query, 28, 28).to(device)
    steps: dict[str, Step] = {
        "regard fp32": training_speed.ours(x_support, x_query, bf16=False),
        "regard bf16": training_speed.ours(x_support, x_query, bf16=True),
    }
    absent: dict[str, str] = {}
    try:
        steps = {"learn2learn": training_speed.peer(x_support, x_query), **steps}
    except ImportError as error:
        absent["learn2learn"] = str(error).partition(",")[0]
    learner = Prototypical(Conv4(norm="batch")).double()
    episode = _episode(x_support, x_query, way, query)
    gap = _gap(learner, device, lambda moved: moved.loss(episode.to(_device_of(moved), torch.float64)))
    return Row(f"train Prototypical, Conv4, {way}-way", "step", steps, _baseline(steps), {"regard": gap}, absent)


def in_context(device: str) -> Row:
    """The Transformer of two calls, forward and backward; compared with the peer's before it is timed."""
    steps = context_speed.contenders(False, device)["train"]
    ours = context_speed.Ours().double()
    context, query = torch.randn(2, 5, context_speed.D).double(), torch.randn(2, 3, context_speed.D).double()
    gap = _gap(ours, device, lambda moved: moved(context.to(_device_of(moved)), query.to(_device_of(moved))))
    what = f"train in context, {context_speed.N_TASKS} tasks of {context_speed.N_CONTEXT} + {context_speed.N_QUERY}"
    return Row(what, "step", dict(steps), "TransformerEncoder", {"regard": gap}, {})


def sampling(device: str, size: Size) -> Row:
    """5-way 1-shot episodes with 15 queries, until they are in device memory."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (size.n_classes * size.n_items, 28, 28), generator=generator, dtype=torch.uint8)
    y = torch.arange(size.n_classes).repeat_interleave(size.n_items)
    n_query = min(15, size.n_items - 1)
    names = tuple(f"class{c}" for c in range(size.n_classes))

    def regard(kept_on: str) -> Step:
        source = EpisodeSampler(Dataset(x.to(kept_on), y, names), 5, 1, n_query)
        batches = source.batches(10**9, size.batch)
        return lambda: next(batches).to(device)

    def peer(stream: Iterator[object]) -> Step:
        return lambda: [_to(episode, device) for episode in islice(stream, size.batch)]

    steps: dict[str, Step] = {"regard, items on the device": regard(device), "regard, items on the CPU": regard("cpu")}
    absent: dict[str, str] = {}
    makers = {
        "learn2learn": lambda: learn2learn_episodes(x, y, 5, 1, n_query, n_episodes=10**9),
        "easyfsl": lambda: easyfsl_episodes(x, y, 5, 1, n_query, n_episodes=10**9),
    }
    for name, make in makers.items():
        try:
            steps = {name: peer(make()), **steps}
        except ImportError as error:
            absent[name] = str(error).partition(",")[0]
    a, b = (EpisodeSampler(Dataset(x.to(on), y, names), 5, 1, n_query) for on in (device, "cpu"))
    here, there = next(a.batches(2, 2)), next(b.batches(2, 2))
    assert isinstance(here.query_x, Tensor) and isinstance(there.query_x, Tensor)
    gap = float((here.query_x.cpu().double() - there.query_x.double()).abs().max())
    return Row(f"sample {size.batch} episodes", "batch", steps, _baseline(steps), {"regard": gap}, absent)


def evaluation(device: str, size: Size, name: str) -> Row:
    """Episodes of noise: each item encoded once, and each episode from scratch, as the peers do."""
    torch.manual_seed(0)
    encoder = Conv4(norm="batch", parts=name == "CrossTransformer", n_halvings=2 if name == "CrossTransformer" else 4)
    learner = Prototypical(encoder) if name == "Prototypical" else CrossTransformer(encoder)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(50 * size.n_items, 28, 28, generator=generator)
    y = torch.arange(50).repeat_interleave(size.n_items)
    names = tuple(f"class{c}" for c in range(50))
    source = EpisodeSampler(Dataset(x, y, names), size.n_way, 1, 5 if size.n_items > 5 else 1)
    few = max(2, size.n_episodes // 20)
    moved = deepcopy(learner).to(device)
    steps: dict[str, Step] = {
        "from scratch": lambda: evaluate(moved, source, few, cache=False),
        "each item encoded once": lambda: evaluate(moved, source, few),
    }
    episode = next(source.batches(1, 1))
    gap = _gap(learner.double(), device, lambda at: at(episode.to(_device_of(at), torch.float64)))
    return Row(f"evaluate {name}, {few} episodes {size.n_way}-way", "call", steps, "from scratch", {"regard": gap}, {})


def rows(device: str, size: Size) -> Iterator[Callable[[], Row]]:
    """The most important first: time may run out."""
    first, *others = size.works
    yield lambda: gradients(first, size.compiled)
    yield lambda: prototypical(device)
    yield lambda: in_context(device)
    yield lambda: sampling(device, size)
    for name in ("Prototypical", "CrossTransformer"):
        yield lambda name=name: evaluation(device, size, name)
    for work in others:
        yield lambda work=work: gradients(work, size.compiled)


def _baseline(steps: dict[str, Step]) -> str:
    """The first contender: a peer where one is installed."""
    return next(iter(steps))


def _episode(x_support: Tensor, x_query: Tensor, way: int, query: int) -> gradient_speed.Episode:
    y = torch.arange(way, device=x_support.device)
    support = gradient_speed.Support(x_support[None], y[None])
    return gradient_speed.Episode(support, x_query[None], y.repeat_interleave(query)[None])


def _device_of(module: nn.Module) -> torch.device:
    return next(module.parameters()).device


def _gap(module: nn.Module, device: str, answer: Callable[[Any], Tensor]) -> float:
    """Largest difference of the same weights in float64 here and there, relative to the largest value."""
    with torch.no_grad():
        expected, got = answer(module), answer(deepcopy(module).to(device)).cpu()
    finite = torch.isfinite(expected)
    return float((got - expected)[finite].abs().max() / expected[finite].abs().max().clamp(min=1e-12))


def _to(episode: object, device: str) -> object:
    return [part.to(device) for part in episode if isinstance(part, Tensor)]  # type: ignore[attr-defined]


# ---- measuring -------------------------------------------------------------------------------------------------------


def waiting(step: Step, device: str) -> Step:
    """A call that ends when the device has ended."""
    if device == "cpu":
        return step

    def run() -> None:
        step()
        torch.cuda.synchronize()

    return run


def measure(row: Row, device: str, rounds: int, deadline: float) -> Document:
    """One line of the table."""
    for name, gap in row.gaps.items():
        limit = LARGEST_GAP["gradient" if row.unit == "step" and len(row.gaps) > 1 else "forward"]
        if not gap < limit:
            raise SystemExit(f"{row.what}: {name} differs from float64 on the CPU by {gap:.2g}, expected < {limit}.")
    steps = {name: waiting(step, device) for name, step in row.steps.items()}
    began = time.monotonic()
    interleaved(steps, 1, warm_up=2)
    once = (time.monotonic() - began) / 3
    n_rounds = max(2, min(rounds, int((deadline - time.monotonic()) / 4 / max(once, 1e-6))))
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    seconds = interleaved(steps, n_rounds, warm_up=0)
    return {
        "unit": row.unit,
        "baseline": row.baseline,
        "milliseconds": {name: round(1000 * value, 3) for name, value in medians(seconds).items()},
        "times": {name: round(value, 2) for name, value in times_as_fast(seconds, row.baseline).items()},
        "difference_from_float64_on_cpu": row.gaps,
        "not_measured": row.absent,
        "peak_mib": 0 if device == "cpu" else round(torch.cuda.max_memory_allocated() / 2**20),
        "seconds": seconds,
    }


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(__doc__, SECTIONS, "on_gpu.json")
    made.add_argument("--minutes", type=float, default=8.0, help="of the whole, most of which is compilation")
    made.add_argument("--device", default="cuda", help="cuda, or cpu to try the script")
    made.add_argument("--tiny", action="store_true", help="everything small")
    return made


def main() -> None:
    """Measure, print, write after each row."""
    arguments = parser().parse_args()
    device: str = arguments.device
    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit(
            "no GPU is visible to PyTorch: expected one, or --device cpu --tiny --out FILE to try the script."
        )
    if device == "cpu" and arguments.out == RESULTS / "on_gpu.json":
        raise SystemExit("--device cpu: add --out FILE, for the published results are of GPUs.")
    size = tiny(device) if arguments.tiny else full(device)
    deadline = time.monotonic() + 60 * arguments.minutes
    document: Document = {"device": _name(device), "rows": {}, "left_out": 0, **provenance()}
    for make in rows(device, size):
        if time.monotonic() > deadline - 20:
            document["left_out"] += 1
            continue
        row = make()
        document["rows"][row.what] = measured = measure(row, device, size.rounds, deadline)
        print(row.what, json.dumps({k: v for k, v in measured.items() if k != "seconds"}), flush=True)
        write_document(arguments.out, document)
    write_document(arguments.out, document)
    render_after(arguments, SECTIONS)


def _name(device: str) -> str:
    return "cpu" if device == "cpu" else torch.cuda.get_device_name()


def section(document: Document) -> str:
    """What was measured on a GPU, or that nothing was."""
    if not document.get("rows"):
        return (
            "## On a GPU\n\nNothing was measured on a GPU yet. `python benchmarks/on_gpu.py` measures every row in eight "
            "minutes, beside the peers that are installed, and writes this section."
        )
    lines = [
        [what, name, milliseconds, row["times"][name], row["baseline"], row["peak_mib"]]
        for what, row in document["rows"].items()
        for name, milliseconds in row["milliseconds"].items()
    ]
    left_out = f" {document['left_out']} rows had no time left." if document["left_out"] else ""
    gap = max(gap for row in document["rows"].values() for gap in row["difference_from_float64_on_cpu"].values())
    return "\n\n".join(
        [
            f"## On a GPU: {document['device']}",
            f"Medians, in turns. Answers agree with float64 on the CPU to {gap:.0e}.{left_out}",
            table(["work", "who", "ms", "times as fast as", "whom", "peak MiB of the row"], lines),
            made_by(document),
        ]
    )


SECTIONS = (Section("on_gpu", "on_gpu.json", section),)


if __name__ == "__main__":
    main()

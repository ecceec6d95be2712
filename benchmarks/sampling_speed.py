"""Episodes per second: Regard against easyfsl and learn2learn, on a data set of Omniglot's size in memory.

    python benchmarks/sampling_speed.py [--threads 1 2] [--turns 21]

1,623 classes of 20 pictures of 28 x 28; 5-way 1-shot, 15 queries per class. All run in one process, in turns, so
that a busy moment of the machine hits all alike; the medians over the turns count. Peers yield float pictures, made
float before the clock starts, and are given the same number of threads. Regard is measured twice: "float" is like for
like, pictures between 0 and 1; "uint8" is what Regard's own encoders take. Floats are four times the size, so a batch
of them holds half as many episodes. "plain copy" says what memory allows: as many bytes as an episode of uint8 has,
copied in order from the data set to memory of a batch's size, with no index and no episode.

Set for all of them alike: threads wait without spinning, as the command line has it (where they spin and other programs
use the cores, a gather in two threads takes 10 ms), and malloc keeps what is freed (`keep_freed_memory`). The pictures
are made by NumPy, as Regard's readers make them, and so in large pages where the system has them.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from itertools import islice
from statistics import median

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does; before PyTorch is loaded

import numpy as np
import torch
from torch import Tensor

from common import (
    Document,
    Section,
    argument_parser,
    interleaved,
    made_by,
    provenance,
    render_after,
    table,
    write_document,
)
from peers import easyfsl_episodes, learn2learn_episodes
from regard.sampling.dataset import Dataset
from regard.sampling.episodes import EpisodeSampler
from regard.sampling.memory import keep_freed_memory

N_CLASSES, N_ITEMS, SIDE = 1623, 20, 28
N_WAY, N_SHOT, N_QUERY = 5, 1, 15
FOREVER = 10**9
PEERS = ("easyfsl", "learn2learn", "learn2learn fused")
REGARD = {"regard float": torch.float32, "regard uint8": None}
COPY = "plain copy"
Take = Callable[[int], None]
"""Draw this many episodes and let them go."""


def pictures() -> tuple[Tensor, Tensor]:
    """Random pictures: what is in them does not matter for speed."""
    x = np.random.default_rng(0).integers(0, 256, (N_CLASSES * N_ITEMS, SIDE, SIDE), dtype=np.uint8)
    return torch.from_numpy(x), torch.arange(N_CLASSES).repeat_interleave(N_ITEMS)


def contenders(x: Tensor, y: Tensor, batches: list[int]) -> dict[str, Take]:
    """Every contender as a function that draws episodes, set up and warm."""
    sizes = (x, y, N_WAY, N_SHOT, N_QUERY)
    streams: dict[str, Iterator[object]] = {
        "easyfsl": easyfsl_episodes(*sizes, n_episodes=FOREVER),
        "learn2learn": learn2learn_episodes(*sizes, n_episodes=FOREVER),
        "learn2learn fused": learn2learn_episodes(*sizes, n_episodes=FOREVER, fused=True),
    }
    takes = {name: _one_by_one(stream) for name, stream in streams.items()}
    dataset = Dataset(x, y, tuple(f"class{c}" for c in range(N_CLASSES)))
    for (name, dtype), batch in zip(REGARD.items(), batches, strict=True):
        takes[name] = _in_batches(EpisodeSampler(dataset, N_WAY, N_SHOT, N_QUERY, dtype=dtype), batch)
    takes[COPY] = _copies(x, batches[-1])
    return takes


def _one_by_one(stream: Iterator[object]) -> Take:
    def take(n_episodes: int) -> None:
        for _ in islice(stream, n_episodes):
            pass

    return take


def _in_batches(sampler: EpisodeSampler, batch: int) -> Take:
    start = 0

    def take(n_episodes: int) -> None:
        nonlocal start
        for _ in sampler.batches(n_episodes, batch, start):
            pass
        start += n_episodes

    return take


def _copies(x: Tensor, batch: int) -> Take:
    """Two pieces of memory in turn, as a loop has them that holds one batch while the next is drawn."""
    n_rows = batch * N_WAY * (N_SHOT + N_QUERY)
    pieces = x.split(n_rows)[:-1]
    memory = torch.empty(2, n_rows, SIDE, SIDE, dtype=torch.uint8)

    def take(n_episodes: int) -> None:
        for i in range(n_episodes // batch):
            memory[i % 2].copy_(pieces[i % len(pieces)])

    return take


def measure(takes: dict[str, Take], n_turns: int, seconds: float) -> dict[str, list[float]]:
    """Episodes per second of each contender in each turn; about `seconds` per contender and turn."""
    n_episodes = {name: _enough(take, seconds) for name, take in takes.items()}
    draws = {name: lambda take=take, n=n_episodes[name]: take(n) for name, take in takes.items()}
    taken = interleaved(draws, n_turns, warm_up=0)
    return {name: [n_episodes[name] / each for each in values] for name, values in taken.items()}


def _enough(take: Take, seconds: float) -> int:
    take(64)
    start = time.perf_counter()
    take(256)
    return max(64, int(256 * seconds / (time.perf_counter() - start)) // 64 * 64)


def report(rates: dict[str, list[float]]) -> dict[str, object]:
    """Medians, spreads, and how many times each peer Regard is."""
    middle = {name: median(values) for name, values in rates.items()}
    return {
        "episodes_per_second": {
            name: {"median": round(middle[name]), "low": round(min(values)), "high": round(max(values))}
            for name, values in rates.items()
        },
        "times": {name: {peer: round(middle[name] / middle[peer], 1) for peer in PEERS} for name in REGARD},
        "uint8 of plain copy": round(middle["regard uint8"] / middle[COPY], 2),
    }


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(__doc__, SECTIONS, "sampling_speed.json")
    made.add_argument("--turns", type=int, default=21)
    made.add_argument("--seconds", type=float, default=0.2, help="per contender and turn")
    made.add_argument("--batch", type=int, nargs=2, default=[16, 32], help="episodes per batch, of float and of uint8")
    made.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    return made


def main() -> None:
    """Measure, print, write."""
    arguments = parser().parse_args()
    keep_freed_memory()
    takes = contenders(*pictures(), arguments.batch)
    results: dict[str, object] = {}
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        results[f"{threads} threads"] = rates = report(measure(takes, arguments.turns, arguments.seconds))
        print(threads, "threads", json.dumps(rates, indent=2))
    made = provenance()
    document = {
        "task": f"{N_CLASSES} x {N_ITEMS} x {SIDE} x {SIDE}, {N_WAY}-way {N_SHOT}-shot {N_QUERY}-query",
        "settings": {key: value for key, value in vars(arguments).items() if key != "out"},
        "omp_wait_policy": os.environ["OMP_WAIT_POLICY"],
        **made,
        "machine": {**made["machine"], "load": os.getloadavg()[0]},
        "results": results,
    }
    write_document(arguments.out, document)
    render_after(arguments, SECTIONS)


def section(document: Document) -> str:
    """Episodes per second against the peers."""
    blocks = [f"## Sampling, {document['task']}: episodes per second, as a multiple of a peer's"]
    for threads, measured in document["results"].items():
        peers = list(next(iter(measured["times"].values())))
        rows = [[ours, *(row[peer] for peer in peers)] for ours, row in measured["times"].items()]
        copy = f"A plain copy of as many bytes, taken as 1: regard uint8 draws {measured['uint8 of plain copy']}."
        blocks += [table([threads, *peers], rows), copy]
    return "\n\n".join([*blocks, made_by(document)])


SECTIONS = (Section("sampling_speed", "sampling_speed.json", section),)


if __name__ == "__main__":
    main()

"""Steps a second of Prototypical, Conv4-64, 28x28, 20-way 1-shot 5 queries, beside learn2learn's way, interleaved.

    python benchmarks/training_speed.py [--threads 1] [--rounds 15]

Both learn from the same tensors, so sampling is not counted. learn2learn: NCHW, fp32, as its own example. Regard: the
same encoder and batch norm, channels last, in fp32 and under bf16 autocast. Writes benchmarks/results/training_speed.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does; before PyTorch is loaded

import torch

from peers import learn2learn_prototypical
from regard.episode import Episode, Support
from regard.evaluation.provenance import command_line, machine, versions
from regard.files import write_whole
from regard.learners import Prototypical
from regard.nn.conv4 import Conv4

WAY, QUERY = 20, 5


def ours(x_support: torch.Tensor, x_query: torch.Tensor, bf16: bool) -> Callable[[], None]:
    """One step of Regard's Prototypical."""
    torch.manual_seed(0)
    learner = Prototypical(Conv4(norm="batch"))
    optimizer = torch.optim.Adam(learner.parameters(), lr=1e-3, fused=True)
    y = torch.arange(WAY)
    episode = Episode(Support(x_support[None], y[None]), x_query[None], y.repeat_interleave(QUERY)[None])

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = learner.loss(episode).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    x_support, x_query = torch.rand(WAY, 28, 28), torch.rand(WAY * QUERY, 28, 28)
    steps = {
        "learn2learn": peer(x_support, x_query),
        "regard fp32": ours(x_support, x_query, bf16=False),
        "regard bf16": ours(x_support, x_query, bf16=True),
    }
    for step in steps.values():
        for _ in range(3):
            step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(arguments.rounds):
        for name, step in steps.items():
            began = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - began)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    # Round by round: the machine's speed drifts, and the ratio within a round does not.
    ratio = {
        name: statistics.median(a / b for a, b in zip(seconds["learn2learn"], values, strict=True))
        for name, values in seconds.items()
    }
    document = {
        "title": "Training Prototypical Conv4-64, 20-way 1-shot 5 queries, against learn2learn",
        "summary": {f"{n}, times learn2learn": f"{ratio[n]:.2f} ({1000 * median[n]:.0f} ms a step)" for n in ratio},
        "seconds": seconds,
        "threads": arguments.threads,
        "machine": machine(),
        "versions": versions(),
        "command": f"python benchmarks/{command_line()}",
    }
    print(json.dumps(document["summary"], indent=1))
    out = Path(__file__).parent / "results" / "training_speed.json"
    write_whole(out, (json.dumps(document, indent=1) + "\n").encode())


def peer(x_support: torch.Tensor, x_query: torch.Tensor) -> Callable[[], object]:
    """One step of learn2learn's way, on the same items."""
    y = torch.arange(WAY)
    images, labels = torch.cat([x_support, x_query])[:, None], torch.cat([y, y.repeat_interleave(QUERY)])
    step = learn2learn_prototypical(WAY, 1, QUERY)
    return lambda: step(images, labels)


if __name__ == "__main__":
    main()

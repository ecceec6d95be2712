"""Steps per second of Prototypical, Conv4-64, 28x28, 20-way 1-shot 5 queries, beside learn2learn's way, interleaved.

    python benchmarks/training_speed.py [--threads 1] [--rounds 15]

Both learn from the same tensors, so sampling is not counted. learn2learn: NCHW, fp32, as its own example. Regard: the
same encoder and batch norm, channels last, in fp32 and under bf16 autocast. Writes benchmarks/results/training_speed.json.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does; before PyTorch is loaded

import torch

from common import (
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
from peers import learn2learn_prototypical
from regard.episode import Episode, Support
from regard.learners import Prototypical
from regard.nn.conv4 import Conv4

WAY, QUERY = 20, 5


def ours(x_support: torch.Tensor, x_query: torch.Tensor, bf16: bool) -> Callable[[], None]:
    """One step of Regard's Prototypical."""
    torch.manual_seed(0)
    device = x_support.device
    learner = Prototypical(Conv4(norm="batch")).to(device)
    optimizer = torch.optim.Adam(learner.parameters(), lr=1e-3, fused=True)
    y = torch.arange(WAY, device=device)
    episode = Episode(Support(x_support[None], y[None]), x_query[None], y.repeat_interleave(QUERY)[None])

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            loss = learner.loss(episode).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(__doc__, SECTIONS, "training_speed.json")
    made.add_argument("--threads", type=int, default=1)
    made.add_argument("--rounds", type=int, default=15)
    return made


def main() -> None:
    """Measure, print, write."""
    arguments = parser().parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    x_support, x_query = torch.rand(WAY, 28, 28), torch.rand(WAY * QUERY, 28, 28)
    steps = {
        "learn2learn": peer(x_support, x_query),
        "regard fp32": ours(x_support, x_query, bf16=False),
        "regard bf16": ours(x_support, x_query, bf16=True),
    }
    seconds = interleaved(steps, arguments.rounds, warm_up=3)
    median, ratio = medians(seconds), times_as_fast(seconds, "learn2learn")
    document = {
        "title": "Training Prototypical Conv4-64, 20-way 1-shot 5 queries, against learn2learn",
        "summary": {f"{n}, times learn2learn": f"{ratio[n]:.2f} ({1000 * median[n]:.0f} ms per step)" for n in ratio},
        "seconds": seconds,
        "threads": arguments.threads,
        **provenance(),
    }
    print(json.dumps(document["summary"], indent=1))
    write_document(arguments.out, document)
    render_after(arguments, SECTIONS)


def peer(x_support: torch.Tensor, x_query: torch.Tensor) -> Callable[[], object]:
    """One step of learn2learn's way, on the same items."""
    y = torch.arange(WAY, device=x_support.device)
    images, labels = torch.cat([x_support, x_query])[:, None], torch.cat([y, y.repeat_interleave(QUERY)])
    step = learn2learn_prototypical(WAY, 1, QUERY, device=x_support.device)
    return lambda: step(images, labels)


def section(document: Document) -> str:
    """Steps of Prototypical against learn2learn."""
    title = f"## {document['title']}, {document['threads']} thread"
    return "\n\n".join([title, table(["what", "figure"], list(document["summary"].items())), made_by(document)])


SECTIONS = (Section("training_speed", "training_speed.json", section),)


if __name__ == "__main__":
    main()

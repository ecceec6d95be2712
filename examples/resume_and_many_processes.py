"""Stop and resume a training, and share its work among processes: the same weights, bit for bit, after a resume.

    python examples/resume_and_many_processes.py [PROCESSES]

Episode number i depends on (seed, i) alone, so where a run stands is one number, and process r of N takes episodes
r, r + N, ... without talking to the others.
"""

import sys
import tempfile
from pathlib import Path

import torch

import regard
from regard.learners import Prototypical
from regard.nn.mlp import MLP

processes = int(sys.argv[1]) if len(sys.argv) > 1 else 1
data = regard.Dataset.of(
    torch.randn(600, 16, generator=torch.Generator().manual_seed(0)), torch.arange(30).repeat_interleave(20)
)
source = regard.EpisodeSampler(data, n_way=5, n_shot=1)


def run(folder: Path, steps: int) -> torch.Tensor:
    """Train to `steps`, resuming what the folder holds; returns the first weights."""
    torch.manual_seed(0)
    learner = Prototypical(MLP(16))
    config = regard.TrainConfig(
        steps=steps,
        schedule="constant",  # a schedule that does not look ahead: a shorter run is the start of a longer one
        tasks_per_step=2,
        accelerator="cpu",
        devices=processes,
        strategy="ddp" if processes > 1 else "auto",
        tensorboard=False,
    )
    result = regard.train(learner, source, config, folder=folder)
    print(f"{folder.name}: step {result.step}")
    return next(learner.parameters()).detach()


if __name__ == "__main__":
    # All processes must see the same folder, so it has a name instead of a random one.
    home = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(tempfile.mkdtemp())
    run(home / "in_two_parts", steps=10)
    resumed = run(home / "in_two_parts", steps=20)
    whole = run(home / "at_once", steps=20)
    print("resumed equals uninterrupted:", bool((resumed == whole).all()))

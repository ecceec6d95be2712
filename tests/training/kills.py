"""Kill a training at random moments, resume it, and compare it with one that was never killed.

    python tests/training/kills.py --kills 200 --seed 0 --out tests/training/kills.json

A run is killed with SIGKILL a random number of milliseconds after its first step, each time from where it stood, until
it is through; then it must be the whole run bit for bit: weights, best weights, optimiser and log. Exits with 1 if not.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch
from script import run

from regard.training import load_checkpoint
from regard.training.logs import read_metrics

SETTINGS = {"steps": 60, "validate_every": 20, "log_every": 5, "checkpoint_every": 7, "warmup_steps": 5}


def start(folder: Path) -> int:
    """The process of a run that resumes what the folder holds; a fork, as imports take longer than the run."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = int(run(folder, dropout=True, resume=True, **SETTINGS).interrupted)
        finally:
            os._exit(status)
    return child


def same(a: Path, b: Path) -> bool:
    for name in ("last.safetensors", "best.safetensors"):
        left, right = load_checkpoint(a / name), load_checkpoint(b / name)
        if left.all_tensors.keys() != right.all_tensors.keys() or left.step != right.step:
            return False
        if not all(torch.equal(tensor, right.all_tensors[key]) for key, tensor in left.all_tensors.items()):
            return False
    rows = [[{k: v for k, v in r.items() if k != "seconds"} for r in read_metrics(f / "metrics.csv")] for f in (a, b)]
    return rows[0] == rows[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON of the counts")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    rng, kills, runs, equal, began = random.Random(options.seed), 0, 0, 0, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        clock = time.monotonic()
        os.waitpid(start(whole), 0)
        seconds = time.monotonic() - clock
        while kills < options.kills:
            runs += 1
            killed = Path(folder) / f"killed{runs}"
            for _ in range(20):  # a run that is killed ever so early would never end
                child = start(killed)
                time.sleep(rng.uniform(0.02, 0.7) * seconds)
                os.kill(child, signal.SIGKILL)
                _, status = os.waitpid(child, 0)
                if os.WIFEXITED(status):  # it was through before
                    break
                kills += 1
            _, status = os.waitpid(start(killed), 0)
            equal += status == 0 and same(whole, killed)
            sys.stdout.write(f"{kills} kills, {equal} of {runs} runs equal\n")
            sys.stdout.flush()
    counts = {"kills": kills, "runs": runs, "equal": equal, "seed": options.seed}
    if options.out:
        counts["seconds"] = round(time.monotonic() - began)
        options.out.write_text(json.dumps(counts, indent=1) + "\n")
    return int(equal < runs)


if __name__ == "__main__":
    raise SystemExit(main())

"""How many planted leaks the doctor finds, and on how many clean pairs it raises an alarm.

    python benchmarks/doctor.py [--episodes 20] [--seed 0]

The cases are those of tests/evaluation/planted_leaks.py: pictures, vectors and texts. Writes
benchmarks/results/doctor.json: each case with the checks that failed and the seconds it took.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from pathlib import Path
from types import ModuleType

import torch

from regard.evaluation.leaks import find_leaks
from regard.evaluation.provenance import command_line, machine, versions
from regard.files import write_whole

ROOT = Path(__file__).parents[1]


def planted() -> ModuleType:
    """The module of the cases, which is no package."""
    spec = importlib.util.spec_from_file_location("planted_leaks", ROOT / "tests/evaluation/planted_leaks.py")
    if spec is None or spec.loader is None:
        raise SystemExit("tests/evaluation/planted_leaks.py is missing: run this in a checkout of the project.")
    module = importlib.util.module_from_spec(spec)
    sys.modules["planted_leaks"] = module
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(1)
    module = planted()
    cases = []
    for case in [*module.leaks(), *module.clean()]:
        began = time.perf_counter()
        findings = find_leaks(*case.make(), n_episodes=arguments.episodes)
        failed = [f.check for f in findings if f.verdict == "failed"]
        seconds = round(time.perf_counter() - began, 1)
        cases.append({"case": case.name, "leak": case.leak, "failed": failed, "seconds": seconds})
        if bool(failed) != case.leak:
            print("missed:" if case.leak else "false alarm:", case.name, failed, flush=True)
    leaks, clean = ([c for c in cases if c["leak"] == leak] for leak in (True, False))
    document = {
        "title": "Planted leaks that the doctor finds, and its false alarms",
        "summary": {
            "leaks found": f"{sum(bool(c['failed']) for c in leaks)} of {len(leaks)}",
            "false alarms": f"{sum(bool(c['failed']) for c in clean)} of {len(clean)}",
        },
        "cases": cases,
        "seed": arguments.seed,
        "machine": machine(),
        "versions": versions(),
        "command": f"python benchmarks/{command_line()}",
    }
    print(json.dumps(document["summary"], indent=1))
    write_whole(ROOT / "benchmarks/results/doctor.json", json.dumps(document, indent=1).encode() + b"\n")


if __name__ == "__main__":
    main()

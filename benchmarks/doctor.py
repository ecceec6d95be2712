"""How many planted leaks the doctor finds, and on how many clean pairs it raises an alarm.

    python benchmarks/doctor.py [--episodes 20]

The cases are those of tests/evaluation/planted_leaks.py: pictures, vectors and texts, and learners at fault. Writes
benchmarks/results/doctor.json: each case with the checks that failed and the seconds it took.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from importlib import import_module

import torch

from common import (
    ROOT,
    Document,
    Section,
    argument_parser,
    command_line,
    made_by,
    render_after,
    table,
)
from regard.evaluation.leaks import find_leaks
from regard.evaluation.provenance import machine, versions
from regard.files import write_whole

TITLE = "Planted leaks that the doctor finds, and its false alarms"


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(__doc__, SECTIONS, "doctor.json", seed=0)
    made.add_argument("--episodes", type=int, default=20)
    return made


def main() -> None:
    """Measure, print, write."""
    arguments = parser().parse_args()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(1)
    sys.path.insert(0, str(ROOT / "tests" / "evaluation"))
    planted = import_module("planted_leaks")
    cases = []
    for case in [*planted.leaks(), *planted.clean()]:
        began = time.process_time()
        findings = find_leaks(*case.make(), n_episodes=arguments.episodes)
        failed = [f.check for f in findings if f.verdict == "failed"]
        seconds = round(time.process_time() - began, 2)
        cases.append({"case": case.name, "leak": case.leak, "failed": failed, "cpu_seconds": seconds})
        if bool(failed) != case.leak:
            print("missed:" if case.leak else "false alarm:", case.name, failed, flush=True)
    document = {
        "title": TITLE,
        "cases": cases,
        "settings": {"episodes": arguments.episodes, "seed": arguments.seed},
        "machine": machine(),
        "versions": versions(),
        "command": command_line(),
    }
    write_whole(arguments.out, json.dumps(document, indent=1).encode() + b"\n")
    render_after(arguments, SECTIONS)


def section(document: Document) -> str:
    """Leaks found by kind, and false alarms."""
    kinds: dict[tuple[bool, str], list[bool]] = {}
    for case in document["cases"]:
        kind = case["case"].partition(":")[0]
        kind = kind if case["leak"] and kind in ("pictures", "vectors", "texts", "a learner") else "class names"
        kinds.setdefault((case["leak"], kind if case["leak"] else "clean pairs"), []).append(bool(case["failed"]))
    rows = [[kind, len(found), sum(found)] for (_, kind), found in sorted(kinds.items(), reverse=True)]
    return "\n\n".join([f"## {TITLE}", table(["kind", "cases", "alarms"], rows), made_by(document)])


SECTIONS = (Section("doctor", "doctor.json", section),)


if __name__ == "__main__":
    main()

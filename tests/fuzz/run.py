"""Throw damaged inputs at every door of the library.

    python tests/fuzz/run.py                                  all targets, 100 inputs each
    python tests/fuzz/run.py --target checkpoint --n 10000    one target, long
    python tests/fuzz/run.py --keep                           write what fails into the corpus
    python tests/fuzz/run.py --seconds 60 --out tests/fuzz/counts.json
                                                              a minute per target, and the counts of it kept

The corpus holds what once failed; it is tried first each time. Exits with 1 if anything failed.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path

from harness import CORPUS, attempt, find_targets, inputs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", action="append", help="name of a target; all by default")
    parser.add_argument("--n", type=int, default=100, help="damaged inputs per target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", action="store_true", help="write inputs that fail into the corpus")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop a target after so many")
    parser.add_argument("--out", type=Path, help="JSON of inputs, failures and seconds per target; added to")
    parser.add_argument("--show", type=int, default=3, help="failures shown per target")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    targets, n_failed = find_targets(), 0
    for name in options.target or targets:
        began, failures, count = time.perf_counter(), [], 0
        with tempfile.TemporaryDirectory() as folder:
            for content in inputs(targets[name], options.n, options.seed, Path(folder) / "seeds"):
                if time.perf_counter() - began > options.seconds:
                    break
                count += 1
                failure = attempt(targets[name], content, Path(folder))
                if failure is not None:
                    failures.append(failure)
        seconds = time.perf_counter() - began
        sys.stdout.write(f"{name}: {len(failures)} of {count} failed, {seconds:.1f} s\n")
        sys.stdout.flush()
        if options.out:
            held = json.loads(options.out.read_text()) if options.out.exists() else {"targets": {}}
            held["targets"][name] = {
                "failures": len(failures),
                "inputs": count,
                "seconds": round(seconds, 1),
                "seed": options.seed,
            }
            for total in ("inputs", "failures"):
                held[total] = sum(row[total] for row in held["targets"].values())
            options.out.write_text(json.dumps(held, indent=1, sort_keys=True) + "\n")
        for failure in failures[: options.show]:
            sys.stdout.write(f"  {failure.what.strip()}\n".replace("\n", "\n  "))
        if options.keep:
            for failure in {f.what.splitlines()[-1]: f for f in failures}.values():  # one of each kind
                (CORPUS / name).mkdir(parents=True, exist_ok=True)
                (CORPUS / name / sha256(failure.content).hexdigest()[:12]).write_bytes(failure.content)
        n_failed += len(failures)
    return int(n_failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())

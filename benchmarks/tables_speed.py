"""Seconds of `fit` and `predict_proba` of the estimator `tables` on one core, and the ratio to a random forest's.

    python benchmarks/tables_speed.py [--rounds 9]

150 rows of 20 features are known and 500 are asked, 5 classes. Interleaved in one process; medians. TabICL and TabPFN are
timed too where they are installed and find weights to load. Writes benchmarks/results/tables_speed.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier

from regard.estimators import FewShotClassifier
from regard.evaluation.provenance import machine, versions
from regard.files import write_whole

N_KNOWN, N_ASKED, N_FEATURES, N_CLASSES = 150, 500, 20, 5
MODELS: dict[str, Callable[[], Any]] = {
    "tables": lambda: FewShotClassifier("tables"),
    "random forest": lambda: RandomForestClassifier(random_state=0),
    "TabICL": lambda: import_module("tabicl").TabICLClassifier(device="cpu"),
    "TabPFN": lambda: import_module("tabpfn").TabPFNClassifier(device="cpu"),
}


def main() -> None:
    """Time, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    x, y = make_classification(
        N_KNOWN + N_ASKED, N_FEATURES, n_informative=10, n_classes=N_CLASSES, n_clusters_per_class=1, random_state=0
    )
    seconds: dict[str, list[float]] = {name: [] for name in MODELS}
    absent: dict[str, str] = {}
    for number in range(rounds + 1):
        for name, make in MODELS.items():
            if name in absent:
                continue
            try:
                started = time.perf_counter()
                make().fit(x[:N_KNOWN], y[:N_KNOWN]).predict_proba(x[N_KNOWN:])
                taken = time.perf_counter() - started
            except Exception as error:  # not installed, no weights, no network: each its own way
                absent[name] = f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"
                continue
            if number:  # the first one loads and warms up
                seconds[name].append(round(taken, 5))
    medians = {name: statistics.median(taken) for name, taken in seconds.items() if taken}
    ratios = {name: round(taken / medians["tables"], 3) for name, taken in medians.items()}
    document = {
        "work": {"known": N_KNOWN, "asked": N_ASKED, "features": N_FEATURES, "classes": N_CLASSES},
        "seconds": {name: taken for name, taken in seconds.items() if taken},
        "medians": medians,
        "times_tables": ratios,
        "absent": absent,
        "versions": versions(),
        "machine": machine(),
        "command": f"python benchmarks/tables_speed.py --rounds {rounds}",
    }
    out = Path(__file__).parent / "results" / "tables_speed.json"
    write_whole(out, f"{json.dumps(document, indent=1)}\n".encode())
    print(json.dumps({key: document[key] for key in ("medians", "times_tables", "absent")}, indent=1))


if __name__ == "__main__":
    main()

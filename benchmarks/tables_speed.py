"""Seconds of `fit` and `predict_proba` of the estimator `tables` on one core, and the ratio to a random forest's.

    python benchmarks/tables_speed.py [--rounds 9]

150 support rows of 20 features and 500 query rows, 5 classes. Interleaved in one process; medians. TabICL and TabPFN are
timed too where they are installed and find weights to load. Writes benchmarks/results/tables_speed.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier

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
    write_document,
)
from regard.estimators import FewShotClassifier

N_SUPPORT, N_QUERY, N_FEATURES, N_CLASSES = 150, 500, 20, 5
MODELS: dict[str, Callable[[], Any]] = {
    "tables": lambda: FewShotClassifier("tables"),
    "random forest": lambda: RandomForestClassifier(random_state=0),
    "TabICL": lambda: import_module("tabicl").TabICLClassifier(device="cpu"),
    "TabPFN": lambda: import_module("tabpfn").TabPFNClassifier(device="cpu"),
}


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(__doc__, SECTIONS, "tables_speed.json", seed=0)
    made.add_argument("--rounds", type=int, default=9)
    return made


def main() -> None:
    """Time, write, print."""
    arguments = parser().parse_args()
    torch.set_num_threads(1)
    sizes = {"n_informative": 10, "n_classes": N_CLASSES, "n_clusters_per_class": 1}
    x, y = make_classification(N_SUPPORT + N_QUERY, N_FEATURES, **sizes, random_state=arguments.seed)

    def once(make: Callable[[], Any]) -> None:
        make().fit(x[:N_SUPPORT], y[:N_SUPPORT]).predict_proba(x[N_SUPPORT:])

    absent: dict[str, str] = {}
    for name, make in MODELS.items():
        try:
            once(make)
        except Exception as error:  # not installed, no weights, no network: each its own way
            absent[name] = f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"
    present = {name: lambda make=make: once(make) for name, make in MODELS.items() if name not in absent}
    seconds = interleaved(present, arguments.rounds)
    median = medians(seconds)
    document = {
        "work": {"support": N_SUPPORT, "query": N_QUERY, "features": N_FEATURES, "classes": N_CLASSES},
        "seconds": {name: [round(each, 5) for each in taken] for name, taken in seconds.items()},
        "medians": median,
        "times_tables": {name: round(taken / median["tables"], 3) for name, taken in median.items()},
        "absent": absent,
        **provenance(seed=arguments.seed),
    }
    write_document(arguments.out, document)
    render_after(arguments, SECTIONS)
    print(json.dumps({key: document[key] for key in ("medians", "times_tables", "absent")}, indent=1))


def section(document: Document) -> str:
    """Seconds of one fit and prediction."""
    work = document["work"]
    rows = [
        *(
            [name, f"{taken:.3f}", f"{document['times_tables'][name]:.2f}"]
            for name, taken in document["medians"].items()
        ),
        *([name, "not measured", ""] for name in document["absent"]),
    ]
    return "\n\n".join(
        [
            f"## `tables`: fit on {work['support']} rows of {work['features']} features, predict {work['query']}",
            table(["model", "median seconds", "times `tables`"], rows),
            *(f"{name} was not measured: `{why.strip()}`" for name, why in document["absent"].items()),
            made_by(document),
        ]
    )


SECTIONS = (Section("tables_speed", "tables_speed.json", section),)


if __name__ == "__main__":
    main()

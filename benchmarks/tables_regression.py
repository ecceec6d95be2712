"""`tables-regression`, without any tuning, beside ridge regression and a random forest: R2 on real tables.

    python benchmarks/tables_regression.py [--draws 20]
    python benchmarks/tables_regression.py --test FOLDER

scikit-learn's table of diabetes: random support sets of 50 and of 150 rows, all other rows are queries. Ridge regression
chooses its penalty by cross-validation, the random forest has its defaults. --test takes every table for regression of a
folder, as `tables_auc.py` does. Writes benchmarks/results/tables_regression.json with the R2 of every draw.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_diabetes
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score

from common import (
    Document,
    Section,
    argument_parser,
    made_by,
    out_with_test,
    plus_minus,
    provenance,
    render_after,
    table,
    write_document,
)
from regard.estimators import FewShotRegressor
from regard.evaluation import mean_interval
from tables_auc import pipeline, read_rows

SIZES = (50, 150)
OURS = "tables-regression"
METHODS: dict[str, Callable[[NDArray[Any]], Any]] = {
    OURS: lambda _: FewShotRegressor("tables"),
    "ridge, penalty by cross-validation": lambda x: pipeline(x, RidgeCV(np.logspace(-3, 3, 13))),
    "random forest": lambda x: pipeline(x, RandomForestRegressor(random_state=0)),
}


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(
        __doc__, SECTIONS, "tables_regression.json", test="a folder of other tables with a manifest.json", seed=0
    )
    made.add_argument("--draws", type=int, default=20)
    return made


def main() -> None:
    """Score, write, print."""
    arguments = parser().parse_args()
    warnings.simplefilter("ignore")
    arguments.out = out_with_test(arguments, "tables_regression.json")
    cells = []
    for name, (x, y) in tables_of(arguments.test).items():
        for n_rows in SIZES:
            if len(y) < 2 * n_rows:
                continue
            scores: dict[str, list[float]] = {method: [] for method in METHODS}
            for number in range(arguments.draws):
                order = np.random.default_rng([number, n_rows, arguments.seed]).permutation(len(y))
                support, query = order[:n_rows], order[n_rows:]
                for method, make in METHODS.items():
                    model = make(x[support]).fit(x[support], y[support])
                    scores[method].append(round(float(r2_score(y[query], model.predict(x[query]))), 6))
            cells.append({"table": name, "rows": n_rows, "r2": scores})
            print(name, n_rows, {method: round(float(np.mean(each)), 3) for method, each in scores.items()}, flush=True)
    made = provenance(seed=arguments.seed, interval="95%, over draws of the support")
    write_document(arguments.out, {"cells": cells, **made})
    render_after(arguments, SECTIONS)


def tables_of(folder: Path | None) -> dict[str, tuple[NDArray[Any], NDArray[np.float64]]]:
    """Rows as objects and targets, by name."""
    if folder is None:
        bunch: Any = load_diabetes()
        return {"diabetes": (bunch.data.astype(object), bunch.target)}
    manifest = json.loads((folder / "manifest.json").read_text())
    names = sorted(name for name, about in manifest.items() if about["task"] == "regression")
    read = {name: read_rows(name, folder) for name in names}
    return {name: (x, y.astype(np.float64)) for name, (x, y) in read.items()}


def section(document: Document) -> str:
    """R2 of each method, and how far ours lies above the others."""
    rows, differences = [], []
    for cell in document["cells"]:
        r2 = {method: np.array(each) for method, each in cell["r2"].items()}
        rows.append([cell["table"], cell["rows"], *(plus_minus(mean_interval(each)) for each in r2.values())])
        for method in r2:
            if method != OURS:
                gap = mean_interval(r2[OURS] - r2[method])
                tie = ", a tie" if gap.covers(0.0) else ""
                numbers = f"{gap.mean:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]{tie}"
                differences.append(f"- {cell['table']}, {cell['rows']} rows, {OURS} - {method}: {numbers}")
    n_draws = len(next(iter(document["cells"][0]["r2"].values())))
    return "\n\n".join(
        [
            f"## `{OURS}`, no tuning: R2, {n_draws} random support sets",
            table(["table", "support rows", *document["cells"][0]["r2"]], rows),
            "Paired differences over the same support sets:",
            "\n".join(differences),
            "One table is a sign of life, not a result.",
            made_by(document),
        ]
    )


SECTIONS = (Section("tables_regression", "tables_regression.json", section),)


if __name__ == "__main__":
    main()

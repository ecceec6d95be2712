"""`tables` beyond what it was trained on: more than 10 classes, more than 200 rows. Does it fall apart?

    python benchmarks/tables_limits.py [--tabular ../shared/data/tabular] [--draws 10] [--learner tables]

The letters of the alphabet (letter-recognition, 16 features): some letters drawn at random, some rows of them known, 500
other rows asked. scikit-learn's random forest and logistic regression at their defaults, numbers scaled, stand beside it
on the very same rows. Writes benchmarks/results/tables_limits.json and docs/tables_limits.png.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from regard.estimators import FewShotClassifier
from regard.evaluation import mean_interval
from regard.evaluation.provenance import machine, versions
from regard.files import write_whole
from tables_auc import N_ASKED, PEERS, Table, load, pipeline, scored

HERE = Path(__file__).parent
METHODS = ("tables", "random forest", "logistic regression")
ROWS, CLASSES = (50, 100, 200, 500, 1000), (2, 5, 10, 15, 20, 26)
ROWS_OF_CLASSES, CLASSES_OF_ROWS = 200, (5, 15)
CELLS = sorted({(c, ROWS_OF_CLASSES) for c in CLASSES} | {(c, r) for c in CLASSES_OF_ROWS for r in ROWS})
TRAINED = {"classes": 10, "rows": 180}


def draw(table: Table, n_classes: int, n_rows: int, number: int) -> tuple[np.ndarray[Any, Any], ...]:
    """Support and asked rows: some letters, each in the support, and rows of them at random."""
    x, y = table
    rng = np.random.default_rng([number, n_classes, n_rows])
    letters = rng.choice(np.unique(y), n_classes, replace=False)
    order = rng.permutation(np.nonzero(np.isin(y, letters))[0])
    first = [order[y[order] == letter][0] for letter in letters]
    rest = order[~np.isin(order, first)]
    support = np.concatenate([first, rest[: n_rows - len(first)]])
    asked = rest[n_rows - len(first) :][:N_ASKED]
    return x[support], y[support], x[asked], y[asked]


def main() -> None:
    """Score, write, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tabular", type=Path, default=Path("../shared/data/tabular"))
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--learner", default="tables", help="name or path of the model called `tables`")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    table = load("letter-recognition", arguments.tabular)
    cells = []
    for n_classes, n_rows in CELLS:
        scores: dict[str, list[float]] = {name: [] for name in METHODS}
        for number in range(arguments.draws):
            rows = draw(table, n_classes, n_rows, number)
            for name in METHODS:
                model = FewShotClassifier(arguments.learner) if name == "tables" else pipeline(rows[0], PEERS[name]())
                scores[name].append(round(scored(model, *rows)[0], 6))
        cells.append({"classes": n_classes, "rows": n_rows, "auc": scores})
        print(
            n_classes,
            n_rows,
            {name: round(100 * float(np.mean(found)), 1) for name, found in scores.items()},
            flush=True,
        )
    document = {"cells": cells, "trained": TRAINED, "versions": versions(), "machine": machine()}
    command = f"python benchmarks/tables_limits.py --draws {arguments.draws}"
    write_whole(HERE / "results" / "tables_limits.json", f"{json.dumps({**document, 'command': command})}\n".encode())
    picture(cells, HERE.parent / "docs" / "tables_limits.png")


def picture(cells: list[dict[str, Any]], path: Path) -> None:
    """AUC against classes, and against rows; dotted where training ended."""
    panels = [("classes", "rows", ROWS_OF_CLASSES), *(("rows", "classes", c) for c in CLASSES_OF_ROWS)]
    figure, axes = plt.subplots(1, len(panels), figsize=(4.6 * len(panels), 3.8), sharey=True)
    for axis, (along, fixed, value) in zip(axes, panels, strict=True):
        chosen = sorted((cell for cell in cells if cell[fixed] == value), key=lambda cell: cell[along])
        for name in METHODS:
            found = [mean_interval(100 * np.array(cell["auc"][name])) for cell in chosen]
            at = [cell[along] for cell in chosen]
            (line,) = axis.plot(at, [f.mean for f in found], marker="o", label=name)
            axis.fill_between(at, [f.low for f in found], [f.high for f in found], alpha=0.2, color=line.get_color())
        axis.axvline(TRAINED[along], linestyle=":", color="0.4")
        axis.set_xlabel(along)
        axis.set_title(f"letters, {value} {fixed}")
        if along == "rows":
            axis.set_xscale("log")
            axis.set_xticks(ROWS, [str(n) for n in ROWS])
            axis.minorticks_off()
    axes[0].set_ylabel("ROC AUC, one against the rest, %")
    axes[0].legend(loc="lower left")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()

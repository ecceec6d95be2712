"""`tables` beyond what it was trained on: more than 10 classes, more than 200 rows. Does it fall apart?

    python benchmarks/tables_limits.py --data FOLDER [--draws 10] [--learner tables]
    python benchmarks/tables_limits.py --test FILE.csv.gz

The letters of the alphabet (letter-recognition.csv.gz in FOLDER: a header, the label first, 16 features): some letters
drawn at random, some rows of them as support, 500 other rows as queries. scikit-learn's random forest and logistic
regression at their defaults, numbers scaled, stand beside it on the very same rows. --test takes another table of 26
classes or more, of the same format. Writes benchmarks/results/tables_limits.json and docs/tables_limits.png.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from common import (
    DOCS,
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
from regard.domains.tables.reader import numbers_and_words, read_csv
from regard.estimators import FewShotClassifier
from regard.evaluation import mean_interval
from tables_auc import N_QUERY, PEERS, Table, pipeline, scored

METHODS = ("tables", "random forest", "logistic regression")
ROWS, CLASSES = (50, 100, 200, 500, 1000), (2, 5, 10, 15, 20, 26)
ROWS_OF_CLASSES, CLASSES_OF_ROWS = 200, (5, 15)
CELLS = sorted({(c, ROWS_OF_CLASSES) for c in CLASSES} | {(c, r) for c in CLASSES_OF_ROWS for r in ROWS})
TRAINED = {"classes": 10, "rows": 180}


def read(path: Path) -> Table:
    """Rows as objects and labels, which stand first."""
    _, rows = read_csv(path)
    return numbers_and_words([row[1:] for row in rows]), np.array([row[0] for row in rows])


def draw(data: Table, n_classes: int, n_rows: int, draw_number: int, seed: int) -> tuple[np.ndarray[Any, Any], ...]:
    """Support and query rows: some letters, each in the support, and rows of them at random."""
    x, y = data
    rng = np.random.default_rng([draw_number, n_classes, n_rows, *([seed] if seed else [])])
    letters = rng.choice(np.unique(y), n_classes, replace=False)
    order = rng.permutation(np.nonzero(np.isin(y, letters))[0])
    first = [order[y[order] == letter][0] for letter in letters]
    rest = order[~np.isin(order, first)]
    support = np.concatenate([first, rest[: n_rows - len(first)]])
    query = rest[n_rows - len(first) :][:N_QUERY]
    return x[support], y[support], x[query], y[query]


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(
        __doc__,
        SECTIONS,
        "tables_limits.json",
        data="the folder of letter-recognition.csv.gz",
        test="another table of 26 classes or more, a CSV with a header and the label first",
        data_required=False,
        seed=0,
    )
    made.add_argument("--draws", type=int, default=10)
    made.add_argument("--learner", default="tables", help="name or path of the model called `tables`")
    made.add_argument("--picture", type=Path, default=DOCS / "tables_limits.png")
    return made


def main() -> None:
    """Score, write, draw."""
    made = parser()
    arguments = made.parse_args()
    if not arguments.data and not arguments.test:
        made.error("nothing to read: expected --data FOLDER, or --test FILE.csv.gz")
    warnings.simplefilter("ignore")
    data = read(arguments.test or arguments.data / "letter-recognition.csv.gz")
    if (n_classes := len(np.unique(data[1]))) < max(CLASSES):
        raise SystemExit(f"the table has {n_classes} classes in its first column: expected {max(CLASSES)} or more.")
    cells = []
    for n_classes, n_rows in CELLS:
        scores: dict[str, list[float]] = {name: [] for name in METHODS}
        for draw_number in range(arguments.draws):
            rows = draw(data, n_classes, n_rows, draw_number, arguments.seed)
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
    made_here = provenance(seed=arguments.seed, interval="95%, over draws of classes and rows")
    arguments.out = out_with_test(arguments, "tables_limits.json")
    write_document(arguments.out, {"cells": cells, "trained": TRAINED, **made_here}, indent=None)
    if not arguments.test:
        picture(cells, arguments.picture)
    render_after(arguments, SECTIONS)


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


def section(document: Document) -> str:
    """Tables of more classes and rows than were trained on."""
    methods, trained = list(document["cells"][0]["auc"]), document["trained"]
    rows = [
        [cell["classes"], cell["rows"], *(plus_minus(mean_interval(100 * np.array(cell["auc"][m]))) for m in methods)]
        for cell in document["cells"]
    ]
    return "\n\n".join(
        [
            f"## `tables` beyond the {trained['classes']} classes and {trained['rows']} rows it was trained on: AUC on letters",
            "![AUC against classes and rows](../tables_limits.png)",
            table(["classes", "rows", *methods], rows),
            made_by(document),
        ]
    )


SECTIONS = (Section("tables_limits", "tables_limits.json", section),)


if __name__ == "__main__":
    main()

"""`tables`, without any tuning, against scikit-learn's defaults on real tables: ROC AUC, one class against the rest.

    python benchmarks/tables_auc.py --data FOLDER [--tables development] [--only tables ...]
    python benchmarks/tables_auc.py --test FOLDER

20 random support sets of 50 and of 150 rows from each table, features and classes as they are; at most 500 other rows
are queries. Every class has a row in the support; the rest is drawn at random. The AUC is the mean over the classes that
are among the queries. scikit-learn's methods get what their users would give them: numbers scaled, missing cells
imputed, words one-hot. `best by cv` is, for each support set, the one of the four with the best AUC in 3-fold
cross-validation on that support set.

FOLDER holds tables as NAME.csv.gz or NAME.csv (no header, target last, ? for a missing cell) and manifest.json,
{NAME: {"task": "classification", ...}, ...}; of those with --data, twelve are used, and four that scikit-learn brings.
--test takes every table for classification of a folder that the script has never seen. Every other table by name
(`development`) was looked at while the model was made; the `other` half was not.

Raw values go to results/tables_auc.json as they are made, with --test to tables_auc_test.json; a run that was stopped is
resumed. `--again NAME` forgets what a method scored, `--report` only prints.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sklearn.datasets
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from common import (
    Document,
    Section,
    argument_parser,
    made_by,
    out_with_test,
    provenance,
    read_document,
    render_after,
    write_document,
)
from regard.domains.tables.reader import TableReader, numbers_and_words, read_csv
from regard.estimators import FewShotClassifier
from regard.evaluation import mean_interval

SIZES, N_DRAWS, N_QUERY = (50, 150), 20, 500
BUNDLED = ("breast_cancer", "digits", "iris", "wine")
SHARED = (
    "banknote_authentication",
    "breast-cancer",
    "breast-cancer-wisconsin",
    "ecoli",
    "haberman",
    "horse-colic",
    "ionosphere",
    "letter-recognition",
    "mammography",
    "pima-indians-diabetes",
    "sonar",
    "wheat-seeds",
)
NAMES = sorted(BUNDLED + SHARED, key=str.lower)
DEVELOPMENT = NAMES[::2]
PEERS: dict[str, Callable[[], Any]] = {
    "logistic regression": lambda: LogisticRegression(max_iter=1000),
    "k-nearest neighbours": KNeighborsClassifier,
    "random forest": lambda: RandomForestClassifier(random_state=0),
    "gradient boosting": lambda: GradientBoostingClassifier(random_state=0),
}
BEST = "best by cv"
METHODS = (*PEERS, BEST, "tables")

Table = tuple[NDArray[Any], NDArray[Any]]


def load(name: str, folder: Path) -> Table:
    """Rows as objects (numbers, NaN and words), and labels."""
    if name in BUNDLED:
        bunch = getattr(sklearn.datasets, f"load_{name}")()
        return bunch.data.astype(object), bunch.target
    x, y = read_rows(name, folder)
    return x, np.unique(y, return_inverse=True)[1]


def read_rows(name: str, folder: Path) -> Table:
    """Rows as objects, and targets as they are written."""
    packed, plain = folder / f"{name}.csv.gz", folder / f"{name}.csv"
    _, rows = read_csv(plain if plain.exists() else packed)
    target = 0 if name == "letter-recognition" else -1
    y = np.array([row[target] for row in rows])
    return numbers_and_words([row[1:] if target == 0 else row[:-1] for row in rows]), y


def draw(table: Table, n_rows: int, number: int, seed: int = 0) -> tuple[NDArray[Any], ...]:
    """Support and query rows of draw `number`: one row of each class, and others at random."""
    x, y = table
    rng = np.random.default_rng([number, n_rows, *([seed] if seed else [])])
    order = rng.permutation(len(y))
    first = [order[y[order] == label][0] for label in np.unique(y)]
    rest = order[~np.isin(order, first)]
    n_rows = min(n_rows, len(y) // 2)
    support = np.concatenate([first, rest[: max(0, n_rows - len(first))]])
    query = rest[max(0, n_rows - len(first)) :][:N_QUERY]
    return x[support], y[support], x[query], y[query]


def pipeline(x: NDArray[Any], model: Any) -> Any:
    """Numbers imputed by the median and scaled, words imputed by the most frequent and one-hot."""
    words = [f for f, categories in enumerate(TableReader.learn(x).categories or ()) if categories is not None]
    numbers = [f for f in range(x.shape[1]) if f not in words]
    scaled = make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler())
    coded = make_pipeline(
        SimpleImputer(strategy="most_frequent", keep_empty_features=True), OneHotEncoder(handle_unknown="ignore")
    )
    return make_pipeline(ColumnTransformer([("numbers", scaled, numbers), ("words", coded, words)]), model)


def auc(y: NDArray[Any], probability: NDArray[Any], classes: NDArray[Any]) -> float:
    """Mean over the classes that are among the queries, and not all of them."""
    scores = []
    for label in np.unique(y):
        column = np.nonzero(classes == label)[0]
        of_label = probability[:, column[0]] if len(column) else np.zeros(len(y))
        if 0 < (y == label).sum() < len(y):
            scores.append(roc_auc_score(y == label, of_label))
    return float(np.mean(scores))


def scored(model: Any, x: Any, y: Any, query_x: Any, query_y: Any) -> tuple[float, float]:
    """AUC and seconds of one fit and prediction."""
    began = time.perf_counter()
    model.fit(x, y)
    found = auc(query_y, model.predict_proba(query_x), model.classes_)
    return found, time.perf_counter() - began


def best_by_cv(x: NDArray[Any], y: NDArray[Any]) -> str:
    """Which of the peers does best in 3-fold cross-validation."""
    smallest = np.unique(y, return_counts=True)[1].min()
    split = (StratifiedKFold if smallest >= 3 else KFold)(3, shuffle=True, random_state=0)
    means = {}
    for name, make in PEERS.items():
        values = []
        for train, test in split.split(x, y):
            if len(np.unique(y[train])) < 2 or len(np.unique(y[test])) < 2:
                continue
            model = pipeline(x[train], make())
            values.append(scored(model, x[train], y[train], x[test], y[test])[0])
        means[name] = np.mean(values) if values else 0.5
    return max(means, key=lambda name: means[name])


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(
        __doc__,
        SECTIONS,
        "tables_auc.json",
        data="the folder of the tables",
        test="a folder of other tables with a manifest.json",
        data_required=False,
        seed=0,
        only=METHODS,
    )
    made.add_argument("--tables", choices=("development", "other", "all"), default="all")
    made.add_argument("--learner", default="tables", help="name or path of the model called `tables`")
    made.add_argument("--draws", type=int, default=N_DRAWS)
    made.add_argument("--again", nargs="*", default=[])
    made.add_argument("--report", action="store_true", help="only print")
    return made


def main() -> None:
    """Score what is missing, write it down, print the table."""
    made = parser()
    arguments = made.parse_args()
    arguments.out = out_with_test(arguments, "tables_auc.json")
    folder, methods = arguments.test or arguments.data, arguments.only or METHODS
    if not folder and not arguments.report:
        made.error("nothing to read: expected --data FOLDER, or --test FOLDER")
    raw = {"scores": {}, "seconds": {}} | {
        key: values for key, values in read_document(arguments.out).items() if key in ("scores", "seconds")
    }
    for values in raw.values():
        for key in [k for k in values if k.split("|")[-1] in arguments.again]:
            del values[key]
    names = {"development": DEVELOPMENT, "other": NAMES[1::2], "all": NAMES}[arguments.tables]
    if arguments.test:
        manifest = json.loads((arguments.test / "manifest.json").read_text())
        names = sorted((n for n, about in manifest.items() if about["task"] == "classification"), key=str.lower)
    for name in [] if arguments.report else names:
        score_table(name, folder, methods, arguments, raw)
        document = {**raw, **provenance(seed=arguments.seed, interval="95%, over draws of the support")}
        write_document(arguments.out, document, indent=0)
    print(report(raw["scores"], names, methods))
    render_after(arguments, SECTIONS)


def score_table(
    name: str, folder: Path, methods: Sequence[str], arguments: argparse.Namespace, raw: dict[str, Any]
) -> None:
    """All draws of one table."""
    table = load(name, folder)
    for size in SIZES:
        for number in range(arguments.draws):
            x, y, query_x, query_y = draw(table, size, number, arguments.seed)
            for method in methods:
                key = f"{name}|{size}|{number}|{method}"
                if key in raw["scores"]:
                    continue
                if method == BEST:
                    raw["scores"][key] = raw["scores"][f"{name}|{size}|{number}|{best_by_cv(x, y)}"]
                    continue
                model = pipeline(x, PEERS[method]()) if method in PEERS else FewShotClassifier(arguments.learner)
                found, seconds = scored(model, x, y, query_x, query_y)
                raw["scores"][key], raw["seconds"][key] = round(found, 6), round(seconds, 4)
    print(name, flush=True)


def report(scores: dict[str, float], names: Sequence[str], methods: Sequence[str]) -> str:
    """Means, ranks and paired differences, as Markdown."""
    lines = []
    for size in SIZES:
        cube = [
            [[v for d in range(N_DRAWS) if (v := scores.get(f"{n}|{size}|{d}|{m}")) is not None] for m in methods]
            for n in names
        ]
        least = min((len(draws) for row in cube for draws in row), default=0)
        if not least:
            continue
        values = np.array([[draws[:least] for draws in row] for row in cube])
        means = values.mean(2)
        ranks = (-means).argsort(1).argsort(1) + 1
        lines += [f"\n{size} support rows, {len(names)} tables, {least} draws\n", f"| table | {' | '.join(methods)} |"]
        lines += ["|---" * (len(methods) + 1) + "|"]
        lines += [
            f"| {n} | " + " | ".join(f"{100 * v:.1f}" for v in row) + " |" for n, row in zip(names, means, strict=True)
        ]
        lines += ["| **mean AUC** | " + " | ".join(f"{100 * v:.2f}" for v in means.mean(0)) + " |"]
        lines += ["| **mean rank** | " + " | ".join(f"{v:.2f}" for v in ranks.mean(0)) + " |"]
        ours = methods.index("tables") if "tables" in methods else None
        for m, method in enumerate(methods if ours is not None else []):
            if m != ours:
                gap = 100 * (values[:, ours] - values[:, m])
                # Tables as they are: only the draws of the support are random.
                error = 1.96 * np.sqrt((gap.var(1, ddof=1) / least).sum()) / len(names) if least > 1 else np.nan
                over_draws = f"[{gap.mean() - error:+.2f}, {gap.mean() + error:+.2f}] over draws of the support"
                found = mean_interval(gap.mean(1))
                over_tables = f"[{found.low:+.2f}, {found.high:+.2f}] over tables too"
                lines.append(f"\ntables - {method}: {gap.mean():+.2f} points {over_draws}, {over_tables}.")
    return "\n".join(lines)


def section(document: Document) -> str:
    """Real tables, `tables` beside scikit-learn's defaults."""
    methods = [method for method in METHODS if any(key.endswith(f"|{method}") for key in document["scores"])]
    title = "## Real tables, no tuning: ROC AUC (one against the rest) of `tables` and of scikit-learn's defaults"
    return "\n\n".join([title, report(document["scores"], NAMES, methods).strip(), made_by(document)])


SECTIONS = (Section("tables_auc", "tables_auc.json", section),)


if __name__ == "__main__":
    main()

"""`tables`, without any tuning, against scikit-learn's defaults on real tables: ROC AUC, one class against the rest.

    python benchmarks/tables_auc.py [--tabular ../shared/data/tabular] [--tables development] [--methods tables ...]

20 random support sets of 50 and of 150 rows from each table, features and classes as they are; at most 500 other rows
are asked. Every class has a row in the support; the rest is drawn at random. The AUC is the mean over the classes that
are among the asked rows. scikit-learn's methods get what their users would give them: numbers scaled, missing cells
imputed, words one-hot. `best by cv` is, for each support set, the one of the four with the best AUC in 3-fold
cross-validation on that support set.

Every other table by name (`development`) was looked at while the model was made; the `other` half was not.

Raw values go to results/tables_auc.json as they are made; a run that was stopped goes on. `--again NAME` forgets what a
method scored, `--report` only prints.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
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

from regard.domains.tables.reader import TableReader, numbers_and_words, read_csv
from regard.estimators import FewShotClassifier
from regard.evaluation import mean_interval
from regard.evaluation.provenance import machine, versions
from regard.files import write_whole

SIZES, N_DRAWS, N_ASKED = (50, 150), 20, 500
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
    _, rows = read_csv(folder / f"{name}.csv.gz")
    target = 0 if name == "letter-recognition" else -1
    y = np.array([row[target] for row in rows])
    x = numbers_and_words([row[1:] if target == 0 else row[:-1] for row in rows])
    return x, np.unique(y, return_inverse=True)[1]


def draw(table: Table, n_rows: int, number: int) -> tuple[NDArray[Any], ...]:
    """Support and asked rows of draw `number`: one row of each class, and others at random."""
    x, y = table
    rng = np.random.default_rng([number, n_rows])
    order = rng.permutation(len(y))
    first = [order[y[order] == label][0] for label in np.unique(y)]
    rest = order[~np.isin(order, first)]
    n_rows = min(n_rows, len(y) // 2)
    support = np.concatenate([first, rest[: max(0, n_rows - len(first))]])
    asked = rest[max(0, n_rows - len(first)) :][:N_ASKED]
    return x[support], y[support], x[asked], y[asked]


def pipeline(x: NDArray[Any], model: Any) -> Any:
    """Numbers imputed by the median and scaled, words imputed by the most frequent and one-hot."""
    words = [f for f, known in enumerate(TableReader.learn(x).categories) if known is not None]
    numbers = [f for f in range(x.shape[1]) if f not in words]
    scaled = make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler())
    coded = make_pipeline(
        SimpleImputer(strategy="most_frequent", keep_empty_features=True), OneHotEncoder(handle_unknown="ignore")
    )
    return make_pipeline(ColumnTransformer([("numbers", scaled, numbers), ("words", coded, words)]), model)


def auc(y: NDArray[Any], probability: NDArray[Any], classes: NDArray[Any]) -> float:
    """Mean over the classes that are among the asked rows, and not all of them."""
    scores = []
    for label in np.unique(y):
        column = np.nonzero(classes == label)[0]
        mine = probability[:, column[0]] if len(column) else np.zeros(len(y))
        if 0 < (y == label).sum() < len(y):
            scores.append(roc_auc_score(y == label, mine))
    return float(np.mean(scores))


def scored(model: Any, x: Any, y: Any, asked_x: Any, asked_y: Any) -> tuple[float, float]:
    """AUC and seconds of one fit and prediction."""
    began = time.perf_counter()
    model.fit(x, y)
    found = auc(asked_y, model.predict_proba(asked_x), model.classes_)
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


def main() -> None:
    """Score what is missing, write it down, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tabular", type=Path, default=Path("../shared/data/tabular"))
    parser.add_argument("--tables", choices=("development", "other", "all"), default="all")
    parser.add_argument("--methods", nargs="*", default=METHODS)
    parser.add_argument("--learner", default="tables", help="name or path of the model called `tables`")
    parser.add_argument("--draws", type=int, default=N_DRAWS)
    parser.add_argument("--again", nargs="*", default=[])
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "tables_auc.json")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    raw: dict[str, Any] = (
        json.loads(arguments.out.read_text()) if arguments.out.exists() else {"scores": {}, "seconds": {}}
    )
    for part in (raw["scores"], raw["seconds"]):
        for key in [k for k in part if k.split("|")[-1] in arguments.again]:
            del part[key]
    names = {"development": DEVELOPMENT, "other": NAMES[1::2], "all": NAMES}[arguments.tables]
    for name in [] if arguments.report else names:
        score_table(name, arguments, raw)
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        told = {"command": "python benchmarks/tables_auc.py", "machine": machine(), "versions": versions()}
        write_whole(arguments.out, json.dumps({**raw, **told}, indent=0, sort_keys=True).encode())
    print(report(raw["scores"], names, arguments.methods))


def score_table(name: str, arguments: argparse.Namespace, raw: dict[str, Any]) -> None:
    """All draws of one table."""
    table = load(name, arguments.tabular)
    for size in SIZES:
        for number in range(arguments.draws):
            x, y, asked_x, asked_y = draw(table, size, number)
            for method in arguments.methods:
                key = f"{name}|{size}|{number}|{method}"
                if key in raw["scores"]:
                    continue
                if method == BEST:
                    raw["scores"][key] = raw["scores"][f"{name}|{size}|{number}|{best_by_cv(x, y)}"]
                    continue
                model = pipeline(x, PEERS[method]()) if method in PEERS else FewShotClassifier(arguments.learner)
                found, seconds = scored(model, x, y, asked_x, asked_y)
                raw["scores"][key], raw["seconds"][key] = round(found, 6), round(seconds, 4)
    print(name, flush=True)


def report(scores: dict[str, float], names: list[str], methods: list[str]) -> str:
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
        lines += [f"\n{size} rows known, {len(names)} tables, {least} draws\n", f"| table | {' | '.join(methods)} |"]
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


if __name__ == "__main__":
    main()

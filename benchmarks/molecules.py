"""Few-shot assays of molecules: AUC of new assays, on known molecules and on new ones, and pIC50 of new targets.

    python benchmarks/molecules.py --data FOLDER [--only disjoint usual regression] [--cache FOLDER]
    python benchmarks/molecules.py --data FOLDER --test FILE.csv.gz

Protocols, for classes: 10 active and 10 inactive examples, queries are all other labelled molecules, ROC-AUC per assay,
mean over seeds; intervals are bootstraps over assays, and differences are paired on the same episodes.

    disjoint    new assays and new molecules (40% of all scaffolds): the judge
    usual       new assays, known molecules, as in the literature. "label profile" sums the labels that a molecule carries
                in the training assays, without structure and without an example: what memory alone reaches

Training assays that give a test assay away leave the pool: readings of one experiment and Tox21's own in ToxCast; with
--strict also those whose labels repeat a test assay's, |phi| > 0.6. Rows of ToxCast that are not TOX21_* are shown apart: the pool keeps Tox21's own assays, which are relatives.

--test takes a CSV file with SMILES and assays (0, 1) or values: one pooled model is trained on the files of --data without
whatever gives its assays away, and evaluated by both protocols; where most molecules are new to the pool, all of them are
test molecules (with at most --decoys inactive ones per assay).

A run that was stopped is resumed by the same command: trainings from their folders under --run, scores from the results,
which are written after every assay. A score is made again where its learner, the data or the seed are others.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does; before PyTorch is loaded

import numpy as np
import torch
from numpy.typing import NDArray

from common import (
    Document,
    Section,
    argument_parser,
    made_by,
    out_with_test,
    provenance,
    read_document,
    render_after,
    table,
    write_document,
)
from regard.episode import Support
from regard.learners.base import EncodingLearner
from regard.recipes.config import Recipe
from regard.recipes.run import train_recipe
from regard.recipes.trained import load

OUT = "molecules.json"
POOL = ("tox21", "sider_train21", "toxcast450")
SHARES = {"tox21": 0.25, "sider_train21": 0.25, "toxcast450": 0.5}
TOX21_TEST = ("SR-HSE", "SR-MMP", "SR-p53")
N_DEV = 40
N_SHOT = 10
N_TARGET = 110
"""Values of new molecules that a target of the regression table has at least."""
FINGERPRINTS = "{name: FingerprintNetwork, n_features: 128, hidden: 256}"
LEARNERS = {
    "AssayPrototypes": ("molecules", ""),
    "MHNfs": ("molecules_mhnfs", "train.steps=400"),
    **{
        name: ("molecules_mhnfs", f"learner={{name: {name}, encoder: {FINGERPRINTS}}};train.steps=400")
        for name in ("Prototypical", "IterRefLSTM", "PAR", "FewShotGNN", "EGNN", "TPN")
    },
    "TanimotoKernel": (
        "molecules_mhnfs",
        f"learner={{name: TanimotoKernel, encoder: {FINGERPRINTS[:-1]}, keep_counts: true}}}};train.steps=400",
    ),
    "TanimotoKernel, values": ("molecules_regression", ""),
    **{
        f"Prototypical, {name}": (
            "molecules_mhnfs",
            f"learner={{name: Prototypical, encoder: {{name: {name}, n_features: {width}{more}}}}};train.steps={steps}",
        )
        for name, width, more, steps in (
            ("FingerprintNetwork", 128, ", hidden: 256", 1300),
            ("GIN", 64, ", n_layers: 3", 270),
            ("GraphAttention", 64, ", n_layers: 3", 170),
        )
    },
}
"""Recipe and settings; those that are trained by episodes have one encoder and as many steps. Encoders that are compared
have as many steps as a minute of one core allows each.
"""
Score = Callable[[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]], NDArray[np.floating[Any]]]
"""Rows and labels of the support and rows of the queries, to scores or values of the queries."""


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(
        __doc__,
        SECTIONS,
        OUT,
        data="the folder of tox21, sider_train21, toxcast450 and chembl5_targets_shared, each .csv.gz",
        test="a CSV file of SMILES and assays or values",
        seed=0,
        only=("disjoint", "usual", "regression", "encoders"),
    )
    made.add_argument(
        "--cache", type=Path, default=Path("runs/molecules-cache"), help="features of molecules are kept here"
    )
    made.add_argument("--run", type=Path, default=Path("runs/molecules"), help="folder of the trainings")
    made.add_argument("--strict", action="store_true", help="also train on no assay whose labels repeat a test assay's")
    made.add_argument("--decoys", type=int, default=800, help="inactive molecules per assay of a large test file")
    made.add_argument("--seeds", type=int, default=10, help="episodes per assay of AssayPrototypes")
    made.add_argument("--baseline-seeds", type=int, default=3, help="of the baselines, which are slow")
    made.add_argument("--other-seeds", type=int, default=1, help="of the other learners")
    made.add_argument("--learners", nargs="+", choices=tuple(LEARNERS), default=["AssayPrototypes"], help="disjoint")
    return made


def main() -> None:
    """Train, evaluate, write."""
    arguments = parser().parse_args()
    torch.set_num_threads(1)
    arguments.out = out_with_test(arguments, OUT)
    results = Results(arguments.out, arguments.seed)
    if arguments.test:
        test_tables(arguments, results)
        # An earlier test file may have had other tables.
        results.tables = {name: content for name, content in results.tables.items() if name in results.made}
    else:
        for name in arguments.only or ("disjoint", "usual", "regression", "encoders"):
            made = {"disjoint": disjoint, "usual": usual, "regression": regression, "encoders": encoders}
            made[name](arguments, results)
    results.write()
    for name, content in results.tables.items():
        print(f"\n{name}\n{table_of(content)}")
    render_after(arguments, SECTIONS)


# ---- what was measured before ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Method:
    """Something that scores molecules.

    Args:
        key: of what its scores depend on; scores of another key are made again.
        make: it, when there is something to score.
        n_seeds: episodes per assay.
    """

    key: str
    make: Callable[[], Score]
    n_seeds: int


class Results:
    """The file of results, with what an earlier run has measured; written again at most every ten seconds.

    Args:
        path: of the file.
        seed: of the episodes.
    """

    def __init__(self, path: Path, seed: int) -> None:
        self.path, self.seed, self.tables = path, seed, dict(read_document(path).get("tables", {}))
        self.made: set[str] = set()
        self._written = time.monotonic()

    def table(self, name: str, unit: str, methods: Mapping[str, Method], assays: Mapping[str, str]) -> Document:
        """A table with what is still true of it: of these assays (name to group) and of methods of the same key.

        Args:
            name: of the table.
            unit: "auc", or "r2 16" of the number of examples.
            methods: their scores are kept where the key is the same.
            assays: to their groups.
        """
        self.made.add(name)
        content = self.tables.setdefault(name, {})
        keys = {method: f"{made.key} {self.seed}" for method, made in methods.items()}
        before, scores = content.setdefault("keys", {}).get(unit, {}), content.get(unit, {})
        content[unit] = {
            method: {a: v for a, v in scores.get(method, {}).items() if a in assays and before.get(method) == key}
            for method, key in keys.items()
        }
        content["keys"][unit] = keys
        content |= {"groups": dict(assays), "n_assays": len(assays)}
        return content

    def write(self, *, soon: bool = False) -> None:
        """The file; `soon` only where ten seconds have passed."""
        if not soon or time.monotonic() - self._written > 10:
            made = provenance(seed=self.seed, interval="bootstrap over assays, 10,000 draws; differences are paired")
            write_document(self.path, {**made, "tables": self.tables})
            self._written = time.monotonic()


# ---- data and training -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """One assay's molecules to draw from, by row of the pool, with their labels or values."""

    name: str
    group: str
    rows: NDArray[np.int64]
    y: NDArray[np.float32]


def pooled(arguments: argparse.Namespace, files: Sequence[str], test: Path | None = None) -> Any:
    """All molecules and assays; those of --test as the file "test"."""
    from regard.domains.molecules.assays import read_assays
    from regard.domains.molecules.data import Pool

    assays = {name: read_assays(arguments.data / f"{name}.csv.gz") for name in files}
    if test is not None:
        assays["test"] = smaller(read_assays(test), arguments.decoys)
    return Pool.of(assays)


def smaller(assays: Any, decoys: int) -> Any:
    """Of a large screen all molecules that are active anywhere, and so many others per assay: features take 3 ms each."""
    from regard.domains.molecules.assays import Assays

    active = (assays.y == 1).any(1)
    rest = np.random.default_rng(0).permutation(np.flatnonzero(~active))[: decoys * len(assays.names)]
    if not assays.has_classes or len(rest) == (~active).sum():
        return assays
    kept = np.sort(np.concatenate([np.flatnonzero(active), rest]))
    return Assays(tuple(assays.molecules[i] for i in kept), assays.names, assays.y[kept], assays.skipped)


def data_of(
    arguments: argparse.Namespace,
    pool: Any,
    test: Sequence[int],
    protocol: str,
    files: Sequence[str],
    *,
    with_graphs: bool = False,
) -> Any:
    """The pool as data of a recipe, trained on `files` without what gives the test assays away."""
    from regard.domains.molecules.data import pool_data
    from regard.domains.molecules.domain import MOLECULES

    shares = {name: SHARES[name] for name in files if name in SHARES} or None
    strict = bool(arguments.strict)
    return pool_data(
        MOLECULES,
        pool,
        test,
        protocol,
        validation_share=0.0,
        shares=shares,
        cache=arguments.cache,
        files=files,
        strict=strict,
        with_graphs=with_graphs,
    )


def trained(arguments: argparse.Namespace, data: Any, name: str, table: str) -> tuple[Any, float, str]:
    """A learner trained by a recipe that ships, the CPU seconds it took, and a digest of its weights.

    Args:
        arguments: where the data are, and where trainings are kept.
        data: of the table.
        name: of `LEARNERS`.
        table: the table's name.
    """
    recipe_name, settings = LEARNERS[name]
    recipe = Recipe.read(recipe_name, [f"data.folder={arguments.data}", *filter(None, settings.split(";"))])
    kind = hashlib.sha256(repr((recipe.model_dump(mode="json"), digest_of(data))).encode()).hexdigest()[:8]
    folder = arguments.run / f"{table}-{name}-{kind}".replace(", ", "-")
    cost, finished = folder / "cpu_seconds.json", folder / "finished"
    seconds = float(json.loads(cost.read_text())) if cost.exists() else 0.0
    best = folder / "best.safetensors"
    if not finished.exists():
        began = time.process_time()
        try:
            best = train_recipe(recipe, folder, data=data)
            finished.touch()
        finally:
            seconds += time.process_time() - began
            if folder.is_dir():
                cost.write_text(json.dumps(round(seconds, 1)))
    return load(best).learner, seconds, hashlib.sha256(best.read_bytes()).hexdigest()[:12]


def digest_of(data: Any) -> str:
    """Of what a table is trained on."""
    table = data.splits["train"]
    return hashlib.sha256("\n".join((*table.names, *table.ids)).encode() + table.y.tobytes()).hexdigest()[:12]


def encoded(learner: EncodingLearner, items: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """All items of the pool as vectors."""
    n = len(items["counts"])
    with torch.inference_mode():
        parts = [learner.encode({k: v[i : i + 1024] for k, v in items.items()}) for i in range(0, n, 1024)]
    return torch.cat(parts)


def by_learner(learner: EncodingLearner, items: Mapping[str, torch.Tensor]) -> Score:
    """A learner's score: of classes the log-odds of active, of values the mean."""
    z = encoded(learner, items)

    def score(
        support: NDArray[np.int64], y: NDArray[np.float32], query: NDArray[np.int64]
    ) -> NDArray[np.floating[Any]]:
        values = torch.from_numpy(y)
        target = (
            values[None, :, None]
            if (learner.regresses and not learner.classifies) or regressing(y)
            else values.long()[None]
        )
        with torch.inference_mode():
            state = learner.adapt_encoded(
                Support(z[support][None], target, torch.ones(1, len(y)), 0 if target.ndim == 3 else 2)
            )
            output = learner.predict_encoded(state, z[query][None])
        return (
            output.mean[0, :, 0].numpy()
            if not isinstance(output, torch.Tensor)
            else (output[0, :, 1] - output[0, :, 0]).numpy()
        )

    return score


def regressing(y: NDArray[np.float32]) -> bool:
    """Whether labels are values."""
    return not bool(np.isin(y, (0, 1)).all())


# ---- baselines -------------------------------------------------------------------------------------------------------


def baselines(counts: NDArray[np.uint8], descriptors: NDArray[np.float32]) -> dict[str, Score]:
    """Forests and logistic regressions on both kinds of features, Tanimoto neighbours and process."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

    from regard.nn.tanimoto import tanimoto

    def fitted(make: Callable[[], Any], x: NDArray[Any]) -> Score:
        return lambda s, y, q: make().fit(x[s], y).predict_proba(x[q])[:, 1]

    def likeness(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float64]:
        return tanimoto(torch.from_numpy(counts[a]).float(), torch.from_numpy(counts[b]).float()).double().numpy()

    def neighbours(s: NDArray[np.int64], y: NDArray[np.float32], q: NDArray[np.int64]) -> NDArray[np.float64]:
        k = likeness(q, s)
        return k[:, y == 1].max(1) - k[:, y == 0].max(1)

    def process(s: NDArray[np.int64], y: NDArray[np.float32], q: NDArray[np.int64]) -> NDArray[np.float64]:
        return likeness(q, s) @ np.linalg.solve(likeness(s, s) + 0.3 * np.eye(len(s)), 2.0 * y - 1)

    logged = np.log1p(counts.astype(np.float32))
    return {
        "random forest, ECFP4": fitted(lambda: RandomForestClassifier(100, random_state=0), counts),
        "random forest, descriptors": fitted(lambda: RandomForestClassifier(100, random_state=0), descriptors),
        "logistic, ECFP4": fitted(lambda: LogisticRegression(C=1.0, max_iter=300), logged),
        "logistic, descriptors": fitted(lambda: LogisticRegression(C=0.05, max_iter=300), descriptors),
        "Tanimoto, nearest": neighbours,
        "Tanimoto process": process,
    }


def label_profile(pool: Any, train: Sequence[int]) -> Score:
    """Labels that a molecule carries in the training assays, summed; unknown ones count as the assay's mean."""
    y = pool.y[:, list(train)].astype(np.float64)
    mean = np.nanmean(y, 0)
    total = np.where(np.isnan(y), mean, y).sum(1)
    return lambda s, labels, q: total[q]


def evaluated(results: Results, name: str, tasks: Sequence[Task], methods: Mapping[str, Method]) -> Document:
    """AUC of each assay and seed by method, those that are there already left as they are."""
    from sklearn.metrics import roc_auc_score

    content = results.table(name, "auc", methods, {t.name: t.group for t in tasks})
    for method, made in methods.items():
        found = content["auc"][method]
        missing = [t for t in tasks if len(found.get(t.name, ())) < made.n_seeds]
        score = made.make() if missing else None
        for task in missing:
            assert score is not None
            for draw in range(len(found.get(task.name, ())), made.n_seeds):
                rng = np.random.default_rng([results.seed, draw, zlib.crc32(task.name.encode())])
                order = rng.permutation(len(task.rows))
                active, inactive = (order[task.y[order] == label] for label in (1, 0))
                support = np.concatenate([active[:N_SHOT], inactive[:N_SHOT]])
                query = np.concatenate([active[N_SHOT:], inactive[N_SHOT:]])
                values = score(task.rows[support], task.y[support], task.rows[query])
                found.setdefault(task.name, []).append(float(roc_auc_score(task.y[query], values)))
            results.write(soon=True)
    return content


def assay_tasks(
    pool: Any, assays: Sequence[int], is_test: NDArray[np.bool_], group: Callable[[int], str]
) -> list[Task]:
    """Those with at least 20 of each class among the test molecules."""
    found = []
    for t in assays:
        rows = np.flatnonzero(is_test & ~np.isnan(pool.y[:, t]))
        y = pool.y[rows, t]
        if min((y == 1).sum(), (y == 0).sum()) >= 2 * N_SHOT:
            found.append(Task(pool.names[t], group(t), rows, y))
    return found


# ---- tables ----------------------------------------------------------------------------------------------------------


def development(pool: Any) -> list[int]:
    """Test assays of the development tables: Tox21's three, SIDER's last six, 28% of ToxCast's families."""
    from regard.domains.molecules.assays import family

    sider = [t for t, file in enumerate(pool.files) if file == "sider_train21"][15:]
    toxcast = [t for t, file in enumerate(pool.files) if file == "toxcast450"]
    tox21 = [t for t, name in enumerate(pool.names) if name in TOX21_TEST]
    given_away = pool.leaking(tox21, False)
    held = [t for t in toxcast if zlib.crc32(family(pool.names[t]).encode()) % 1000 < 280 and not given_away[t]]
    return [*tox21, *sider, *held]


def group_of(pool: Any) -> Callable[[int], str]:
    """The table's row group of an assay."""

    def group(t: int) -> str:
        file = {"tox21": "Tox21", "sider_train21": "SIDER", "toxcast450": "ToxCast"}.get(pool.files[t], "test")
        return f"{file}, TOX21_*" if pool.names[t].startswith("TOX21_") else file

    return group


def disjoint(arguments: argparse.Namespace, results: Results) -> None:
    """One pooled model, new molecules."""
    pool = pooled(arguments, POOL)
    test = development(pool)
    data = data_of(arguments, pool, test, "disjoint", POOL)
    tasks = assay_tasks(pool, test, pool.is_test_scaffold, group_of(pool))
    toxcast = [t for t in tasks if t.group.startswith("ToxCast")]
    kept = np.random.default_rng(0).permutation(len(toxcast))[:N_DEV]
    others = [t for t in tasks if not t.group.startswith("ToxCast")]
    compare(arguments, results, "disjoint", data, [*others, *(toxcast[i] for i in sorted(kept))])


def compare(
    arguments: argparse.Namespace,
    results: Results,
    name: str,
    data: Any,
    tasks: Sequence[Task],
    learners: Sequence[str] = (),
    plain: Mapping[str, Score] | None = None,
) -> None:
    """Learners and baselines on the same episodes.

    Args:
        arguments: `learners`, and the numbers of seeds.
        results: where the table goes.
        name: of the table.
        data: of the trainings.
        tasks: to evaluate on.
        learners: of `LEARNERS`; those of the arguments by default.
        plain: what needs no training; the baselines by default.
    """
    items = data.all_items
    if plain is None:
        plain = baselines(items["counts"].numpy(), items["descriptors"].numpy())
    methods: dict[str, Method] = {}
    seconds: dict[str, float] = {}
    for learner_name in learners or arguments.learners:
        learner, seconds[learner_name], digest = trained(arguments, data, learner_name, name)
        n_seeds = arguments.seeds if learner_name == "AssayPrototypes" else arguments.other_seeds
        methods[learner_name] = Method(digest, partial(by_learner, learner, items), n_seeds)
    digest = digest_of(data)
    for method, score in plain.items():
        methods[method] = Method(digest, partial(_identity, score), arguments.baseline_seeds)
    evaluated(results, name, tasks, methods)["training_cpu_seconds"] = seconds


def _identity(score: Score) -> Score:
    return score


def usual(arguments: argparse.Namespace, results: Results) -> None:
    """Known molecules: Tox21's test assays, trained on its own nine and on the pool."""
    for name, files in (("usual, own", ("tox21",)), ("usual, pooled", ("tox21", "toxcast450"))):
        pool = pooled(arguments, files)
        test = [t for t, assay in enumerate(pool.names) if assay in TOX21_TEST]
        data = data_of(arguments, pool, test, "usual", files)
        everything = np.ones(len(pool.molecules), dtype=bool)
        tasks = assay_tasks(pool, test, everything, group_of(pool))
        profile = {"label profile, no example": label_profile(pool, known_assays(arguments, pool, test, files))}
        compare(arguments, results, name, data, tasks, ["AssayPrototypes"], profile)


def encoders(arguments: argparse.Namespace, results: Results) -> None:
    """Encoders of fingerprints and of graphs beside each other, a minute of training each, on Tox21 alone."""
    pool = pooled(arguments, ("tox21",))
    test = [t for t, assay in enumerate(pool.names) if assay in TOX21_TEST]
    data = data_of(arguments, pool, test, "disjoint", ("tox21",), with_graphs=True)
    tasks = assay_tasks(pool, test, pool.is_test_scaffold, group_of(pool))
    names = [name for name in LEARNERS if name.startswith("Prototypical, ")]
    compare(arguments, results, "encoders", data, tasks, names, {})


def known_assays(arguments: argparse.Namespace, pool: Any, test: Sequence[int], files: Sequence[str]) -> list[int]:
    """Those whose labels may be known: of these files, and none that gives a test assay away."""
    return [int(t) for t in np.flatnonzero(~pool.leaking(test, bool(arguments.strict))) if pool.files[t] in files]


def test_tables(arguments: argparse.Namespace, results: Results) -> None:
    """The assays of --test, by a pooled model that was trained without whatever gives them away."""
    from regard.domains.molecules.assays import read_assays

    test_assays = read_assays(arguments.test)
    if not test_assays.has_classes:
        regression(arguments, results, test_assays)
        return
    pool = pooled(arguments, POOL, arguments.test)
    test = [t for t, file in enumerate(pool.files) if file == "test"]
    labelled = (~np.isnan(pool.y[:, test])).any(1)
    known = (~np.isnan(pool.y[:, [t for t in range(len(pool.names)) if t not in set(test)]])).any(1)
    if (labelled & known).sum() < 0.5 * labelled.sum():
        data = data_of(arguments, pool, test, "usual", POOL)
        tasks = [thinned(t, arguments.decoys) for t in assay_tasks(pool, test, labelled, group_of(pool))]
        compare(arguments, results, "new molecules", data, tasks)
        return
    data = data_of(arguments, pool, test, "disjoint", POOL)
    tasks = assay_tasks(pool, test, pool.is_test_scaffold, group_of(pool))
    compare(arguments, results, "disjoint", data, tasks)
    data = data_of(arguments, pool, test, "usual", POOL)
    tasks = assay_tasks(pool, test, labelled, group_of(pool))
    profile = {"label profile, no example": label_profile(pool, known_assays(arguments, pool, test, POOL))}
    compare(arguments, results, "usual", data, tasks, ["AssayPrototypes"], profile)


def thinned(task: Task, n_inactive: int) -> Task:
    """All actives, and so many inactive molecules."""
    rng = np.random.default_rng(zlib.crc32(task.name.encode()))
    kept = np.sort(
        np.concatenate([np.flatnonzero(task.y == 1), rng.permutation(np.flatnonzero(task.y == 0))[:n_inactive]])
    )
    return Task(task.name, task.group, task.rows[kept], task.y[kept])


# ---- regression ------------------------------------------------------------------------------------------------------


def regression(arguments: argparse.Namespace, results: Results, test_assays: Any = None) -> None:
    """R2 of pIC50 on new targets and new molecules, beside a Tanimoto process fitted per task."""
    files = ("chembl5_targets_shared",)
    pool = pooled(arguments, files, arguments.test if test_assays is not None else None)
    counted = (~np.isnan(pool.y) & pool.is_test_scaffold[:, None]).sum(0)
    if test_assays is None:
        large = sorted(np.flatnonzero(counted >= N_TARGET), key=lambda t: zlib.crc32(pool.names[t].encode()))
        test = [int(t) for t in large[:22]]
    else:
        test = [t for t, file in enumerate(pool.files) if file == "test" and counted[t] >= N_TARGET]
        pool = pool.without([t for t, file in enumerate(pool.files) if file == "test" and t not in set(test)])
        test = [t for t, file in enumerate(pool.files) if file == "test"]
    if not test:
        raise SystemExit(f"no target has {N_TARGET} values of molecules of test scaffolds: expected a larger file.")
    data = data_of(arguments, pool, test, "disjoint", files)
    learner, seconds, digest = trained(arguments, data, "TanimotoKernel, values", "regression")
    fitted = fitted_process(data.all_items["counts"].numpy())
    methods = {
        "TanimotoKernel": Method(digest, partial(by_learner, learner, data.all_items), 5),
        "Tanimoto process, fitted per task": Method(digest_of(data), partial(_identity, fitted), 5),
    }
    for n_shot in (16, 32, 64):
        explained(results, n_shot, pool, test, methods)
    results.tables["regression"]["training_cpu_seconds"] = {"TanimotoKernel": seconds}


def explained(results: Results, n_shot: int, pool: Any, test: Sequence[int], methods: Mapping[str, Method]) -> None:
    """R2 by method and target, one value per draw."""
    name = f"r2 {n_shot}"
    content = results.table("regression", name, methods, {pool.names[t]: "target" for t in test})
    for method, made in methods.items():
        found = content[name][method]
        missing = [t for t in test if pool.names[t] not in found]
        score = made.make() if missing else None
        for t in missing:
            assert score is not None
            rows = np.flatnonzero(pool.is_test_scaffold & ~np.isnan(pool.y[:, t]))
            values = []
            for draw in range(made.n_seeds):
                order = np.random.default_rng([results.seed, draw, zlib.crc32(pool.names[t].encode())]).permutation(
                    rows
                )
                support, query = order[:n_shot], order[n_shot:]
                y = pool.y[query, t].astype(np.float64)
                mean = score(support, pool.y[support, t], query)
                values.append(1 - float(np.square(mean - y).sum() / np.square(y - y.mean()).sum()))
            found[pool.names[t]] = values
            results.write(soon=True)


def fitted_process(counts: NDArray[np.uint8]) -> Score:
    """A Tanimoto process whose noise and amplitude are those of the largest marginal likelihood of the task."""
    from regard.nn.tanimoto import tanimoto

    def likeness(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float64]:
        return tanimoto(torch.from_numpy(counts[a]).float(), torch.from_numpy(counts[b]).float()).double().numpy()

    def score(s: NDArray[np.int64], y: NDArray[np.float32], q: NDArray[np.int64]) -> NDArray[np.float64]:
        kernel, mean = likeness(s, s), float(y.mean())
        residual = y.astype(np.float64) - mean
        variance = residual.var() + 1e-3
        best, answer = -np.inf, np.zeros(len(q))
        for noise in (0.03, 0.1, 0.2, 0.4, 0.7, 1.0, 2.0):
            for amplitude in (0.25, 0.5, 1.0, 2.0, 4.0):
                covariance = variance * (amplitude * kernel + noise * np.eye(len(s)))
                factor = np.linalg.cholesky(covariance)
                alpha = np.linalg.solve(covariance, residual)
                log_p = -residual @ alpha / 2 - np.log(np.diag(factor)).sum()
                if log_p > best:
                    best, answer = log_p, mean + variance * amplitude * (likeness(q, s) @ alpha)
        return answer

    return score


# ---- pages -----------------------------------------------------------------------------------------------------------


def bootstrap(values: NDArray[np.floating[Any]]) -> tuple[float, float, float]:
    """Mean and 95% interval over assays."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(0, len(values), (10_000, len(values)))].mean(1)
    return float(values.mean()), *(float(v) for v in np.quantile(means, (0.025, 0.975)))


def cell(values: Sequence[float] | NDArray[np.floating[Any]], form: str = ".1f") -> str:
    """Mean and interval, in percent points where they are AUC."""
    mean, low, high = bootstrap(np.asarray(values))
    return f"{mean:{form}} [{low:{form}}, {high:{form}}]"


def per_assay(
    results: Mapping[str, list[float]], assays: Sequence[str], n_seeds: int | None = None
) -> NDArray[np.float64]:
    """Mean over seeds of each assay."""
    return np.array([np.mean(results[name][:n_seeds]) for name in assays])


def table_of(content: Document) -> str:
    """A table of AUC by group of assays, or of R2 by number of examples."""
    if "auc" not in content:
        return regression_table(content)
    groups = content["groups"]
    names = sorted(set(groups.values()))
    if any(name.startswith("ToxCast") for name in names):
        names = [n for n in ("Tox21", "SIDER", "ToxCast", "ToxCast, TOX21_*", "test") if n in names]
    inside = {name: [a for a, g in groups.items() if g == name] for name in names}
    if {"test", "test, TOX21_*"} & set(names) and len(names) > 1:
        inside["all"] = list(groups)
    rows = []
    first = next(iter(content["auc"]))
    for method, results in content["auc"].items():
        row = [method]
        row += [cell(100 * per_assay(results, assays)) for assays in inside.values()]
        for assays in inside.values():
            few = min(len(v) for v in results.values())
            gap = per_assay(content["auc"][first], assays, few) - per_assay(results, assays, few)
            row.append("" if method == first else cell(100 * gap, "+.1f"))
        rows.append(row)
    heads = ["method", *(f"{n} ({len(a)})" for n, a in inside.items()), *(f"{first} minus it, {n}" for n in inside)]
    return table(heads, rows)


def regression_table(content: Document) -> str:
    """R2 at each number of examples."""
    rows = []
    units = [unit for unit in content if unit.startswith("r2 ")]
    methods = list(content[units[0]])
    for method in methods:
        row = [method, *(cell(per_assay(content[u][method], list(content["groups"])), ".3f") for u in units)]
        for unit in units:
            ours, other = (per_assay(content[unit][m], list(content["groups"])) for m in (methods[0], method))
            row.append("" if method == methods[0] else cell(ours - other, "+.3f"))
        rows.append(row)
    shots = [unit.removeprefix("r2 ") for unit in units]
    return table(["method", *(f"R2, {k}" for k in shots), *(f"{methods[0]} minus it, {k}" for k in shots)], rows)


def section(name: str) -> Callable[[Document], str]:
    """The Markdown of one table."""

    def render(document: Document) -> str:
        content = document["tables"][name]
        seconds = ", ".join(f"{k} {v:.0f} s" for k, v in content["training_cpu_seconds"].items())
        return f"{table_of(content)}\n\nTraining on one core: {seconds}. {document['interval']}.\n\n{made_by(document)}"

    return render


TABLES = ("disjoint", "usual, own", "usual, pooled", "encoders", "regression")
"""Those on the page."""
SECTIONS = tuple(Section(f"molecules {name}", OUT, section(name)) for name in TABLES)


if __name__ == "__main__":
    main()

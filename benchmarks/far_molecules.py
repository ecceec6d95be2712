"""Tasks far from toxicity: the molecules model that ships beside Tanimoto, forests and regressions on targets of ChEMBL.

    python benchmarks/far_molecules.py --data FOLDER [--cache FOLDER]

FOLDER holds tox21, toxcast450 and chembl5_targets_shared, each .csv.gz. No target and no molecule of the tasks was trained
on: molecules that stand in tox21 or toxcast450 are left out. 10 active and 10 inactive examples, queries are the others,
ROC-AUC per target; all molecules of one class of a target have different scaffolds.

    active or not    pIC50 of 6.5 or more against below 5.5, of scaffolds that no active has
    among others     30 actives (6 or more) among 500 molecules of other targets
    unlike           active or not, no two actives of a similarity of .3 or more
    as MUV           30 actives (6 or more), no two of .45 or more, among 480 molecules of other targets, each the nearest
                     that is left to an active in 85 simple descriptors, so that these tell nothing

MUV itself: Rohrer and Baumann 2009, doi:10.1021/ci8002649. These tasks were used to choose how the model weighs what it
learned against structure.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from common import Document, Section, argument_parser, made_by, render_after
from molecules import Method, Results, Score, Task, baselines, by_learner, evaluated, table_of
from regard.recipes.trained import load

OUT = "far_molecules.json"
TARGETS = "chembl5_targets_shared"
N_TASKS = {"active or not": 24, "among others": 24, "unlike": 20, "as MUV": 17}
N_SIMPLE = 85
"""Descriptors before the surface areas: 43 properties and 42 counts."""
Rows = NDArray[np.int64]


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(
        __doc__, SECTIONS, OUT, data=f"the folder of tox21, toxcast450 and {TARGETS}, each .csv.gz", seed=0
    )
    made.add_argument("--cache", type=Path, default=Path("runs/molecules-cache"), help="features are kept here")
    made.add_argument(
        "--model", default="molecules", help="a name, a checkpoint or a run in place of the one that ships"
    )
    made.add_argument("--draws", type=int, default=5, help="episodes per target of the model and of Tanimoto")
    return made


def main() -> None:
    """Draw the tasks, evaluate, write."""
    arguments = parser().parse_args()
    torch.set_num_threads(1)
    results = Results(arguments.out, arguments.seed)
    targets = Targets(arguments.data, arguments.cache)
    trained: Any = load(arguments.model)
    items = trained.domain.reader(trained.items["reader"]).items(targets.counts, targets.raw)
    tasks = targets.tasks()
    key = hashlib.sha256(repr([(t.name, t.rows.tolist()) for t in tasks]).encode()).hexdigest()[:12]
    weights = b"".join(tensor.numpy().tobytes() for tensor in trained.learner.state_dict().values())
    numbers = {name: value for name, value in vars(trained.learner).items() if isinstance(value, int | float)}
    digest = hashlib.sha256(weights + repr(numbers).encode()).hexdigest()[:12]
    methods = {"the model": Method(f"{digest} {key}", partial(by_learner, trained.learner, items), arguments.draws)}
    plain = baselines(targets.counts, items["descriptors"].numpy())
    for name in ("Tanimoto process", *plain):
        n_draws = arguments.draws if name.startswith("Tanimoto") else 1
        methods[name] = Method(key, partial(_made, plain[name]), n_draws)
    evaluated(results, "far", tasks, methods)
    results.write()
    print(table_of(results.tables["far"]))
    render_after(arguments, SECTIONS)


def _made(score: Score) -> Score:
    return score


class Targets:
    """ChEMBL's molecules that the model has not seen, and tasks on them.

    Args:
        folder: of the files.
        cache: of features.
    """

    def __init__(self, folder: Path, cache: Path) -> None:
        from regard.domains.molecules.assays import read_assays
        from regard.domains.molecules.chemistry import scaffold
        from regard.domains.molecules.data import features

        assays = read_assays(folder / f"{TARGETS}.csv.gz")
        known = {m.smiles for name in ("tox21", "toxcast450") for m in read_assays(folder / f"{name}.csv.gz").molecules}
        self.y, self.names = assays.y, assays.names
        self.counts, self.raw = features(assays.molecules, cache)
        self.scaffolds = np.array([scaffold(molecule) for molecule in assays.molecules])
        self.is_new = np.array([molecule.smiles not in known for molecule in assays.molecules])

    def tasks(self) -> list[Task]:
        """Of each kind as many as there are wanted, of targets in an order drawn by chance."""
        kinds: dict[str, Callable[[int, np.random.Generator], tuple[Rows, Rows]]] = {
            "active or not": self.active_or_not,
            "among others": self.among_others,
            "unlike": partial(self.active_or_not, limit=0.3),
            "as MUV": self.as_muv,
        }
        found = []
        for number, (kind, draw) in enumerate(kinds.items()):
            rng = np.random.default_rng([7, number])
            n_tasks = 0
            for t in rng.permutation(len(self.names)):
                active, inactive = draw(int(t), rng)
                if len(active) >= 25 and len(inactive) >= 30:
                    n_tasks += 1
                    y = np.repeat(np.array([1, 0], dtype=np.float32), (len(active), len(inactive)))
                    found.append(Task(f"{kind}, {self.names[t]}", kind, np.concatenate([active, inactive]), y))
                if n_tasks == N_TASKS[kind]:
                    break
        return found

    def active_or_not(self, t: int, rng: np.random.Generator, limit: float = 1.1) -> tuple[Rows, Rows]:
        """At most 100 actives, no two as alike as `limit`, and 300 inactive molecules of other scaffolds."""
        active = self.apart(self.of_scaffolds(self.y[:, t] >= 6.5, rng), limit, 100)
        others = (self.y[:, t] < 5.5) & ~np.isin(self.scaffolds, self.scaffolds[active])
        return active, self.of_scaffolds(others, rng)[:300]

    def among_others(self, t: int, rng: np.random.Generator) -> tuple[Rows, Rows]:
        """30 actives and 500 molecules of other targets."""
        active = self.of_scaffolds(self.y[:, t] >= 6, rng)[:30]
        return active, self.others(t, rng)[:500]

    def as_muv(self, t: int, rng: np.random.Generator) -> tuple[Rows, Rows]:
        """30 actives that are unlike each other, and 16 molecules of other targets like each of them."""
        active = self.apart(self.of_scaffolds(self.y[:, t] >= 6, rng), 0.45, 30)
        candidates = self.others(t, rng)[:9000]
        simple = self.raw[:, :N_SIMPLE].astype(np.float64)
        simple = np.nan_to_num((simple - np.nanmean(simple, 0)) / (np.nanstd(simple, 0) + 1e-6)).clip(-4, 4)
        square = np.square(simple[active][:, None] - simple[candidates][None]).sum(-1)
        chosen: list[int] = []
        for _ in range(16):
            for row in rng.permutation(len(active)):
                chosen.append(int(square[row].argmin()))
                square[:, chosen[-1]] = np.inf
        return active, candidates[chosen]

    def others(self, t: int, rng: np.random.Generator) -> Rows:
        """New molecules that are not measured on target t, in an order drawn by chance."""
        return rng.permutation(np.flatnonzero(self.is_new & np.isnan(self.y[:, t])))

    def of_scaffolds(self, chosen: NDArray[np.bool_], rng: np.random.Generator) -> Rows:
        """One new molecule of each scaffold, in an order drawn by chance."""
        rows = rng.permutation(np.flatnonzero(chosen & self.is_new))
        return rows[np.sort(np.unique(self.scaffolds[rows], return_index=True)[1])]

    def apart(self, rows: Rows, limit: float, most: int) -> Rows:
        """The first of them, no two of which are as alike as `limit`, by Tanimoto similarity of presence."""
        from regard.nn.tanimoto import tanimoto

        counts = torch.from_numpy(self.counts[rows[:400]]).float()
        alike = (tanimoto(counts, counts, 1) >= limit).numpy()
        kept: list[int] = []
        for row in range(len(alike)):
            if len(kept) < most and not alike[row, kept].any():
                kept.append(row)
        return rows[kept]


def far_section(document: Document) -> str:
    """AUC by kind of task."""
    return f"{table_of(document['tables']['far'])}\n\n{document['interval']}.\n\n{made_by(document)}"


SECTIONS = (Section("molecules far", OUT, far_section),)


if __name__ == "__main__":
    main()

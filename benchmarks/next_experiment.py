"""How many measurements until one of the best 1% is found: the model's choice, a forest's, and chance.

    python benchmarks/next_experiment.py --data FOLDER [--seeds 8]
    python benchmarks/next_experiment.py --test FILE.csv.gz [FILE ...]

Candidates are 400 compositions of chemical systems that never trained; ten measured at random are the beginning, none of
the best 1% among them. Then one at a time is measured: that of the largest expected improvement by the model, by a forest
on Magpie (its trees' deviation), or by chance. Counted is how many are measured until the first of the best four, the ten
included; at most 60. The encoder was trained without the property's group (as by `materials.py`, whose encoders under
--runs are taken); --test takes the model that ships, for files that it has never seen. Large values are wanted.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor

from common import (
    Document,
    Section,
    argument_parser,
    made_by,
    out_with_test,
    plus_minus,
    provenance,
    read_document,
    render_after,
    table,
    write_document,
)
from materials import DEVELOPMENT, answer, learner_without
from regard.domains.materials.data import Property, is_test_system, read_folder, read_property
from regard.domains.materials.encoder import CompositionEncoder
from regard.estimators import expected_improvement
from regard.evaluation import mean_interval, paired_interval
from regard.learners import KernelForest
from regard.recipes.trained import load

N_CANDIDATES, N_FIRST, MOST = 400, 10, 60
OURS, FOREST, CHANCE = "the model", "forest", "chance"
PROPERTIES = ("mp_bulk_modulus", "aflow__ael_debye_temperature")


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(
        __doc__,
        SECTIONS,
        "next_experiment.json",
        data="one CSV per property",
        data_required=False,
        seed=0,
        only=DEVELOPMENT,
    )
    made.add_argument("--test", type=Path, nargs="+", metavar="FILE", help="evaluate the model that ships on these")
    made.add_argument("--seeds", type=int, default=8, help="sets of candidates per property")
    made.add_argument("--runs", type=Path, default=Path("runs/materials"))
    return made


def main() -> None:
    """Search, write, print."""
    made = parser()
    arguments = made.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    if not arguments.data and not arguments.test:
        made.error("nothing to search: expected --data FOLDER, or --test FILE")
    arguments.out = out_with_test(arguments, "next_experiment.json")
    tasks: list[tuple[Property, KernelForest]] = []
    if arguments.test:
        model = load("materials").learner
        assert isinstance(model, KernelForest)
        for path in arguments.test:
            one = read_property(path, skip_unreadable=True)
            tasks.append((one.rows(np.flatnonzero([is_test_system(system) for system in one.systems])), model))
    else:
        properties = read_folder(arguments.data)
        for name in arguments.only or PROPERTIES:
            learner, systems = learner_without(properties, name, arguments.runs)
            one = next(p for p in properties if p.name == name)
            tasks.append((one.rows(np.flatnonzero([system not in systems for system in one.systems])), learner))
    cells = {c["property"]: c for c in read_document(arguments.out).get("cells", [])}
    for one, learner in tasks:
        found: dict[str, list[int]] = {OURS: [], FOREST: [], CHANCE: []}
        for seed in range(arguments.seeds):
            for method in found:
                found[method].append(search(one, learner, method, seed + arguments.seed))
            print(one.name, seed, {method: counts[-1] for method, counts in found.items()}, flush=True)
        cells[one.name] = {"property": one.name, "measurements": found}
        facts = provenance(seed=arguments.seed, interval="95%, over sets of candidates")
        write_document(arguments.out, {"cells": list(cells.values()), **facts})
    render_after(arguments, SECTIONS)


def search(one: Property, learner: KernelForest, method: str, seed: int) -> int:
    """How many are measured until one of the best 1% is."""
    rng = np.random.default_rng([seed, len(one.target)])
    pool = rng.permutation(len(one.target))[:N_CANDIDATES]
    value = one.target[pool]
    best = np.argsort(-value)[: max(1, len(pool) // 100)]
    others = np.setdiff1d(np.arange(len(pool)), best)
    measured = list(rng.permutation(others)[:N_FIRST])
    encoder = learner.encoder
    assert isinstance(encoder, CompositionEncoder)
    with torch.no_grad():
        z = encoder(torch.from_numpy(one.fractions[pool])).numpy()
    while len(measured) < MOST:
        left = np.setdiff1d(np.arange(len(pool)), measured)
        pick = int(left[choose(method, z, value, np.array(measured), left, learner, encoder.blocks[0], rng)])
        measured.append(pick)
        if pick in best:
            return len(measured)
    return MOST


def choose(
    method: str,
    z: NDArray[np.float32],
    value: NDArray[np.float64],
    measured: NDArray[np.int64],
    left: NDArray[np.int64],
    learner: KernelForest,
    n_magpie: int,
    rng: np.random.Generator,
) -> int:
    """Which of those left to measure."""
    if method == CHANCE:
        return int(rng.integers(len(left)))
    y = value[measured]
    if method == OURS:
        mean, deviation = answer(learner, z, y, measured, left)
    else:
        x = z[:, :n_magpie]
        forest = RandomForestRegressor(50, random_state=0, n_jobs=1).fit(x[measured], y)
        trees = np.stack([tree.predict(x[left]) for tree in forest.estimators_])
        mean, deviation = trees.mean(0), trees.std(0)
    gain = expected_improvement(mean, deviation, float(y.max()))
    return int(np.lexsort((mean, gain))[-1])


def section(document: Document) -> str:
    """Measurements needed by each method, and the paired differences."""
    rows = []
    pooled: dict[str, list[float]] = {OURS: [], FOREST: [], CHANCE: []}
    for cell in document["cells"]:
        counts = {m: np.array(c, dtype=float) for m, c in cell["measurements"].items()}
        for method, each in counts.items():
            pooled[method] += each.tolist()
        rows.append([f"`{cell['property']}`", *(plus_minus(mean_interval(c)) for c in counts.values())])
    gaps = [paired_interval(pooled[OURS], pooled[other]) for other in (FOREST, CHANCE)]
    sentences = [
        f"{gap.mean:+.1f} [{gap.low:+.1f}, {gap.high:+.1f}] measurements against {other}"
        for gap, other in zip(gaps, (FOREST, CHANCE), strict=True)
    ]
    return "\n\n".join(
        [
            "## Measurements until one of the best 1% is found",
            f"{N_CANDIDATES} candidates of unseen chemical systems, {N_FIRST} of them measured at the beginning; at most "
            f"{MOST}. Mean ± half-width of the 95% interval over {len(pooled[OURS]) // len(document['cells'])} sets of "
            "candidates; fewer is better.",
            table(["property", *pooled], rows),
            f"Paired over all: {'; '.join(sentences)}.",
            made_by(document),
        ]
    )


SECTIONS = (Section("next_experiment", "next_experiment.json", section),)


if __name__ == "__main__":
    main()

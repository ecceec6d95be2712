"""Properties of materials from 10, 50 and 200 measurements: mean absolute error over that of a forest on Magpie.

    python benchmarks/materials.py --data FOLDER [--draws 3]
    python benchmarks/materials.py --test FILE.csv.gz [FILE ...]
    python benchmarks/materials.py --data FOLDER --save MODEL.safetensors

FOLDER holds one CSV per property (formula, target), as CrabNet's repository has them. Chemical systems are disjoint: two
fifths of them, by a checksum of their elements, never train. For each property evaluated on, the encoder is trained on
the properties of all other groups (bulk, shear, thermal, phonons, gap, ... see `regard.domains.materials.data.GROUPS`),
so neither the property nor a near copy of it was seen. Encoders are kept under --runs.

--test takes the model that ships, which was trained on all groups of FOLDER, and evaluates it on files that it has never
seen, on compositions of chemical systems that it has never seen. --save trains that model and writes it; nothing else.

Rows are (property, number of measurements, draw); the same support and query rows for all methods. The ratio of a
property is its mean error over draws by the forest's, and the interval is a bootstrap over properties of the log ratio.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor
from torch.distributions import Normal

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
from regard.domains.materials.data import (
    Property,
    group_of,
    is_test_system,
    read_folder,
    read_property,
    side_by_side,
    systems_of,
)
from regard.domains.materials.encoder import CompositionEncoder
from regard.domains.materials.pretrain import train_side_by_side
from regard.episode import Support
from regard.learners import KernelForest, KernelMixture
from regard.learners.base import EncodingLearner
from regard.recipes.trained import load
from regard.training import save_checkpoint

DEVELOPMENT = (
    "mp_bulk_modulus",
    "aflow__ael_debye_temperature",
    "aflow__agl_thermal_expansion_300K",
    "matbench_phonons",
    "supercon_tc",
    "aflow__Egap",
    "matbench_jdft2d",
)
SHOTS = (10, 50, 200)
FOREST, OURS = "forest on Magpie", "KernelForest"
METHODS = (
    FOREST,
    "GP on Magpie",
    "random forest, scikit-learn's defaults, on Magpie and predicted properties",
    "KernelMixture",
    "ExtraTrees on Magpie and predicted properties",
    "mean of KernelMixture and that random forest",
    OURS,
)
ON_BLOCKS = (0, 2)
"""What the trees see: Magpie and predicted properties, and not the features between."""
WIDTH, EPOCHS = 384, 6
Floats = NDArray[np.float64]


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(
        __doc__, SECTIONS, "materials.json", data="one CSV per property", data_required=False, seed=0, only=DEVELOPMENT
    )
    made.add_argument("--test", type=Path, nargs="+", metavar="FILE", help="evaluate the model that ships on these")
    made.add_argument("--draws", type=int, default=3, help="support sets per property and size")
    made.add_argument("--queries", type=int, default=300)
    made.add_argument("--runs", type=Path, default=Path("runs/materials"))
    made.add_argument("--save", type=Path, metavar="FILE", help="train the model that ships, write it, and end")
    return made


def main() -> None:
    """Train what is missing, score, write."""
    made = parser()
    arguments = made.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    if arguments.save:
        save_model(read_folder(arguments.data), arguments.save, arguments.runs)
        return
    if not arguments.data and not arguments.test:
        made.error("nothing to evaluate on: expected --data FOLDER, or --test FILE")
    arguments.out = out_with_test(arguments, "materials.json")
    cells = []
    if arguments.test:
        model = load("materials").learner
        assert isinstance(model, KernelForest)
        for path in arguments.test:
            cells += scored(read_property(path, skip_unreadable=True), model, set(), arguments)
    else:
        properties = read_folder(arguments.data)
        cells = [
            c for c in read_document(arguments.out).get("cells", []) if c["property"] not in (arguments.only or ())
        ]
        held_out = {p.name: p for p in properties if p.name in DEVELOPMENT}
        for name in arguments.only or DEVELOPMENT:
            learner, systems = learner_without(properties, name, arguments.runs)
            found = scored(held_out[name], learner, systems, arguments)
            cells = [*(c for c in cells if c["property"] != name), *found]
            write_document(arguments.out, {"cells": cells, **facts(arguments)})
    write_document(arguments.out, {"cells": cells, **facts(arguments)})
    render_after(arguments, SECTIONS)


def facts(arguments: argparse.Namespace) -> Document:
    """How it was made; property by property or at once is the same."""
    made = provenance(seed=arguments.seed, interval="95%, bootstrap over properties")
    return made if arguments.test else {**made, "command": "python benchmarks/materials.py --data FOLDER"}


def training_rows(properties: list[Property]) -> list[Property]:
    """Compositions of chemical systems that train."""
    return [p.rows(np.flatnonzero([not is_test_system(system) for system in p.systems])) for p in properties]


def encoder_without(properties: list[Property], group: str, runs: Path) -> tuple[CompositionEncoder, set[str]]:
    """The encoder trained on all groups but this, and the chemical systems that it saw."""
    kept = training_rows([p for p in properties if group_of(p.name) != group])
    rows = side_by_side(kept)
    torch.manual_seed(0)
    encoder = CompositionEncoder(len(kept), width=WIDTH)
    path = runs / f"without_{group}.pt"
    if path.exists():
        encoder.load_state_dict(torch.load(path, weights_only=True))
    else:
        losses = train_side_by_side(encoder, rows, epochs=EPOCHS)
        print(
            f"trained without {group or 'none'}: {len(rows.fractions)} compositions, loss {losses[-1]:.3f}", flush=True
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(encoder.state_dict(), path)
    return encoder.eval(), set(systems_of(rows.fractions))


def learner_without(properties: list[Property], name: str, runs: Path) -> tuple[KernelForest, set[str]]:
    """The learner for a property, whose encoder and prior did not see its group, and the chemical systems it saw."""
    encoder, systems = encoder_without(properties, group_of(name), runs)
    learner = KernelForest(encoder, on_blocks=ON_BLOCKS).eval()
    others = [p for p in properties if p.name in DEVELOPMENT and group_of(p.name) != group_of(name)]
    set_prior(learner, [shares_of(p, properties, runs) for p in others])
    return learner, systems


def shares_of(one: Property, properties: list[Property], runs: Path) -> torch.Tensor:
    """What 100 measurements of a held-out property say of each process, mean of two draws; kept under `runs`."""
    path = runs / f"shares_{one.name}.pt"
    if not path.exists():
        encoder, systems = encoder_without(properties, group_of(one.name), runs)
        pool = one.rows(np.flatnonzero([system not in systems for system in one.systems]))
        rows = np.stack([np.random.default_rng([draw, 100]).permutation(len(pool.target))[:100] for draw in (0, 1)])
        with torch.no_grad():
            z = encoder(torch.from_numpy(pool.fractions[rows.ravel()])).unflatten(0, rows.shape)
            target = torch.from_numpy(pool.target[rows]).float()[..., None]
            shares = KernelMixture(encoder).adapt_encoded(Support(z, target)).share[:, :, 0].mean(0)
        torch.save(shares, path)
    return torch.load(path, weights_only=True)


def set_prior(learner: KernelForest, shares: list[torch.Tensor]) -> None:
    """The prior over processes: their mean share on other properties, and a tenth evenly."""
    mean = torch.stack(shares).mean(0)
    with torch.no_grad():
        learner.processes.log_prior.copy_((0.9 * mean + 0.1 / mean.numel()).log())


def save_model(properties: list[Property], path: Path, runs: Path) -> None:
    """The model that ships: all groups, training systems only, KernelForest on top, its prior from `DEVELOPMENT`."""
    encoder, systems = encoder_without(properties, "", runs)
    learner = KernelForest(encoder, on_blocks=ON_BLOCKS)
    set_prior(learner, [shares_of(p, properties, runs) for p in properties if p.name in DEVELOPMENT])
    options = {"name": "CompositionEncoder", "n_properties": len(properties), "width": WIDTH, "tables": False}
    spec = {
        "learner": {"name": "KernelForest", "on_blocks": list(ON_BLOCKS), "encoder": options},
        "items": {"domain": "materials", "reader": {}},
    }
    steps = EPOCHS * -(-len(side_by_side(training_rows(properties)).fractions) // 256)
    encoder.layers.half()  # half the size; read back in single precision
    save_checkpoint(path, learner, spec=spec, step=steps)
    print(f"{len(properties)} properties, {len(systems)} chemical systems, {steps} steps")


def scored(one: Property, learner: KernelForest, systems: set[str], arguments: argparse.Namespace) -> list[Document]:
    """Errors of every method on one property, on chemical systems that did not train."""
    unseen = [
        i for i, system in enumerate(one.systems) if system not in systems and (systems or is_test_system(system))
    ]
    # A small set of alloys has few systems: where too few rows would be left, take all systems that may be new.
    pool = one.rows(np.array(unseen)) if len(unseen) > 2 * min(SHOTS) else one
    encoder = learner.encoder
    assert isinstance(encoder, CompositionEncoder)
    with torch.no_grad():
        z = encoder(torch.from_numpy(pool.fractions))
    magpie, predicted = z[:, : encoder.blocks[0]].numpy(), z[:, -encoder.blocks[-1] :].numpy()
    both = np.concatenate([magpie, predicted], 1)
    plain = KernelMixture(blocks=(magpie.shape[1],), logarithms=False).eval()
    # The two halves by themselves, on the features as they come out of the encoder.
    smooth, steps = learner.processes, learner.forest
    cells = []
    for n_shot in SHOTS:
        if len(pool.target) < n_shot + 50:
            continue
        cell: dict[str, Any] = {"property": one.name, "shots": n_shot, "compositions": len(pool.target)}
        errors: dict[str, list[float]] = {method: [] for method in METHODS}
        coverage, dummy = [], []
        for draw in range(arguments.draws):
            order = np.random.default_rng([arguments.seed, draw, n_shot]).permutation(len(pool.target))
            support, query = order[:n_shot], order[n_shot : n_shot + arguments.queries]
            y, wanted = pool.target[support], pool.target[query]
            ours, deviation = answer(learner, z.numpy(), y, support, query)
            forest, default = (
                RandomForestRegressor(100, random_state=draw, n_jobs=1).fit(x[support], y).predict(x[query])
                for x in (magpie, both)
            )
            gp, mixture, trees = (
                answer(part, x, y, support, query)[0]
                for part, x in ((plain, magpie), (smooth, z.numpy()), (steps, z.numpy()))
            )
            guesses = (forest, gp, default, mixture, trees, (mixture + default) / 2, ours)
            for method, guess in zip(METHODS, guesses, strict=True):
                errors[method].append(float(np.abs(guess - wanted).mean()))
            coverage.append(float((np.abs(ours - wanted) < 1.96 * deviation).mean()))
            dummy.append(float(np.abs(np.median(y) - wanted).mean()))
        cells.append({**cell, "mae": errors, "coverage": coverage, "dummy": dummy})
        ratios = {m: round(float(np.mean(e) / np.mean(errors[FOREST])), 3) for m, e in errors.items()}
        print(one.name, n_shot, ratios, "coverage", round(float(np.mean(coverage)), 3), flush=True)
    return cells


def answer(
    learner: EncodingLearner, z: NDArray[Any], y: Floats, support: NDArray[Any], query: NDArray[Any]
) -> tuple[Floats, Floats]:
    """Mean and deviation of the queries, from encoded rows."""
    rows = torch.from_numpy(z)
    with torch.no_grad():
        state = learner.adapt_encoded(Support(rows[None, support], torch.from_numpy(y)[None, :, None].float()))
        output = learner.predict_encoded(state, rows[None, query])
    assert isinstance(output, Normal)
    return output.mean[0, :, 0].double().numpy(), output.stddev[0, :, 0].double().numpy()


def ratio_interval(ratios: Floats) -> tuple[float, float, float]:
    """Geometric mean of ratios, and its 95% interval by a bootstrap over properties."""
    logs = np.log(ratios)
    draws = logs[np.random.default_rng(0).integers(len(logs), size=(10_000, len(logs)))].mean(1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(np.exp(logs.mean())), float(np.exp(low)), float(np.exp(high))


def section(document: Document) -> str:
    """Ratios by method and number of measurements, per property, and coverage."""
    cells = document["cells"]
    shots = sorted({c["shots"] for c in cells})
    rows = []
    for method in METHODS[1:]:
        row = [method]
        for n_shot in shots:
            of = [c for c in cells if c["shots"] == n_shot]
            ratios = np.array([np.mean(c["mae"][method]) / np.mean(c["mae"][FOREST]) for c in of])
            mean, low, high = ratio_interval(ratios)
            row.append(f"{mean:.3f} [{low:.2f}, {high:.2f}]")
        rows.append(row)
    coverage = [
        f"{100 * np.mean([np.mean(c['coverage']) for c in cells if c['shots'] == n]):.1f}% at {n}" for n in shots
    ]
    each = []
    for name in dict.fromkeys(c["property"] for c in cells):
        of = {c["shots"]: c for c in cells if c["property"] == name}
        cell = [
            " / ".join(f"{np.mean(of[n]['mae'][m]) / np.mean(of[n]['mae'][FOREST]):.2f}" for n in shots if n in of)
            for m in ("KernelMixture", OURS)
        ]
        last = of[max(of)]
        forest = " / ".join(f"{np.mean(of[n]['mae'][FOREST]):.3g}" for n in shots if n in of)
        each.append([f"`{name}`", last["compositions"], forest, *cell])
    heads = [f"{n} measurements" for n in shots]
    return "\n\n".join(
        [
            "## Properties held out with their groups, on unseen chemical systems",
            f"Mean absolute error over that of a {FOREST} (100 trees), geometric mean over "
            f"{len(each)} properties with its 95% interval; below 1 is better than the forest.",
            table(["method", *heads], rows),
            f"Of 95% intervals of {OURS} so many hold the value: {', '.join(coverage)} measurements.",
            f"Property by property, at {' / '.join(map(str, shots))} measurements:",
            table(["property", "compositions", f"error of the {FOREST}", "KernelMixture", OURS], each),
            made_by(document),
        ]
    )


SECTIONS = (Section("materials", "materials.json", section),)


if __name__ == "__main__":
    main()

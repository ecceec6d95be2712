"""Learners and encoders for materials, trained on the same properties: by episodes or side by side, networks or attention.

    python benchmarks/materials_learners.py --data FOLDER [--only "TNPD" ...]

FOLDER as for `materials.py`. The groups phonons, exfoliation, superconductivity and gap are held out at once, and thermal
properties are left for validation, so every learner trains on the same properties of the other groups, on chemical systems
that are never evaluated on. By episodes: the recipe `materials`, 400 steps of 8 tasks of 64 compositions. Side by side: as
many compositions, each with all of its properties, to train the encoder; the learner on top adapts in closed form. The
attention over elements has tokens as of Roost (Goodall and Lee 2020) and CrabNet (Wang et al. 2021): an element with its
amount. `tables` knows no property; it gets Magpie's statistics as columns.

Errors are mean absolute errors over those of a forest on Magpie, on the support and query rows of each draw. Networks that
were trained are kept under --runs.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor
from torch.distributions import Distribution

from common import (
    Document,
    Section,
    argument_parser,
    made_by,
    provenance,
    read_document,
    render_after,
    table,
    write_document,
)
from materials import EPOCHS, ON_BLOCKS, WIDTH, Floats, ratio_interval, training_rows
from regard.domains.materials.attention import ElementAttention
from regard.domains.materials.data import Property, group_of, is_test_system, read_folder, side_by_side
from regard.domains.materials.encoder import CompositionEncoder
from regard.domains.materials.pretrain import train_side_by_side
from regard.episode import Support
from regard.estimators import FewShotRegressor
from regard.learners import KernelForest, KernelMixture
from regard.learners.base import Learner
from regard.recipes.config import Recipe
from regard.recipes.run import train_recipe
from regard.recipes.trained import load

HELD_OUT, VALIDATION = ("phonons", "exfoliation", "superconductivity", "gap"), "thermal"
SHOTS = (10, 50, 200)
FOREST, TABLES = "forest on Magpie", "tables on Magpie"
_NETWORK, _ATTENTION = "encoder: {name: CompositionEncoder, output: z}", "encoder: {name: ElementAttention}"
BY_EPISODES = {
    "DeepKernel": f"{{name: DeepKernel, kernel: rbf, length: 8.0, {_NETWORK}}}",
    "DeepKernel on ElementAttention": f"{{name: DeepKernel, kernel: rbf, length: 8.0, {_ATTENTION}}}",
    "AttentiveNeuralProcess": f"{{name: AttentiveNeuralProcess, n_targets: 1, {_NETWORK}}}",
    "TNPD": f"{{name: TNPD, n_targets: 1, {_NETWORK}}}",
}
NETWORK, ATTENTION = "KernelMixture on the network's features", "KernelMixture on those of ElementAttention"
SIDE_BY_SIDE = (NETWORK, ATTENTION, "KernelMixture", "KernelForest")
Guess = Callable[[Property, NDArray[Any], NDArray[Any]], Floats]


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(
        __doc__,
        SECTIONS,
        "materials_learners.json",
        data="one CSV per property",
        seed=0,
        only=(*BY_EPISODES, *SIDE_BY_SIDE, TABLES, FOREST),
    )
    made.add_argument("--draws", type=int, default=3, help="support sets per property and size")
    made.add_argument("--queries", type=int, default=300)
    made.add_argument("--runs", type=Path, default=Path("runs/materials_learners"))
    return made


def main() -> None:
    """Train what is missing, evaluate, write; what is not run stays as it was."""
    arguments = parser().parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", UserWarning)
    properties = read_folder(arguments.data)
    of_test = [p for p in properties if group_of(p.name) in HELD_OUT]
    tests = [p.rows(np.flatnonzero([is_test_system(system) for system in p.systems])) for p in of_test]
    document = read_document(arguments.out)
    errors, seconds = document.get("errors", {}), document.get("cpu_seconds", {})
    for name in arguments.only or (FOREST, TABLES, *SIDE_BY_SIDE, *BY_EPISODES):
        guess, took = guess_of(name, properties, arguments)
        if took is not None:
            seconds[name] = took
        errors[name] = errors_of(arguments, tests, guess)
        print(
            name,
            took,
            {n: {p: np.mean(e).round(4) for p, e in of.items()} for n, of in errors[name].items()},
            flush=True,
        )
        made = provenance(seed=arguments.seed, interval="95%, bootstrap over properties")
        made["command"] = "python benchmarks/materials_learners.py --data FOLDER"
        write_document(arguments.out, {**made, "errors": errors, "cpu_seconds": seconds})
    render_after(arguments, SECTIONS)


def guess_of(name: str, properties: list[Property], arguments: argparse.Namespace) -> tuple[Guess, float | None]:
    """What answers, and the seconds of a core that training took, where it was trained now."""
    if name in (FOREST, TABLES):
        return partial(by_columns, name, CompositionEncoder(output="magpie").eval()), None
    began = time.process_time()
    if name in BY_EPISODES:
        settings = [f"data.folder={arguments.data}", f"learner={BY_EPISODES[name]}"]
        settings += [f"data.held_out=[{', '.join(HELD_OUT)}]", f"data.validation=[{VALIDATION}]"]
        folder = arguments.runs / name.replace(" ", "_")
        is_new = not (folder / "best.safetensors").exists()
        learner = load(train_recipe(Recipe.read("materials", settings), folder) if is_new else folder).learner
        return partial(by_learner, learner), round(time.process_time() - began, 1) if is_new else None
    encoder, is_new = encoder_of(name, properties, arguments.runs)
    took = round(time.process_time() - began, 1) if is_new else None
    if name in (NETWORK, ATTENTION):
        if isinstance(encoder, CompositionEncoder):
            encoder.output, encoder.blocks = "z", encoder.blocks[1:2]
            encoder.n_features = sum(encoder.blocks)
        return partial(by_learner, KernelMixture(encoder).eval()), took
    learner = KernelForest(encoder, on_blocks=ON_BLOCKS) if name == "KernelForest" else KernelMixture(encoder)
    return partial(by_learner, learner.eval()), took


def encoder_of(name: str, properties: list[Property], runs: Path) -> tuple[CompositionEncoder | ElementAttention, bool]:
    """Trained side by side, now or before."""
    kept = training_rows([p for p in properties if group_of(p.name) not in (*HELD_OUT, VALIDATION)])
    torch.manual_seed(0)
    attends = name == ATTENTION
    encoder = ElementAttention(len(kept)) if attends else CompositionEncoder(len(kept), width=WIDTH)
    path = runs / f"{type(encoder).__name__}.pt"
    if path.exists():
        encoder.load_state_dict(torch.load(path, weights_only=True))
        return encoder.eval(), False
    train_side_by_side(encoder, side_by_side(kept), epochs=EPOCHS)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(encoder.state_dict(), path)
    return encoder.eval(), True


def errors_of(arguments: argparse.Namespace, tests: list[Property], guess: Guess) -> dict[str, dict[str, list[float]]]:
    """Mean absolute errors by number of measurements and property, one per draw."""
    found: dict[str, dict[str, list[float]]] = {}
    for n_shot in SHOTS:
        for one in tests:
            for draw in range(arguments.draws if len(one.target) >= n_shot + 50 else 0):
                order = np.random.default_rng([arguments.seed, draw, n_shot]).permutation(len(one.target))
                support, query = order[:n_shot], order[n_shot : n_shot + arguments.queries]
                error = float(np.abs(guess(one, support, query) - one.target[query]).mean())
                found.setdefault(str(n_shot), {}).setdefault(one.name, []).append(error)
    return found


def by_learner(learner: Learner, one: Property, support: NDArray[Any], query: NDArray[Any]) -> Floats:
    """A learner's means; one that was trained on ranks is given values of mean 0 and deviation 1."""
    y = one.target[support]
    shift, unit = (0.0, 1.0) if learner.reads_zero else (y.mean(), y.std() or 1.0)
    x = torch.from_numpy(one.fractions)
    values = torch.from_numpy((y - shift) / unit).float()[None, :, None]
    with torch.no_grad():
        output = learner.predict(learner.adapt(Support(x[None, support], values)), x[None, query])
    assert isinstance(output, Distribution)
    return output.mean[0, :, 0].double().numpy() * unit + shift


def by_columns(
    name: str, magpie: CompositionEncoder, one: Property, support: NDArray[Any], query: NDArray[Any]
) -> Floats:
    """A forest, or the model for tables, on Magpie's statistics."""
    with torch.no_grad():
        x, x_query = (magpie(torch.from_numpy(one.fractions[rows])).numpy() for rows in (support, query))
    model = RandomForestRegressor(100, random_state=0, n_jobs=1) if name == FOREST else FewShotRegressor("tables")
    return np.asarray(model.fit(x, one.target[support]).predict(x_query))


def section(document: Document) -> str:
    """Ratios by learner and number of measurements, property by property."""
    errors, seconds = document["errors"], document["cpu_seconds"]
    forest = errors[FOREST]
    names = list(dict.fromkeys(name for of in forest.values() for name in of))
    rows = []
    for learner in (*SIDE_BY_SIDE, *BY_EPISODES, TABLES):
        row = [learner]
        for n_shot, of in errors[learner].items():
            ratios = {p: float(np.mean(e) / np.mean(forest[n_shot][p])) for p, e in of.items()}
            mean, low, high = ratio_interval(np.array(list(ratios.values())))
            row.append(f"{mean:.3f} [{low:.2f}, {high:.2f}] ({' / '.join(f'{r:.2f}' for r in ratios.values())})")
        trained = NETWORK if learner in SIDE_BY_SIDE and learner != ATTENTION else learner
        rows.append([*row, f"{seconds[trained]:.0f}" if trained in seconds else "none"])
    shown = {n: f"{n} measurements ({len(of)} properties)" for n, of in forest.items()}
    return "\n\n".join(
        [
            "## Learners and encoders, trained on the same properties",
            f"Error over that of a {FOREST}, geometric mean over the properties with a 95% interval over them, which is "
            f"coarse for so few; in brackets property by property ({', '.join(f'`{name}`' for name in names)}, as far as "
            "there are rows). All their groups were held out at once, on unseen chemical systems. The first four "
            "rows were trained side by side, the next four by episodes on as many compositions.",
            table(["learner", *shown.values(), "training, CPU s"], rows),
            made_by(document),
        ]
    )


SECTIONS = (Section("materials_learners", "materials_learners.json", section),)


if __name__ == "__main__":
    main()

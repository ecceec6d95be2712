"""The tables of the papers, by one script: eight learners, one kind of encoder, the very same test episodes.

    python benchmarks/paper_tables.py TABLE --data FOLDER [--steps N] [--only Prototypical MAML]

TABLE is omniglot, caltech-conv4, caltech-resnet12, or all. FOLDER holds the folder omniglot, with the official zip files
or the packed ones, and splits.json; the folder caltech101 with packed images and splits.json; and gtsrb. Writes
benchmarks/results/paper_TABLE.json with per-episode values, after every learner. A learner that was trained before (its folder
under --runs is complete) is not trained again, and one that was interrupted goes on; --trained takes one that another
script trained.

Steps, not minutes, are what a learner is given, so that a run is the same on any machine; what they took is kept with
the results. They were chosen to take one idle core about seven minutes for Prototypical, for what is to be above it,
CrossTransformer, and for the baseline, fifteen for MAML and three for the others; in the tables of Caltech-101 two to
five with Conv4 and five with ResNet-12. --steps gives all the same.

omniglot: 28x28, turned characters as classes of their own in training and in testing, split of Vinyals et al. as far as
the folder has it. Everything is inductive. SimpleShot is the baseline: a plain classifier over all training classes,
then nearest class means. MAML has a head of five, so it is asked 5-way alone.

caltech-*: 48 classes to practise on, 8 for validation, 18 to be tested on, 32x32 (or 84x84 by --size 84). ResNet-12 has
half the widths of the papers'. FEAT begins with the encoder of SimpleShot, as its authors begin with a classifier's; so does
the last row. Two rows are third tries, made after others had been tested: FEAT (in 5-way 1-shot with Conv4 31.7 on the flat
map, 47.3 on the pooled one, both from nothing) and Relation (20.0 at 0.003 and at 0.001, until its scores began at a fifth).
No other learner had one. MAML is left out with ResNet-12: 5.7 s a step, and by reckoning an hour of testing. The same learners are
asked about traffic signs, a domain that they have not seen.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does; before PyTorch is loaded

from published import BESIDE
from regard.commands.show import show_results
from regard.domains.data import Data
from regard.evaluation import Result, read_results, write_results
from regard.recipes.config import Recipe
from regard.recipes.data import load_data
from regard.recipes.run import EvaluationOptions, compare_by_setting, evaluate_learner, train_recipe
from regard.recipes.trained import load

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Paper:
    """One table.

    Args:
        common: settings of every learner, on top of the recipe `omniglot`.
        learners: name to the settings that are its own.
        far: settings of another domain to ask the same learners about; none where empty.
    """

    common: tuple[str, ...]
    learners: dict[str, tuple[str, ...]]
    far: tuple[str, ...] = ()


def asked(*settings: tuple[int, int], n_query: int = 5, more: str = "") -> str:
    """The kinds of test episodes, (ways, shots) each."""
    kinds = ", ".join(f"{{n_way: {way}, n_shot: {shot}, n_query: {n_query}{more}}}" for way, shot in settings)
    return f"evaluation=[{kinds}]"


_TURNED = ", rotations: true"
# Half as strong as the recipe glyphs has it; the papers distort nothing, and practise for longer.
_DISTORTED = ", distortion: {rotation: 8, scale: 0.1, shear: 0.1, translation: 0.05, elastic: 0.02}"
# Half the cost of the paper's Conv4, whose first layer works on the largest map; and three halvings, so that 3x3 places
# are left where the paper has one: by trials on the validation classes 89.5 against 84.1 after as many steps.
_CONV4 = "name: Conv4, n_filters: [16, 64, 64, 64], norm: batch"
_VECTOR = f"{{{_CONV4}, n_halvings: 3}}"
_POINT = f"{{{_CONV4}}}"  # the paper's: one place is left, of 64 features
_MAP_7 = f"{{{_CONV4}, n_halvings: 2, parts: true}}"
_MAP_3 = f"{{{_CONV4}, n_halvings: 3, parts: true}}"
# As the recipe maml_omniglot, but for the norm, which lets no query see another.
_HEADED = "model: {n_outputs: 5, encoder: {name: Conv4, n_filters: 32, norm: group, halve_by: stride}}"

OMNIGLOT = Paper(
    common=(
        "data={name: omniglot, folder: FOLDER/omniglot}",
        asked((5, 1), (5, 5), (20, 1), (20, 5), more=_TURNED),
        f"validation={{n_way: 20, n_shot: 1, n_query: 5{_TURNED}}}",
        "train.precision=auto",
        f"episodes={{n_way: 60, n_shot: 1, n_query: 1{_TURNED}{_DISTORTED}}}",
        "train.steps=5000",
        "train.learning_rate=0.006",
        "train.validate_every=1000",
        "train.validation_episodes=100",
    ),
    learners={
        "SimpleShot": (
            f"learner={{name: SimpleShot, n_train_classes: 3560, encoder: {_VECTOR}}}",
            f"episodes={{n_way: 64, n_shot: 1, n_query: 1{_TURNED}{_DISTORTED}, labels: data}}",
            "train.steps=8000",
        ),
        "Siamese": (f"learner={{name: Siamese, encoder: {_VECTOR}}}",),
        "Matching": (f"learner={{name: Matching, encoder: {_VECTOR}}}",),
        "Prototypical": (f"learner={{name: Prototypical, scale: 0.1, encoder: {_VECTOR}}}", "train.steps=10000"),
        "Relation": (
            f"learner={{name: Relation, norm: batch, encoder: {_MAP_3}}}",
            f"episodes={{n_way: 5, n_shot: 1, n_query: 3{_TURNED}{_DISTORTED}}}",
            "train.tasks_per_step=5",
            "train.steps=5000",
        ),
        "FEAT": (f"learner={{name: FEAT, encoder: {_POINT}}}",),
        "CrossTransformer": (
            f"learner={{name: CrossTransformer, d_head: 32, encoder: {_MAP_7}}}",
            f"episodes={{n_way: 20, n_shot: 1, n_query: 1{_TURNED}{_DISTORTED}}}",
            "train.tasks_per_step=3",
            "train.steps=6000",
        ),
        "MAML": (
            f"learner={{name: MAML, inner_lr: 0.4, inner_steps: 1, test_steps: 3, execution: vmap, {_HEADED}}}",
            asked((5, 1), (5, 5), more=_TURNED),
            f"episodes={{n_way: 5, n_shot: 1, n_query: 1{_TURNED}}}",
            f"validation={{n_way: 5, n_shot: 1, n_query: 1{_TURNED}}}",
            "train.tasks_per_step=32",
            "train.steps=5000",
            "train.optimizer=adam",
            "train.weight_decay=0.0",
            "train.learning_rate=0.002",
            "train.precision=32-true",
        ),
    },
)


def caltech(vector: str, parts: str, headed: str, steps: dict[str, int]) -> Paper:
    """Natural images, and traffic signs from the same learners: one image a track, so that support and query never
    share a sign."""
    practice = "n_shot: 1, n_query: 5"
    begun = ("start=RUNS/SimpleShot", "train.learning_rate=0.0005")
    compared = (
        f"learner={{name: CrossTransformer, d_head: 64, encoder: {parts}}}",
        f"episodes={{n_way: 10, {practice}}}",
        "train.tasks_per_step=2",
    )
    paper = Paper(
        common=(
            "data={name: packed, file: FOLDER/caltech101/FILE, split: FOLDER/caltech101/splits.json}",
            asked((5, 1), (5, 5), n_query=15),
            "validation={n_way: 5, n_shot: 1, n_query: 15}",
            f"episodes={{n_way: 20, {practice}}}",
            "train.precision=auto",
            "train.learning_rate=0.003",
            "train.validate_every=100",
            "train.validation_episodes=100",
        ),
        learners={
            "SimpleShot": (
                f"learner={{name: SimpleShot, n_train_classes: 48, encoder: {vector}}}",
                "episodes={n_way: 48, n_shot: 1, n_query: 1, labels: data}",
            ),
            "Siamese": (f"learner={{name: Siamese, encoder: {vector}}}",),
            "Matching": (f"learner={{name: Matching, encoder: {vector}}}",),
            "Prototypical": (f"learner={{name: Prototypical, scale: 0.1, encoder: {vector}}}",),
            "Relation": (
                f"learner={{name: Relation, norm: batch, encoder: {parts}}}",
                f"episodes={{n_way: 5, {practice}}}",
                "train.tasks_per_step=4",
                "train.learning_rate=0.001",  # the paper's
            ),
            "FEAT": (f"learner={{name: FEAT, temperature: 64.0, encoder: {vector}}}", *begun),
            "CrossTransformer": compared,
            "MAML": (
                f"learner={{name: MAML, inner_lr: 0.01, inner_steps: 5, test_steps: 10, {headed}}}",
                f"episodes={{n_way: 5, {practice}}}",
                "train.tasks_per_step=4",
                "train.optimizer=adam",
                "train.weight_decay=0.0",
                "train.learning_rate=0.001",
                "train.precision=32-true",
            ),
            "CrossTransformer, begun with SimpleShot": (*compared, *begun),
        },
        far=(
            "data={name: packed, file: FOLDER/gtsrb/gtsrb32_shared.npz, prefix: train_, one_a_track: true}",
            asked((5, 1), (5, 5), n_query=2),
        ),
    )
    given = {name: (*paper.learners[name], f"train.steps={number}") for name, number in steps.items()}
    return replace(paper, learners=given)


_COLOUR = "name: Conv4, norm: batch"
_RESNET = "name: ResNet12, widths: [32, 64, 128, 256], norm: batch"
PAPERS = {
    "omniglot": OMNIGLOT,
    "caltech-conv4": caltech(
        f"{{{_COLOUR}, n_halvings: 3}}",
        f"{{{_COLOUR}, n_halvings: 2, parts: true}}",
        # Four halvings and 32 filters, as the papers of MAML have it on miniImageNet.
        "model: {n_outputs: 5, encoder: {name: Conv4, n_filters: 32, norm: group}}",
        steps={
            "SimpleShot": 3000,
            "Siamese": 2000,
            "Matching": 2000,
            "Prototypical": 2000,
            "Relation": 1500,
            "FEAT": 1000,
            "CrossTransformer": 2000,
            "MAML": 1000,
            "CrossTransformer, begun with SimpleShot": 1000,
        },
    ),
    "caltech-resnet12": caltech(
        f"{{{_RESNET}}}",
        f"{{{_RESNET}, parts: true}}",
        f"model: {{n_outputs: 5, encoder: {{{_RESNET.replace('batch', 'group')}}}}}",
        steps={
            "SimpleShot": 1000,
            "Siamese": 800,
            "Matching": 800,
            "Prototypical": 800,
            "Relation": 600,
            "FEAT": 400,
            "CrossTransformer": 800,
            "CrossTransformer, begun with SimpleShot": 400,
        },
    ),
}


def main() -> None:
    """Train what is missing, test everything, write the raw results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=("all", *PAPERS))
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds the data sets' folders")
    parser.add_argument("--steps", type=int, help="of training, each learner; as the table says where left out")
    parser.add_argument("--trained", type=Path, help="the folder of a run of the one learner that --only names")
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--size", type=int, choices=(32, 84), default=32, help="of the images of caltech")
    parser.add_argument("--only", nargs="*", help="learners; all where left out")
    parser.add_argument("--runs", type=Path, default=Path("runs/paper_tables"))
    parser.add_argument("--out", type=Path, help="results/paper_TABLE.json where left out")
    arguments = parser.parse_args()
    if arguments.trained and len(arguments.only or ()) != 1:
        parser.error("--trained is the run of one learner: name it by --only")
    for table in PAPERS if arguments.table == "all" else (arguments.table,):
        known = PAPERS[table].learners
        for name in arguments.only or ():
            if name not in known:
                parser.error(f"no learner {name!r} in {table}: choose from {', '.join(known)}")
        make(argparse.Namespace(**{**vars(arguments), "table": table}), arguments.only or tuple(known))


def make(arguments: argparse.Namespace, names: Sequence[str]) -> None:
    """One table, written after every learner; those not asked for now stay as they were measured."""
    out = out_of(arguments)
    data, far = data_of(arguments)
    for name in names:
        found, spent = one(name, arguments, data, far)
        # Read only now: another process may have filled in other learners meanwhile.
        results, training = kept(out)
        training[name] = spent
        order = {name: i for i, name in enumerate(PAPERS[arguments.table].learners)}
        results = sorted([*(r for r in results if r.learner != name), *found], key=lambda r: order[r.learner])
        pairs = [c for c in compare_by_setting(results) if BESIDE in (c.a, c.b) and c.metric == "accuracy"]
        command = f"python benchmarks/paper_tables.py {arguments.table} --data FOLDER"
        settings = {"training": training}
        write_results(out, results, pairs, raw=True, settings=settings, command=command)
        show_results(found, [c for c in pairs if name in (c.a, c.b)])


def out_of(arguments: argparse.Namespace) -> Path:
    """Where the results go."""
    size = "_84" if arguments.size == 84 else ""
    return arguments.out or HERE / "results" / f"paper_{arguments.table.replace('-', '_')}{size}.json"


def kept(out: Path) -> tuple[list[Result], dict[str, Any]]:
    """What stands in the file already, and how it was trained."""
    if not out.exists():
        return [], {}
    import json

    return read_results(out)[0], json.loads(out.read_text())["settings"]["training"]


def recipe_of(name: str, arguments: argparse.Namespace) -> Recipe:
    """The recipe, changed to this table and learner."""
    paper = PAPERS[arguments.table]
    steps = (f"train.steps={arguments.steps}",) if arguments.steps else ()
    return Recipe.read(
        "omniglot",
        (
            *placed(paper.common, arguments),
            f"evaluation_episodes={arguments.episodes}",
            *placed(paper.learners[name], arguments),
            *steps,
        ),
    )


def placed(settings: Sequence[str], arguments: argparse.Namespace) -> list[str]:
    """Settings with their files in the folder asked for, of the size asked for, and the other learners' runs."""
    file = "caltech84_jpeg_shared.npz" if arguments.size == 84 else "caltech32_shared.npz"
    meant = {"FOLDER": str(arguments.data), "FILE": file, "RUNS": str(runs_of(arguments))}
    return [re.sub("|".join(meant), lambda found: meant[found[0]], setting) for setting in settings]


def data_of(arguments: argparse.Namespace) -> tuple[Data, Data | None]:
    """What is practised and tested on, and the other domain where there is one."""
    name, *_ = PAPERS[arguments.table].learners
    data, far = load_data(recipe_of(name, arguments).data), far_recipe(name, arguments)
    return data, load_data(far.data) if far else None


def far_recipe(name: str, arguments: argparse.Namespace) -> Recipe | None:
    """The recipe of this learner with the other domain in the place of its own; signs there are of 32 pixels only."""
    settings = PAPERS[arguments.table].far
    if not settings or arguments.size == 84:
        return None
    return Recipe.of(recipe_of(name, arguments).model_dump(mode="json"), placed(settings, arguments))


def runs_of(arguments: argparse.Namespace) -> Path:
    """Where the learners of this table are trained."""
    return Path(arguments.runs) / f"{arguments.table}{'-84' if arguments.size == 84 else ''}"


def length(arguments: argparse.Namespace) -> str:
    """The option that says how long to train, where there is one."""
    return f" --steps {arguments.steps}" if arguments.steps else ""


def one(name: str, arguments: argparse.Namespace, data: Data, far: Data | None) -> tuple[list[Result], dict[str, Any]]:
    """Train and test one learner; and its steps and seconds."""
    recipe, elsewhere = recipe_of(name, arguments), far_recipe(name, arguments)
    folder = arguments.trained or runs_of(arguments) / name
    trained = load(folder if arguments.trained else train_recipe(recipe, folder, data=data))
    results = evaluate_learner(replace(trained, recipe=recipe), data, EvaluationOptions(seed=2), name=name)
    if far is not None and elsewhere is not None:
        results += evaluate_learner(replace(trained, recipe=elsewhere), far, EvaluationOptions(seed=2), name=name)
    with (folder / "metrics.csv").open() as file:
        last = list(csv.DictReader(file))[-1]
    episodes, tasks = trained.recipe.episodes, trained.recipe.train.tasks_per_step
    spent = {
        "steps": int(last["step"]),
        "seconds": round(float(last["seconds"])),
        "episodes": f"{tasks} of {episodes.title()}, {episodes.n_query} a class asked",
        "command": f"--only {shlex.quote(name)}{' --trained RUN' if arguments.trained else length(arguments)}",
    }
    return results, spent


if __name__ == "__main__":
    main()

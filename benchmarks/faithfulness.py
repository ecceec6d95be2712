"""Whether explanations name the examples that an answer depends on: learner by learner, beside gradients of the input.

    python benchmarks/faithfulness.py [--data FOLDER] [--only Matching photos ...] [--tasks 100]

The example that an explanation names first is deleted, and so is a random other one of its class: the explanation is worth
something where the probability of the answer falls further. Ranked by what `regard explain` draws (attention where it
rebuilds the prediction, else influence), by the size of the input's gradient, and by Integrated Gradients (Captum, 16 steps
from the mean of the task's examples). Learners: each of `regard learners` that takes vectors or parts, trained for 200 steps
on generated classes, and asked about others, 3-way 3-shot. Models that ship: on tasks of classes that they were not trained
on; FOLDER holds `omniglot`, `caltech101`, `clinc150`, `molecules` and `materials`. Gradients are those of the pixels or cells,
or of the encoder's vectors where items are texts, molecules, compounds or what a frozen body says. Needs `pip install captum`.

Of models that answer numbers the change of the answer, in hundredths of the deviation of the task's targets, takes the
place of the drop: 20 examples and one query a task. Compounds are of chemical systems that never trained; solubilities of
molecules (ESOL) and diabetes are of no training; the number of a photograph is one drawn for its class.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
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
from export import VECTORS
from regard.domains.images.omniglot import BACKGROUND, omniglot
from regard.domains.materials.encoder import CompositionEncoder
from regard.domains.texts.sentences import clinc_splits
from regard.episode import Episode, Items, Support, map_items
from regard.errors import RegardError
from regard.estimators import FewShotClassifier, FewShotRegressor
from regard.evaluation import Interval, mean_interval, paired_interval
from regard.explain import faithfulness
from regard.learners import LEARNERS, AttendingLearner, EncodingLearner, Learner, find_learner
from regard.learners.base import Output
from regard.nn.mlp import MLP
from regard.sampling import Dataset, EpisodeSampler
from regard.training import Silent, TrainConfig, train

N_WAY, N_SHOT, STEPS, IG_STEPS = 3, 3, 200, 16
GRADIENT_TASKS = 10
GRADIENTS = ("input gradients", "Integrated Gradients")
NUMBERS = ("materials", "molecules-regression", "tables-regression", "photos-regression")
SHIPPED = ("characters", "photos", "sentences", "tables", "molecules", *NUMBERS)
N_EXAMPLES = 20
"""Of a task of numbers."""


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(
        __doc__,
        SECTIONS,
        "faithfulness.json",
        data="the folders omniglot, caltech101, clinc150, molecules and materials",
        data_required=False,
        seed=0,
        only=(*SHIPPED, *(row.name for row in LEARNERS)),
    )
    made.add_argument("--tasks", type=int, default=100, help="for each learner (default 100)")
    return made


# ---- gradients of the input --------------------------------------------------------------------------------------------


def by_gradient(method: str) -> Callable[[Learner, Episode], Tensor]:
    """An explanation that Captum makes of log p(answer), or of the number, as a function of the examples."""
    captum = import_module("captum.attr")

    def scores(learner: Learner, episode: Episode) -> Tensor:
        x, support, query, answer = _differentiable(learner, episode)
        n_tasks, n_query = episode.query_y.shape[:2]
        copies = torch.arange(n_tasks * n_query)
        task, asked = copies // n_query, copies % n_query

        def value(examples: Tensor, copy: Tensor) -> Tensor:
            of = task[copy]
            given = Support(examples, support.y[of], support.weight[of], support.n_classes)
            output = answer(given, map_items(lambda t: t[of, asked[copy]][:, None], query))
            if isinstance(output, Distribution):
                return output.mean.sum((1, 2))
            return torch.log_softmax(output, -1)[:, 0].gather(-1, predicted[copy][:, None])[:, 0]

        with torch.no_grad():
            at_once = Support(x[task], support.y[task], support.weight[task], support.n_classes)
            output = answer(at_once, map_items(lambda t: t[task, asked][:, None], query))
            predicted = copies if isinstance(output, Distribution) else output[:, 0].argmax(-1)
        if method == "input gradients":
            each = captum.Saliency(value).attribute(x[task], additional_forward_args=(copies,))
        else:
            middle = x[task].mean(1, keepdim=True).expand_as(x[task])
            each = captum.IntegratedGradients(value).attribute(
                x[task], middle, additional_forward_args=(copies,), n_steps=IG_STEPS, internal_batch_size=len(copies)
            )
        return each.detach().flatten(2).sum(-1).unflatten(0, (n_tasks, n_query))

    return scores


def _differentiable(learner: Learner, episode: Episode) -> tuple[Tensor, Support, Items, Callable[..., Output]]:
    """Examples as numbers, support, queries, and (support, queries) to what the learner predicts."""

    def whole(support: Support, query: Items) -> Output:
        return learner.predict(learner.adapt(support), query)

    support, x, query = episode.support, episode.support.x, episode.query_x
    if isinstance(x, dict) and set(x) == {"x", "missing"}:  # tables: cells that are not known have no gradient
        if bool(x["missing"].any()):
            raise ValueError("cells are missing")
        return x["x"], support, query["x"] if isinstance(query, dict) else query, whole
    # Not photographs, which a frozen body reads, nor compounds, whose fractions sum to 1.
    of_compounds = isinstance(getattr(learner, "encoder", None), CompositionEncoder)
    if isinstance(x, Tensor) and x.ndim < 5 and not of_compounds:
        if x.dtype == torch.uint8:
            return x / 255, support, map_items(lambda t: t / 255, query), whole
        return x, support, query, whole
    if not isinstance(learner, EncodingLearner):
        raise ValueError(f"{type(learner).__name__} takes no numbers")
    with torch.no_grad():
        z, query_z = learner.encode_episode(episode)
    return z.x, z, query_z, lambda given, asked: learner.predict_encoded(learner.adapt_encoded(given), asked)


# ---- learners and tasks ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A learner and what it is asked about, in batches of tasks, of which gradients explain the first `n_batches`."""

    learner: Learner
    episodes: Callable[[], Iterator[Episode]]
    about: str
    n_batches: int | None = None


def generated(name: str, n_tasks: int, seed: int) -> Case:
    """A small learner, trained on 40 classes and asked about 20 others."""
    generator = torch.Generator().manual_seed(seed)
    centres = 2 * torch.randn(60, 1, 6, generator=generator)
    rows = (centres + torch.randn(60, 20, 6, generator=generator)).flatten(0, 1)
    torch.manual_seed(seed)
    if name in VECTORS:
        arguments, options, _ = VECTORS[name]
        built = (part() if callable(part) else part for part in arguments)
        learner = find_learner(name).load()(*built, **options)
    else:
        rows = rows.unflatten(1, (3, 2))
        learner = find_learner(name).load()(MLP(2, 5, [8], parts=True))  # type: ignore[call-arg]
    data = Dataset.of(rows, torch.arange(60).repeat_interleave(20))
    training, test = (
        EpisodeSampler(data.select_classes(classes), N_WAY, N_SHOT, 1, seed=seed)
        for classes in (range(40), range(40, 60))
    )
    if any(p.requires_grad for p in learner.parameters()):
        settings = TrainConfig(steps=STEPS, tasks_per_step=4, tensorboard=False, validate_every=10**6)
        with tempfile.TemporaryDirectory() as folder:
            train(learner, training, settings, folder=Path(folder) / "run", progress=Silent())
    return Case(learner, lambda: test.batches(n_tasks // 10, 10), f"generated vectors, {N_WAY}-way {N_SHOT}-shot")


def shipped(name: str, data: Path, n_tasks: int, seed: int) -> Case:
    """A model that ships, on tasks of things that it was not trained on."""
    things, labels, groups, n_way, n_shot, about = SOURCES[name](data)
    rng = np.random.default_rng(seed)
    made: list[Episode] = []
    learner: Learner | None = None
    for _ in range(n_tasks):
        inside = np.arange(len(labels))
        if groups is not None:
            inside = np.flatnonzero(groups == rng.choice(np.unique(groups)))
        names, counts = np.unique(labels[inside], return_counts=True)
        chosen = rng.choice(names[counts > n_shot], n_way, replace=False)
        picked = [rng.permutation(inside[labels[inside] == each])[: n_shot + 1] for each in chosen]
        support = [int(row) for rows in picked for row in rows[:n_shot]]
        model = FewShotClassifier(name, n_estimators=1).fit([things[row] for row in support], labels[support])
        made.append(model._episode([things[int(rows[n_shot])] for rows in picked]))
        learner = model._learner
    assert learner is not None
    return Case(learner, lambda: iter(made), f"{about}, {n_way}-way {n_shot}-shot", GRADIENT_TASKS)


def shipped_numbers(name: str, data: Path, n_tasks: int, seed: int) -> Case:
    """A model that ships for numbers, one query a task."""
    rng = np.random.default_rng(seed)
    draw, about = NUMBER_SOURCES[name](data)
    made: list[Episode] = []
    learner: Learner | None = None
    for _ in range(n_tasks):
        things, values = draw(rng)
        model = FewShotRegressor(name.removesuffix("-regression"), n_estimators=1)
        made.append(model.fit(things[:-1], values[:-1])._episode(things[-1:]))
        learner = model._learner
    assert learner is not None
    return Case(learner, lambda: iter(made), f"{about}, {N_EXAMPLES} examples", GRADIENT_TASKS)


Tasks = tuple[Sequence[Any], Any, Any, int, int, str]
"""Things, their labels, the group within which a task is drawn, ways, shots, and what they are."""


def _characters(folder: Path) -> Tasks:
    data = omniglot(folder / "omniglot", size=105)
    groups = np.array([data.class_groups[label] for label in data.y.tolist()])
    kept = np.flatnonzero(~np.isin(groups, list(BACKGROUND)))
    pictures = data.rows(torch.from_numpy(kept))
    assert isinstance(pictures, Tensor)
    return list(pictures.numpy()), data.y[kept].numpy(), groups[kept], 5, 3, "Omniglot, alphabets of the evaluation"


def _photos(folder: Path) -> Tasks:
    from photos import _photographs  # pyright: ignore[reportPrivateUsage]

    data = _photographs(folder)
    assert isinstance(data.x, Tensor)
    return list(data.x.numpy()), data.y.numpy(), None, 5, 3, "Caltech-101, 18 unseen classes"


def _sentences(folder: Path) -> Tasks:
    texts = clinc_splits(folder / "clinc150")["test"]
    return list(texts.texts), np.array(texts.labels), None, 5, 3, "CLINC150, intents of unseen domains"


def _tables(_: Path) -> Tasks:
    from sklearn.datasets import load_breast_cancer, load_iris, load_wine

    made = [load(return_X_y=True) for load in (load_breast_cancer, load_iris, load_wine)]
    things = [row for x, _ in made for row in x]
    labels = np.concatenate([y for _, y in made])
    groups = np.concatenate([np.full(len(y), number) for number, (_, y) in enumerate(made)])
    return things, labels, groups, 2, 10, "rows of three tables of scikit-learn"


def _molecules(folder: Path) -> Tasks:
    from regard.domains.molecules.chemistry import invalid_rows, largest_fragments

    with gzip.open(folder / "molecules" / "sider_train21.csv.gz", "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assays = [name for name in rows[0] if name != "smiles"]
    unreadable = invalid_rows([row["smiles"] for row in rows], "largest")
    rows = [row for number, row in enumerate(rows) if number not in unreadable]
    fragments = largest_fragments([row["smiles"] for row in rows])
    known = [
        (smiles, row[assay], k)
        for k, assay in enumerate(assays)
        for smiles, row in zip(fragments, rows, strict=True)
        if row[assay] != ""
    ]
    smiles, answers, groups = zip(*known, strict=True)
    return smiles, np.array(answers), np.array(groups), 2, 8, "SIDER, 21 kinds of side effects"


SOURCES: dict[str, Callable[[Path], Tasks]] = {
    "characters": _characters,
    "photos": _photos,
    "sentences": _sentences,
    "tables": _tables,
    "molecules": _molecules,
}


Draw = Callable[[np.random.Generator], tuple[Any, Any]]
"""Things and their numbers, the query last."""


def _rows_of(things: Sequence[Any], values: Any, rng: np.random.Generator) -> tuple[Any, Any]:
    rows = rng.choice(len(things), N_EXAMPLES + 1, replace=False)
    return [things[row] for row in rows], np.asarray(values, dtype=float)[rows]


def _compounds(folder: Path) -> tuple[Draw, str]:
    from regard.domains.materials.data import is_test_system, read_property

    names = ("mp_bulk_modulus", "aflow__ael_debye_temperature", "matbench_phonons", "supercon_tc")
    properties = [read_property(folder / "materials" / f"{name}.csv.gz", skip_unreadable=True) for name in names]
    unseen = [p.rows(np.flatnonzero([is_test_system(system) for system in p.systems])) for p in properties]

    def draw(rng: np.random.Generator) -> tuple[Any, Any]:
        one = unseen[rng.integers(len(unseen))]
        return _rows_of(one.formulas, one.target, rng)

    return draw, "four properties of compounds of unseen chemical systems"


def _solubilities(folder: Path) -> tuple[Draw, str]:
    with gzip.open(folder / "molecules" / "esol.csv.gz", "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    smiles = [row["smiles"] for row in rows]
    values = [float(row["measured log solubility in mols per litre"]) for row in rows]
    return partial(_rows_of, smiles, values), "ESOL, solubilities"


def _diabetes(_: Path) -> tuple[Draw, str]:
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True)
    return partial(_rows_of, x, y), "scikit-learn's table of diabetes"


def _numbers_of_photos(folder: Path) -> tuple[Draw, str]:
    pictures, labels, *_ = _photos(folder)

    def draw(rng: np.random.Generator) -> tuple[Any, Any]:
        chosen = rng.choice(np.unique(labels), 5, replace=False)
        inside = np.flatnonzero(np.isin(labels, chosen))
        value = dict(zip(chosen.tolist(), rng.normal(size=5), strict=True))
        return _rows_of([pictures[row] for row in inside], [value[labels[row]] for row in inside], rng)

    return draw, "Caltech-101, a number for each of five unseen classes"


NUMBER_SOURCES: dict[str, Callable[[Path], tuple[Draw, str]]] = dict(
    zip(NUMBERS, (_compounds, _solubilities, _diabetes, _numbers_of_photos), strict=True)
)


# ---- the run -----------------------------------------------------------------------------------------------------------


def measured(case: Case, seed: int) -> Document:
    """Drops by each explanation, task by task."""
    rebuilds = isinstance(case.learner, AttendingLearner) and case.learner.rebuilds
    row: Document = {"about": case.about, "by": "attention" if rebuilds else "influence", "drop": {}}
    for method in (row["by"], *GRADIENTS):
        try:
            by: Any = method if method == row["by"] else by_gradient(method)
            # Through a model that ships a gradient takes seconds, so of gradients the first tasks have to do.
            episodes = case.episodes() if method == row["by"] else islice(case.episodes(), case.n_batches)
            found = faithfulness(case.learner, episodes, by=by, n_deleted=1, seed=seed)
        except (ValueError, RuntimeError) as error:  # learners whose examples have no gradient
            if method == row["by"]:
                raise
            row["drop"][method] = {"none": str(error).split("\n")[0][:160]}
            continue
        row["drop"]["ours" if method == row["by"] else method] = {
            each: [round(float(v), 6) for v in values] for each, values in found.per_episode.items()
        }
    return row


def main() -> None:
    """Train, delete, write; what is not run stays as it was."""
    arguments = parser().parse_args()
    torch.set_num_threads(1)
    document = read_document(arguments.out) or {"learners": {}}
    order = [*SHIPPED, *(row.name for row in LEARNERS)]
    for name in arguments.only or order:
        began = time.process_time()
        row: Document
        try:
            if name in SHIPPED:
                if arguments.data is None and not name.startswith("tables"):
                    continue
                make = shipped_numbers if name in NUMBERS else shipped
                case = make(name, arguments.data or Path(), arguments.tasks, arguments.seed)
            elif name in VECTORS or name in ("CrossTransformer", "AttentionMetaLearner"):
                case = generated(name, arguments.tasks, arguments.seed)
            else:
                continue
            row = measured(case, arguments.seed)
        except RegardError as error:
            row = {"refused": str(error)}
        row["seconds"] = round(time.process_time() - began, 1)
        document["learners"][name] = row
        print(name, row.get("refused") or {k: summary(row, k) for k in row["drop"]}, row["seconds"], flush=True)
        document["learners"] = {key: document["learners"][key] for key in order if key in document["learners"]}
        made = provenance(seed=arguments.seed, interval="95% over tasks, paired")
        made["command"] = "python benchmarks/faithfulness.py --data FOLDER"
        made["versions"]["captum"] = import_module("captum").__version__
        write_document(arguments.out, {**document, **made}, indent=None)
    render_after(arguments, SECTIONS)


def summary(row: Document, method: str) -> str:
    """Drop at the top less that at random, in points."""
    drop = row["drop"].get(method, {"none": ""})
    return "none" if "none" in drop else text_of(paired_interval(np.array(drop["top"]), np.array(drop["random"])))


def text_of(found: Interval) -> str:
    """In points, with its interval."""
    return f"{100 * found.mean:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"


def section(document: Document) -> str:
    """The table."""
    rows, believed, better = [], 0, dict.fromkeys(GRADIENTS, 0)
    done = {name: row for name, row in document["learners"].items() if "drop" in row}
    for name, row in done.items():
        ours = {key: np.array(values) for key, values in row["drop"]["ours"].items()}
        believed += paired_interval(ours["top"], ours["random"]).low > 0
        against = []
        for method in GRADIENTS:
            drop = row["drop"].get(method, {"none": ""})
            if "none" in drop:
                against.append("no gradient")
                continue
            less = paired_interval(ours["top"][: len(drop["top"])], np.array(drop["top"]))
            better[method] += less.low > 0
            against.append(text_of(less))
        rows.append(
            [
                f"`{name}`" if name in SHIPPED else name,
                row["about"],
                row["by"],
                f"{100 * mean_interval(ours['top']).mean:.1f}",
                summary(row, "ours"),
                *against,
            ]
        )
    refused = [f"- {name}: {row['refused']}" for name, row in document["learners"].items() if "refused" in row]
    n_tasks = {len(row["drop"]["ours"]["top"]) for row in done.values()}
    return "\n\n".join(
        [
            "## Explanations of single examples",
            "The example named first is deleted: by how many points the probability of the answer falls, how much further than "
            "for a random other example of its class, and how much further than for the example that the input's gradient, or "
            f"Integrated Gradients, names first; of numbers, by how many hundredths of the deviation of the task's targets "
            f"the answer moves. {' to '.join(str(n) for n in sorted(n_tasks))} tasks of each learner, 95% "
            f"intervals over tasks, paired. {believed} of {len(done)} learners stand above random clear of 0; "
            f"{better['input gradients']} above input gradients and {better['Integrated Gradients']} above Integrated Gradients.",
            table(
                ["learner", "asked about", "named by", "drop", "less random", *(f"less {m}" for m in GRADIENTS)], rows
            ),
            *(["\n".join(refused)] if refused else []),
            made_by(document),
        ]
    )


SECTIONS = (Section("faithfulness", "faithfulness.json", section),)


if __name__ == "__main__":
    main()

"""Photographs, traffic signs and drawings from one pretrained body: what each method adds over cosine prototypes.

    python benchmarks/photos.py --data FOLDER [--episodes 600] [--only NAME ...] [--on KIND ...]
    python benchmarks/photos.py --test FILE.npz [--only NAME ...]

FOLDER holds caltech101 (caltech84_jpeg_shared.npz, splits.json), gtsrb, mnist_t10k and omniglot, packed images. All methods
stand on the body efficientnet-lite0, frozen, and see the very same episodes: photographs of the 18 classes that
splits.json keeps for validation; traffic signs, one image per track; MNIST and Omniglot, of which the first images of each
class are taken. "photos" is the model that ships, fitted on photographs alone; FEAT and CrossTransformer are trained on
the same ones (their runs are kept under --runs). --test evaluates on all classes of a file of packed images instead.
Writes benchmarks/results/photos.json.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does; before PyTorch is loaded

import numpy as np
import torch
from torch import Tensor

from common import (
    Document,
    Probe,
    Section,
    argument_parser,
    command_line,
    episodes_of,
    made_by,
    or_tie,
    out_with_test,
    percent,
    points,
    render_after,
    summarised,
    table,
)
from regard.commands.show import show_results
from regard.domains.images.packed import packed_images, packed_parts
from regard.episode import Support, first_tensor
from regard.evaluation import Interval, Result, evaluate, read_results, write_results
from regard.learners.base import EncodingLearner, Learner
from regard.learners.prototypical import class_means
from regard.nn.attention import scores
from regard.nn.encoder import Encoder
from regard.nn.pretrained.photo_stages import PhotoStages
from regard.recipes.components import build_learner
from regard.recipes.config import Recipe
from regard.recipes.run import compare_by_setting, train_recipe
from regard.recipes.trained import load
from regard.sampling import Dataset, EpisodeSampler

COMMAND = "python benchmarks/photos.py --data FOLDER"
BASELINE = "cosine prototypes"
SHIPPED = "photos"
_HEAD = {"name": "PhotoStages", "stages": "head"}
METHODS: dict[str, dict[str, Any]] = {
    BASELINE: {"name": "Prototypical", "compare": "cosine", "scale": 20.0, "encoder": _HEAD},
    "nearest neighbour": {"name": "NearestNeighbour", "compare": "cosine", "encoder": _HEAD},
    "attention to examples": {"name": "Matching", "scale": 30.0, "encoder": _HEAD},
    "ridge regression": {"name": "R2D2", "penalty": 0.01, "encoder": _HEAD},
    "ridge and prototypes": {"name": "RidgePrototypes", "penalty": 0.1, "encoder": _HEAD},
    "ridge and prototypes, several stages": {
        "name": "RidgePrototypes",
        "penalty": 0.1,
        "encoder": {"name": "PhotoStages"},
    },
}
"""Without training, and by name."""


class CacheAttention(EncodingLearner):
    """The training-free Tip-Adapter of Zhang et al. 2021, arXiv:2111.03930, with prototypes in place of CLIP's texts.

    logit_k(x) = 5 cos(f(x), c_k) + sum over the examples s of class k of exp(-5.5 (1 - cos(f(x), f(x_s))))
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def adapt_encoded(self, support: Support) -> tuple[Tensor, Support]:
        return class_means(support.x, support).centre, support

    def predict_encoded(self, state: tuple[Tensor, Support], query_z: Tensor) -> Tensor:
        centre, support = state
        nearness = (-5.5 * (1 - scores(query_z, support.x, "cosine"))).exp()
        return 5 * scores(query_z, centre, "cosine") + nearness @ support.membership()


def _on_head(name: str) -> Learner:
    """The methods that no learner of the library is."""
    encoder = PhotoStages(stages="head")
    if name == "cache attention and prototypes":
        return CacheAttention(encoder)
    return Probe(encoder, 1 / float(name.rpartition(" ")[2]))


ON_HEAD = ("logistic regression, C = 1", "logistic regression, C = 10", "cache attention and prototypes")
TRAINED: dict[str, tuple[str, ...]] = {
    "FEAT": ("learner={name: FEAT, temperature: 1.0, encoder: {name: PhotoStages, stages: head}}",),
    "CrossTransformer on patches": (
        "learner={name: CrossTransformer, d_head: 64, encoder: {name: PhotoStages, parts: true}}",
    ),
}
"""Trained on the same photographs as the model that ships, by episodes."""
ORDER = (BASELINE, *ON_HEAD, *(name for name in METHODS if name != BASELINE), SHIPPED, *TRAINED)


@dataclass(frozen=True)
class Kind:
    """One kind of pictures.

    Args:
        title: for people.
        read: `--data` to the images.
        n_query: queries per class.
    """

    title: str
    read: Callable[[Path], Dataset]
    n_query: int


def _photographs(folder: Path) -> Dataset:
    images = packed_images(folder / "caltech101" / "caltech84_jpeg_shared.npz")
    return packed_parts(images, folder / "caltech101" / "splits.json")["validation"]


def _signs(folder: Path) -> Dataset:
    return packed_images(folder / "gtsrb" / "gtsrb32_shared.npz", prefix="train_", one_a_track=True)


def _digits(folder: Path) -> Dataset:
    with np.load(folder / "mnist_t10k" / "mnist_t10k.npz") as file:
        return first_of_each(Dataset.of(file["images"], [str(label) for label in file["labels"]]), 30)


def _characters(folder: Path) -> Dataset:
    images = packed_images(folder / "omniglot" / "omniglot28_shared.npz")
    return first_of_each(images, 10, every=32)


KINDS = {
    "photographs": Kind("Caltech-101, 18 classes", _photographs, 15),
    "signs": Kind("traffic signs, one image per track", _signs, 2),
    "digits": Kind("MNIST", _digits, 15),
    "characters": Kind("Omniglot", _characters, 5),
}


def first_of_each(dataset: Dataset, n_items: int, every: int = 1) -> Dataset:
    """The first items of each class, or of every so manieth class."""
    rows = torch.cat([(dataset.y == label).nonzero()[:n_items, 0] for label in range(0, dataset.n_classes, every)])
    names = [dataset.class_names[label] for label in dataset.y[rows].tolist()]
    return Dataset.of(first_tensor(dataset.x)[rows], names)


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = parser_of_pictures(__doc__, SECTIONS, "photos.json", only=ORDER)
    made.add_argument("--episodes", type=int, default=600)
    made.add_argument("--runs", type=Path, default=Path("runs/photos_table"))
    made.add_argument("--model", default=SHIPPED, help="a name, a checkpoint or a run in place of the model that ships")
    return made


def parser_of_pictures(
    doc: str | None, sections: Sequence[Section], out: str, on: Sequence[str] = tuple(KINDS), only: Sequence[str] = ()
) -> argparse.ArgumentParser:
    """Arguments of every table on these pictures; `on` is the kinds by default."""
    made = argument_parser(
        doc,
        sections,
        out,
        data="the folder that holds the folders caltech101, gtsrb, mnist_t10k and omniglot",
        test="packed images (.npz: images or jpeg and offsets, labels, class_names, perhaps train_track)",
        data_required=False,
        seed=0,
        only=only,
    )
    kinds = tuple(KINDS)
    made.add_argument("--on", nargs="+", choices=kinds, metavar="KIND", default=on, help=f"of {', '.join(kinds)}")
    return made


def read_kinds(made: argparse.ArgumentParser) -> tuple[argparse.Namespace, dict[str, Kind]]:
    """The arguments that came, and the kinds of pictures that they ask for."""
    arguments = made.parse_args()
    if not arguments.data and not arguments.test:
        made.error("nothing to evaluate on: expected --data FOLDER, or --test FILE.npz")
    if arguments.test:
        return arguments, {"test": _test_kind(arguments.test)}
    return arguments, {name: KINDS[name] for name in arguments.on}


def main() -> None:
    """Evaluate every method on every kind of pictures, write after each method."""
    arguments, kinds = read_kinds(parser())
    read = {name: kind.read(arguments.data) for name, kind in kinds.items()}
    out = out_with_test(arguments, "photos.json")
    arguments.out = out
    for name in arguments.only or ORDER:
        learner = learner_of(name, arguments)
        if learner is None:
            continue
        found = []
        for key, kind in kinds.items():
            for n_shot in (1, 5):
                sampler = EpisodeSampler(read[key], 5, n_shot, kind.n_query, seed=arguments.seed)
                found.append(evaluate(learner, sampler, arguments.episodes, name=name, data=kind.title))
        results = read_results(out)[0] if out.exists() else []
        measured = {(r.learner, r.data) for r in found}
        results = [*(r for r in results if (r.learner, r.data) not in measured), *found]
        titles = [kind.title for kind in KINDS.values()]
        results.sort(key=lambda r: (ORDER.index(r.learner), titles.index(r.data) if r.data in titles else 0, r.n_shot))
        pairs = [c for c in compare_by_setting(results) if BASELINE in (c.a, c.b) and c.metric == "accuracy"]
        write_results(out, results, pairs, raw=True, command=COMMAND if arguments.data else command_line())
        show_results(found, [c for c in pairs if name in (c.a, c.b)])
    render_after(arguments, SECTIONS)


def learner_of(name: str, arguments: argparse.Namespace) -> Learner | None:
    """The learner of this name; those that are trained are trained now, once."""
    if name == SHIPPED:
        return load(arguments.model).learner
    if name in ON_HEAD:
        return _on_head(name).eval()
    if name in METHODS:
        return build_learner(METHODS[name]).eval()
    run = arguments.runs / name.split()[0]
    if not arguments.data:
        return load(run).learner if run.exists() else None
    folder = arguments.data / "caltech101"
    data = (
        f"data={{name: packed, file: {folder}/caltech84_jpeg_shared.npz, split: {folder}/splits.json, validation: 0.1}}"
    )
    steps = ("train.steps=300", "train.learning_rate=0.0003", "episodes={n_way: 5, n_shot: [1, 5], n_query: 5}")
    return load(train_recipe(Recipe.read("photos", (data, *steps, *TRAINED[name])), run)).learner


def _test_kind(path: Path) -> Kind:
    """All classes of a file of packed images; one image per track, where there are tracks."""
    with np.load(path) as file:
        names = set(file.files)
    prefix = "" if "labels" in names else "train_"
    tracks = f"{prefix}track" in names
    return Kind(path.stem, lambda _: packed_images(path, prefix=prefix, one_a_track=tracks), 2 if tracks else 15)


def section(document: Document) -> str:
    """Accuracy of each method, and paired differences over the baseline."""
    results, _ = summarised(document)
    what = f"EfficientNet-Lite0, frozen; {results[0].episodes} episodes; accuracy ± half-width of the 95% interval."
    return "\n\n".join(["## Photographs, signs and drawings from one pretrained body", what, *tables(document)])


def tables(document: Document) -> list[str]:
    """Accuracy by method and setting, the differences over the baseline, and what made them."""
    results, comparisons = summarised(document)
    settings: dict[tuple[str, int], list[Result]] = {}
    for result in results:
        settings.setdefault((result.data, int(str(result.n_shot))), []).append(result)
    heads = [f"{data}, {episodes_of(group[0])}" for (data, _), group in settings.items()]
    names = list(dict.fromkeys(result.learner for result in results))
    accuracy = {(r.learner, r.data, int(str(r.n_shot))): percent(r) for r in results}
    rows = [[name, *(accuracy.get((name, *key), "") for key in settings)] for name in names]
    above = {}
    for c in comparisons:
        other = c.b if c.a == BASELINE else c.a
        d = c.difference
        difference = d if c.a == other else Interval(0.0 - d.mean, 0.0 - d.high, 0.0 - d.low)
        above[other, c.data, int(str(c.n_shot))] = points(difference) + or_tie(c)
    paired = [[name, *(above.get((name, *key), "") for key in settings)] for name in names if name != BASELINE]
    return [
        table(["method", *heads], rows),
        f"Points above {BASELINE}, paired over the same episodes:",
        table(["method", *heads], paired),
        made_by(document),
    ]


SECTIONS = (Section("photos", "photos.json", section),)


if __name__ == "__main__":
    main()

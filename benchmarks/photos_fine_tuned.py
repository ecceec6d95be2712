"""Photographs, signs and drawings: what fine-tuning the last layers of the body on the support adds, and what it costs.

    python benchmarks/photos_fine_tuned.py --data FOLDER [--on KIND ...]
    python benchmarks/photos_fine_tuned.py --test FILE.npz

After P>M>F (Hu et al. 2022, arXiv:2204.07305): prototypes of the support, and augmented copies of the support as
queries, whose loss the body descends on for some steps, task by task. Here the last block and the head of
EfficientNet-Lite0 move (1.1 of its 3.4 million weights): they take what the blocks before them made of an image and of two
copies of it, cropped (60 to 100% of the area), brighter or darker, and mirrored where a mirror image is of the same
class (photographs). The rate was chosen from 3e-5, 1e-4 and 3e-4 on 20 tasks of the photographs that "photos" was fitted
on (--choose). Classes and rows of the episodes are those of the first of photos.py; "photos" is the model that ships.
Writes benchmarks/results/photos_fine_tuned.json.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does; before PyTorch is loaded

import numpy as np
import torch
from PIL import Image, ImageEnhance
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F

import photos
from common import Document, Section, command_line, out_with_test, render_after
from regard.commands.show import show_results
from regard.domains.images.packed import packed_images, packed_parts
from regard.episode import Episode, Items, Support, first_tensor
from regard.evaluation import Result, evaluate, read_results, write_results
from regard.learners import FineTuned, Prototypical
from regard.learners.base import EncodingLearner, Learner
from regard.learners.fine_tuned import TunedState
from regard.nn.efficientnet_lite import standardise_colours
from regard.nn.encoder import Encoder
from regard.nn.pretrained.photo_stages import SIDE, PhotoStages
from regard.recipes.run import compare_by_setting
from regard.recipes.trained import load
from regard.sampling import Dataset, EpisodeSampler

TUNED = "last block and head fine-tuned"
N_COPIES, N_STEPS, LEARNING_RATE = 2, 15, 1e-4
N_EPISODES = {1: 60, 5: 20}
_AT_ONCE = 16


class Tail(Encoder):
    """The last block and the head of the body, and the mean over the picture, at length 1."""

    parts = False

    def __init__(self, body: PhotoStages) -> None:
        super().__init__()
        self.block, self.head = body.network.blocks[-1], body.network.head
        self.n_features = self.head.out_channels
        self.requires_grad_(True)

    def forward(self, x: Items) -> Tensor:
        assert isinstance(x, Tensor)
        maps = F.relu6(self.head(self.block(x.to(self.head.weight.dtype))[0]))
        return F.normalize(maps.mean((2, 3)), dim=-1)


class OfImage(Encoder):
    """An encoder of images, of items that hold one."""

    def __init__(self, inner: Encoder) -> None:
        super().__init__()
        self.inner, self.parts, self.n_features = inner, inner.parts, inner.n_features

    def forward(self, x: Items) -> Tensor:
        assert isinstance(x, dict)
        return self.inner(x["image"])


class OnCopies(Learner):
    """Fine-tuned by the augmented copies of the support: (1 + copies, C, H, W) maps of an item, the picture's first."""

    def __init__(self, tail: Tail, n_steps: int, learning_rate: float) -> None:
        super().__init__()
        # All rows are one group: nothing is left out, and every step asks about every copy.
        self.tuned = FineTuned(
            Prototypical(tail, compare="cosine", scale=20.0),
            n_steps,
            learning_rate=learning_rate,
            rows_per_group=10_000,
            tasks_at_once=1,
        )

    def adapt(self, support: Support) -> TunedState:
        x = _maps(support.x)
        n = x.shape[2] - 1
        y, weight = (t.repeat_interleave(n, 1) for t in (support.y, support.weight / n))
        copies = Support(x[:, :, 1:].flatten(1, 2), y, weight, support.n_classes)
        return self.tuned.adapt(replace(support, x=x[:, :, 0]), copies)

    def predict(self, state: TunedState, query_x: Items) -> Tensor:
        logits = self.tuned.predict(state, _maps(query_x)[:, :, 0])
        assert isinstance(logits, Tensor)
        return logits

    def loss(self, episode: Episode) -> Tensor:
        raise NotImplementedError("it is not trained by episodes")


def _maps(x: Items) -> Tensor:
    assert isinstance(x, dict)
    return x["maps"]


def with_copies(images: Dataset, body: PhotoStages, seed: int, mirrored: bool) -> Dataset:
    """Each image beside what the blocks before the last make of it and of its copies: (1 + copies, C, H, W) maps."""
    rng = np.random.default_rng(seed)
    pictures = first_tensor(images.x).numpy()
    found = []
    for first in track(range(0, len(pictures), _AT_ONCE), "images and their copies", transient=True):
        batch = [
            version for picture in pictures[first : first + _AT_ONCE] for version in _copies(picture, rng, mirrored)
        ]
        pixels = torch.from_numpy(np.stack(batch)).float().permute(0, 3, 1, 2)
        with torch.inference_mode():
            x = F.relu6(body.network.stem(standardise_colours(pixels)))
            for block in list(body.network.blocks)[:-1]:
                x = block(x)[0]
        found.append(x.half().unflatten(0, (-1, 1 + N_COPIES)).clone())
    return replace(images, x={"image": images.x, "maps": torch.cat(found)})


def _copies(picture: np.ndarray, rng: np.random.Generator, mirrored: bool) -> list[np.ndarray]:
    image = Image.fromarray(picture).convert("RGB")
    width, height = image.size
    versions = [image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)]
    for _ in range(N_COPIES):
        side = rng.uniform(0.6, 1.0) ** 0.5
        left, top = rng.uniform(0, (1 - side) * width), rng.uniform(0, (1 - side) * height)
        box = (left, top, left + side * width, top + side * height)
        copy = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=box)
        copy = ImageEnhance.Brightness(copy).enhance(rng.uniform(0.7, 1.3))
        versions.append(copy.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored and rng.random() < 0.5 else copy)
    return [np.asarray(version) for version in versions]


def measure(sampler: EpisodeSampler, n_episodes: int, kind: str, learning_rate: float) -> list[Result]:
    """Prototypes of the tail as it is, and fine-tuned; on the same episodes."""
    found = []
    tail = Tail(PhotoStages(stages="head"))
    learners = {
        photos.BASELINE: OnCopies(tail, 0, learning_rate),
        TUNED: OnCopies(tail, N_STEPS, learning_rate),
        photos.SHIPPED: shipped(),
    }
    for name, learner in learners.items():
        began = time.perf_counter()
        found.append(evaluate(learner.eval(), sampler, n_episodes, name=name, data=kind))
        print(f"{name}, {kind}: {(time.perf_counter() - began) / n_episodes:.2f} s per task", flush=True)
    return found


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = photos.parser_of_pictures(__doc__, SECTIONS, "photos_fine_tuned.json", on=("photographs", "signs"))
    made.add_argument(
        "--choose", action="store_true", help="print the accuracy of each rate on the photographs of training"
    )
    return made


def main() -> None:
    """Measure, kind by kind; write after each."""
    arguments, kinds = photos.read_kinds(parser())
    body = PhotoStages(stages="head")
    if arguments.choose:
        choose(arguments.data, body, arguments.seed)
        return
    arguments.out = out_with_test(arguments, "photos_fine_tuned.json")
    for name, kind in kinds.items():
        items = with_copies(kind.read(arguments.data), body, arguments.seed, mirrored=name in ("photographs", "test"))
        found = []
        for n_shot, n_episodes in N_EPISODES.items():
            sampler = EpisodeSampler(items, 5, n_shot, kind.n_query, seed=arguments.seed)
            found += measure(sampler, n_episodes, kind.title, LEARNING_RATE)
        before = read_results(arguments.out)[0] if arguments.out.exists() else []
        results = [*(r for r in before if r.data != kind.title), *found]
        pairs = [c for c in compare_by_setting(results) if photos.BASELINE in (c.a, c.b) and c.metric == "accuracy"]
        write_results(arguments.out, results, pairs, raw=True, command=command_line())
        show_results(found, [c for c in pairs if c.data == kind.title])
    render_after(arguments, SECTIONS)


def shipped() -> Learner:
    """The model that ships, of items that hold an image beside the maps."""
    learner = load(photos.SHIPPED).learner
    assert isinstance(learner, EncodingLearner)
    learner.encoder = OfImage(learner.encoder)
    return learner


def choose(folder: Path, body: PhotoStages, seed: int) -> None:
    """The accuracy of each rate on 20 tasks of training photographs."""
    images = packed_images(folder / "caltech101" / "caltech84_jpeg_shared.npz")
    training = photos.first_of_each(packed_parts(images, folder / "caltech101" / "splits.json")["train"], 12, every=3)
    items = with_copies(training, body, seed, mirrored=True)
    for rate in (3e-5, 1e-4, 3e-4):
        for result in measure(EpisodeSampler(items, 5, 1, 5, seed=seed), 20, "training photographs", rate):
            print(rate, result.learner, result.metrics["accuracy"], flush=True)


def section(document: Document) -> str:
    """Accuracy, and paired differences over the tail as it is."""
    counts = " and ".join(f"{n} {shots}-shot" for shots, n in N_EPISODES.items())
    what = (
        f"{counts} tasks of each kind; the last block and the head of the body move, {N_STEPS} steps of Adam per task."
    )
    return "\n\n".join(["## The last layers fine-tuned on the support", what, *photos.tables(document)])


SECTIONS = (Section("photos_fine_tuned", "photos_fine_tuned.json", section),)


if __name__ == "__main__":
    main()

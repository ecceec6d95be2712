"""What the learners of the papers' tables reach on letters after a few seconds: a drop is a defect, whatever made it.

A small part of `benchmarks/paper_tables.py`, without files: glyphs of alphabets that were not practised, at 14x14. The
bounds stand above what the learner knows before practice, and three points or more below what was measured. MAML is
left out: after ten seconds of this it knows no more than pixels do.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from regard.domains.data import LabelledData
from regard.evaluation import evaluate
from regard.learners import NearestNeighbour
from regard.learners.base import Learner
from regard.recipes.components import build_learner
from regard.recipes.config import Component
from regard.recipes.data import load_data
from regard.sampling.dataset import Dataset
from regard.sampling.episodes import EpisodeSampler
from regard.training import TrainConfig, train

CONV4 = {"name": "Conv4", "n_filters": 16, "norm": "batch", "n_halvings": 2, "image_size": 14}
VECTOR, MAPS = CONV4, {**CONV4, "n_halvings": 1, "parts": True}
PRACTICE: dict[str, Any] = {"n_way": 20, "n_shot": 1, "n_query": 2}
# (learner, its practice, steps, tasks a step, the least accuracy, 5-way 1-shot)
CASES: list[tuple[dict[str, Any], dict[str, Any], int, int, float]] = [
    ({"name": "SimpleShot", "encoder": VECTOR}, {**PRACTICE, "n_way": 40, "labels": "data"}, 200, 1, 0.53),
    ({"name": "Siamese", "encoder": VECTOR}, PRACTICE, 250, 1, 0.44),
    ({"name": "Matching", "encoder": VECTOR}, PRACTICE, 150, 1, 0.6),
    ({"name": "Prototypical", "scale": 0.1, "encoder": VECTOR}, PRACTICE, 150, 1, 0.59),
    ({"name": "Relation", "norm": "batch", "encoder": MAPS}, {**PRACTICE, "n_way": 5}, 150, 2, 0.5),
    ({"name": "FEAT", "encoder": {**VECTOR, "pool": "mean"}}, PRACTICE, 150, 1, 0.54),
    ({"name": "CrossTransformer", "d_head": 16, "encoder": MAPS}, PRACTICE, 100, 1, 0.56),
]


@cache
def letters() -> dict[str, Dataset]:
    data = load_data(Component(name="glyphs", drawings=6))  # type: ignore[call-arg]
    assert isinstance(data, LabelledData)

    def halved(part: Dataset) -> Dataset:
        x = F.avg_pool2d(part.x[:, None].float(), 2)[:, 0].round().to(torch.uint8)  # type: ignore[index]
        return replace(part, x=x)

    return {name: halved(data.split(name)) for name in ("train", "test")}


def accuracy(learner: Learner) -> float:
    test = EpisodeSampler(letters()["test"], 5, 1, 3, seed=1)
    return evaluate(learner, test, 200).metrics["accuracy"].mean


@pytest.mark.parametrize(("spec", "practice", "steps", "tasks", "least"), CASES, ids=[c[0]["name"] for c in CASES])
def test_it_still_reaches_what_it_reached(
    spec: dict[str, Any], practice: dict[str, Any], steps: int, tasks: int, least: float, tmp_path: Path
) -> None:
    letters_known, own = letters()["train"], {}
    if spec["name"] == "SimpleShot":
        letters_known = letters_known.select_classes(range(300))
        own = {"n_train_classes": 300}
    torch.manual_seed(0)
    learner = build_learner({**spec, **own})
    # A bound that the learner meets before any practice would notice nothing.
    assert accuracy(learner) < least
    config = TrainConfig(steps=steps, tasks_per_step=tasks, learning_rate=0.005, warmup_steps=10, tensorboard=False)
    train(learner, EpisodeSampler(letters_known, **practice), config, folder=tmp_path)
    assert accuracy(learner) > least


def test_the_bounds_are_above_what_pixels_know() -> None:
    assert accuracy(NearestNeighbour()) < min(least for *_, least in CASES)

"""Examples of attention for the report: queries of test episodes, the examples that the learner was shown, how much of
its answer came from each, and where in them; and the curves of its training.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from regard.domains.data import LabelledData
from regard.domains.options import EpisodeOptions
from regard.episode import Episode, Support, first_tensor, map_items
from regard.explain.influence import influence
from regard.explain.saliency import saliency_maps
from regard.learners.base import AttendingLearner, TokenAttendingLearner
from regard.recipes.config import changed
from regard.recipes.trained import TrainedLearner
from regard.report.content import AttentionExample, TrainingCurve
from regard.sampling.dataset import Dataset
from regard.sampling.episodes import EpisodeRows


def attention_examples(
    trained: TrainedLearner,
    data: LabelledData,
    episodes: EpisodeOptions,
    seed: int,
    *,
    n_tasks: int = 4,
    n_queries: int = 3,
    unknown: bool = True,
    split: str = "test",
) -> list[AttentionExample]:
    """The first queries of the first episodes: not chosen for being right or for looking good.

    Args:
        trained: the learner; its attention is shown, or its influence where it does not attend.
        data: with the episodes.
        episodes: of fixed ways and queries.
        seed: of the episodes.
        n_tasks: how many episodes.
        n_queries: of each, of different classes.
        unknown: also one query per episode of a class whose examples were taken away.
        split: of the data.
    """
    n_way, n_query = episodes.n_way, episodes.n_query
    assert isinstance(n_way, int) and isinstance(n_query, int)
    sampler = data.source(split, changed(episodes, n_way=n_way + 1) if unknown else episodes, seed)
    numbers = range(n_tasks)
    tasks, rows = sampler(numbers), sampler.rows(numbers)
    queries = [n_query * c for c in range(min(n_queries, n_way))] + [n_way * n_query] * unknown
    return [
        _example(trained, data, split, sampler.dataset, tasks.tasks(slice(b, b + 1)), rows[b : b + 1], q, n_way)
        for b in numbers
        for q in queries
    ]


def _example(
    trained: TrainedLearner,
    data: LabelledData,
    split: str,
    dataset: Dataset,
    task: Episode,
    rows: EpisodeRows,
    query: int,
    n_known: int,
) -> AttentionExample:
    learner, confidence = trained.learner, trained.confidence
    kept = (task.support.y[0] < n_known) & (task.support.weight[0] > 0)
    x = map_items(lambda t: t[:, kept], task.support.x)
    support = Support(x, task.support.y[:, kept], task.support.weight[:, kept], n_known)
    true = int(task.query_y[0, query])
    y = task.query_y[:, query : query + 1].clamp_max(n_known - 1)
    one = Episode(support, map_items(lambda t: t[:, query : query + 1], task.query_x), y)
    with torch.no_grad():
        state = learner.adapt(one.support)
        output = learner.predict(state, one.query_x)
        assert isinstance(output, Tensor)
        logits = output[0, 0]
        weight = learner.attend(state, one.query_x)[0, 0].numpy() if isinstance(learner, AttendingLearner) else None
    if weight is None:
        weight = influence(learner, one).contribution[0, 0].clamp_min(0).detach().numpy()
    query_map, support_maps = _saliency(trained, one, weight)
    support_rows, n_items = rows.support[0], len(data.split(split))
    class_of = dict(zip(task.support.y[0].tolist(), dataset.y[support_rows].tolist(), strict=True))
    names = [data.domain.class_title(dataset.class_names[class_of[k]]) for k in range(n_known + (true >= n_known))]
    # Rotated copies follow the items as they are.
    things = [data.thing(split, int(row) % n_items) for row in support_rows[kept]]
    query_thing = data.thing(split, int(rows.query[0, query]) % n_items)
    if first_tensor(task.query_x).ndim > 3:  # as the learner saw it, rotations included
        things, query_thing = list(first_tensor(support.x)[0]), first_tensor(one.query_x)[0, 0]
    return AttentionExample(
        query=data.domain.render(query_thing, query_map),
        support=[data.domain.render(thing, m) for thing, m in zip(things, support_maps, strict=True)],
        support_label=support.y[0].numpy(),
        names=names[:n_known],
        weight=weight,
        predicted=int(logits.argmax()),
        true=true if true < n_known else None,
        probability=float(confidence.probabilities(logits).amax()),
        answered=bool(confidence.answers(logits)),
        unknown_class="" if true < n_known else names[true],
    )


Map = np.ndarray | None


def _saliency(trained: TrainedLearner, one: Episode, weight: np.ndarray) -> tuple[Map, list[Map]]:
    """(H, W) maps in 0..1 of the query and of each support picture; None where the learner or the items have none."""
    n_rows = one.support.n_rows
    if not isinstance(trained.learner, TokenAttendingLearner) or first_tensor(one.query_x).ndim < 4:
        return None, [None] * n_rows
    maps = saliency_maps(trained.learner, one)
    # A support picture's own map, as bright as the share of the answer it carried.
    heat = maps.support[0, 0] * weight[:, None, None]
    argued = np.clip(maps.query[0, 0], 0, None)
    return argued / max(float(argued.max()), 1e-12), list(heat / max(float(heat.max()), 1e-12))


def training_curve(name: str, folder: Path) -> TrainingCurve | None:
    """Loss and validation of the run in `folder`; None where it has no log."""
    file = folder / "metrics.csv"
    if not file.exists():
        return None
    with file.open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    trained = [(int(r["step"]), float(r["loss"])) for r in rows if r["loss"]]
    validated = [(int(r["step"]), float(r["validation_accuracy"])) for r in rows if r["validation_accuracy"]]
    (step, loss), (at, accuracy) = (np.array(pairs).reshape(-1, 2).T for pairs in (trained, validated))
    return TrainingCurve(name, step, loss, at, accuracy, float(rows[-1]["seconds"]))

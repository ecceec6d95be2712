"""An `Episode` from the tasks of other libraries, and back.

learn2learn   (data, labels) per task; which rows are support is a convention of the loop
torchmeta     {"train": (x, y), "test": (x, y)} per batch, each with a leading task axis
easyfsl       (support_x, support_y, query_x, query_y, class_ids) per task
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from regard.episode import Episode, Support
from regard.errors import EpisodeError

Order = Literal["alternating", "first"]
"""Where the support rows of a learn2learn task stand: every second row of a task sorted by class, as the loops of its
examples have it, or the first rows of each class."""

EasyfslTask = tuple[Tensor, Tensor, Tensor, Tensor, Sequence[int]]


class TaskRows(NamedTuple):
    """One task without padding.

    Args:
        x: (S, *item) examples.
        y: (S,) any integers, or (S, T) targets.
        query_x: (Q, *item).
        query_y: as `y`.
    """

    x: Tensor
    y: Tensor
    query_x: Tensor
    query_y: Tensor


def from_learn2learn(tasks: Sequence[tuple[Tensor, Tensor]], *, n_shot: int, order: Order) -> Episode:
    """Tasks of learn2learn as one episode.

    Args:
        tasks: (rows, *item) data and (rows,) labels per task; labels are any integers, numbered by size.
        n_shot: support rows per class.
        order: which rows are support. learn2learn leaves that to the loop, so it has no default.

    Raises:
        EpisodeError: a class with too few rows, or, for "alternating", with other than 2 * n_shot rows, or rows that
            are not sorted by class.
    """
    split: list[TaskRows] = []
    for number, (x, y) in enumerate(tasks):
        _require_rows(x, y, f"task {number}")
        support = torch.zeros(len(y), dtype=torch.bool)
        for label in y.unique(sorted=True):
            rows = (y == label).nonzero()[:, 0]
            if order == "first":
                if len(rows) <= n_shot:
                    raise EpisodeError(
                        f"task {number} has {len(rows)} rows of class {int(label)}: expected more than n_shot = "
                        f"{n_shot}, since the rest are its queries."
                    )
                support[rows[:n_shot]] = True
                continue
            together = len(rows) == 2 * n_shot and bool((rows.diff() == 1).all()) and int(rows[0]) % 2 == 0
            if not together:
                raise EpisodeError(
                    f"task {number} has {len(rows)} rows of class {int(label)}"
                    f"{', not all in a row' if len(rows) == 2 * n_shot else ''}: expected 2 * n_shot = {2 * n_shot} "
                    "rows of each class, one class after the other, where every second row is support; for other "
                    'counts say order="first".'
                )
            support[rows[::2]] = True
        split.append(TaskRows(x[support], y[support], x[~support], y[~support]))
    return _stack(split)


def to_learn2learn(episode: Episode, *, order: Order) -> list[tuple[Tensor, Tensor]]:
    """An episode as tasks of learn2learn, sorted by class.

    Args:
        episode: B classification tasks; padding is left out.
        order: where the support rows shall stand.

    Raises:
        EpisodeError: weights other than 0 and 1, items that are dicts, targets that are numbers, or, for
            "alternating", classes whose support and query rows are not as many.
    """
    tasks: list[tuple[Tensor, Tensor]] = []
    for number, task in enumerate(unstack(episode)):
        if task.y.is_floating_point():
            raise EpisodeError("the targets are numbers: expected classes, the only tasks of learn2learn's loops.")
        x, y = [], []
        for label in torch.cat([task.y, task.query_y]).unique(sorted=True):
            parts = task.x[task.y == label], task.query_x[task.query_y == label]
            if order == "alternating":
                if len(parts[0]) != len(parts[1]):
                    raise EpisodeError(
                        f"task {number} has {len(parts[0])} support and {len(parts[1])} query rows of class "
                        f'{int(label)}: expected as many of each where they alternate; say order="first".'
                    )
                rows = torch.stack(parts, 1).flatten(0, 1)
            else:
                rows = torch.cat(parts)
            x.append(rows)
            y.append(label.expand(len(rows)))
        tasks.append((torch.cat(x), torch.cat(y)))
    return tasks


def from_torchmeta(batch: Mapping[str, Sequence[Tensor]]) -> Episode:
    """A batch of torchmeta's `BatchMetaDataLoader` as one episode.

    Args:
        batch: "train" and "test", each (B, rows, *item) inputs and (B, rows) classes or (B, rows, T) targets.

    Raises:
        EpisodeError: other keys or shapes.
    """
    if not isinstance(batch, Mapping) or not {"train", "test"} <= set(batch):
        came = sorted(batch) if isinstance(batch, Mapping) else type(batch).__name__
        raise EpisodeError(f"the batch is {came}: expected the keys 'train' and 'test', as torchmeta's loaders give.")
    (x, y), (query_x, query_y) = batch["train"], batch["test"]
    for what, inputs, targets in (("train", x, y), ("test", query_x, query_y)):
        if inputs.shape[:2] != targets.shape[:2]:
            raise EpisodeError(
                f"{what} has inputs {tuple(inputs.shape)} and targets {tuple(targets.shape)}: expected the same two "
                "leading axes (tasks, rows)."
            )
    return _stack([TaskRows(*rows) for rows in zip(x, y, query_x, query_y, strict=True)])


def to_torchmeta(episode: Episode) -> dict[str, tuple[Tensor, Tensor]]:
    """An episode as a batch of torchmeta.

    Raises:
        EpisodeError: weights other than 1, since its batches hold no padding; items that are dicts.
    """
    if bool((episode.support.weight != 1).any()) or bool((episode.query_weight != 1).any()):
        raise EpisodeError(
            "the episode has rows of a weight other than 1: expected ones, since a batch of torchmeta has no weights; "
            "sample with a fixed n_way and n_shot, or convert one task at a time."
        )
    x, query_x = _tensors(episode)
    return {"train": (x, episode.support.y), "test": (query_x, episode.query_y)}


def from_easyfsl(tasks: Sequence[EasyfslTask]) -> Episode:
    """Tasks of easyfsl's `TaskSampler` as one episode; their class ids are left out.

    Args:
        tasks: support images, support labels, query images, query labels and class ids per task.

    Raises:
        EpisodeError: tuples of another length or shape.
    """
    split: list[TaskRows] = []
    for number, task in enumerate(tasks):
        if len(task) != 5:
            raise EpisodeError(
                f"task {number} has {len(task)} parts: expected 5, support images and labels, query images and labels, "
                "and class ids."
            )
        _require_rows(task[0], task[1], f"support of task {number}")
        _require_rows(task[2], task[3], f"query of task {number}")
        split.append(TaskRows(*task[:4]))
    return _stack(split)


def to_easyfsl(episode: Episode) -> list[EasyfslTask]:
    """An episode as tasks of easyfsl; the class ids are the episode's own class numbers.

    Raises:
        EpisodeError: weights other than 0 and 1, items that are dicts.
    """
    return [(task.x, task.y, task.query_x, task.query_y, torch.unique(task.y).tolist()) for task in unstack(episode)]


def unstack(episode: Episode) -> list[TaskRows]:
    """The tasks of an episode without their padding.

    Raises:
        EpisodeError: weights other than 0 and 1, items that are dicts.
    """
    x, query_x = _tensors(episode)
    tasks: list[TaskRows] = []
    for task in range(episode.n_tasks):
        keep = _present(episode.support.weight[task], "support")
        ask = _present(episode.query_weight[task], "query")
        tasks.append(
            TaskRows(x[task][keep], episode.support.y[task][keep], query_x[task][ask], episode.query_y[task][ask])
        )
    return tasks


def _present(weight: Tensor, what: str) -> Tensor:
    if bool(((weight != 0) & (weight != 1)).any()):
        raise EpisodeError(
            f"{what} weights are other than 0 and 1: expected those two, since other libraries weigh no rows; repeat a "
            "row of weight 2, or use a learner of Regard."
        )
    return weight > 0


def _tensors(episode: Episode) -> tuple[Tensor, Tensor]:
    x, query_x = episode.support.x, episode.query_x
    if isinstance(x, dict) or isinstance(query_x, dict):
        raise EpisodeError("items are a dict of tensors: expected one tensor per item, as other libraries have them.")
    return x, query_x


def _require_rows(x: Tensor, y: Tensor, what: str) -> None:
    if len(x) != len(y) or y.ndim != 1:
        raise EpisodeError(
            f"{what} has data {tuple(x.shape)} and labels {tuple(y.shape)}: expected (rows, *item) and (rows,)."
        )


def _stack(tasks: Sequence[TaskRows]) -> Episode:
    """Tasks of any sizes as one batch, shorter ones padded by rows of weight 0; labels become 0..C-1 by size."""
    if not tasks:
        raise EpisodeError("there are no tasks: expected at least one.")
    n_rows, n_queries = max(len(t.y) for t in tasks), max(len(t.query_y) for t in tasks)
    numbered: list[TaskRows] = []
    n_classes = 0
    for number, task in enumerate(tasks):
        if not task.y.is_floating_point():
            names = task.y.unique(sorted=True)
            strange = ~torch.isin(task.query_y, names)
            if bool(strange.any()):
                raise EpisodeError(
                    f"task {number} has queries of class {int(task.query_y[strange][0])}, and no support row has it: "
                    "expected support rows of every class."
                )
            n_classes = max(n_classes, len(names))
            task = task._replace(y=torch.searchsorted(names, task.y), query_y=torch.searchsorted(names, task.query_y))
        numbered.append(task)

    def batch(rows: list[Tensor], length: int) -> Tensor:
        out = rows[0].new_zeros(len(rows), length, *rows[0].shape[1:])
        for task, row in enumerate(rows):
            out[task, : len(row)] = row
        return out

    def weight(rows: list[Tensor], length: int) -> Tensor:
        return batch([torch.ones(len(row), device=row.device) for row in rows], length)

    x, y, query_x, query_y = (list(column) for column in zip(*numbered, strict=True))
    support = Support(batch(x, n_rows), batch(y, n_rows), weight(y, n_rows), n_classes)
    return Episode(support, batch(query_x, n_queries), batch(query_y, n_queries), weight(query_y, n_queries)).check()

"""Questions to several fitted estimators in as few passes as can be: what a service does with those that wait.

Estimators of one learner whose tasks are of one size are tasks of one batch: their states are joined, and their
queries, padded to one number, go through the learner at once. Questions to one estimator are one task. Answers are
those of each estimator alone, but for rounding.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from regard.episode import Items, first_tensor, map_items
from regard.errors import EpisodeError, RegardError
from regard.estimators.base import FewShotEstimator, Pass
from regard.estimators.inputs import blank_rows, join_items, named, shapes
from regard.learners.states import join_states, tensors_of


@dataclass
class _Task:
    """Questions to one estimator.

    Args:
        model: fitted.
        sees_all: whether its answers depend on the other queries.
        numbers: of its questions.
        items: (N, *item) queries of all of them.
        blank: (N,) which of them hold nothing.
        ends: where each question ends among the queries.
    """

    model: FewShotEstimator
    sees_all: bool
    numbers: list[int]
    items: Items
    blank: NDArray[np.bool_]
    ends: list[int]

    def passes(self, found: Pass) -> Iterator[tuple[int, Pass]]:
        """The number of each question, and its part of the pass."""
        start = 0
        for number, end in zip(self.numbers, self.ends, strict=True):
            attention = None if found.attention is None else found.attention[start:end]
            yield number, Pass(found.output[:, start:end], attention, found.blank[start:end])
            start = end


def answer_together(questions: Sequence[tuple[FewShotEstimator, Any]]) -> list[Pass | RegardError]:
    """A pass for each question, of which `predictions_of` of its estimator makes answers.

    Args:
        questions: fitted estimators, each with X as its `predict` takes it.

    Returns:
        For each question its pass, or what is wrong with it, of which no other question hears.
    """
    found: dict[int, Pass | RegardError] = {}
    tasks: dict[Hashable, _Task] = {}
    sees_all: dict[int, bool] = {}  # by learner, whose modules are many
    for number, (model, X) in enumerate(questions):
        try:
            items = model._queries(X)
            blank = blank_rows(model.reader_, X, items, "queries")
        except RegardError as error:
            found[number] = error
            continue
        learner = model._learner
        if id(learner) not in sees_all:
            sees_all[id(learner)] = learner.transductive
        key = (id(model), number if sees_all[id(learner)] else None, *shapes(items).items())
        if key in tasks:
            task = tasks[key]
            task.items = join_items(task.items, items)
            task.blank = np.concatenate([task.blank, blank])
            task.numbers.append(number)
        else:
            tasks[key] = task = _Task(model, sees_all[id(learner)], [number], items, blank, [])
        task.ends.append(len(task.blank))
    for batch in _batches(tasks.values()):
        for task, answered in zip(batch, _answered(batch), strict=True):
            found |= (
                dict.fromkeys(task.numbers, answered)
                if isinstance(answered, RegardError)
                else dict(task.passes(answered))
            )
    return [found[number] for number in range(len(questions))]


def _batches(tasks: Iterable[_Task]) -> Iterator[list[_Task]]:
    """Tasks that can share a pass, as many as its estimators' `chunk_size` of queries allows."""
    alike: dict[Hashable, list[_Task]] = defaultdict(list)
    for task in tasks:
        model = task.model
        key: Hashable = id(task)
        if not task.sees_all and len(task.blank) <= model.chunk_size:
            state = ((t.shape[1:], t.dtype, t.device) for t in tensors_of(model.state_))
            items = ((name, t.shape[1:], t.dtype) for name, t in named(task.items).items())
            key = (id(model._learner), type(model), model._views.n, model.chunk_size, *state, *items)
        alike[key].append(task)
    for group in alike.values():
        # Similar sizes side by side, so that little is padded.
        group.sort(key=lambda task: len(task.blank))
        batch: list[_Task] = []
        for task in group:
            if batch and (len(batch) + 1) * len(task.blank) > task.model.chunk_size:
                yield batch
                batch = []
            batch.append(task)
        yield batch


def _answered(batch: list[_Task]) -> list[Pass | RegardError]:
    """A pass for each task, in one where that can be."""
    if len(batch) > 1:
        try:
            return list(_in_one_pass(batch))
        except EpisodeError:  # states that cannot be joined, or one of the tasks is at fault
            pass
    answered: list[Pass | RegardError] = []
    for task in batch:
        try:
            answered.append(task.model._answer(task.items, task.blank, not task.model._regression))
        except RegardError as error:
            answered.append(error)
    return answered


def _in_one_pass(batch: list[_Task]) -> Iterator[Pass]:
    n_queries = max(len(task.blank) for task in batch)
    asked = []
    for task in batch:
        row = torch.arange(n_queries).clamp_max(len(task.blank) - 1)  # its last query again
        padded = map_items(lambda t, row=row: t[row], task.items)
        asked.append(named(task.model._placed(task.model._views.queries(padded))))
    x: Items = {name: torch.cat([each[name] for each in asked]) for name in asked[0]}
    if not isinstance(batch[0].items, dict):
        x = first_tensor(x)
    model = batch[0].model
    with torch.no_grad():
        output, attention = model._predict_items(
            join_states([task.model.state_ for task in batch]), x, not model._regression
        )
        whole = model._output(output).cpu()
    n_views = model._views.n
    for i, task in enumerate(batch):
        n = len(task.blank)
        first = None if attention is None else attention[i * n_views, :n].cpu()
        yield Pass(whole[i * n_views : (i + 1) * n_views, :n], first, task.blank)

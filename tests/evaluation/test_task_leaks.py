"""Leaks between tasks that label the same items: planted, and found; absent, and not reported."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from regard.evaluation.leaks import Finding, find_leaks
from regard.evaluation.leaks.tasks import items_of_tasks_stand_in_one_split, labels_of_a_task_are_not_repeated
from regard.learners import Prototypical
from regard.nn.flat import Flat
from regard.sampling.task_table import TaskTable, TaskTableSampler

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 2, (500, 3)).astype(np.float32)


def table(y: NDArray[np.float32], names: Sequence[str], first: int = 0) -> TaskTable:
    ids = tuple(f"molecule {i}" for i in range(first, first + len(y)))
    return TaskTable(torch.zeros(len(y), 2), y, tuple(names), ids)


def look(train: TaskTable, test: TaskTable, check: object) -> Finding:
    sampler = TaskTableSampler(test, 5, 5)
    [found] = find_leaks(
        Prototypical(Flat()),
        sampler,
        n_episodes=2,
        checks=[check],  # type: ignore[list-item]
        tables={"train": train, "test": test},
        item_ids={"train": train.ids, "test": test.ids},
    )
    return found


def test_a_task_that_repeats_a_test_task_is_named() -> None:
    noisy = np.where(np.random.default_rng(1).random((500, 1)) < 0.1, 1 - LABELS[:, :1], LABELS[:, :1])
    repeated = look(table(noisy, ["ratio"]), table(LABELS, ["p53", "b", "c"]), labels_of_a_task_are_not_repeated)
    assert repeated.verdict == "failed" and "'p53' (test) repeats 'ratio' (train)" in repeated.proof
    opposite = look(table(1 - noisy, ["ratio"]), table(LABELS, ["p53", "b", "c"]), labels_of_a_task_are_not_repeated)
    assert opposite.verdict == "failed" and re.search(r"correlation -0\.[78]", opposite.proof)


def test_unrelated_tasks_and_few_shared_items_pass() -> None:
    other = RNG.integers(0, 2, (500, 1)).astype(np.float32)
    assert look(table(other, ["x"]), table(LABELS, "abc"), labels_of_a_task_are_not_repeated).verdict == "passed"
    few = table(LABELS[:, :1], ["x"], first=300)  # 200 items are shared, too few to say
    assert look(few, table(LABELS, "abc"), labels_of_a_task_are_not_repeated).verdict == "passed"


def test_items_on_both_sides_are_counted() -> None:
    check = items_of_tasks_stand_in_one_split
    shared = look(table(LABELS, "abc", first=450), table(LABELS, "def"), check)
    assert shared.verdict == "failed" and "50 of 500 test items" in shared.proof
    assert look(table(LABELS, "abc", first=500), table(LABELS, "def"), check).verdict == "passed"

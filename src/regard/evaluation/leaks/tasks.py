"""Leaks between tasks that label the same items: assays of molecules, properties of materials.

Two readings of one experiment stand under two names, and data sets hold each other's measurements. So a test task may
be among the training tasks; its labels say so. And where a test item also stands in the training tasks, its labels
there go far: a molecule that kills cells is active in most assays.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from regard.evaluation.leaks.context import Finding, LeakContext, judged
from regard.sampling.task_table import repeated_tasks

_CORRELATION, _SHARED = 0.6, 300


def labels_of_a_task_are_not_repeated(context: LeakContext) -> Finding:
    """No task of one split has labels that one of another repeats: |phi| above 0.6 on 300 items that both label."""
    check = "no task repeats the labels of another split's"
    if len(context.tables) < 2:
        return Finding(check, "does not apply", "items have one class each, and not several tasks")
    faults = []
    for a, b in combinations(context.tables, 2):
        first, second = context.tables[a], context.tables[b]
        row = {name: i for i, name in enumerate(first.ids)}
        shared = [(row[name], i) for i, name in enumerate(second.ids) if name in row]
        if not shared:
            continue
        rows, others = (np.array(numbers) for numbers in zip(*shared, strict=True))
        found = repeated_tasks(first.y[rows], second.y[others], at_least=_CORRELATION, n_shared=_SHARED)
        faults += [
            f"{second.names[r.task]!r} ({b}) repeats {first.names[r.other]!r} ({a}): correlation {r.phi:.2f} on "
            f"{r.n_shared} items"
            for r in sorted(found, key=lambda r: -abs(r.phi))
        ]
    counts = ", ".join(f"{split} {len(table.names)}" for split, table in context.tables.items())
    return judged(check, faults, f"tasks: {counts}; none correlated above {_CORRELATION} on {_SHARED} items")


def items_of_tasks_stand_in_one_split(context: LeakContext) -> Finding:
    """No item that test episodes are made of is labelled by the tasks that were trained on."""
    check = "no item of the test tasks is trained on"
    if "train" not in context.item_ids or "test" not in context.item_ids:
        return Finding(check, "does not apply", "items have one class each, and not several tasks")
    train, test = set(context.item_ids["train"]), context.item_ids["test"]
    both = sum(name in train for name in test)
    known = f"{both} of {len(test)} test items are training items: what is remembered of them may answer"
    return judged(check, [known] if both else [], f"items: train {len(train)}, test {len(test)}; none shared")

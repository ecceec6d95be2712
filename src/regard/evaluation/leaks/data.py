"""Leaks of the data: test classes, items or labels that training or the support give away."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import torch

from regard.episode import first_tensor
from regard.evaluation.intervals import mean_interval
from regard.evaluation.leaks.context import LEVEL, Finding, LeakContext, judged
from regard.evaluation.leaks.duplicates import digests, is_picture, near_pairs
from regard.sampling.dataset import Dataset


def classes_stand_in_one_part(context: LeakContext) -> Finding:
    """No class name stands in two parts."""
    check = "training and test classes are different"
    if len(context.parts) < 2:
        return Finding(check, "does not apply", "no other part of the data was given")
    shared = [
        f"{name!r} in {a} and {b}"
        for a, b in combinations(context.parts, 2)
        for name in sorted(set(context.parts[a].class_names) & set(context.parts[b].class_names))
    ]
    counts = ", ".join(f"{name} {part.n_classes}" for name, part in context.parts.items())
    return judged(check, shared, f"classes: {counts}; none shared")


def contents_stand_in_one_part(context: LeakContext) -> Finding:
    """No item of the test part, under whatever name, stands in another one."""
    check = "no test item was trained on under another name"
    test, others = context.parts.get("test"), {k: v for k, v in context.parts.items() if k != "test"}
    if test is None or not others:
        return Finding(check, "does not apply", "no training part was given")
    mine = digests(test.x)
    shared = []
    for name, part in others.items():
        known = {digest: row for row, digest in enumerate(digests(part.x))}
        pairs = [(known[d], row) for row, d in enumerate(mine) if d in known]
        shared += [f"{_class_of(part, a)!r} ({name}) is {_class_of(test, b)!r} (test)" for a, b in pairs]
    return judged(check, shared, f"{len(test)} test items, none of them elsewhere, byte by byte")


def contents_have_no_near_copy(context: LeakContext) -> Finding:
    """No picture of the test part is nearly one of the training part."""
    check = "no test picture is nearly a training picture"
    test, train = context.parts.get("test"), context.parts.get("train")
    if test is None or train is None:
        return Finding(check, "does not apply", "no training part was given")
    if not (is_picture(test.x) and is_picture(train.x)):
        return Finding(check, "does not apply", "items are not pictures")
    pairs = near_pairs(first_tensor(test.x), first_tensor(train.x))
    shared = [f"{_class_of(test, a)!r} (test) is {_class_of(train, b)!r} (train) to {r:.3f}" for a, b, r in pairs]
    return judged(check, shared, f"{len(test)} x {len(train)} pairs, none alike")


def support_and_query_share_no_item(context: LeakContext) -> Finding:
    """No query of an episode stands in its support, by row or by content."""
    check = "no query stands in its support"
    rows, digest = context.rows(), _digests_of_rows(context)
    shared = []
    for number in context.numbers():
        support = {digest[row]: row for row in rows.support[number].tolist() if row >= 0}
        asked = [row for row in rows.query[number].tolist() if row >= 0]
        shared += [
            f"episode {number}: query row {row} is support row {support[digest[row]]}"
            for row in asked
            if digest[row] in support
        ]
    return judged(check, shared, f"{context.n_episodes} episodes, by row and byte by byte")


def support_and_query_share_no_near_copy(context: LeakContext) -> Finding:
    """No query picture of an episode is nearly one of its support pictures."""
    check = "no query is nearly a support picture"
    data = context.sampler.dataset
    if not is_picture(data.x):
        return Finding(check, "does not apply", "items are not pictures")
    rows, shared = context.rows(), []
    for number in context.numbers():
        support, query = (r[number][r[number] >= 0] for r in (rows.support, rows.query))
        pairs = near_pairs(first_tensor(data.rows(query)), first_tensor(data.rows(support)))
        shared += [
            f"episode {number}: rows {int(query[a])} and {int(support[b])} agree to {r:.3f}" for a, b, r in pairs
        ]
    return judged(check, shared, f"{context.n_episodes} episodes, difference hash and pixels")


def labels_do_not_follow_the_classes(context: LeakContext) -> Finding:
    """The label that a class gets in an episode says nothing about which class it is."""
    check = "labels do not follow the order of the classes"
    rows, y = context.rows(), context.sampler.dataset.y
    slopes = []
    for number in context.numbers():
        there = rows.support[number] >= 0
        label, kind = rows.support_y[number][there].numpy(), y[rows.support[number][there]].numpy()
        if len(set(label.tolist())) > 1:
            slopes.append(_rank_correlation(label, kind))
    if len(slopes) < 2:
        return Finding(check, "does not apply", "episodes of one class")
    interval = mean_interval(slopes, level=LEVEL)
    followed = [] if interval.covers(0.0) else [f"rank correlation of label and class {interval}"]
    return judged(check, followed, f"rank correlation of label and class {interval}")


def _digests_of_rows(context: LeakContext) -> dict[int, str]:
    """Digest by row, for the rows that these episodes use."""
    rows = context.rows()
    used = torch.unique(torch.cat([rows.support.flatten(), rows.query.flatten()]))
    used = used[used >= 0]
    return dict(zip(used.tolist(), digests(context.sampler.dataset.rows(used)), strict=True))


def _class_of(data: Dataset, row: int) -> str:
    return data.class_names[int(data.y[row])]


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's, of the classes' labels and numbers; one point a class."""
    pairs = sorted(set(zip(a.tolist(), b.tolist(), strict=True)))
    ranks = np.argsort(np.argsort([kind for _, kind in pairs]))
    return float(np.corrcoef(np.arange(len(pairs)), ranks)[0, 1])

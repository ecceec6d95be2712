"""Leaks of the data: test classes, items or labels that training or the support give away.

Splits are compared pair by pair, validation too. Episodes are looked at as the learner gets them: after the sampler's
transform, and whatever the sampler did to its rows.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from itertools import combinations

import numpy as np

from regard.domains.base import digests
from regard.episode import Items
from regard.evaluation.intervals import mean_interval
from regard.evaluation.leaks.context import LEVEL, Finding, LeakContext, judged
from regard.evaluation.leaks.duplicates import copies_in_episodes, is_coarse, near_copies
from regard.sampling.dataset import Dataset

_EPISODES = 12  # searched for near copies, which takes a while


def class_names_stand_in_one_split(context: LeakContext) -> Finding:
    """No class name stands in two splits, whatever its case, blanks, signs and Unicode form."""
    check = "training and test classes are different"
    if len(context.splits) < 2:
        return Finding(check, "does not apply", "no other split of the data was given")
    shared = []
    for a, b in combinations(context.splits, 2):
        plain = {plain_name(name): name for name in context.splits[a].class_names}
        names = [(plain.get(plain_name(name)), name) for name in context.splits[b].class_names]
        shared += [
            f"{name!r} in {a} and {b}" if name == other else f"{other!r} in {a} is {name!r} in {b}"
            for other, name in names
            if other is not None
        ]
    counts = ", ".join(f"{name} {data.n_classes}" for name, data in context.splits.items())
    return judged(check, shared, f"classes: {counts}; none shared")


def plain_name(name: str) -> str:
    """A name without what may differ by accident; names that mean different things stay different.

    A single letter keeps its case ("a" and "A" are two letters), digits stay apart ("1.0" is not "10"), and signs that
    carry meaning stay ("C" is not "C++").
    """
    words = unicodedata.normalize("NFC", name).replace("\\", "/").split("/")
    return "/".join(_plain_word(word) for word in words)


def _plain_word(word: str) -> str:
    visible = "".join(c for c in word if unicodedata.category(c) != "Cf").strip()
    if len(visible) < 2:
        return visible
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", visible).casefold())
    kept: list[str] = []
    gap = ""
    for c in text:
        if c.isspace() or (unicodedata.category(c).startswith("P") and c not in "#%&*@"):
            gap = "-" if c == "-" or gap == "-" else " "
            continue
        # Between digits something remains, and so does the sign of a number.
        if gap and c.isdigit() and ((kept and kept[-1].isdigit()) or (not kept and gap == "-")):
            kept.append("-" if not kept else " ")
        gap = ""
        kept.append(c)
    return "".join(kept) or visible


def contents_stand_in_one_split(context: LeakContext) -> Finding:
    """No item of one split, under whatever name, stands in another one."""
    check = "no item stands in two splits"
    if len(context.splits) < 2:
        return Finding(check, "does not apply", "no other split of the data was given")
    if any(is_coarse(data.x, data.y) for data in context.splits.values()):
        return Finding(check, "does not apply", "items of different classes of one split are often equal")
    by_split = {name: digests(data.x) for name, data in context.splits.items()}
    common = set().union(*(_common(data, by_split[name]) for name, data in context.splits.items()))
    shared = []
    for a, b in combinations(context.splits, 2):
        first = {digest: row for row, digest in enumerate(by_split[a])}
        shared += [
            f"{_class_of(context.splits[a], first[d])!r} ({a}) is {_class_of(context.splits[b], row)!r} ({b})"
            for row, d in enumerate(by_split[b])
            if d in first and d not in common
        ]
    counts = ", ".join(f"{name} {len(data)}" for name, data in context.splits.items())
    return judged(check, shared, f"items: {counts}; none shared, byte by byte")


def _common(data: Dataset, known: list[str]) -> set[str]:
    """Contents that stand under several classes of one split: short texts, coarse vectors, blank pictures."""
    classes: defaultdict[str, set[int]] = defaultdict(set)
    for digest, label in zip(known, data.y.tolist(), strict=True):
        classes[digest].add(label)
    return {digest for digest, labels in classes.items() if len(labels) > 1}


def contents_have_no_near_copy(context: LeakContext) -> Finding:
    """No item of one split is nearly one of another: shifted, turned, mirrored, cropped, inverted, noisy, reworded."""
    check = "no item is nearly an item of another split"
    if len(context.splits) < 2:
        return Finding(check, "does not apply", "no other split of the data was given")
    if any(is_coarse(data.x, data.y) for data in context.splits.values()):
        return Finding(check, "does not apply", "items of different classes of one split are often equal")
    shared, counts = [], []
    for a, b in combinations(context.splits, 2):
        first, second = context.splits[a], context.splits[b]
        # The smaller one is asked about: each of its items has its nearest of the other looked up.
        if len(first) < len(second):
            a, b, first, second = b, a, second, first
        by_domain = context.domain and context.domain.near_copies(second.x, first.x, second.y, first.y)
        pairs = near_copies(second.x, first.x, second.y, first.y) if by_domain is None else by_domain
        shared += [
            f"{_class_of(second, p.row_a)!r} ({b}) is {_class_of(first, p.row_b)!r} ({a}): {p.how} {p.likeness:.3f}"
            for p in pairs
        ]
        counts.append(f"{b} {len(second)} x {a} {len(first)}")
    return judged(check, shared, f"{', '.join(counts)} pairs, none much nearer than different items are")


def support_and_query_share_no_item(context: LeakContext) -> Finding:
    """No query of an episode stands in its support, by row of the data or by content as the learner gets it."""
    check = "no query stands in its support"
    shared = []
    for number in context.numbers():
        rows = context.rows(number)
        if rows is not None:
            held = set(rows[0].tolist()) - {-1}
            shared += [f"episode {number}: query row {row} is a support row" for row in rows[1].tolist() if row in held]
        if context.is_coarse():
            continue
        support, query = context.items(number)
        held_content = {digest: i for i, digest in enumerate(digests(support))}
        common = _under_two_labels(context, number, support, query)
        shared += [
            f"episode {number}: query {i} is support item {held_content[digest]}"
            for i, digest in enumerate(digests(query))
            if digest in held_content and digest not in common
        ]
    return judged(check, shared, f"{context.n_episodes} episodes, by row and byte by byte")


def _under_two_labels(context: LeakContext, number: int, support: Items, query: Items) -> set[str]:
    """Contents that several labels of this episode share: coarse items, which say nothing."""
    labels: defaultdict[str, set[int]] = defaultdict(set)
    y_support, y_query = context.labels(number)
    if y_support.is_floating_point():
        return set()
    for x, y in ((support, y_support), (query, y_query)):
        for digest, label in zip(digests(x), y.tolist(), strict=True):
            labels[digest].add(label)
    return {digest for digest, seen in labels.items() if len(seen) > 1}


def support_and_query_share_no_near_copy(context: LeakContext) -> Finding:
    """No query of an episode is nearly one of its support items, as the learner gets them."""
    check = "no query is nearly a support item"
    if context.is_coarse():
        return Finding(check, "does not apply", "items of different classes are often equal")
    numbers = context.numbers()[:_EPISODES]
    episodes = [(*context.items(n), *context.classes(n)) for n in numbers]
    shared = [
        f"episode {numbers[episode]}: query {pair.row_b} and support item {pair.row_a}: {pair.how} {pair.likeness:.3f}"
        for episode, pair in copies_in_episodes(episodes)
    ]
    return judged(check, shared, f"{len(numbers)} episodes, none nearer than items of a class are")


def labels_do_not_follow_the_classes(context: LeakContext) -> Finding:
    """The label that a class gets in an episode says nothing about which class it is."""
    check = "labels do not follow the order of the classes"
    if context.episode(0).support.is_regression:
        return Finding(check, "does not apply", "targets are numbers")
    slopes = []
    for number in context.numbers():
        if not context.knows_classes(number):
            return Finding(check, "does not apply", "the classes of these items are not known")
        label, kind = context.labels(number)[0].numpy(), context.classes(number)[0].numpy()
        if len(set(label.tolist())) > 1 and len(set(kind.tolist())) > 1:
            slopes.append(_rank_correlation(label, kind))
    if len(slopes) < 2:
        return Finding(check, "does not apply", "episodes of one class")
    interval = mean_interval(slopes, level=LEVEL)
    followed = [] if interval.covers(0.0) else [f"rank correlation of label and class {interval}"]
    return judged(check, followed, f"rank correlation of label and class {interval}")


def _class_of(data: Dataset, row: int) -> str:
    return data.class_names[int(data.y[row])]


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's, of the classes' labels and numbers; one point a class."""
    pairs = sorted(set(zip(a.tolist(), b.tolist(), strict=True)))
    ranks = np.argsort(np.argsort([kind for _, kind in pairs]))
    return float(np.corrcoef(np.arange(len(pairs)), ranks)[0, 1])

"""Test classes that are training classes under another name: other drawings of the same letters.

Two classes are mutual where items of each are often nearer to an item of the other than to any of their own class. How
mutual different classes can be, and how mutual the same class is with itself, depends on the data; so both are measured
within the training data: some of its classes against the others (different), and half of the items of each class
against the other half (the same). Only where these two can be told apart does the check apply.
"""

from __future__ import annotations

from itertools import combinations

import torch
from scipy.stats import binom
from torch import Tensor
from torch.nn import functional as F

from regard.domains.base import digests
from regard.domains.images.registration import grey_pictures
from regard.episode import Items, map_items
from regard.evaluation.leaks.context import Finding, LeakContext, judged
from regard.evaluation.leaks.duplicates import is_coarse, is_picture, is_tokens, jaccard, token_ids, token_sets, vectors
from regard.sampling.dataset import Dataset

_MOST_CLASSES, _MOST_ITEMS = 120, 12
_RARE = 0.02  # share of different classes that may be more mutual than the threshold
_LEAST_POWER = 0.4  # share of equal classes that must be more mutual than it
_LEAST_SHARE = 0.3  # of those expected, were all test classes training classes
_LEVEL = 1e-4


def classes_have_no_other_name(context: LeakContext) -> Finding:
    """The classes of one split are not those of another under another name."""
    check = "no class stands in two splits under another name"
    pairs = [(a, b) for a, b in combinations(context.splits, 2)]
    if not pairs:
        return Finding(check, "does not apply", "no other split of the data was given")
    if any(is_coarse(data.x, data.y) for data in context.splits.values()):
        return Finding(check, "does not apply", "items of different classes of one split are often equal")
    faults, passed, reasons = [], [], []
    for larger, smaller in (
        (a, b) if context.splits[a].n_classes >= context.splits[b].n_classes else (b, a) for a, b in pairs
    ):
        fault, told = _twins(context.splits[larger], context.splits[smaller], f"{smaller} and {larger}")
        (faults if fault else passed if fault is not None else reasons).append(told)
    if not faults and not passed:
        return Finding(check, "does not apply", "; ".join(reasons))
    return judged(check, faults, "; ".join(passed + reasons))


def _twins(train: Dataset, test: Dataset, where: str) -> tuple[bool | None, str]:
    """Whether classes of `test` are classes of `train`, and the numbers; None where it cannot be told."""
    x_train, y_train = _thinned(train)
    x_test, y_test = _thinned(test)
    n_train, n_test = int(y_train.max()) + 1, int(y_test.max()) + 1
    if n_train < 6 or n_test < 2:
        return None, f"{where}: too few classes"
    similar = _similarity(x_train, x_train)
    size = min(n_test, n_train // 2)
    odd = _every_other(y_train)
    different, same = [], []
    for repeat in range(4 if size < 20 else 1):
        held_out = torch.randperm(n_train, generator=torch.Generator().manual_seed(repeat))[:size]
        is_held_out = torch.isin(y_train, held_out)
        for values, a, b in ((different, is_held_out, ~is_held_out), (same, is_held_out & odd, ~odd)):
            own_a, own_b = _own(similar[a][:, a], y_train[a]), _own(similar[b][:, b], y_train[b])
            values.append(_mutual(similar[a][:, b], (own_a, own_b), y_train[a], y_train[b]))
    threshold = float(torch.cat(different).quantile(1 - _RARE)) + 1e-6
    power = float((torch.cat(same) > threshold).float().mean())
    if power < _LEAST_POWER:
        return None, f"{where}: items do not tell the classes of this data apart"
    own = _own(_similarity(x_test, x_test), y_test), _own(similar, y_train)
    mutual = _mutual(_similarity(x_test, x_train), own, y_test, y_train)
    count, expected = int((mutual > threshold).sum()), max(_RARE, 1 / (1 + len(torch.cat(different))))
    unlikely = binom.sf(count - 1, len(mutual), expected) < _LEVEL
    numbers = f"{where}: {count} of {len(mutual)} classes are as mutual as one class with itself"
    return bool(unlikely and count >= _LEAST_SHARE * power * len(mutual)), numbers


def _thinned(data: Dataset) -> tuple[Items, Tensor]:
    """At most 120 classes of at most 12 items, renumbered from 0."""
    generator = torch.Generator().manual_seed(0)
    classes = torch.unique(data.y)
    classes = classes[torch.randperm(len(classes), generator=generator)[:_MOST_CLASSES]]
    # An item that stands many times in its class is one item.
    known = digests(data.x)
    first = torch.tensor(sorted({digest: i for i, digest in reversed(list(enumerate(known)))}.values()))
    rows = [first[data.y[first] == c] for c in classes]
    rows = [r for r in rows if len(r)]
    # A spread selection: the first items are often of one kind.
    rows = [r[torch.linspace(0, len(r) - 1, min(len(r), _MOST_ITEMS)).long()] for r in rows]
    y = torch.repeat_interleave(torch.arange(len(rows)), torch.tensor([len(r) for r in rows]))
    index = torch.cat(rows)
    return map_items(lambda t: t[index.to(t.device)], data.x), y


def _similarity(a: Items, b: Items) -> Tensor:
    """(N, M), larger for items that are more alike."""
    if is_picture(a) and isinstance(a, Tensor) and isinstance(b, Tensor):
        return _flat_pictures(a) @ _flat_pictures(b).T
    ids_a, ids_b = token_ids(a), token_ids(b)
    if is_tokens(a) and ids_a is not None and ids_b is not None:
        return jaccard(*token_sets(ids_a, ids_b))
    x, z = vectors(a), vectors(b)
    both = torch.cat([x, z])
    scale = both.std(0, correction=0)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return -torch.cdist(x / scale, z / scale)


def _flat_pictures(x: Tensor) -> Tensor:
    small = F.avg_pool2d(grey_pictures(x)[:, None], 2).flatten(1)
    return F.normalize(small - small.mean(1, keepdim=True), dim=1)


def _every_other(y: Tensor) -> Tensor:
    """(N,) true for every other item of each class."""
    order = y.argsort(stable=True)
    odd = torch.zeros(len(y), dtype=torch.bool)
    start = torch.cumsum(torch.bincount(y), 0) - torch.bincount(y)
    odd[order] = (torch.arange(len(y)) - start[y[order]]) % 2 == 1
    return odd


def _own(similar: Tensor, y: Tensor) -> Tensor:
    """(N,) how similar each item is to the likest other one of its class."""
    others = (y[:, None] == y) & ~torch.eye(len(y), dtype=torch.bool)
    return similar.masked_fill(~others, -torch.inf).max(1).values


def _mutual(across: Tensor, own: tuple[Tensor, Tensor], y_a: Tensor, y_b: Tensor) -> Tensor:
    """(classes of a,) how mutual each is with the class of b that is most so: geometric mean of the two shares."""
    forth, back = _share(across, own[0], y_a, y_b), _share(across.T, own[1], y_b, y_a)
    return (forth * back.T).sqrt().max(1).values


def _share(across: Tensor, own: Tensor, y_a: Tensor, y_b: Tensor) -> Tensor:
    """(classes of a, classes of b): share of items of the first that are nearer to the second than to their own."""
    classes_a, a = torch.unique(y_a, return_inverse=True)
    classes_b, b = torch.unique(y_b, return_inverse=True)
    likest = torch.full((len(a), len(classes_b)), -torch.inf)
    likest = likest.scatter_reduce(1, b.expand(len(a), -1), across, "amax")
    # An item alone in its class has none of its own to compare with.
    nearer = ((likest > own[:, None]) & own.isfinite()[:, None]).float()
    shares = torch.zeros(len(classes_a), len(classes_b)).index_add_(0, a, nearer)
    return shares / torch.bincount(a)[:, None]

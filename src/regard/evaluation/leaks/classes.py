"""Test classes that are training classes under another name: other drawings of the same letters.

Two classes are mutual where most items of each have their nearest item of the other data set in the other class. How
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

from regard.domains.images.registration import grey_pictures
from regard.episode import Items, map_items
from regard.evaluation.leaks.context import Finding, LeakContext, judged
from regard.evaluation.leaks.duplicates import is_picture, is_tokens, jaccard, token_ids, token_sets, vectors
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
    faults, passed, reasons = [], [], []
    for larger, smaller in (
        (a, b) if context.splits[a].n_classes >= context.splits[b].n_classes else (b, a) for a, b in pairs
    ):
        fault, told = _twins(context.splits[larger], context.splits[smaller], f"{smaller} and {larger}")
        (faults if fault else passed if fault is not None else reasons).append(told)
    if not faults and not passed:
        return Finding(check, "does not apply", "; ".join(reasons))
    return judged(check, faults, "; ".join(passed))


def _twins(train: Dataset, test: Dataset, where: str) -> tuple[bool | None, str]:
    """Whether classes of `test` are classes of `train`, and the numbers; None where it cannot be told."""
    x_train, y_train = _thinned(train)
    x_test, y_test = _thinned(test)
    n_train, n_test = int(y_train.max()) + 1, int(y_test.max()) + 1
    if n_train < 6 or n_test < 2:
        return None, f"{where}: too few classes"
    similar = _similarity(x_train, x_train)
    size = min(n_test, n_train // 2)
    different, same = [], []
    for repeat in range(4 if size < 20 else 1):
        held_out = torch.randperm(n_train, generator=torch.Generator().manual_seed(repeat))[:size]
        is_held_out = torch.isin(y_train, held_out)
        odd = _every_other(y_train)
        different.append(_mutual(similar, is_held_out, ~is_held_out, y_train))
        same.append(_mutual(similar, is_held_out & odd, ~odd, y_train))
    threshold = float(torch.cat(different).quantile(1 - _RARE)) + 1e-6
    power = float((torch.cat(same) > threshold).float().mean())
    if power < _LEAST_POWER:
        return None, f"{where}: items do not tell the classes of this data apart"
    across = _similarity(x_test, x_train)
    mutual = _mutual_of(across, y_test, y_train)
    count, expected = int((mutual > threshold).sum()), max(_RARE, 1 / (1 + len(torch.cat(different))))
    unlikely = binom.sf(count - 1, len(mutual), expected) < _LEVEL
    numbers = f"{where}: {count} of {len(mutual)} classes are as mutual as one class with itself"
    return bool(unlikely and count >= _LEAST_SHARE * power * len(mutual)), numbers


def _thinned(data: Dataset) -> tuple[Items, Tensor]:
    """At most 120 classes of at most 12 items, renumbered from 0."""
    generator = torch.Generator().manual_seed(0)
    classes = torch.unique(data.y)
    classes = classes[torch.randperm(len(classes), generator=generator)[:_MOST_CLASSES]]
    rows = [(data.y == c).nonzero()[:, 0] for c in classes]
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
    """(N,) true for every other item of each class; equal items stay together, being one item."""
    order = y.argsort(stable=True)
    odd = torch.zeros(len(y), dtype=torch.bool)
    start = torch.cumsum(torch.bincount(y), 0) - torch.bincount(y)
    odd[order] = (torch.arange(len(y)) - start[y[order]]) % 2 == 1
    return odd


def _mutual(similar: Tensor, a: Tensor, b: Tensor, y: Tensor) -> Tensor:
    return _mutual_of(similar[a][:, b], y[a], y[b])


def _mutual_of(similar: Tensor, y_a: Tensor, y_b: Tensor) -> Tensor:
    """(classes of a,) geometric mean of the two shares of nearest items, for the class of b that is most mutual."""
    classes_a, a = torch.unique(y_a, return_inverse=True)
    classes_b, b = torch.unique(y_b, return_inverse=True)
    forth = torch.zeros(len(classes_a), len(classes_b))
    back = torch.zeros_like(forth)
    forth.index_put_((a, b[similar.argmax(1)]), torch.ones(len(a)), accumulate=True)
    back.index_put_((a[similar.argmax(0)], b), torch.ones(len(b)), accumulate=True)
    forth = forth / forth.sum(1, keepdim=True).clamp_min(1)
    back = back / back.sum(0, keepdim=True).clamp_min(1)
    return (forth * back).sqrt().max(1).values

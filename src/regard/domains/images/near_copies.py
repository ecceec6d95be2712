"""Pictures that are the same, or nearly: shifted, turned, mirrored, inverted, cropped, noisy.

How alike two different pictures can be depends on the data: two vertical strokes are one stroke. So likeness is judged
against the data itself.
"""

from __future__ import annotations

import torch
from torch import Tensor

from regard.domains.base import NearCopy, digests
from regard.domains.images.registration import grey_pictures, picture_matches

LIKE_PICTURES = 0.965
"""Correlation of details below which two registered pictures are no copies."""

_SURE = 0.99  # correlation of details of all copies but those much changed
_BY_ACCIDENT = 1 / 150  # share of pictures of which a likeness below that is no sign of copies
_NEARER = 0.3  # of what is left unexplained by the likest picture of another class
_DETAIL = 0.09  # share of a picture that must have edges, or it is a dot or a short stroke (letters: 0.11 and more)
_SIMPLE = 0.15  # below this share, a picture that is like those of two classes proves nothing either
_ALIKE = 0.9  # correlation of details above which two pictures show the same simple shape, if not more
_MOST_FLAGGED = 400
_MOST_REGISTERED = 6000


def near_picture_copies(a: Tensor, b: Tensor, y_a: Tensor, y_b: Tensor) -> list[NearCopy]:
    """Pairs of pictures that are copies: much more alike than either is to pictures of other classes of its own set.

    Args:
        a: (N, H, W) or (N, H, W, C).
        b: (M, ...) likewise.
        y_a: (N,) classes.
        y_b: (M,).
    """
    grey_a, grey_b = grey_pictures(a), grey_pictures(b)
    # Clean renderings of a letter stand in training many times.
    first = torch.tensor(sorted({digest: row for row, digest in reversed(list(enumerate(digests(b))))}.values()))
    b, y_b, grey_b = b[first], y_b[first], grey_b[first]
    found = picture_matches(grey_a, grey_b, at_most=min(_MOST_REGISTERED, 100 + 5 * len(grey_a)))
    order = found.likeness.argsort(descending=True)[:_MOST_FLAGGED]
    flagged = order[found.likeness[order] >= LIKE_PICTURES]
    row_a, row_b, likeness = found.row_a[flagged], found.row_b[flagged], found.likeness[flagged]
    # Copies of one training class may stand under several names: they say nothing of how alike different items are.
    others = torch.ones(len(grey_a), dtype=torch.bool)
    others[row_a] = False
    usual = torch.maximum(_usual_picture(grey_a, y_a, row_a, others), _usual_picture(grey_b, y_b, row_b))
    detail = torch.minimum(_detail(grey_a[row_a]), _detail(grey_b[row_b]))
    # A simple shape is like those of many classes; a copy is like its original.
    alike = found.likeness >= _ALIKE
    n_classes = _classes_each(found.row_a[alike], y_b[found.row_b[alike]], row_a)
    telling = (detail >= _SIMPLE) | ((detail >= _DETAIL) & (n_classes < 2))
    kept = ((1 - likeness) <= _NEARER * (1 - usual)) & telling
    # Among thousands of pictures a few come that near without being copies, and one may in any set.
    unsure = kept & (likeness < _SURE)
    if int(unsure.sum()) <= max(1.0, _BY_ACCIDENT * len(grey_a)):
        kept &= ~unsure
    rows = zip(row_a[kept].tolist(), first[row_b[kept]].tolist(), likeness[kept].tolist(), strict=True)
    return [NearCopy(i, j, r, "details after registration correlate") for i, j, r in rows]


def _usual_picture(grey: Tensor, y: Tensor, rows: Tensor, others: Tensor | None = None) -> Tensor:
    """(F,) the largest likeness of these rows to pictures of other classes of their own set; to (N,) `others` of it."""
    unique, inverse = torch.unique(rows, return_inverse=True)
    best = torch.zeros(len(unique))
    if len(unique):
        allowed = y[unique][:, None] != y if others is None else (y[unique][:, None] != y) & others
        found = picture_matches(grey[unique], grey, at_most=2 * len(unique), allowed=allowed)
        best = best.scatter_reduce(0, found.row_a, found.likeness, "amax")
    return best[inverse]


def _classes_each(rows: Tensor, classes: Tensor, of: Tensor) -> Tensor:
    """(F,) how many different classes go with each of the rows `of`, among the pairs (rows, classes)."""
    pairs = torch.unique(torch.stack([rows, classes], 1), dim=0)[:, 0]
    return (pairs == of[:, None]).sum(1)


def _detail(grey: Tensor) -> Tensor:
    """(N,) the share of its pixels over which the edges of a picture are spread (participation ratio)."""
    slope_x = grey[:, 1:-1, 2:] - grey[:, 1:-1, :-2]
    slope_y = grey[:, 2:, 1:-1] - grey[:, :-2, 1:-1]
    edges = (slope_x**2 + slope_y**2).flatten(1)
    return edges.sum(1) ** 2 / (edges**2).sum(1).clamp_min(1e-12) / edges.shape[1]

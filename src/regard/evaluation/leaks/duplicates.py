"""Items that are the same, or nearly, whatever they are called.

    exact     equal bytes, found by a digest of each item's content
    near      pictures whose difference hashes lie within a few bits and whose pixels correlate almost perfectly

The difference hash shrinks a picture to 9 x 8 grey means and keeps, in 64 bits, which neighbour is brighter. It
forgives scaling, contrast and compression, and simple drawings may share it by accident; so it only proposes, and the
pixels decide.

Zauner 2010, "Implementation and benchmarking of perceptual image hash functions", describes hashes of this kind.

Left out: duplicates that were cropped, turned or mirrored.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from regard.episode import Items

_BITS_APART = 4  # of 64: what compression and rescaling change
_ALIKE = 0.98  # correlation of pixels above which two pictures are one
_AT_ONCE = 2048


def digests(x: Items) -> list[str]:
    """A digest of each item's content; equal items have equal digests."""
    tensors = [x[key] for key in sorted(x)] if isinstance(x, dict) else [x]
    arrays = [np.ascontiguousarray(t.detach().cpu().numpy()) for t in tensors]
    content = (b"".join(array[i].tobytes() for array in arrays) for i in range(len(arrays[0])))
    return [hashlib.blake2b(item, digest_size=12).hexdigest() for item in content]


def is_picture(x: Items) -> bool:
    """Whether items look like pictures: (N, H, W) or (N, H, W, 1 or 3) of at least 8 x 8."""
    if isinstance(x, dict) or x.ndim not in (3, 4) or (x.ndim == 4 and x.shape[-1] not in (1, 3)):
        return False
    return min(x.shape[1:3]) >= 8


def difference_hashes(x: Tensor) -> Tensor:
    """(N, H, W) or (N, H, W, C) pictures to (N, 64) of -1 and 1."""
    small = F.interpolate(_grey(x)[:, None], (8, 9), mode="area")[:, 0]
    return torch.where(small[:, :, 1:] > small[:, :, :-1], 1.0, -1.0).flatten(1)


def near_pairs(a: Tensor, b: Tensor) -> list[tuple[int, int, float]]:
    """(row of a, row of b, correlation of their pixels) of all pictures that are nearly one, equal ones included.

    Args:
        a: (N, H, W) or (N, H, W, C) pictures.
        b: (M, ...) of the same size.
    """
    hash_a, hash_b = difference_hashes(a), difference_hashes(b)
    pixels_a, pixels_b = _standardised(a), _standardised(b)
    found: list[tuple[int, int, float]] = []
    for start in range(0, len(hash_a), _AT_ONCE):
        agreement = hash_a[start : start + _AT_ONCE] @ hash_b.T
        i, j = (agreement >= 64 - 2 * _BITS_APART).nonzero(as_tuple=True)
        for part in torch.arange(len(i)).split(_AT_ONCE):
            likeness = (pixels_a[i[part] + start] * pixels_b[j[part]]).sum(-1)
            kept = likeness >= _ALIKE
            rows = zip((i[part] + start)[kept].tolist(), j[part][kept].tolist(), likeness[kept].tolist(), strict=True)
            found.extend(rows)
    return found


def _grey(x: Tensor) -> Tensor:
    grey = x.float()
    return grey.mean(-1) if grey.ndim == 4 else grey


def _standardised(x: Tensor) -> Tensor:
    """(N, pixels) of mean 0 and length 1, so that a product of two is their correlation; 0 for a blank picture."""
    flat = _grey(x).flatten(1)
    return F.normalize(flat - flat.mean(1, keepdim=True), dim=1)

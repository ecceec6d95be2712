"""Letters as a pen draws them: strokes of type thinned to lines, then drawn again with one width.

Type has thick and thin strokes, serifs and slants; a hand has a pen of one width. What is left of a letter after
thinning is about what a hand draws, and a learner trained on type alone learns it from these.

Zhang and Suen 1984, "A fast parallel algorithm for thinning digital patterns", Communications of the ACM 27, 236-239.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 512


def thinned(ink: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(N, H, W) strokes to lines one pixel wide that keep their connections.

    Pixels on the border of the picture count as paper.
    """
    ink = ink.copy()
    ink[:, [0, -1]], ink[:, :, [0, -1]] = False, False
    for first in range(0, len(ink), _AT_ONCE):
        lines = ink[first : first + _AT_ONCE]  # a view: what is peeled here is peeled from `ink`
        active = np.ones(len(lines), bool)
        while active.any():
            before = lines[active]
            after = _peel(_peel(before, 0), 1)
            lines[active] = after
            active[active] = (after != before).any((1, 2))
    return ink


def _peel(ink: NDArray[np.bool_], turn: int) -> NDArray[np.bool_]:
    """Take away the pixels of one pair of sides that nothing hangs on."""
    padded = np.pad(ink, ((0, 0), (1, 1), (1, 1)))
    height, width = ink.shape[1:]
    # North first, then clockwise, as the paper's P2 to P9.
    around = [(0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0), (0, 0)]
    p = [padded[:, y : y + height, x : x + width] for y, x in around]
    n_ink = sum(side.astype(np.uint8) for side in p)
    n_rises = sum((~a & b).astype(np.uint8) for a, b in zip(p, [*p[1:], p[0]], strict=True))
    north, east, south, west = p[0], p[2], p[4], p[6]
    free = ~(north & east & south) & ~(east & south & west)
    if turn:
        free = ~(north & east & west) & ~(north & south & west)
    return np.asarray(ink & ~((n_ink >= 2) & (n_ink <= 6) & (n_rises == 1) & free))

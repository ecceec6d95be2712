"""Molecules for tests: chains of pieces, all different."""

from __future__ import annotations

import numpy as np

PIECES = ("C", "CC", "O", "N", "c1ccccc1", "C(=O)O", "C1CCNCC1", "c1ccncc1", "Cl", "F", "S", "C#N", "C(=O)N")


def written_molecules(n: int, seed: int = 0) -> list[str]:
    """So many different molecules, chains of pieces."""
    rng = np.random.default_rng(seed)
    found: dict[str, None] = {}
    while len(found) < n:
        chosen = [PIECES[i] for i in rng.integers(0, len(PIECES), rng.integers(2, 5))]
        found["C" + "".join(f"({piece})C" for piece in chosen)] = None
    return list(found)

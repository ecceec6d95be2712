"""Counter-based random numbers: number j of episode i is a pure function of (seed, i, j).

A generator with state would make episode 1,000 depend on the 999 before it. Here there is no state: a 64-bit mixer
(the finaliser of SplitMix64, Steele et al. 2014) is applied to a key of (seed, stream) plus a counter of (i, j), for a
whole batch of episodes at once. So a run resumes by a number, and N processes share episodes without talking.

Left out on purpose: cryptographic quality. Shuffles and distortions do not need it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    # In place: `z` is always a fresh array, and the passes over memory are what this costs.
    z ^= z >> np.uint64(30)
    z *= _MIX1
    z ^= z >> np.uint64(27)
    z *= _MIX2
    z ^= z >> np.uint64(31)
    return z


def bits(seed: int, stream: int, episodes: NDArray[np.int64], n: int) -> NDArray[np.uint64]:
    """(B, n) random 64-bit words: row b belongs to episode number `episodes[b]` alone.

    `stream` keeps apart what is drawn for different purposes (classes, rows, noise) under one seed.
    """
    # The seed is taken modulo 2**64, so that negative and very large seeds work too.
    key = _mix(np.array([(seed + (stream + 1) * int(_GOLDEN)) % 2**64], dtype=np.uint64))
    start = _mix(episodes.astype(np.uint64) * _GOLDEN + key)
    counter = np.arange(1, n + 1, dtype=np.uint64) * _GOLDEN
    return _mix(start[:, None] + counter[None, :])


def uniform(seed: int, stream: int, episodes: NDArray[np.int64], n: int) -> NDArray[np.float32]:
    """(B, n) float32 in the open interval (0, 1)."""
    # 23 bits and a half step: neither 0 nor 1 can come out, even after rounding to float32.
    return ((bits(seed, stream, episodes, n) >> np.uint64(41)).astype(np.float32) + np.float32(0.5)) * np.float32(
        2**-23
    )


def without_replacement(words: NDArray[np.uint64], population: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Draw `n` different numbers below `population`, in random order, for every leading index at once.

    Floyd's algorithm: n rounds whatever the population, vectorised over all leading axes. It draws a uniform *set*;
    a random order is added after it, since class order is the label order.

    Args:
        words: (..., 2 * n) random words; n for the set, n for the order.
        population: (...) sizes, each at least n.
        n: how many.

    Returns:
        (..., n) int64.
    """
    chosen = np.empty((*population.shape, n), dtype=np.int64)
    for k in range(n):
        top = population - n + k
        # The high half of a 32 x 32 bit product: unbiased to one part in 2**32 and needs no division.
        drawn = (((words[..., k] >> np.uint64(32)) * (top + 1).astype(np.uint64)) >> np.uint64(32)).astype(np.int64)
        taken = (chosen[..., :k] == drawn[..., None]).any(-1)
        chosen[..., k] = np.where(taken, top, drawn)
    order = np.argsort(words[..., n : 2 * n], axis=-1)
    return np.take_along_axis(chosen, order, axis=-1)

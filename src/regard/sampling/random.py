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
_HALF = np.uint64(32)
_LOW = np.uint64(2**32 - 1)
_SHUFFLED = 128  # up to this population a sort of all is cheaper than Floyd's rounds


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


def normal(seed: int, stream: int, episodes: NDArray[np.int64], n: int) -> NDArray[np.float64]:
    """(B, n) standard normal float64: the inverse distribution function of one word each.

    One word a number, where other methods need two or a varying count: number j stays a function of (seed, i, j).
    """
    from scipy.special import ndtri  # comes with scikit-learn

    words = bits(seed, stream, episodes, n) >> np.uint64(12)
    return np.asarray(ndtri((words.astype(np.float64) + 0.5) * 2.0**-52))


def without_replacement(
    seed: int, stream: int, episodes: NDArray[np.int64], population: NDArray[np.int64], n: int, largest: int
) -> NDArray[np.int64]:
    """Draw `n` different numbers below `population`, in random order, for every episode and column at once.

    Args:
        seed: the run's seed.
        stream: what the draw is for.
        episodes: (B,) episode numbers.
        population: (B, K) sizes, each at least n.
        n: how many.
        largest: no population is larger. It decides how to draw, so it must not depend on the batch.

    Returns:
        (B, K, n) int64.
    """
    n_columns = population.shape[1]
    if largest <= _SHUFFLED:
        n_words = n_columns * largest
        halves = bits(seed, stream, episodes, (n_words + 1) // 2).view(np.uint32)[:, :n_words]
        # Sort random keys that carry their place in the lowest bits: numpy sorts faster than it sorts indices. Two
        # keys are equal but for their places, and so in order, with a chance below one in 2**25.
        words = halves.reshape(*population.shape, largest)
        low = np.uint32((1 << max(largest - 1, 1).bit_length()) - 1)
        place = np.arange(largest, dtype=np.uint32)
        key = (words & ~low) | place
        if population.min(initial=largest) < largest:
            key[place >= population[..., None]] = np.iinfo(np.uint32).max
        key.sort(axis=-1)
        return (key[..., :n] & low).astype(np.int64)
    words = bits(seed, stream, episodes, n_columns * n).reshape(*population.shape, n)
    # Floyd's algorithm: n rounds whatever the population. It draws a uniform *set*; a random order is added after it,
    # since class order is the label order. The high half of a word draws and the low half orders.
    word = np.moveaxis(words, -1, 0).copy()
    top = population - n + np.arange(n).reshape(-1, *(1,) * population.ndim)
    # The high half of a 32 x 32 bit product: unbiased to one part in 2**32 and needs no division.
    chosen = ((word >> _HALF) * (top + 1).astype(np.uint64)) >> _HALF
    for k in range(1, n):
        taken = (chosen[:k] == chosen[k]).any(0)
        np.copyto(chosen[k], top[k], where=taken, casting="unsafe")
    key = np.ascontiguousarray(np.moveaxis((word << _HALF) | chosen, 0, -1))
    key.sort(axis=-1)
    return (key & _LOW).astype(np.int64)

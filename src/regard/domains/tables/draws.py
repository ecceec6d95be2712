"""Random numbers of many tables at once: each table's are a function of (seed, its number) alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.sampling.random import bits, uniform

Floats = NDArray[Any]  # float32; NumPy's own signatures widen what stays narrow
Integers = NDArray[np.int64]


class Draws:
    """Draws for B tables; every call takes the next stream, so calls must not depend on which tables are in a batch.

    Args:
        seed: of all tables.
        numbers: (B,) which tables.
        part: other draws under the same seed, such as those of the validation.
        fork: which part of a program draws; each has streams of its own.
    """

    def __init__(self, seed: int, numbers: Integers, part: int = 0, fork: int = 0) -> None:
        self.seed, self.numbers, self.part = seed, numbers, part
        self._stream = ((part + 1) * 1000 + fork) * 1000

    def fork(self, fork: int, index: Integers | None = None) -> Draws:
        """Draws for a part of a program, and for some of the tables only."""
        return Draws(self.seed, self.numbers if index is None else self.numbers[index], self.part, fork + 1)

    def uniform(self, *shape: int, low: Any = 0.0, high: Any = 1.0) -> Floats:
        """(B, *shape) between `low` and `high`."""
        u = uniform(self.seed, self._next(), self.numbers, math.prod(shape)).reshape(-1, *shape)
        return (low + (high - low) * u).astype(np.float32)

    def log_uniform(self, *shape: int, low: float, high: float) -> Floats:
        """(B, *shape), evenly spread in the logarithm."""
        return np.exp(self.uniform(*shape, low=math.log(low), high=math.log(high)))

    def normal(self, *shape: int) -> Floats:
        """(B, *shape) standard normal, by Box and Muller, two from each pair of words."""
        n = math.prod(shape)
        half = (n + 1) // 2
        u = uniform(self.seed, self._next(), self.numbers, 2 * half)
        radius, angle = np.sqrt(-2 * np.log(u[:, :half])), np.float32(2 * math.pi) * u[:, half:]
        both = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], 1)
        return both[:, :n].reshape(-1, *shape)

    def below(self, bound: Any, *shape: int) -> Integers:
        """(B, *shape) integers from 0 to `bound` - 1; `bound` may be an array that broadcasts."""
        return np.minimum((self.uniform(*shape) * bound).astype(np.int64), np.asarray(bound) - 1)

    def chance(self, p: Any, *shape: int) -> NDArray[np.bool_]:
        """(B, *shape), true with probability `p`."""
        return self.uniform(*shape) < p

    def choice(self, shares: Any, *shape: int) -> Integers:
        """(B, *shape) indices, each as often as its share says."""
        edges = np.cumsum(np.asarray(shares, dtype=np.float64))
        return np.searchsorted(edges[:-1] / edges[-1], self.uniform(*shape), side="right").astype(np.int64)

    def order(self, n: int, *shape: int) -> Integers:
        """(B, *shape, n) permutations of 0 .. n - 1."""
        words = bits(self.seed, self._next(), self.numbers, math.prod(shape) * n).reshape(-1, *shape, n)
        return np.argsort(words, axis=-1).astype(np.int64)

    def _next(self) -> int:
        self._stream += 1
        return self._stream

"""Rows as they are, gathered into memory that is used again.

Memory is what a gather costs: rows of 784 bytes, drawn from 25 MB, take 1.8 microseconds for 80 of them where the data
stay in the cache, and 7 to 8 where they do not. Tried against that and slower, on one core: to copy whole classes to
the cache first (16 of 20 rows are wanted: 9 to 12), to touch the rows beforehand or to read them by an operator with
prefetch (8 to 9), to take them in the order of memory (7 to 8, and then they are in the wrong order).

Small gathers go through NumPy, which stays in one thread. PyTorch wakes its others from 32 KB on. That saves at most
half of the 0.2 ms of a batch; and where other programs use the cores, and the threads wait by spinning, as they do by
default, it takes 10 ms instead (OMP_WAIT_POLICY=PASSIVE in the environment avoids the spinning).
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from regard.episode import Items
from regard.sampling.memory import BufferPool, tensor_over

_SMALL = 2**22  # bytes of a result: above this other threads are worth waking


def plain_rows(x: Items) -> PlainRows | None:
    """The rows of `x`, or None where they are not one plain piece of memory of the CPU."""
    if isinstance(x, dict) or x.device.type != "cpu" or not x.is_contiguous() or x.requires_grad or not x.numel():
        return None
    return PlainRows(x)


@final
class PlainRows:
    """Gathers rows of `x`, (N, *item), contiguous on the CPU."""

    def __init__(self, x: Tensor) -> None:
        self._x, self._memory = x, BufferPool()
        self._row_bytes = math.prod(x.shape[1:]) * x.itemsize
        self._bytes = x.reshape(len(x), -1).view(torch.uint8).numpy()

    def __reduce__(self) -> tuple[type[PlainRows], tuple[Tensor]]:
        # Another process has memory of its own, and the items once.
        return PlainRows, (self._x,)

    def __call__(self, index: Tensor) -> Tensor:
        """(N,) rows, all of them within the data, to (N, *item)."""
        n, shape = len(index), (len(index), *self._x.shape[1:])
        if n * self._row_bytes > _SMALL:
            return torch.index_select(self._x, 0, index, out=self._memory.empty(shape, self._x.dtype))
        lent = self._memory.bytes(n * self._row_bytes)
        # Any mode but "clip" copies the result once more.
        self._bytes.take(index.numpy(), axis=0, out=lent.reshape(n, self._row_bytes), mode="clip")
        return tensor_over(lent, shape, self._x.dtype)

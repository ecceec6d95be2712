"""Memory for batches that is used again once nobody holds the last one.

A batch of episodes is megabytes, and fresh megabytes come from the operating system page by page, each of them
cleared first: gathering images into fresh memory takes up to four times as long as gathering them. Here a buffer comes
back when the last tensor over it is gone, whoever held it (a view, a graph, a list): a batch that is kept stays as it
is.
"""

from __future__ import annotations

import math
import weakref

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_SPARE = 2  # buffers kept although nobody uses them


class Memory:
    """Hands out uninitialised tensors on the CPU."""

    def __init__(self) -> None:
        self._spare: list[NDArray[np.uint8]] = []

    def __reduce__(self) -> tuple[type[Memory], tuple[()]]:
        # Another process starts with none of its own.
        return Memory, ()

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """An uninitialised, contiguous tensor; its memory returns here when it and all its views are gone."""
        n_bytes = math.prod(shape) * dtype.itemsize
        buffer = self._spare.pop() if self._spare else None
        if buffer is None or buffer.nbytes < n_bytes:
            buffer = np.empty(n_bytes, dtype=np.uint8)
        # The tensor's storage keeps `lent` alive, and every view keeps the storage.
        lent = buffer[:n_bytes]
        weakref.finalize(lent, self._give_back, buffer).atexit = False
        return torch.from_numpy(lent).view(dtype).view(shape)

    def _give_back(self, buffer: NDArray[np.uint8]) -> None:
        if len(self._spare) < _SPARE:
            self._spare.append(buffer)


def keep_freed_memory() -> None:
    """Have this process keep what it frees, where malloc is glibc's; elsewhere this does nothing.

    glibc gives large pieces back to the system when they are freed, and the system clears them page by page before the
    next use: with results and temporaries as large as a batch's that took up to half of the time. It does so above a
    threshold that follows the largest piece freed so far, up to 32 MiB (mallopt(3), M_MMAP_THRESHOLD). So one such
    piece is taken and freed, and never touched.
    """
    torch.empty(2**25 - 2**16, dtype=torch.uint8)

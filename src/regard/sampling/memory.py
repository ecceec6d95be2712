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


class BufferPool:
    """Hands out uninitialised tensors on the CPU."""

    def __init__(self) -> None:
        self._spare: list[NDArray[np.uint8]] = []

    def __reduce__(self) -> tuple[type[BufferPool], tuple[()]]:
        # Another process starts with none of its own.
        return BufferPool, ()

    def bytes(self, n: int) -> NDArray[np.uint8]:
        """`n` uninitialised bytes; they return here when this very array is gone, and all that was made of it."""
        buffer = self._spare.pop() if self._spare else None
        if buffer is None or buffer.nbytes < n:
            buffer = np.empty(n, dtype=np.uint8)
        lent = buffer[:n]
        weakref.finalize(lent, self._take_back, buffer).atexit = False
        return lent

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """An uninitialised, contiguous tensor; its memory returns here when it and all its views are gone."""
        # The tensor's storage keeps the array alive, and every view keeps the storage.
        return tensor_over(self.bytes(math.prod(shape) * dtype.itemsize), shape, dtype)

    def _take_back(self, buffer: NDArray[np.uint8]) -> None:
        if len(self._spare) < _SPARE:
            self._spare.append(buffer)


def tensor_over(data: NDArray[np.uint8], shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """These bytes as a tensor over the same memory."""
    # PyTorch does not view no bytes as another type.
    return torch.from_numpy(data).view(dtype).view(shape) if data.size else torch.empty(shape, dtype=dtype)


def empty_in_large_pages(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """An uninitialised tensor on the CPU, for data that is read in random order.

    NumPy asks the system for large pages where it can have them, and PyTorch does not. With them, rows of 784 bytes are
    gathered in 0.9 of the time: fewer walks through the tables of pages.
    """
    return tensor_over(np.empty(math.prod(shape) * dtype.itemsize, dtype=np.uint8), shape, dtype)


def keep_freed_memory() -> None:
    """Have this process keep up to 64 MiB that it frees, where malloc is glibc's; elsewhere this does nothing.

    For a program to call, before it draws many batches of floats; nothing in the library does, since it concerns the
    whole process. glibc gives large pieces back to the system when they are freed, and the system clears them page by
    page before the next use. It does so above a threshold that follows the largest piece freed so far, up to 32 MiB
    (mallopt(3), M_MMAP_THRESHOLD). So one such piece is taken and freed, and never touched. Batches of 16 and 32
    episodes of 28 x 28 floats take 0.9 and 0.8 of the time then; bytes are no quicker, they have `BufferPool`.
    """
    torch.empty(2**25 - 2**16, dtype=torch.uint8)

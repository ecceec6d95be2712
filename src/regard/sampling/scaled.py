"""Rows of bytes as floats between 0 and 1, gathered and scaled in one pass over memory.

Gathering bytes, making floats of them and dividing them by 255 are three passes, and memory is what they cost. PyTorch
has all three in one for embeddings that are quantised by row: bytes, followed by the float32 scale and offset of the
row, read with prefetch. Here every row has scale 1/255 and offset 0, and the floats are those of `bytes.float() *
(1/255)`, bit for bit. 5-way 1-shot 15-query episodes of 28 x 28, one core: 12 microseconds against 21.

Left out: other devices and types, and builds of PyTorch without FBGEMM (not x86). `scaled_rows` says None there.
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from regard.episode import Items
from regard.sampling.memory import empty_in_large_pages

_LARGEST = 2**28  # bytes of items: the packed rows are a copy of them
_LARGEST_RESULT = 2**24  # above this the passes are quicker, into memory that is used again


def scaled_rows(x: Items) -> ScaledRows | None:
    """`x` packed on first use, or None where it cannot be or is not worth its memory."""
    if isinstance(x, dict) or x.dtype != torch.uint8 or x.device.type != "cpu" or not 0 < x.numel() <= _LARGEST:
        return None
    possible = "fbgemm" in torch.backends.quantized.supported_engines and hasattr(torch.ops.quantized, _OPERATOR)
    return ScaledRows(x) if possible else None


_OPERATOR = "embedding_bag_byte_rowwise_offsets"


@final
class ScaledRows:
    """Gathers rows of `x`, (N, *item) uint8, as float32 divided by 255."""

    def __init__(self, x: Tensor) -> None:
        self._x = x
        self._packed: Tensor | None = None

    def __reduce__(self) -> tuple[type[ScaledRows], tuple[Tensor]]:
        # Another process packs for itself.
        return ScaledRows, (self._x,)

    def fits(self, n_rows: int) -> bool:
        """Whether so many rows at once are cheaper here than in several passes into memory that is used again."""
        return n_rows * math.prod(self._x.shape[1:]) * 4 <= _LARGEST_RESULT

    def __call__(self, index: Tensor) -> Tensor:
        """(N,) rows to (N, *item) float32."""
        if self._packed is None:
            x_ND = self._x.reshape(len(self._x), -1)
            n, d = x_ND.shape
            packed = empty_in_large_pages((n, d + 8), torch.uint8)
            packed[:, :d] = x_ND
            packed[:, d:] = torch.tensor([1 / 255, 0], dtype=torch.float32).view(torch.uint8)
            self._packed = packed
        # The operator sums bags of rows: here a bag is one row.
        rows = getattr(torch.ops.quantized, _OPERATOR)(self._packed, index[:, None])
        return rows.view(-1, *self._x.shape[1:])

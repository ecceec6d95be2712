"""Whether bfloat16 is worth asking for on this machine."""

from __future__ import annotations

from typing import Literal

import torch

from regard.nn.inference import fast_bf16
from regard.training.config import Precision


def resolve_precision(precision: Precision, device: torch.device | str) -> Literal["32-true", "bf16-mixed"]:
    """ "auto" becomes "bf16-mixed" or "32-true" by what the device is fast at; the others stay."""
    if precision != "auto":
        return precision
    return "bf16-mixed" if fast_bf16(device) else "32-true"

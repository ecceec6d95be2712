"""Whether bfloat16 is worth asking for on this machine."""

from __future__ import annotations

from typing import Literal

import torch

from regard.training.config import Precision


def fast_bf16(device: torch.device | str = "cpu") -> bool:
    """Whether the device multiplies bfloat16 in hardware: AMX or AVX-512 BF16 on a CPU, Ampere or later on CUDA.

    Elsewhere bfloat16 is emulated and slower than float32.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_available() and torch.cuda.get_device_capability(device)[0] >= 8
    return kind == "cpu" and any(_cpu_has(feature) for feature in ("amx_tile", "avx512_bf16"))


def resolve_precision(precision: Precision, device: torch.device | str) -> Literal["32-true", "bf16-mixed"]:
    """ "auto" becomes "bf16-mixed" or "32-true" by what the device is fast at; the others stay."""
    if precision != "auto":
        return precision
    return "bf16-mixed" if fast_bf16(device) else "32-true"


def _cpu_has(feature: str) -> bool:
    # These probes are private to PyTorch and have been renamed before: an absent one means "no".
    probe = getattr(torch.cpu, f"_is_{feature}_supported", None)
    return bool(probe is not None and probe())

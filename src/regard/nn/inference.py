"""Using a module as it will be used after training, without leaving a trace on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Temporarily in eval mode, then restored: each submodule gets its own mode back, so a frozen part stays frozen.

    The mode is state of the module. Threads that share a module must not enter this together: give each its own copy,
    or one copy that is always in eval mode, on which this changes nothing.
    """
    in_training = [submodule for submodule in module.modules() if submodule.training]
    if in_training:  # where nothing is to change, nothing is written: that is what makes such a copy safe in threads
        module.eval()
    try:
        yield
    finally:
        for submodule in in_training:
            submodule.training = True


def device_of(module: nn.Module) -> torch.device:
    """The device of the module's first parameter; the CPU if it has none."""
    parameter = next(module.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device


def fast_bf16(device: torch.device | str = "cpu") -> bool:
    """Whether the device multiplies bfloat16 in hardware: AMX or AVX-512 BF16 on a CPU, Ampere or later on CUDA.

    Elsewhere bfloat16 is emulated and slower than float32.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_available() and torch.cuda.get_device_capability(device)[0] >= 8
    return kind == "cpu" and any(_cpu_has(feature) for feature in ("amx_tile", "avx512_bf16"))


def _cpu_has(feature: str) -> bool:
    # These probes are private to PyTorch and have been renamed before: an absent one means "no".
    probe = getattr(torch.cpu, f"_is_{feature}_supported", None)
    return bool(probe is not None and probe())

"""What the library needs of torch.func: whether it is at work, and functional_call without its search for ties."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.func import functional_call


def inside_transform() -> bool:
    """Whether a transform of torch.func (grad, vmap, jvp) surrounds this call: some kernels have no rule there."""
    return torch._C._functorch.peek_interpreter_stack() is not None  # pyright: ignore[reportAttributeAccessIssue]


_TIED: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


def call_with(module: nn.Module, tensors: dict[str, Tensor], *arguments: Any) -> Any:
    """`module(*arguments)` with these parameters and buffers in place of its own.

    Looking for parameters of two names takes functional_call longer than a small network; here it is done once.
    """
    if module not in _TIED:
        names = list(module.named_parameters(remove_duplicate=False))
        _TIED[module] = len(names) > len(list(module.named_parameters()))
    return functional_call(module, tensors, arguments, tie_weights=_TIED[module])

"""Whether torch.func (grad, vmap, jvp) is at work: some kernels have no rule there and take an explicit path."""

from __future__ import annotations

import torch


def inside_transform() -> bool:
    """Whether a transform of torch.func surrounds this call."""
    return torch._C._functorch.peek_interpreter_stack() is not None  # pyright: ignore[reportAttributeAccessIssue]

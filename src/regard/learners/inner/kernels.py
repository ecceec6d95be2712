"""Kernels that can be vmapped and differentiated twice, in place of torch's fused ones, which cannot.

torch's fused attention has no double backward and no rule for vmap (torch 2.13), nor has the fast path of
nn.TransformerEncoderLayer and nn.MultiheadAttention in eval mode; the plain formula ("math") has both. cuDNN's
recurrent layers have no double backward, and in eval mode no backward; torch's own have both.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Lock

import torch
from torch import nn
from torch.backends import cuda, cudnn, mha

from regard.errors import ConfigError
from regard.nn.members import ModuleTensors

_lock = Lock()
_n_inside = 0
_restore: tuple[bool, bool, bool, bool, bool] = (True, True, True, True, True)


@contextmanager
def plain_attention() -> Iterator[None]:
    """Attention by its formula while inside.

    torch's switches are of the process, so the first thread to come in turns them and the last one to leave turns them
    back: no thread loses the plain kernels before its work is done.
    """
    global _n_inside, _restore
    with _lock:
        _n_inside += 1
        if _n_inside == 1:
            _restore = (
                cuda.flash_sdp_enabled(),
                cuda.mem_efficient_sdp_enabled(),
                cuda.cudnn_sdp_enabled(),
                cuda.math_sdp_enabled(),
                mha.get_fastpath_enabled(),
            )
            _switch(False, False, False, True, False)
    try:
        yield
    finally:
        with _lock:
            _n_inside -= 1
            if _n_inside == 0:
                _switch(*_restore)


def _switch(flash: bool, efficient: bool, by_cudnn: bool, math: bool, fast_path: bool) -> None:
    cuda.enable_flash_sdp(flash)
    cuda.enable_mem_efficient_sdp(efficient)
    cuda.enable_cudnn_sdp(by_cudnn)
    cuda.enable_math_sdp(math)
    mha.set_fastpath_enabled(fast_path)


def plain_recurrence(tensors: ModuleTensors) -> AbstractContextManager[object]:
    """Recurrent layers on a GPU by torch's own kernels while inside; nothing changes for models without any."""
    on_gpu = any(p.is_cuda for p in tensors.parameters.values())
    recurrent = on_gpu and any(isinstance(module, nn.RNNBase) for module in tensors.modules.values())
    return cudnn.flags(enabled=False) if recurrent else nullcontext()


@contextmanager
def no_recomputing() -> Iterator[None]:
    """Refuse activation checkpointing while inside.

    What a checkpoint leaves out of the forward pass it computes again in the backward pass, when the weights of that
    inner step are no longer in place: its gradients would be those of other weights, without a word.
    """
    # The caller's own hooks, such as save_on_cpu, are no checkpoint.
    if torch._C._autograd._top_saved_tensors_default_hooks(True) is not None:  # pyright: ignore[reportAttributeAccessIssue]
        yield
        return
    try:
        with torch.autograd.graph.disable_saved_tensors_hooks(_NO_CHECKPOINTS):
            yield
    except RuntimeError as error:
        if str(error).startswith(_NO_CHECKPOINTS) or "use_reentrant" in str(error):
            raise ConfigError(_NO_CHECKPOINTS) from error
        raise


_NO_CHECKPOINTS = (
    "the model checkpoints its activations (torch.utils.checkpoint), and a checkpoint computes again in the backward "
    "pass, when the weights of its inner step are gone: expected layers that are called plainly. Switch checkpointing "
    "off; execution='loop' keeps the activations of one task at a time."
)

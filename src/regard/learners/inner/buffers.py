"""Buffers that a pass through the model changes: each task has copies of its own, and the model's move once a batch.

Batch norm in training is known to change its running averages. Of other buffers (counters, averages of a user's own,
the vectors of spectral norm) only a pass can tell, so one is done, once for each model and mode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from regard.learners.inner.tasks import Tensors
from regard.nn.transforms import call_with, inside_transform

_CHANGED: WeakKeyDictionary[nn.Module, dict[Any, frozenset[str]]] = WeakKeyDictionary()


def buffer_copies(model: nn.Module, n_tasks: int, items: Callable[[], Any]) -> Tensors:
    """A copy per task, (B, ...), of every buffer that a pass changes, by the model's names.

    Args:
        model: in the mode that it will be called in.
        n_tasks: B.
        items: gives the prepared items of one task, for a pass that finds out which.
    """
    buffers = dict(model.named_buffers())
    if not buffers:
        return {}
    changed_by_norms = {
        f"{path}.{name}".lstrip(".")
        for path, module in model.named_modules()
        if isinstance(module, _NormBase) and module.training
        for name, _ in module.named_buffers(recurse=False)
    }
    changed = _changed_by_others(model, buffers, items) | changed_by_norms
    return {name: b.expand(n_tasks, *b.shape).clone() for name, b in buffers.items() if name in changed}


def keep_buffers(model: nn.Module, after: Mapping[str, Tensor]) -> None:
    """Move the model's buffers to the mean of what its tasks made of them; layers in eval mode keep theirs."""
    if not after:
        return
    modules, buffers = dict(model.named_modules()), dict(model.named_buffers())
    with torch.no_grad():
        for name, copies in after.items():
            if modules[name.rpartition(".")[0]].training:
                buffers[name].copy_(copies.mean(0) if copies.is_floating_point() else copies[0])


def _changed_by_others(model: nn.Module, buffers: Tensors, items: Callable[[], Any]) -> frozenset[str]:
    norms = {id(b) for m in model.modules() if isinstance(m, _NormBase) for b in m.buffers(recurse=False)}
    others = tuple(name for name, buffer in buffers.items() if id(buffer) not in norms)
    if not others:
        return frozenset()
    known = _CHANGED.setdefault(model, {})
    key = (others, model.training)
    if key not in known and not inside_transform():
        copies = {name: buffer.clone() for name, buffer in buffers.items()}
        before = {name: (copies[name], copies[name]._version) for name in others}
        devices = sorted({b.device.index or 0 for b in copies.values() if b.is_cuda})
        with torch.no_grad(), torch.random.fork_rng(devices):
            call_with(model, copies, items())
        known[key] = frozenset(n for n, (t, v) in before.items() if copies[n] is not t or t._version != v)
    return known.get(key, frozenset())

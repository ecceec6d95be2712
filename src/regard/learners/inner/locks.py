"""What has to hold while a model is called with weights that are not its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, RLock
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

_LOCKS: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()
_LOCKS_LOCK = Lock()


def lock_of(model: nn.Module) -> Any:
    """One per model, also where two learners share it. Not on the learner, which can be copied and pickled."""
    with _LOCKS_LOCK:
        return _LOCKS.setdefault(model, RLock())


@contextmanager
def outside_inference_mode() -> Iterator[None]:
    """Inside inference mode nothing can be differentiated; so leave it, and keep to no gradients."""
    if not torch.is_inference_mode_enabled():
        yield
        return
    with torch.inference_mode(False), torch.no_grad():
        yield

"""An execution that a rule has chosen, tried before it is trusted; a loop over the tasks where it cannot be had.

vmap cannot run a model that looks at values (`.item()`, an `if` on data), that changes tensors in place which are not
its buffers, or that uses an operation without a rule for vmap, such as a fused LSTM. Nothing says so beforehand. So
the first call of each kind runs two of its tasks by vmap and by a loop and throws both results away: where vmap raises,
or gives another answer, this learner's tasks are looped over, and a warning says so once. A model that fails later, by
another branch, is looped over in that call. Every call is thus a function of its arguments, whether or not a run was
interrupted before it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from regard.errors import ConfigError, RegardError
from regard.learners.inner.tasks import Plan

logger = logging.getLogger("regard.learners")

_N_TRIED = 2
_TOLERANCE = 0.02
"""Largest distance, relative to the size, of what is still the same answer in float32."""

_RESULTS: WeakKeyDictionary[nn.Module, dict[Any, bool]] = WeakKeyDictionary()
"""Whether vmap gave what a loop gives, by learner and kind of call. Not on the learner, which keeps no state."""

_WARNED: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


def execute(learner: nn.Module, run: Callable[[Any, Plan], Any], tasks: Any, plan: Plan, what: str) -> Any:
    """`run(tasks, plan)`; by a loop, where the execution was chosen automatically and the model does not allow it.

    Args:
        learner: whose model it is.
        run: of a nest of tensors (B, ...) and a plan, by which its result does not change.
        tasks: a nest of tensors (B, ...).
        plan: the execution.
        what: tells this function of the learner from its others.

    Raises:
        ConfigError: the execution was asked for by name, and the model cannot be vmapped.
    """
    by_loop = plan._replace(execution="loop")
    if plan.execution == "loop":
        return run(tasks, plan)
    if plan.automatic and not _vmap_works(learner, run, tasks, plan, (what, learner.training, torch.is_grad_enabled())):
        return run(tasks, by_loop)
    try:
        return run(tasks, plan)
    except (RegardError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        result = run(tasks, by_loop)  # an error of the model itself comes again, in plain words
        if plan.automatic:
            _warn(learner, _first_line(error))
            return result
        raise ConfigError(
            f"execution is {plan.execution!r}, and the model cannot be vmapped ({_first_line(error)}): expected "
            "execution='loop', or 'auto', which finds that out by itself."
        ) from error


def _vmap_works(learner: nn.Module, run: Callable[[Any, Plan], Any], tasks: Any, plan: Plan, kind: Any) -> bool:
    results = _RESULTS.setdefault(learner, {})
    if kind not in results:
        few = pytree.tree_map(lambda t: t[:_N_TRIED], tasks)
        devices = sorted({t.device.index or 0 for t in pytree.tree_leaves(few) if t.is_cuda})
        with torch.random.fork_rng(devices):
            before = _random_state(devices)
            looped = run(few, plan._replace(execution="loop"))
            draws = any(not torch.equal(a, b) for a, b in zip(before, _random_state(devices), strict=True))
            try:
                vmapped = run(few, plan._replace(execution="vmap", chunk=None))
            except (RegardError, torch.OutOfMemoryError):
                raise
            except Exception as error:
                problem = _first_line(error)
            else:
                # Other random numbers, or rounding to 8 bits, make other answers.
                exact = not draws and not any(map(torch.is_autocast_enabled, ("cpu", "cuda")))
                problem = "" if not exact or _same(looped, vmapped) else "vmap gives another answer than a loop"
        if problem:
            _warn(learner, problem)
        results[kind] = not problem
    return results[kind]


def _random_state(devices: list[int]) -> list[Tensor]:
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in devices)]


def _same(looped: Any, vmapped: Any) -> bool:
    for a, b in zip(pytree.tree_leaves(looped), pytree.tree_leaves(vmapped), strict=True):
        a, b = a.detach().double(), b.detach().double()
        if bool(a.isfinite().all()) and not float((a - b).norm()) <= _TOLERANCE * float(a.norm()) + 1e-6:
            return False
    return True


def _warn(learner: nn.Module, problem: str) -> None:
    if learner not in _WARNED:
        _WARNED[learner] = True
        logger.warning(
            "%s: the model cannot be vmapped (%s), so its tasks are done one after another: the same answer, slower "
            "where layers are small. execution='loop' chooses this and silences the warning.",
            type(learner).__name__,
            problem,
        )


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"

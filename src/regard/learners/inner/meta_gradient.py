"""Losses of B tasks and their meta-gradients by a loop, by vmap, or by vmap compiled: one answer, three speeds.

    "loop"      one task after another. The memory of one task. Best for convolutions on a CPU.
    "vmap"      vmap over grad, `chunk` tasks at a time. Best for dense layers, and on a GPU.
    "compiled"  the same function traced once for each shape and given to torch.compile. Best for small dense layers in
                long trainings: compiling takes a minute or so.

Losses and per-task meta-gradients are computed together, in the forward pass: so the memory is that of one task or one
chunk, nothing of it outlives the call, and `loss.backward()` only adds up. Where somebody differentiates that backward
once more, the losses are computed again, plainly.

The vmap stands outside the gradient on purpose. `vmap(task)(...).mean().backward()` through F.batch_norm on batch
statistics gives wrong second-order gradients and says nothing (torch 2.13); vmap(grad(task)) is right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch._utils import _unflatten_dense_tensors
from torch.func import grad_and_value, vmap
from torch.utils import _pytree as pytree

from regard.episode import Items
from regard.learners.inner.compiling import run_compiled
from regard.nn.members import Members, members_of
from regard.nn.transforms import call_with

Execution = Literal["auto", "loop", "vmap", "compiled"]
Tensors = dict[str, Tensor]


class Rows(NamedTuple):
    """Rows of one task, (S, ...); or of B tasks, (B, S, ...)."""

    x: Items
    y: Tensor
    weight: Tensor


class Task(NamedTuple):
    """What one task, or B of them, is made of; C, which has no axis, goes beside it."""

    support: Rows
    query: Rows
    buffers: Tensors


class TaskLearner(Protocol):
    """What is executed: the part of a `GradientLearner` that sees one task."""

    def task_loss(self, task: Task, n_classes: int) -> tuple[Tensor, Tensors]:
        """A scalar, and the buffers after the query pass."""
        ...


class Plan(NamedTuple):
    """How to go about it, and what a compiled function depends on beside shapes."""

    execution: str
    chunk: int | None
    n_classes: int
    settings: tuple[Any, ...]


class _TaskLoss(nn.Module):
    """`learner.task_loss` as the forward of a module, so that functional_call can swap every parameter under it."""

    def __init__(self, learner: Any, n_classes: int) -> None:
        super().__init__()
        self.learner, self.n_classes = learner, n_classes
        self.training = learner.training

    def forward(self, task: Task) -> tuple[Tensor, Tensors]:
        return self.learner.task_loss(task, self.n_classes)  # type: ignore[no-any-return]

    def own(self, tensors: Tensors) -> Tensors:
        """The learner's names to this module's."""
        return {f"learner.{name}": tensor for name, tensor in tensors.items()}


def losses_only(learner: Any, tasks: Task, plan: Plan) -> tuple[Tensor, Tensors]:
    """(B,) losses and the buffers after them, (B, ...) each; for use without gradients."""
    if plan.execution == "loop":
        both = [learner.task_loss(task, plan.n_classes) for task in each_task(tasks)]
        return torch.stack([loss for loss, _ in both]), _stacked([buffers for _, buffers in both])

    def one(task: Task) -> tuple[Tensor, Tensors]:
        return learner.task_loss(task, plan.n_classes)  # type: ignore[no-any-return]

    return run_vmapped(learner, one, tasks, plan, "loss")


def differentiable_losses(learner: Any, parameters: Tensors, tasks: Task, n_classes: int) -> Tensor:
    """(B,) losses by a plain loop with its graph kept: it can be differentiated as often as one likes."""
    module = _TaskLoss(learner, n_classes)
    swapped = module.own(parameters)
    return torch.stack([call_with(module, swapped, task)[0] for task in each_task(tasks)])


def losses_with_meta_gradient(
    learner: Any, parameters: Tensors, members: Members, tasks: Task, plan: Plan
) -> tuple[Tensor, Tensors]:
    """(B,) losses whose backward knows the meta-gradient of every task, and the buffers after them.

    Args:
        learner: whose losses they are.
        parameters: those that are differentiated by.
        members: all that the learner is made of.
        tasks: (B, ...).
        plan: the execution.
    """
    run = _Run(learner, tuple(parameters), members, tasks, plan)
    losses: Tensor = _MetaGradient.apply(run, *parameters.values())  # type: ignore[assignment]
    return losses, run.buffers


class _Run:
    """One batch on its way through `_MetaGradient`."""

    def __init__(self, learner: Any, names: tuple[str, ...], members: Members, tasks: Task, plan: Plan) -> None:
        self.learner, self.names, self.members, self.tasks, self.plan = learner, names, members, tasks, plan
        self.buffers: Tensors = {}

    def both(self, parameters: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        named = dict(zip(self.names, parameters, strict=True))
        if self.plan.execution == "loop":
            losses, gradients, self.buffers = _loop(self.learner, named, self.tasks, self.plan)
        else:
            losses, gradients, self.buffers = _vmapped(self.learner, named, self.members, self.tasks, self.plan)
        return losses, gradients


class _MetaGradient(torch.autograd.Function):
    """Computes losses and per-task gradients at once; its backward is their weighted sum."""

    @staticmethod
    def forward(ctx: Any, run: _Run, *parameters: Tensor) -> Tensor:
        losses, gradients = run.both(parameters)
        ctx.run = run
        ctx.save_for_backward(*parameters, gradients)
        return losses

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        saved, run = ctx.saved_tensors, ctx.run
        n = len(run.names)
        if not torch.is_grad_enabled():
            return None, *_unflat(upstream.to(saved[n].dtype) @ saved[n], saved[:n])
        # Autograd enables gradients here exactly when create_graph was asked for. Views, so that this derivative stops
        # at them and the next one goes on from them.
        wanted = [p.view_as(p) for p in saved[:n]]
        named = dict(zip(run.names, wanted, strict=True))
        losses = differentiable_losses(run.learner, named, run.tasks, run.plan.n_classes)
        return None, *torch.autograd.grad(losses, wanted, upstream, create_graph=True, allow_unused=True)


def _loop(learner: Any, parameters: Tensors, tasks: Task, plan: Plan) -> tuple[Tensor, Tensor, Tensors]:
    """Losses (B,), all gradients of each task end to end (B, P), and buffers."""
    wanted = [p.detach().requires_grad_() for p in parameters.values()]
    module = _TaskLoss(learner, plan.n_classes)
    swapped = module.own(dict(zip(parameters, wanted, strict=True)))
    losses, buffers = [], []
    gradients = wanted[0].new_empty(tasks.support.y.shape[0], sum(p.numel() for p in wanted))
    for b, task in enumerate(each_task(tasks)):
        with torch.enable_grad():
            loss, changed = call_with(module, swapped, task)
            found = torch.autograd.grad(loss, wanted, allow_unused=True)
        torch.cat([_flat(g, p) for g, p in zip(found, wanted, strict=True)], out=gradients[b])
        losses.append(loss.detach())
        buffers.append(changed)
    return torch.stack(losses), gradients, _stacked(buffers)


def _vmapped(
    learner: Any, parameters: Tensors, members: Members, tasks: Task, plan: Plan
) -> tuple[Tensor, Tensor, Tensors]:
    def one(wanted: Tensors, others: Tensors, task: Task) -> tuple[Tensor, Tensor, Tensors]:
        module = _TaskLoss(learner, plan.n_classes)

        def value(wanted: Tensors) -> tuple[Tensor, Tensors]:
            return call_with(module, module.own(wanted | others), task)  # type: ignore[no-any-return]

        gradients, (loss, buffers) = grad_and_value(value, has_aux=True)(wanted)
        return loss, torch.cat([_flat(g, parameters[name]) for name, g in gradients.items()]), buffers

    return _batched(learner, one, tuple(parameters), members, tasks, plan, "gradient")


def run_vmapped(learner: Any, one: Callable[[Any], Any], tasks: Any, plan: Plan, what: str) -> Any:
    """`vmap(one)(tasks)` without gradients, in chunks, compiled where the plan says so.

    Args:
        learner: whose parameters `one` reads.
        one: of one task; under "compiled" the learner's parameters are swapped while it is traced.
        tasks: a nest of tensors (B, ...).
        plan: the execution.
        what: tells this function of the learner from its others.
    """
    module = _Reads(learner, one)

    def swapped(wanted: Tensors, others: Tensors, task: Any) -> Any:
        return call_with(module, {f"learner.{name}": t for name, t in others.items()}, task)

    return _batched(learner, swapped, (), members_of(learner), tasks, plan, what)


class _Reads(nn.Module):
    def __init__(self, learner: Any, one: Callable[[Any], Any]) -> None:
        super().__init__()
        self.learner, self.one = learner, one
        self.training = learner.training

    def forward(self, task: Any) -> Any:
        return self.one(task)


def _batched(
    learner: Any, one: Callable[..., Any], names: tuple[str, ...], members: Members, tasks: Any, plan: Plan, what: str
) -> Any:
    """vmap of `one(wanted, others, task)` over the tasks, `plan.chunk` at a time; the wanted are those named."""
    # Contiguous: vmap has no rule for some operations on channels-last memory (torch 2.13).
    others = {name: _contiguous(t) for part in (members.parameters, members.buffers) for name, t in part.items()}
    wanted = {name: others.pop(name) for name in names}
    parts = _chunks(tasks, plan.chunk)

    def function(*arguments: Any) -> Any:
        return vmap(one, in_dims=(None, None, 0), randomness="different")(*arguments)

    if plan.execution == "compiled":
        given = [*wanted.values(), *others.values()]
        key = (what, plan, names, tuple(others), members.training())
        results = [run_compiled(learner, key, function, (wanted, others, p), [*given, *leaves(p)]) for p in parts]
    else:
        results = [function(wanted, others, part) for part in parts]
    if len(results) == 1:
        return results[0]
    return pytree.tree_map(lambda *t: torch.cat(t), *results)


# ---- small parts -----------------------------------------------------------------------------------------------------


def _flat(gradient: Tensor | None, parameter: Tensor) -> Tensor:
    """(numel,) in the order in which the parameter lies in memory, so that neither way is a copy."""
    if gradient is None:
        return torch.zeros_like(parameter).flatten()
    return (gradient.permute(0, 2, 3, 1) if _is_channels_last(parameter) else gradient).flatten()


def _unflat(gradient: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    """The inverse of `_flat`, for all parameters: views."""
    last = [_is_channels_last(p) for p in parameters]
    shapes = [p.permute(0, 2, 3, 1) if c else p for p, c in zip(parameters, last, strict=True)]
    parts = _unflatten_dense_tensors(gradient, shapes)
    return [g.permute(0, 3, 1, 2) if c else g for g, c in zip(parts, last, strict=True)]


def _is_channels_last(t: Tensor) -> bool:
    return t.ndim == 4 and not t.is_contiguous() and t.is_contiguous(memory_format=torch.channels_last)


def leaves(nest: Any) -> list[Tensor]:
    """As pytree.tree_leaves for tuples and dicts of tensors, in a tenth of its time."""
    if isinstance(nest, Tensor):
        return [nest]
    return [leaf for part in (nest.values() if isinstance(nest, dict) else nest) for leaf in leaves(part)]


def each_task(tasks: Any) -> Iterator[Any]:
    """A nest of tensors (B, ...) task by task, without the task axis."""
    leaves, spec = pytree.tree_flatten(tasks)
    for rows in zip(*(leaf.unbind() for leaf in leaves), strict=True):
        yield pytree.tree_unflatten(list(rows), spec)


def _contiguous(t: Tensor) -> Tensor:
    """Plain strides, also where an axis of size 1 leaves room for doubt: (N, 1, H, W) is contiguous either way."""
    if t.ndim > 2:
        return t.detach().flatten().view(t.shape)
    return t.detach() if t.is_contiguous() else t.detach().contiguous()


def _chunks(tasks: Any, size: int | None) -> list[Any]:
    if size is None:
        return [tasks]
    leaves, spec = pytree.tree_flatten(tasks)
    return [pytree.tree_unflatten(list(p), spec) for p in zip(*(leaf.split(size) for leaf in leaves), strict=True)]


def _stacked(dicts: Sequence[Tensors]) -> Tensors:
    return {name: torch.stack([d[name] for d in dicts]) for name in dicts[0]}


_EXPECTED_CALLS = 1


@contextmanager
def expecting(calls: int) -> Iterator[None]:
    """For the time, "auto" reckons with this many calls: whoever trains long says so, and compiling then pays."""
    global _EXPECTED_CALLS
    before, _EXPECTED_CALLS = _EXPECTED_CALLS, max(calls, _EXPECTED_CALLS)  # the longest of nested ones
    try:
        yield
    finally:
        _EXPECTED_CALLS = before


def expected_calls() -> int:
    """How many calls like this one are expected."""
    return _EXPECTED_CALLS

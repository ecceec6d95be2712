"""Losses of B tasks and their meta-gradients by a loop, by vmap, or by vmap compiled: one answer, three speeds.

    "loop"      one task after another. The memory of one task. Best for convolutions on a CPU.
    "vmap"      vmap over grad, `chunk` tasks at a time. Best for dense layers, and on a GPU.
    "compiled"  the same function traced once per shape and given to torch.compile. Best for small dense layers in long
                trainings: compiling takes a minute or so.

Losses and per-task meta-gradients are computed together, in the forward pass: so the memory is that of one task or one
chunk, nothing of it outlives the call, and `loss.backward()` only adds up. If that backward is differentiated once
more, the losses are computed again, by a plain loop.

The vmap stands outside the gradient on purpose. `vmap(task)(...).mean().backward()` through F.batch_norm on batch
statistics gives wrong second-order gradients and says nothing (torch 2.13); vmap(grad(task)) is right.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch._utils import _unflatten_dense_tensors
from torch.func import grad_and_value, vmap
from torch.utils import _pytree as pytree

from regard.learners.inner.compiling import run_compiled
from regard.learners.inner.fallback import execute
from regard.learners.inner.kernels import plain_attention
from regard.learners.inner.tasks import Plan, Task, Tensors, chunks, each_task, leaves, stack
from regard.nn.members import ModuleTensors, module_tensors
from regard.nn.transforms import call_with

if TYPE_CHECKING:
    from regard.learners.inner.loop import GradientLearner


class _TaskLoss(nn.Module):
    """`learner.task_loss` as the forward of a module, under which every parameter of the learner can be replaced."""

    def __init__(self, learner: GradientLearner, n_classes: int) -> None:
        super().__init__()
        self.learner, self.n_classes = learner, n_classes
        self.training = learner.training

    def forward(self, task: Task) -> tuple[Tensor, Tensors]:
        return self.learner.task_loss(task, self.n_classes)

    def loss_with(self, tensors: Tensors, task: Task) -> tuple[Tensor, Tensors]:
        """The loss and the buffers after it, with these tensors, by the learner's names."""
        loss, buffers = call_with(self, {f"learner.{name}": tensor for name, tensor in tensors.items()}, task)
        return loss, buffers


def losses_only(learner: GradientLearner, tasks: Task, plan: Plan) -> tuple[Tensor, Tensors]:
    """(B,) losses and the buffers after them, (B, ...) each; for use without gradients."""

    def run(tasks: Task, plan: Plan) -> tuple[Tensor, Tensors]:
        if plan.execution == "loop":
            return stack([learner.task_loss(task, plan.n_classes) for task in each_task(tasks)])
        return run_vmapped(learner, lambda task: learner.task_loss(task, plan.n_classes), tasks, plan, "loss")

    losses, buffers = execute(learner, run, tasks, plan, "loss")
    return losses, buffers


def differentiable_losses(learner: GradientLearner, parameters: Tensors, tasks: Task, n_classes: int) -> Tensor:
    """(B,) losses by a loop with its graph kept: they can be differentiated any number of times."""
    module = _TaskLoss(learner, n_classes)
    with plain_attention():
        return torch.stack([module.loss_with(parameters, task)[0] for task in each_task(tasks)])


def losses_with_meta_gradient(
    learner: GradientLearner, parameters: Tensors, tensors: ModuleTensors, tasks: Task, plan: Plan
) -> tuple[Tensor, Tensors]:
    """(B,) losses whose backward knows the meta-gradient of every task, and the buffers after them.

    Args:
        learner: whose losses they are.
        parameters: those that are differentiated by.
        tensors: all that the learner is made of.
        tasks: (B, ...).
        plan: the execution.
    """
    batch = _Batch(learner, tuple(parameters), tensors, tasks, plan)
    losses = _MetaGradient.apply(batch, *parameters.values())
    assert isinstance(losses, Tensor)
    return losses, batch.buffers


class _Batch:
    """One batch on its way through `_MetaGradient`."""

    def __init__(
        self, learner: GradientLearner, names: tuple[str, ...], tensors: ModuleTensors, tasks: Task, plan: Plan
    ) -> None:
        self.learner, self.names, self.tensors, self.tasks, self.plan = learner, names, tensors, tasks, plan
        self.buffers: Tensors = {}


class _MetaGradient(torch.autograd.Function):
    """Computes losses and per-task gradients at once; its backward is their weighted sum."""

    @staticmethod
    def forward(ctx: Any, batch: _Batch, *parameters: Tensor) -> Tensor:
        named = dict(zip(batch.names, parameters, strict=True))
        run = partial(losses_and_gradients, batch.learner, named, batch.tensors)
        losses, gradients, batch.buffers = execute(batch.learner, run, batch.tasks, batch.plan, "gradient")
        ctx.batch = batch
        ctx.save_for_backward(*parameters, gradients)
        return losses

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        saved, batch = ctx.saved_tensors, ctx.batch
        n = len(batch.names)
        if not torch.is_grad_enabled():
            # The inverse of `_flat`, for all parameters: views.
            last = [_is_channels_last(p) for p in saved[:n]]
            shapes = [p.permute(0, 2, 3, 1) if c else p for p, c in zip(saved[:n], last, strict=True)]
            pieces = _unflatten_dense_tensors(upstream[0].to(saved[n].dtype) @ saved[n], shapes)
            return None, *[g.permute(0, 3, 1, 2) if c else g for g, c in zip(pieces, last, strict=True)]
        # Autograd enables gradients here exactly when create_graph was asked for. Views, so that this derivative stops
        # at them and the next one goes on from them.
        parameters = [p.view_as(p) for p in saved[:n]]
        named = dict(zip(batch.names, parameters, strict=True))
        losses = differentiable_losses(batch.learner, named, batch.tasks, batch.plan.n_classes)
        return None, *torch.autograd.grad(losses, parameters, upstream[0], create_graph=True, allow_unused=True)


def losses_and_gradients(
    learner: GradientLearner, parameters: Tensors, tensors: ModuleTensors, tasks: Task, plan: Plan
) -> tuple[Tensor, Tensor, Tensors]:
    """Losses (B,), all gradients of each task end to end (B, P), and the buffers after them."""
    if plan.execution == "loop":
        return _loop(learner, parameters, tasks, plan)
    return _vmapped(learner, parameters, tensors, tasks, plan)


def _loop(learner: GradientLearner, parameters: Tensors, tasks: Task, plan: Plan) -> tuple[Tensor, Tensor, Tensors]:
    own = {name: p.detach().requires_grad_() for name, p in parameters.items()}
    sources = list(own.values())
    module = _TaskLoss(learner, plan.n_classes)
    losses, buffers = [], []
    gradients = sources[0].new_empty(tasks.support.y.shape[0], sum(p.numel() for p in sources))
    for b, task in enumerate(each_task(tasks)):
        with torch.enable_grad(), nullcontext() if learner.first_order else plain_attention():
            loss, changed = module.loss_with(own, task)
            by_parameter = torch.autograd.grad(loss, sources, allow_unused=True)
        torch.cat([_flat(g, p) for g, p in zip(by_parameter, sources, strict=True)], out=gradients[b])
        losses.append(loss.detach())
        buffers.append({name: buffer.detach() for name, buffer in changed.items()})
    return torch.stack(losses), gradients, stack(buffers)


def _vmapped(
    learner: GradientLearner, parameters: Tensors, tensors: ModuleTensors, tasks: Task, plan: Plan
) -> tuple[Tensor, Tensor, Tensors]:
    def one(own: Tensors, others: Tensors, task: Task) -> tuple[Tensor, Tensor, Tensors]:
        module = _TaskLoss(learner, plan.n_classes)
        value = grad_and_value(lambda own: module.loss_with(own | others, task), has_aux=True)
        gradients, (loss, buffers) = value(own)
        return loss, torch.cat([_flat(g, parameters[name]) for name, g in gradients.items()]), buffers

    return _batched(learner, one, tuple(parameters), tensors, tasks, plan, "gradient")


def run_vmapped(learner: GradientLearner, one: Callable[[Any], Any], tasks: Any, plan: Plan, what: str) -> Any:
    """`vmap(one)(tasks)` without gradients, in chunks, compiled where the plan says so.

    Args:
        learner: whose parameters `one` reads.
        one: of one task; under "compiled" the learner's parameters are replaced while it is traced.
        tasks: a nest of tensors (B, ...).
        plan: the execution.
        what: tells this function of the learner from its others.
    """
    module = _Reads(learner, one)

    def with_tensors(own: Tensors, others: Tensors, task: Any) -> Any:
        return call_with(module, {f"learner.{name}": t for name, t in others.items()}, task)

    return _batched(learner, with_tensors, (), module_tensors(learner), tasks, plan, what)


class _Reads(nn.Module):
    """A function that reads a learner's parameters, as the forward of a module."""

    def __init__(self, learner: GradientLearner, one: Callable[[Any], Any]) -> None:
        super().__init__()
        self.learner, self.one = learner, one
        self.training = learner.training

    def forward(self, task: Any) -> Any:
        return self.one(task)


def _batched(
    learner: GradientLearner,
    one: Callable[..., Any],
    names: tuple[str, ...],
    tensors: ModuleTensors,
    tasks: Any,
    plan: Plan,
    what: str,
) -> Any:
    """vmap of `one(own, others, task)` over the tasks, `plan.chunk` at a time; own are the tensors of these names."""
    # Contiguous: vmap has no rule for some operations on channels-last memory (torch 2.13).
    others = {name: _contiguous(t) for kind in (tensors.parameters, tensors.buffers) for name, t in kind.items()}
    own = {name: others.pop(name) for name in names}

    def function(*arguments: Any) -> Any:
        with plain_attention():
            return vmap(one, in_dims=(None, None, 0), randomness="different")(*arguments)

    results = []
    for chunk in chunks(tasks, plan.chunk):
        if plan.execution == "compiled":
            flat = [*own.values(), *others.values(), *leaves(chunk)]
            key = (what, plan, names, tuple(others), tensors.training())
            results.append(run_compiled(learner, key, function, (own, others, chunk), flat))
        else:
            results.append(function(own, others, chunk))
    return results[0] if len(results) == 1 else pytree.tree_map(lambda *t: torch.cat(t), *results)


def _flat(gradient: Tensor | None, parameter: Tensor) -> Tensor:
    """(numel,) in the order in which the parameter lies in memory, so that neither way is a copy."""
    if gradient is None:
        return torch.zeros_like(parameter).flatten()
    return (gradient.permute(0, 2, 3, 1) if _is_channels_last(parameter) else gradient).flatten()


def _is_channels_last(t: Tensor) -> bool:
    return t.ndim == 4 and not t.is_contiguous() and t.is_contiguous(memory_format=torch.channels_last)


def _contiguous(t: Tensor) -> Tensor:
    """Plain strides, also where an axis of size 1 leaves room for doubt: (N, 1, H, W) is contiguous either way."""
    if t.ndim > 2:
        return t.detach().flatten().view(t.shape)
    return t.detach() if t.is_contiguous() else t.detach().contiguous()

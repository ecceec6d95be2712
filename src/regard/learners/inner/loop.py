"""Learners that adapt by gradient descent on the support: what they share.

    phi_0     = start(theta, support)                                  the weights that adapt, of each task
    phi_{k+1} = rule(phi_k, gradient of inner_loss(f_{phi_k}, support))
    loss(task) = outer loss of f_{phi_K} on the queries                 differentiated down to theta through all K steps

A subclass says where a task's weights start (`start`), what they answer (`outputs`) and how they move (`rule`, see
`regard.learners.inner.rule`); it may say what training lowers (`task_loss`). It always speaks of one task, without a
task axis; how many are done at once and how is `regard.learners.inner.meta_gradient`'s business, by a rule that
`execution_for` shows.

Rows count by their weight in both losses. The columns of classes that a task lacks are hidden in both, so a task is
learned the same alone and beside one of more classes.

Batch norm with running averages: in training every pass uses batch statistics, and the running averages are moved once
a batch, to the mean of what the query passes of its tasks gave; nothing else ever moves them. In prediction the running
averages are used throughout.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Normal
from torch.func import grad_and_value, vmap
from torch.nn.modules.batchnorm import _NormBase
from torch.utils import _pytree as pytree

from regard.episode import Episode, Items, Support, _Value, map_items
from regard.errors import DivergenceError
from regard.learners.base import Learner, Output, hide_absent
from regard.learners.inner import execution as executions
from regard.learners.inner import meta_gradient
from regard.learners.inner.loss import InnerLoss, class_mass, columns, row_losses, weighted_mean
from regard.learners.inner.meta_gradient import Execution, Plan, Rows, Task, Tensors
from regard.learners.inner.rule import InnerRule, Weights
from regard.nn.encoder import Encoder
from regard.nn.headed import Headed
from regard.nn.members import Members, members_of
from regard.nn.transforms import call_with, inside_transform


@dataclass(frozen=True)
class AdaptedWeights(_Value):
    """weights: the adapted weights, (B, *shape) each; mass: (B, C) summed support weight, C = 0 for targets."""

    weights: dict[str, Tensor]
    mass: Tensor


class GradientLearner(Learner):
    """Adapts weights of its own for each task.

    Attributes:
        model: items (N, *item) to (N, out); a task of C classes uses its first C columns, targets use all.
        rule: how a gradient moves the weights.
        adaptable: names of the model's parameters that adapt.
        inner_steps: of training.
        test_steps: of prediction (eval mode).
        first_order: leave out the derivative of the gradients.
        inner_loss: of each row; cross-entropy or squared error where None.
        noise: standard deviation of a predicted target.
        execution, task_chunk: see `regard.learners.inner.meta_gradient`.
    """

    regresses = True
    # Column k of the head has weights of its own.
    relabels = False

    model: nn.Module
    rule: InnerRule
    adaptable: tuple[str, ...]
    inner_steps: int
    test_steps: int
    first_order: bool = False
    inner_loss: InnerLoss | None = None
    noise: float = 0.1
    execution: Execution = "auto"
    task_chunk: int | None = None

    # ---- one task ----------------------------------------------------------------------------------------------------

    def start(self, support: Rows, buffers: Tensors, n_classes: int) -> Weights:
        """The weights that adapt, as they are before the first step. The support's items are prepared ones."""
        own = dict(self.model.named_parameters())
        return {name: own[name] for name in self.adaptable}

    def batch(self, step: int, support: Rows) -> Rows:
        """The rows that a step descends on."""
        return support

    def prepare(self, x: Items) -> Any:
        """What `outputs` is given for x: done once for all steps, so what does not depend on weights belongs here."""
        return self.model.prepare(x) if isinstance(self.model, Encoder | Headed) else x

    def outputs(self, tensors: Tensors, x: Any) -> Tensor:
        """Prepared items to (N, out) with these weights (and buffers) in place of the model's own."""
        return call_with(self.model, tensors, x)

    def adapt_task(self, support: Rows, buffers: Tensors, n_classes: int) -> Weights:
        """The inner loop."""
        *_, (_, weights) = self.steps(support, buffers, n_classes)
        return weights

    def steps(self, support: Rows, buffers: Tensors, n_classes: int) -> Iterator[tuple[Tensor | None, Weights]]:
        """The loss before and the weights after each step; first the weights before any."""
        # Who differentiates by the support asks what an example did, and gets the whole answer, also in first order.
        asked = any(leaf.requires_grad for leaf in pytree.tree_leaves(support))
        twice = torch.is_grad_enabled() and (asked or not self.first_order)
        support = support._replace(x=self.prepare(support.x))
        weights = self.start(support, buffers, n_classes)
        memory = self.rule.begin(weights)
        yield None, weights
        for step in range(self.n_steps):
            rows = self.batch(step, support)
            loss, gradients = self._gradient(weights, rows, buffers, n_classes, twice)
            weights, memory = self.rule(step, weights, gradients, loss, memory)
            yield loss, weights

    def task_loss(self, task: Task, n_classes: int) -> tuple[Tensor, Tensors]:
        """What training lowers, of one task, and the buffers after the query pass."""
        weights = self.adapt_task(task.support, task.buffers, n_classes)
        mass = class_mass(task.support, n_classes)
        output, buffers = self._pass(weights, self.prepare(task.query.x), task.buffers)
        return weighted_mean(row_losses(output, task.query.y, mass), task.query.weight), buffers

    def support_loss(self, output: Tensor, support: Rows, n_classes: int) -> Tensor:
        """The inner loss: a weighted mean over the support rows."""
        mass = class_mass(support, n_classes)
        return weighted_mean(row_losses(output, support.y, mass, self.inner_loss), support.weight)

    def _pass(self, weights: Weights, x: Any, buffers: Tensors) -> tuple[Tensor, Tensors]:
        """Outputs, and the buffers as this pass leaves them; those given are not touched."""
        moved = {name: b.clone() for name, b in buffers.items()}
        return self.outputs({**weights, **moved}, x), moved

    def _gradient(
        self, weights: Weights, support: Rows, buffers: Tensors, n_classes: int, twice: bool
    ) -> tuple[Tensor, Weights]:
        def loss(w: Weights) -> Tensor:
            return self.support_loss(self._pass(w, support.x, buffers)[0], support, n_classes)

        if inside_transform():
            gradients, value = grad_and_value(loss)(weights)
            if self.first_order:  # the loss too, which a rule may read
                return value.detach(), {k: g.detach() for k, g in gradients.items()}
            return value, gradients
        with torch.enable_grad():
            # Leaves or views of their own: the gradient is by each weight with the others held, also where one was made
            # from another, and where a weight is frozen for the outer loop.
            ready = {k: w.view_as(w) if twice and w.requires_grad else _leaf(w) for k, w in weights.items()}
            value = loss(ready)
            found = torch.autograd.grad(value, list(ready.values()), create_graph=twice, allow_unused=True)
        gradients = (torch.zeros_like(w) if g is None else g for g, w in zip(found, ready.values(), strict=True))
        return value if twice else value.detach(), dict(zip(ready, gradients, strict=True))

    # ---- B tasks -----------------------------------------------------------------------------------------------------

    def adapt(self, support: Support) -> AdaptedWeights:
        self._require(support)
        n_classes = support.n_classes or 0
        with _ordinary_tensors():
            rows = _rows(support.x, support.y, support.weight)
            given = (rows, self._buffer_copies(support.n_tasks))
            weights = self._each(lambda g: self.adapt_task(g[0], g[1], n_classes), given, n_classes, "adapt")
            if not inside_transform() and not _finite(weights.values()):
                self._explain_divergence(rows, n_classes)
            return AdaptedWeights(weights, class_mass(rows, n_classes))

    def predict(self, state: AdaptedWeights, query_x: Items) -> Output:
        n_classes = state.mass.shape[-1]
        with _ordinary_tensors():
            given = (state.weights, _owned(query_x), self._buffer_copies(state.mass.shape[0]))
            output = self._each(lambda g: self._pass(g[0], self.prepare(g[1]), g[2])[0], given, n_classes, "predict")
        if n_classes:
            return hide_absent(columns(output, n_classes), state.mass)
        return Normal(output, torch.full_like(output, self.noise), validate_args=False)

    def loss(self, episode: Episode) -> Float[Tensor, " B"]:
        """(B,) query losses after adaptation: cross-entropy, or squared error of targets.

        Raises:
            DivergenceError: the loss of a task is not a number; says at which inner step that began.
        """
        self._require(episode.support)
        with _ordinary_tensors():
            members = members_of(self)
            tasks = self._tasks(episode, members)
            losses, buffers = self._losses(tasks, episode, members)
            if inside_transform():
                return losses
            # One number for all, which isfinite of all takes ten times as long to find. Finite losses may overflow in
            # their sum: then the second look finds nothing.
            if not math.isfinite(losses.sum().item()):
                self._explain_divergence(tasks.support, episode.n_classes or 0, losses)
            self._keep(buffers)
            return losses

    def _losses(self, tasks: Task, episode: Episode, members: Members) -> tuple[Tensor, Tensors]:
        n_classes = episode.n_classes or 0
        if inside_transform():
            losses, _ = vmap(lambda task: self.task_loss(task, n_classes), randomness="different")(tasks)
            return losses, {}
        parameters = {name: p for name, p in members.parameters.items() if p.requires_grad}
        plan = self._plan(episode.n_tasks, n_classes, members, episode)
        if not torch.is_grad_enabled():
            return meta_gradient.losses_only(self, tasks, plan)
        if any(leaf.requires_grad for leaf in meta_gradient.leaves(tasks)):
            return self._each(lambda task: self.task_loss(task, n_classes)[0], tasks, n_classes, "loss"), {}
        if not parameters:
            with torch.no_grad():
                return meta_gradient.losses_only(self, tasks, plan)
        return meta_gradient.losses_with_meta_gradient(self, parameters, members, tasks, plan)

    def _each(self, one: Callable[[Any], Any], given: Any, n_classes: int, what: str) -> Any:
        """`one` for each task, by the execution; with its graph kept where gradients are enabled."""
        if inside_transform():
            return vmap(one, randomness="different")(given)
        plan = self._plan(pytree.tree_leaves(given)[0].shape[0], n_classes, members_of(self))
        if plan.execution != "loop":
            if not torch.is_grad_enabled():
                return meta_gradient.run_vmapped(self, one, given, plan, what)
            if self._may_differentiate_vmap():
                return vmap(one, randomness="different")(given)
        results = [one(task) for task in meta_gradient.each_task(given)]
        return pytree.tree_map(lambda *t: torch.stack(t), *results)

    # ---- execution ---------------------------------------------------------------------------------------------------

    @property
    def n_steps(self) -> int:
        """Inner steps now: of training, or of prediction."""
        return self.inner_steps if self.training else self.test_steps

    def execution_for(self, n_tasks: int, device: torch.device | str = "cpu", episode: Episode | None = None) -> str:
        """How a batch of tasks is executed.

        "auto" is "vmap" on a GPU and for models of dense layers, where small products cost more to start than to
        compute; "compiled" for dense models on a CPU in a training of 1,000 steps and more, which repays the minute of
        compiling; and "loop" for a single task. Convolutions on a CPU are trained by "vmap" where 8 tasks or more are
        done at once and the maps of one are small, and else by "loop"; they predict by "loop". See
        `regard.learners.inner.execution` for what was measured.

        Args:
            n_tasks: of a batch.
            device: where the learner is.
            episode: one as it is trained on, for the size of a task.
        """
        return self._execution(self.modules(), n_tasks, device, episode)

    def _execution(
        self, modules: Iterable[nn.Module], n_tasks: int, device: torch.device | str, episode: Episode | None
    ) -> str:
        if self.execution != "auto":
            return self.execution
        return executions.rule(modules, n_tasks, device, chunk=self.task_chunk, training=self.training, episode=episode)

    def _plan(self, n_tasks: int, n_classes: int, members: Members, episode: Episode | None = None) -> Plan:
        parameter = next(iter(members.parameters.values()), None)
        device = "cpu" if parameter is None else parameter.device
        execution = self._execution(members.modules.values(), n_tasks, device, episode)
        settings = (self.n_steps, self.inner_loss, *_numbers(self), *_numbers(self.rule))
        return Plan(execution, self.task_chunk, n_classes, settings)

    def _tasks(self, episode: Episode, members: Members | None = None) -> Task:
        support = episode.support
        return Task(
            _rows(support.x, support.y, support.weight),
            _rows(episode.query_x, episode.query_y, episode.query_weight),
            self._buffer_copies(episode.n_tasks, members),
        )

    def _may_differentiate_vmap(self) -> bool:
        """Not through torch's batch norm, whose second-order gradients are then silently wrong (see meta_gradient)."""
        # Nor in first order, where a vmapped task cannot tell whether it is differentiated by its support.
        return not self.first_order and not any(isinstance(m, _NormBase) for m in self.modules())

    def _buffer_copies(self, n_tasks: int, members: Members | None = None) -> Tensors:
        """A copy for each task of the buffers that a pass in training moves in place, by the model's names."""
        modules = self.model.modules() if members is None else members.modules.values()
        if not any(isinstance(module, _NormBase) for module in modules):
            return {}
        moving = {
            f"{path}.{name}".lstrip("."): buffer
            for path, module in self.model.named_modules()
            if isinstance(module, _NormBase) and module.training
            for name, buffer in module.named_buffers(recurse=False)
        }
        return {name: b.expand(n_tasks, *b.shape).clone() for name, b in moving.items()}

    def _keep(self, buffers: Tensors) -> None:
        """Move the model's running averages, once a batch."""
        if not buffers:
            return
        own = dict(self.model.named_buffers())
        with torch.no_grad():
            for name, after in buffers.items():
                own[name].copy_(after.mean(0) if after.is_floating_point() else after[0])

    # ---- divergence --------------------------------------------------------------------------------------------------

    def _explain_divergence(self, support: Rows, n_classes: int, losses: Tensor | None = None) -> None:
        """Walk through the inner loops again, task by task and step by step, to say where it began.

        Raises:
            DivergenceError: always where a task has diverged.
        """
        buffers = self._buffer_copies(support.y.shape[0])
        with torch.no_grad():
            for b, (rows, moved) in enumerate(meta_gradient.each_task((support, buffers))):
                step = self._first_bad_step(rows, moved, n_classes)
                if step is not None or (losses is not None and not bool(losses[b].isfinite())):
                    raise DivergenceError(self._divergence(b, step), task=b)

    def _first_bad_step(self, support: Rows, buffers: Tensors, n_classes: int) -> int | None:
        for step, (loss, weights) in enumerate(self.steps(support, buffers, n_classes)):
            if loss is not None and not _finite([loss, *weights.values()]):
                return step
        return None

    def _divergence(self, task: int, step: int | None) -> str:
        where = f"at inner step {step} of {self.n_steps}" if step is not None else "on its queries"
        return (
            f"task {task} of the batch diverged {where}, with {self.rule.describe()}: expected finite weights and "
            "losses. Lower inner_lr or take fewer steps, or look at this task for values that are not finite or very "
            "large."
        )


# ---- small parts -----------------------------------------------------------------------------------------------------


@contextmanager
def _ordinary_tensors() -> Iterator[None]:
    """Inside inference mode nothing can be differentiated; so leave it, and keep to no gradients."""
    if not torch.is_inference_mode_enabled():
        yield
        return
    with torch.inference_mode(False), torch.no_grad():
        yield


def _owned(x: Items) -> Items:
    """Tensors of inference mode cannot be differentiated through: a copy can."""
    return map_items(lambda t: t.clone() if t.is_inference() else t, x)


def _rows(x: Items, y: Tensor, weight: Tensor) -> Rows:
    return Rows(_owned(x), y, weight)


def _numbers(module: nn.Module) -> tuple[float, ...]:
    """What a compiled step has baked in and somebody may change between two steps, such as a rule's rate."""
    return tuple([value for value in vars(module).values() if isinstance(value, (int, float))])


def _leaf(w: Tensor) -> Tensor:
    return w.detach().requires_grad_()


def _finite(tensors: Any) -> bool:
    """One look for all of them."""
    return bool(torch.stack([t.isfinite().all() for t in tensors]).all())

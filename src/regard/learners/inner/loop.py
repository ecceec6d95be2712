"""Learners that adapt by gradient descent on the support: what they share.

    phi_0     = start(theta, support)                                  the weights that adapt, of each task
    phi_{k+1} = rule(phi_k, gradient of inner_loss(f_{phi_k}, support))
    loss(task) = outer loss of f_{phi_K} on the queries                 differentiated down to theta through all K steps

A subclass says where a task's weights start (`start`), what they predict (`outputs`) and how they move (`rule`, see
`regard.learners.inner.rule`); it may say what training lowers (`task_loss`). It always speaks of one task, without a
task axis; how many are done at once and how is the business of `regard.learners.inner.meta_gradient`, and
`choose_execution` says which way is taken.

Rows count by their weight in both losses. The columns of classes that a task lacks are hidden in both, so a task is
learned the same alone and beside one of more classes.

Batch norm with running averages: in training every pass uses batch statistics, and the running averages are moved once
a batch, to the mean of what the query passes of its tasks gave; nothing else ever moves them. In prediction the running
averages are used throughout. Other buffers that a pass changes, such as a counter, move in the same way.

The user's model is called with other weights in place of its own, and has its own again afterwards, whatever happens;
calls from several threads wait for each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Normal
from torch.func import grad_and_value, vmap
from torch.nn.modules.batchnorm import _NormBase
from torch.utils import _pytree as pytree

from regard.episode import Episode, Items, Support, Value, map_items
from regard.learners.base import Output, PlanningLearner, hide_absent
from regard.learners.inner import execution as executions
from regard.learners.inner import meta_gradient
from regard.learners.inner.buffers import buffer_copies, keep_buffers
from regard.learners.inner.divergence import all_finite, explain_divergence
from regard.learners.inner.fallback import execute
from regard.learners.inner.kernels import no_recomputing, plain_attention, plain_recurrence
from regard.learners.inner.locks import lock_of, outside_inference_mode
from regard.learners.inner.loss import InnerLoss, class_outputs, require_rows, row_class_mass, row_losses, weighted_mean
from regard.learners.inner.options import check_inner_options, match_parameters
from regard.learners.inner.rule import InnerRule, Weights
from regard.learners.inner.tasks import Execution, Plan, Rows, Task, Tensors, each_task, leaves, stack
from regard.nn.encoder import Encoder
from regard.nn.headed import Headed
from regard.nn.members import ModuleTensors, module_tensors
from regard.nn.transforms import call_with, inside_transform


@dataclass(frozen=True)
class AdaptedWeights(Value):
    """weights: the adapted weights, (B, *shape) each; mass: (B, C) summed support weight, C = 0 for targets."""

    weights: dict[str, Tensor]
    mass: Tensor


class GradientLearner(PlanningLearner):
    """Adapts weights of its own for each task.

    Attributes:
        model: items (N, *item) to (N, out); a task of C classes uses its first C columns, targets use all.
        rule: how a gradient moves the weights.
        adaptable: names of the model's parameters that adapt.
        inner_steps: steps in training mode.
        test_steps: steps in eval mode.
        first_order: leave out the derivative of the gradients.
        inner_loss: of each row; None for cross-entropy or squared error.
        noise: standard deviation of a predicted target.
        execution, task_chunk: see `regard.learners.inner.meta_gradient`.
    """

    regresses = True
    # Column k of the head has weights of its own.
    relabels = False

    rule: InnerRule

    def __init__(
        self,
        model: nn.Module,
        *,
        inner_steps: int,
        first_order: bool = False,
        test_steps: int | None = None,
        adapt_only: str | Sequence[str] | None = None,
        inner_loss: InnerLoss | None = None,
        noise: float = 0.1,
        execution: Execution = "auto",
        task_chunk: int | None = None,
    ) -> None:
        """What all these learners keep; a subclass adds its rule. See `InnerOptions`.

        Raises:
            ConfigError: an option out of range, or a pattern that matches no parameter.
        """
        super().__init__()
        check_inner_options(execution, inner_steps=inner_steps, test_steps=test_steps, task_chunk=task_chunk)
        self.model, self.adaptable = model, match_parameters(model, adapt_only)
        self.inner_steps, self.test_steps = inner_steps, test_steps or inner_steps
        self.first_order, self.inner_loss, self.noise = first_order, inner_loss, noise
        # First-order gradients are no derivative of the loss, so theirs is no second derivative.
        self.differentiates_twice = not first_order
        self.execution: Execution = execution
        self.task_chunk = task_chunk

    def adapted_shapes(self) -> dict[str, torch.Size]:
        """Name and shape of every parameter that adapts, for rules with a rate per tensor or per weight."""
        parameters = dict(self.model.named_parameters())
        return {name: parameters[name].shape for name in self.adaptable}

    # ---- one task ----------------------------------------------------------------------------------------------------

    def start(self, support: Rows, buffers: Tensors, n_classes: int) -> Weights:
        """The weights that adapt, as they are before the first step. The support's items are prepared ones."""
        parameters = dict(self.model.named_parameters())
        return {name: parameters[name] for name in self.adaptable}

    def batch(self, step: int, support: Rows) -> Rows:
        """The rows that a step descends on."""
        return support

    def prepare(self, x: Items) -> Any:
        """What `outputs` gets for x: done once for all steps, so what does not depend on weights belongs here."""
        return self.model.prepare(x) if isinstance(self.model, Encoder | Headed) else x

    def outputs(self, tensors: Tensors, x: Any) -> Tensor:
        """Prepared items to (N, out) with these weights (and buffers) in place of the model's own."""
        return require_rows(call_with(self.model, tensors, x), type(self.model).__name__)

    def adapt_task(self, support: Rows, buffers: Tensors, n_classes: int) -> Weights:
        """The inner loop."""
        *_, (_, weights) = self.steps(support, buffers, n_classes)
        return weights

    def steps(self, support: Rows, buffers: Tensors, n_classes: int) -> Iterator[tuple[Tensor | None, Weights]]:
        """The loss before and the weights after each step; first the weights before any."""
        twice = torch.is_grad_enabled() and self._needs_second_order(support)
        support = support._replace(x=self.prepare(support.x))
        weights = self.start(support, buffers, n_classes)
        memory = self.rule.begin(weights)
        yield None, weights
        for step in range(self.n_steps):
            rows = self.batch(step, support)
            loss, gradients = self._gradient(weights, rows, buffers, n_classes, twice)
            weights, memory = self.rule(step, weights, gradients, loss, memory)
            yield loss, weights

    def _needs_second_order(self, support: Any) -> bool:
        """Who differentiates by the support wants the effect of an example, and gets all of it, also in first order."""
        return not self.first_order or any(leaf.requires_grad for leaf in pytree.tree_leaves(support))

    def task_loss(self, task: Task, n_classes: int) -> tuple[Tensor, Tensors]:
        """What training lowers, of one task, and the buffers after the query pass."""
        weights = self.adapt_task(task.support, task.buffers, n_classes)
        mass = row_class_mass(task.support, n_classes)
        output, buffers = self._pass(weights, self.prepare(task.query.x), task.buffers)
        return weighted_mean(row_losses(output, task.query.y, mass), task.query.weight), buffers

    def support_loss(self, output: Tensor, support: Rows, n_classes: int) -> Tensor:
        """The inner loss: a weighted mean over the support rows."""
        mass = row_class_mass(support, n_classes)
        return weighted_mean(row_losses(output, support.y, mass, self.inner_loss), support.weight)

    def _pass(self, weights: Weights, x: Any, buffers: Tensors) -> tuple[Tensor, Tensors]:
        """Outputs, and the buffers as this pass leaves them; those given are not touched."""
        tensors = {**weights, **{name: buffer.clone() for name, buffer in buffers.items()}}
        output = self.outputs(tensors, x)
        return output, {name: tensors[name] for name in buffers}

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
            own = {
                name: w.view_as(w) if twice and w.requires_grad else w.detach().requires_grad_()
                for name, w in weights.items()
            }
            value = loss(own)
            by_weight = torch.autograd.grad(value, list(own.values()), create_graph=twice, allow_unused=True)
        gradients = {
            name: torch.zeros_like(w) if g is None else g for (name, w), g in zip(own.items(), by_weight, strict=True)
        }
        return value if twice else value.detach(), gradients

    # ---- B tasks -----------------------------------------------------------------------------------------------------

    def adapt(self, support: Support) -> AdaptedWeights:
        self._require(support)
        n_classes = support.n_classes
        tensors = module_tensors(self)
        with self._at_work(tensors):
            rows = _rows(support.x, support.y, support.weight)
            arguments = (rows, self._buffer_copies(rows.x, support.n_tasks, tensors))
            weights = self._each(
                lambda a: self.adapt_task(a[0], a[1], n_classes), arguments, n_classes, tensors, "adapt"
            )
            if not inside_transform() and not all_finite(weights.values()):
                buffers = self._buffer_copies(rows.x, support.n_tasks, tensors)
                explain_divergence(self, rows, buffers, n_classes)
            return AdaptedWeights(weights, row_class_mass(rows, n_classes))

    def predict(self, state: AdaptedWeights, query_x: Items) -> Output:
        n_classes = state.mass.shape[-1]
        tensors = module_tensors(self)
        with self._at_work(tensors):
            x = _owned(query_x)
            arguments = (state.weights, x, self._buffer_copies(x, state.mass.shape[0], tensors))
            output = self._each(
                lambda a: self._pass(a[0], self.prepare(a[1]), a[2])[0], arguments, n_classes, tensors, "predict"
            )
        if n_classes:
            return hide_absent(class_outputs(output, n_classes), state.mass)
        return Normal(output, torch.full_like(output, self.noise), validate_args=False)

    def loss(self, episode: Episode, n_steps_ahead: int = 1) -> Float[Tensor, " B"]:
        """(B,) query losses after adaptation: cross-entropy, or squared error of targets.

        Args:
            episode: B tasks.
            n_steps_ahead: how many calls like this one there will be; compiling pays in long trainings only.

        Raises:
            DivergenceError: the loss of a task is not a number; says at which inner step that began.
            ConfigError: a model that does not give one tensor (N, out), or that checkpoints its activations.
        """
        self._require(episode.support)
        tensors = module_tensors(self)
        with self._at_work(tensors):
            tasks = self._tasks(episode, tensors)
            losses, buffers = self._losses(tasks, episode, tensors, n_steps_ahead)
            if inside_transform():
                return losses
            # One number for all, which isfinite of all takes ten times as long to find. Finite losses may overflow in
            # their sum: then the walk through the inner loops finds nothing.
            if not math.isfinite(losses.sum().item()):
                copies = self._buffer_copies(tasks.support.x, episode.n_tasks, tensors)
                explain_divergence(self, tasks.support, copies, episode.n_classes, losses)
            keep_buffers(self.model, buffers)
            return losses

    def _losses(
        self, tasks: Task, episode: Episode, tensors: ModuleTensors, n_steps_ahead: int
    ) -> tuple[Tensor, Tensors]:
        n_classes = episode.n_classes
        if inside_transform():
            losses, _ = vmap(lambda task: self.task_loss(task, n_classes), randomness="different")(tasks)
            return losses, {}
        if torch.is_grad_enabled() and any(leaf.requires_grad for leaf in leaves(tasks)):
            return self._each(lambda task: self.task_loss(task, n_classes)[0], tasks, n_classes, tensors, "loss"), {}
        plan = self._plan(episode.n_tasks, n_classes, tensors, episode, n_steps_ahead)
        parameters = {name: p for name, p in tensors.parameters.items() if p.requires_grad}
        if parameters and torch.is_grad_enabled():
            return meta_gradient.losses_with_meta_gradient(self, parameters, tensors, tasks, plan)
        with torch.no_grad():
            return meta_gradient.losses_only(self, tasks, plan)

    def _each(
        self, one: Callable[[Any], Any], arguments: Any, n_classes: int, tensors: ModuleTensors, what: str
    ) -> Any:
        """`one` for each task, by the execution; with its graph kept where gradients are enabled."""
        if inside_transform():
            return vmap(one, randomness="different")(arguments)
        with_graph = torch.is_grad_enabled()

        def run(arguments: Any, plan: Plan) -> Any:
            if plan.execution == "loop":
                twice = with_graph and self._needs_second_order(arguments)
                with plain_attention() if twice else nullcontext():
                    return stack([one(task) for task in each_task(arguments)])
            if with_graph:
                with plain_attention():
                    return vmap(one, randomness="different")(arguments)
            return meta_gradient.run_vmapped(self, one, arguments, plan, what)

        plan = self._plan(pytree.tree_leaves(arguments)[0].shape[0], n_classes, tensors)
        if with_graph and not self._may_differentiate_vmap():
            plan = plan._replace(execution="loop")
        return execute(self, run, arguments, plan, what)

    # ---- execution ---------------------------------------------------------------------------------------------------

    @property
    def n_steps(self) -> int:
        """Inner steps now: of training, or of prediction."""
        return self.inner_steps if self.training else self.test_steps

    def choose_execution(
        self,
        n_tasks: int,
        device: torch.device | str = "cpu",
        episode: Episode | None = None,
        n_steps_ahead: int = 1,
    ) -> str:
        """How a batch of tasks is executed.

        "auto" is "vmap" on a GPU and for models of dense layers, where small products cost more to start than to
        compute; "compiled" for dense models on a CPU in a training of 1,000 steps and more, which repays the minute of
        compiling; and "loop" for a single task. Convolutions on a CPU are trained by "vmap" where 8 tasks or more are
        done at once and the maps of one are small, and else by "loop"; they predict by "loop". See
        `regard.learners.inner.execution` for what was measured. A model that cannot be vmapped is found out by the
        first call, and looped over (`regard.learners.inner.fallback`).

        Args:
            n_tasks: tasks per batch.
            device: where the learner is.
            episode: one as it is trained on, for the size of a task.
            n_steps_ahead: how many steps the training has.
        """
        return self._execution(self.modules(), n_tasks, device, episode, n_steps_ahead)

    def _execution(
        self,
        modules: Iterable[nn.Module],
        n_tasks: int,
        device: torch.device | str,
        episode: Episode | None,
        n_steps_ahead: int,
    ) -> str:
        if self.execution != "auto":
            return self.execution
        return executions.choose_execution(
            modules,
            n_tasks,
            device,
            chunk=self.task_chunk,
            training=self.training,
            n_steps_ahead=n_steps_ahead,
            episode=episode,
        )

    def _plan(
        self,
        n_tasks: int,
        n_classes: int,
        tensors: ModuleTensors,
        episode: Episode | None = None,
        n_steps_ahead: int = 1,
    ) -> Plan:
        parameter = next(iter(tensors.parameters.values()), None)
        device = "cpu" if parameter is None else parameter.device
        execution = self._execution(tensors.modules.values(), n_tasks, device, episode, n_steps_ahead)
        # What a compiled step has baked in and somebody may change between two steps, such as a rule's rate.
        values = (value for module in (self, self.rule) for value in vars(module).values())
        settings = (self.n_steps, self.inner_loss, *[value for value in values if isinstance(value, (int, float))])
        return Plan(execution, self.execution == "auto", self.task_chunk, n_classes, settings)

    def _tasks(self, episode: Episode, tensors: ModuleTensors) -> Task:
        support = _rows(episode.support.x, episode.support.y, episode.support.weight)
        query = _rows(episode.query_x, episode.query_y, episode.query_weight)
        return Task(support, query, self._buffer_copies(support.x, episode.n_tasks, tensors))

    def _buffer_copies(self, x: Items, n_tasks: int, tensors: ModuleTensors) -> Tensors:
        """A copy per task of the buffers that a pass changes; the items are for a pass that finds out which."""
        if not tensors.buffers:
            return {}
        return buffer_copies(self.model, n_tasks, lambda: self.prepare(map_items(lambda t: t[0], x)))

    def _may_differentiate_vmap(self) -> bool:
        """Not through torch's batch norm, whose second-order gradients are then silently wrong (see meta_gradient)."""
        # Nor in first order, where a vmapped task cannot tell whether it is differentiated by its support.
        return not self.first_order and not any(isinstance(m, _NormBase) for m in self.modules())

    @contextmanager
    def _at_work(self, tensors: ModuleTensors) -> Iterator[None]:
        """What has to hold while the model is called with weights that are not its own."""
        with lock_of(self.model), outside_inference_mode(), no_recomputing(), plain_recurrence(tensors):
            yield


# ---- small parts -----------------------------------------------------------------------------------------------------


def _owned(x: Items) -> Items:
    """Tensors of inference mode cannot be differentiated through: a copy can."""
    return map_items(lambda t: t.clone() if t.is_inference() else t, x)


def _rows(x: Items, y: Tensor, weight: Tensor) -> Rows:
    y, weight = (t.clone() if t.is_inference() else t for t in (y, weight))
    return Rows(_owned(x), y, weight)

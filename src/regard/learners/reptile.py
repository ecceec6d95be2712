"""Reptile: train on a task for a while, then move the initial weights towards where that led. No second derivatives.

    phi = theta after K steps of Adam on batches of the task's rows
    theta moves along phi - theta:   "the gradient" handed to the outer optimizer is theta - phi

Nichol, Achiam, Schulman 2018, "On First-Order Meta-Learning Algorithms", arXiv:1803.02999.

The defaults are the paper's 5-way 1-shot Omniglot: Adam without momentum at 0.001, 5 steps on batches of 10 rows to
learn, 50 steps on the whole support to answer. Theirs for the outer loop are plain steps of size 1 that fall to 0, on 5
tasks: the trainer's sgd has momentum, so a learning rate of 0.1 there.

Differs from the paper: in training the rows of a task are its support and its queries together, since the method knows
no difference (theirs draws 10 examples a class; take as many queries); every batch is drawn again from all rows, where
theirs go through all before one comes again.
"""

from __future__ import annotations

from typing import Any, Unpack, final

import torch
from torch import Tensor, nn

from regard.episode import Items, map_items
from regard.errors import EpisodeError
from regard.learners.inner.loop import GradientLearner
from regard.learners.inner.loss import row_class_mass, row_losses, weighted_mean
from regard.learners.inner.options import InnerOptions, check_inner_options
from regard.learners.inner.rule import Adam
from regard.learners.inner.tasks import Rows, Task, Tensors


@final
class Reptile(GradientLearner):
    """Initial weights near to where every task leads.

    Args:
        model: any module from items (N, *item) to (N, out).
        inner_lr: learning rate of Adam in the inner loop.
        inner_steps: steps in training.
        batch_size: rows per step in training, drawn from torch's generator; None for all. Prediction always
            uses the whole support.
        options: test_steps (50 by default), adapt_only, inner_loss, noise, execution, task_chunk, see `InnerOptions`.

    Raises:
        ConfigError: an option out of range.
    """

    # theta - phi is a direction, not the derivative of a loss.
    differentiates_twice = False

    def __init__(
        self,
        model: nn.Module,
        *,
        inner_lr: float = 0.001,
        inner_steps: int = 5,
        batch_size: int | None = 10,
        **options: Unpack[InnerOptions],
    ) -> None:
        super().__init__(model, inner_steps=inner_steps, first_order=True, **{"test_steps": 50, **options})
        check_inner_options(self.execution, batch_size=batch_size)
        self.rule, self.batch_size = Adam(inner_lr), batch_size

    def prepare(self, x: Items) -> Any:
        """As they are: batches are cut from them."""
        return x

    def batch(self, step: int, support: Rows) -> Rows:
        size = self.batch_size
        if not self.training or size is None or size >= support.weight.shape[0]:
            return support
        # In a random order, rows of weight 0 last.
        key = torch.rand_like(support.weight.detach()) + (support.weight <= 0)
        index = key.argsort()[:size]
        return Rows(map_items(lambda t: t[index], support.x), support.y[index], support.weight[index])

    def task_loss(self, task: Task, n_classes: int) -> tuple[Tensor, Tensors]:
        """The query loss after adaptation, with theta - phi for its gradient."""
        rows = _join(task.support, task.query) if self.training else task.support
        theta = self.start(rows, task.buffers, n_classes)
        phi = {name: w.detach() for name, w in self.adapt_task(rows, task.buffers, n_classes).items()}
        output, buffers = self._pass(phi, task.query.x, task.buffers)
        mass = row_class_mass(task.support, n_classes)
        loss = weighted_mean(row_losses(output, task.query.y, mass), task.query.weight).detach()
        # Its derivative by theta is theta - phi, its value nothing.
        pull = sum(((w.detach() - phi[name]) * (w - w.detach())).sum() for name, w in theta.items())
        return loss + pull, buffers


def _join(a: Rows, b: Rows) -> Rows:
    """All rows of one task together."""
    x: Items
    if isinstance(a.x, dict) and isinstance(b.x, dict):
        x = {key: torch.cat([a.x[key], b.x[key]]) for key in a.x}
    elif isinstance(a.x, Tensor) and isinstance(b.x, Tensor):
        x = torch.cat([a.x, b.x])
    else:
        raise EpisodeError("rows of one task are partly tensors and partly dicts: expected one kind of items.")
    return Rows(x, torch.cat([a.y, b.y]), torch.cat([a.weight, b.weight]))

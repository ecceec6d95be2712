"""Meta-SGD: learn where to start and, for every weight, how far to go: a learning rate of its own, of either sign.

    phi = theta - alpha * gradient of L(f_theta, support)          alpha of the shape of theta, elementwise
    theta and alpha descend the gradient of L(f_phi, queries)

Li, Zhou, Chen, Li 2017, "Meta-SGD: Learning to Learn Quickly for Few-Shot Learning", arXiv:1707.09835.

Differs from the paper: nothing in the method; more than its one step may be taken. The defaults are the paper's: one
step, and rates that start at random between 0.005 and 0.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import nn

from regard.errors import ConfigError
from regard.learners.inner.loop import GradientLearner
from regard.learners.inner.options import check_inner_options, match_parameters
from regard.learners.inner.rule import GradientDescent
from regard.learners.inner.tasks import Execution


@final
class MetaSGD(GradientLearner):
    """Learned initial weights and a learned rate for each.

    Args:
        model: any module from items (N, *item) to (N, out).
        inner_lr: lowest and highest rate to start with.
        inner_steps: of training.
        test_steps: of prediction; as many as in training by default.
        first_order: leave out the derivative of the inner gradients.
        adapt_only: name patterns of the parameters that adapt; all by default.
        noise: standard deviation of a predicted target.
        execution, task_chunk: see `regard.learners.inner.meta_gradient`.

    Raises:
        ConfigError: an option out of range, or a pattern that matches no parameter.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        inner_lr: tuple[float, float] = (0.005, 0.1),
        inner_steps: int = 1,
        test_steps: int | None = None,
        first_order: bool = False,
        adapt_only: str | Sequence[str] | None = None,
        noise: float = 0.1,
        execution: Execution = "auto",
        task_chunk: int | None = None,
    ) -> None:
        super().__init__()
        check_inner_options(execution, inner_steps, test_steps, task_chunk)
        lowest, highest = inner_lr
        if not 0 < lowest <= highest:
            raise ConfigError(f"inner_lr is {inner_lr}: expected the lowest and the highest rate, both above 0.")
        self.model, self.adaptable = model, match_parameters(model, adapt_only)
        own = dict(model.named_parameters())
        self.rule = GradientDescent(highest, "parameter", {name: own[name].shape for name in self.adaptable})
        with torch.no_grad():
            for rate in self.rule.learned:
                rate.uniform_(lowest, highest)
        self.inner_steps, self.test_steps = inner_steps, test_steps or inner_steps
        self.first_order, self.differentiates_twice, self.noise = first_order, not first_order, noise
        self.execution: Execution = execution
        self.task_chunk = task_chunk

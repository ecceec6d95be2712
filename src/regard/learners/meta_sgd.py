"""Meta-SGD: learn where to start and, for every weight, how far to go: a learning rate of its own, of either sign.

    phi = theta - alpha * gradient of L(f_theta, support)          alpha of the shape of theta, elementwise
    theta and alpha descend the gradient of L(f_phi, queries)

Li, Zhou, Chen, Li 2017, "Meta-SGD: Learning to Learn Quickly for Few-Shot Learning", arXiv:1707.09835.

Differs from the paper: nothing in the method; more than its one step may be taken. The defaults are the paper's: one
step, and rates that start at random between 0.005 and 0.1.
"""

from __future__ import annotations

from typing import Unpack, final

import torch
from torch import nn

from regard.errors import ConfigError
from regard.learners.inner.loop import GradientLearner
from regard.learners.inner.options import InnerOptions
from regard.learners.inner.rule import GradientDescent


@final
class MetaSGD(GradientLearner):
    """Learned initial weights and a learned rate for each.

    Args:
        model: any module from items (N, *item) to (N, out).
        inner_lr: lowest and highest rate to start with.
        inner_steps: steps in training.
        first_order: leave out the derivative of the inner gradients.
        options: test_steps, adapt_only, inner_loss, noise, execution and task_chunk, see `InnerOptions`.

    Raises:
        ConfigError: an option out of range, or a pattern that matches no parameter.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        inner_lr: tuple[float, float] = (0.005, 0.1),
        inner_steps: int = 1,
        first_order: bool = False,
        **options: Unpack[InnerOptions],
    ) -> None:
        super().__init__(model, inner_steps=inner_steps, first_order=first_order, **options)
        lowest, highest = inner_lr
        if not 0 < lowest <= highest:
            raise ConfigError(f"inner_lr is {inner_lr}: expected the lowest and the highest rate, both above 0.")
        self.rule = GradientDescent(highest, "parameter", self.adapted_shapes())
        with torch.no_grad():
            for rate in self.rule.learned:
                rate.uniform_(lowest, highest)

"""MAML: learn initial weights from which a few steps of gradient descent on the support go a long way.

    phi_0 = theta,   phi_{k+1} = phi_k - inner_lr * gradient of L(f_{phi_k}, support)
    theta descends the gradient of L(f_{phi_K}, queries), through all K steps

Second order differentiates the inner gradients too; first order (FOMAML) takes them for constants.

Finn, Abbeel, Levine 2017, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks", arXiv:1703.03400.

Differs from the paper: nothing in the method; examples may be weighted, some parameters may be left as they are, and
the inner learning rates may be learned. The defaults are the paper's 5-way Omniglot, inner_lr 0.4 and 1 step, but for
its 3 steps in prediction: say test_steps=3. Its sinusoid regression is inner_lr=0.01 and 1 step.
"""

from __future__ import annotations

from typing import Unpack, final

from torch import nn

from regard.learners.inner.loop import GradientLearner
from regard.learners.inner.options import InnerOptions
from regard.learners.inner.rule import GradientDescent, Rates


@final
class MAML(GradientLearner):
    """Learned initial weights, adapted by gradient descent.

    Args:
        model: any module from items (N, *item) to (N, out), such as `regard.nn.headed.Headed`.
        inner_lr: learning rate of the inner loop, or where learned ones start.
        inner_steps: steps in training.
        first_order: FOMAML.
        rates: "fixed", or learned one a "tensor" or one a "parameter".
        options: test_steps, adapt_only, inner_loss, noise, execution and task_chunk, see `InnerOptions`.

    Raises:
        ConfigError: an option out of range, or a pattern that matches no parameter.

    Examples:
        >>> import torch
        >>> from regard.episode import Support
        >>> learner = MAML(nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 3)), inner_lr=0.1, inner_steps=5)
        >>> support = Support(torch.randn(2, 6, 2), torch.arange(3).repeat(2, 2))
        >>> learner.predict(learner.adapt(support), torch.randn(2, 4, 2)).shape
        torch.Size([2, 4, 3])
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        inner_lr: float = 0.4,
        inner_steps: int = 1,
        first_order: bool = False,
        rates: Rates = "fixed",
        **options: Unpack[InnerOptions],
    ) -> None:
        super().__init__(model, inner_steps=inner_steps, first_order=first_order, **options)
        self.rule = GradientDescent(inner_lr, rates, self.adapted_shapes())

"""The LSTM meta-learner: gradient descent written as the cell of an LSTM, whose gates are then learned.

    phi_k  = f_k phi_{k-1} - i_k gradient_k         the cell state is the weights, what it takes in is the gradient
    i_k    = sigmoid( U [h_k, phi_{k-1}, i_{k-1}] + b )      a learning rate
    f_k    = sigmoid( V [h_k, phi_{k-1}, f_{k-1}] + c )      how much of the weight is kept
    h_k    = LSTM( log and sign of the gradient, and of the loss )      an ordinary LSTM, read first
    phi_0  is learned

The same gates for every weight, each with a memory of its own. i starts small and f near 1: gradient descent.

Ravi, Larochelle 2017, "Optimization as a Model for Few-Shot Learning", ICLR 2017.

Differs from the paper: where the gates start is told by a learning rate (0.01 is the middle of the paper's range of
biases) and a share that is kept; inner_steps is the paper's 5 of 5-shot tasks, on the whole support (it takes 12 for
one shot); batch statistics are the encoder's affair (norm="transductive" is the paper's in training).
"""

from __future__ import annotations

import math
from typing import Any, Unpack, final

import torch
from torch import Tensor, nn

from regard.errors import ConfigError
from regard.learners.inner.loop import GradientLearner
from regard.learners.inner.options import InnerOptions
from regard.learners.inner.rule import InnerRule, Weights
from regard.learners.learned_optimizer import flat, like, log_and_sign


@final
class LSTMMetaLearner(GradientLearner):
    """Learned initial weights, adapted by a learned LSTM.

    Args:
        model: any module from items (N, *item) to (N, out), such as `regard.nn.headed.Headed`.
        width: of the first LSTM's memory, for every weight: it costs width times the memory of gradient descent.
        inner_lr: what the input gate starts at.
        keep: what the forget gate starts at; sigmoid(5) in the paper.
        inner_steps: steps in training.
        first_order: take gradients and losses for constants, as the paper does.
        options: test_steps, adapt_only, inner_loss, noise, execution and task_chunk, see `InnerOptions`.

    Raises:
        ConfigError: an option out of range, or a pattern that matches no parameter.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        width: int = 20,
        inner_lr: float = 0.01,
        keep: float = 0.993,
        inner_steps: int = 5,
        first_order: bool = True,
        **options: Unpack[InnerOptions],
    ) -> None:
        super().__init__(model, inner_steps=inner_steps, first_order=first_order, **options)
        self.rule = LSTMRule(width, inner_lr, keep)


@final
class LSTMRule(InnerRule):
    """The rule above. Its memory is h and c of the first LSTM, (n, width), and both gates, (n, 1)."""

    def __init__(self, width: int, rate: float, keep: float) -> None:
        super().__init__()
        for name, share in (("inner_lr", rate), ("keep", keep)):
            if not 0 < share < 1:
                raise ConfigError(f"{name} is {share}: a gate gives it, so expected a number between 0 and 1.")
        # Not nn.LSTMCell, whose fused kernel can be neither vmapped nor differentiated twice.
        self.read = nn.Linear(4 + width, 4 * width)
        self.input_gate, self.forget_gate = nn.Linear(width + 2, 1), nn.Linear(width + 2, 1)
        self.width, self.rate = width, rate
        for gate, share in ((self.input_gate, rate), (self.forget_gate, keep)):
            nn.init.uniform_(gate.weight, -0.01, 0.01)
            nn.init.constant_(gate.bias, math.log(share / (1 - share)))

    def begin(self, weights: Weights) -> Any:
        w = flat(weights)
        return tuple(w.new_zeros(w.shape[0], width) for width in (self.width, self.width, 1, 1))

    def forward(
        self, step: int, weights: Weights, gradients: Weights, loss: Tensor, memory: Any
    ) -> tuple[Weights, Any]:
        w, g = flat(weights)[:, None], flat(gradients)[:, None]
        h, c, i, f = memory
        seen = torch.cat([log_and_sign(g).flatten(-2), log_and_sign(loss.to(g.dtype)).expand(g.shape[0], 2)], -1)
        take, keep, show, new = self.read(torch.cat([seen, h], -1)).chunk(4, -1)
        c = keep.sigmoid() * c + take.sigmoid() * new.tanh()
        h = show.sigmoid() * c.tanh()
        i = self.input_gate(torch.cat([h, w, i], -1)).sigmoid()
        f = self.forget_gate(torch.cat([h, w, f], -1)).sigmoid()
        return like(weights, (f * w - i * g).squeeze(-1)), (h, c, i, f)

    def describe(self) -> str:
        return f"a learned LSTM that started at a learning rate of {self.rate:g}"

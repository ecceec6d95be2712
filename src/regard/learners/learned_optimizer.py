"""A learned optimizer: a small network reads each weight's gradient and its recent past, and says how to step.

    x      = features of one weight: its gradient, and means of its gradients of several memories, by log and sign;
             how far the inner loop is
    m, d   = network(x)
    w     <- w - inner_lr exp(m) gradient - step_size d          for every weight alike, by one network

So the network may turn the gradient's rate up and down (m), and step without it (d). It starts near 0, which is
gradient descent. The initial weights are learned too, as in MAML.

Andrychowicz, Denil, Gomez, Hoffman, Pfau, Schaul, Shillingford, de Freitas 2016, "Learning to learn by gradient descent
by gradient descent", arXiv:1606.04474: coordinates alike, log and sign of gradients, gradients of gradients left out.
Metz, Maheswaranathan, Nixon, Freeman, Sohl-Dickstein 2019, "Understanding and correcting pathologies in the training of
learned optimizers", arXiv:1810.10180: a small perceptron on momenta of several memories, which gives a size and a
direction.

Differs from the papers: the general form of both, for inner loops of a few steps on few examples. Theirs train long
from random weights; here the start is learned with the rule. The first reads the past with an LSTM (`LSTMMetaLearner`
does); the second scales features by their root mean square and trains by evolution strategies beside gradients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Unpack, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.errors import ConfigError
from regard.learners.inner.loop import GradientLearner
from regard.learners.inner.options import InnerOptions
from regard.learners.inner.rule import InnerRule, Weights


@final
class LearnedOptimizer(GradientLearner):
    """Learned initial weights, and a learned rule to adapt them.

    Args:
        model: any module from items (N, *item) to (N, out), such as `regard.nn.headed.Headed`.
        network: (n, F) features to (n, 2), m and d of every weight, F = 3 + 2 * len(decays); a perceptron of one
            hidden layer by default.
        decays: of the means of gradients, each in 0..1; the larger, the longer its memory.
        inner_lr: of the gradient, where training starts.
        step_size: of a step of d = 1.
        inner_steps: steps in training.
        first_order: take gradients for constants, as the papers do.
        options: test_steps, adapt_only, inner_loss, noise, execution and task_chunk, see `InnerOptions`.

    Raises:
        ConfigError: an option out of range, or a pattern that matches no parameter.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        network: nn.Module | None = None,
        decays: Sequence[float] = (0.5, 0.9),
        inner_lr: float = 0.1,
        step_size: float = 0.01,
        inner_steps: int = 5,
        first_order: bool = True,
        **options: Unpack[InnerOptions],
    ) -> None:
        super().__init__(model, inner_steps=inner_steps, first_order=first_order, **options)
        self.rule = NetworkRule(network, tuple(decays), inner_lr, step_size)


@final
class NetworkRule(InnerRule):
    """The rule above. Its memory is the means of gradients, (n, len(decays))."""

    def __init__(self, network: nn.Module | None, decays: tuple[float, ...], rate: float, step_size: float) -> None:
        super().__init__()
        if not all(0 < decay < 1 for decay in decays):
            raise ConfigError(f"decays are {decays}: expected each between 0 and 1, such as 0.9.")
        if network is None:
            last = nn.Linear(32, 2)
            with torch.no_grad():  # near 0: at first, gradient descent
                last.weight.mul_(0.1)
                last.bias.zero_()
            network = nn.Sequential(nn.Linear(3 + 2 * len(decays), 32), nn.Tanh(), last)
        self.network = network
        self.decays, self.rate, self.step_size = decays, rate, step_size

    def begin(self, weights: Weights) -> Any:
        return flat(weights).new_zeros(sum(w.numel() for w in weights.values()), len(self.decays))

    def forward(
        self, step: int, weights: Weights, gradients: Weights, loss: Tensor, memory: Any
    ) -> tuple[Weights, Any]:
        w, g = flat(weights), flat(gradients)
        decay = torch.tensor(self.decays, dtype=g.dtype, device=g.device)
        memory = decay * memory + (1 - decay) * g[:, None]
        seen = log_and_sign(torch.cat([g[:, None], memory], -1)).flatten(-2)
        how_far = torch.full_like(g, math.tanh(step / 10))[:, None]
        m, d = self.network(torch.cat([seen, how_far], -1)).unbind(-1)
        return like(weights, w - self.rate * m.exp() * g - self.step_size * d), memory

    def describe(self) -> str:
        return f"a learned rule that started at a learning rate of {self.rate:g}"


def log_and_sign(x: Float[Tensor, "*N"], p: float = 10.0) -> Float[Tensor, "*N 2"]:
    """(log|x| / p, sign x) where |x| is at least exp(-p), else (-1, exp(p) x): numbers of any size, near 1 in size."""
    large = x.abs() >= math.exp(-p)
    log = torch.where(large, x, 1.0).abs().log() / p  # the log has no finite slope at 0, so none is taken there
    return torch.stack([torch.where(large, log, -1.0), torch.where(large, x.sign(), math.exp(p) * x)], -1)


def flat(weights: Weights) -> Float[Tensor, " n"]:
    """All weights of a task, one after another."""
    return torch.cat([w.flatten() for w in weights.values()])


def like(weights: Weights, vector: Float[Tensor, " n"]) -> Weights:
    """The inverse of `flat`."""
    parts = vector.split([w.numel() for w in weights.values()])
    return {name: part.view(w.shape) for (name, w), part in zip(weights.items(), parts, strict=True)}

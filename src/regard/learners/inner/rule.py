"""How a gradient moves the weights of one task: the rule of an inner loop.

    memory = rule.begin(weights)
    weights, memory = rule(step, weights, gradients, loss, memory)

A rule is an ordinary module. It sees one task, without a task axis: dicts of tensors by name, a scalar loss, and a
memory of its own making (any nest of dicts and tuples of tensors). Its parameters are trained with the learner's. It is
written in functional operations: nothing in place, and no look at values, since tasks may be vmapped.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Literal, final, get_args

import torch
from torch import Tensor, nn

from regard.errors import ConfigError, did_you_mean

Weights = dict[str, Tensor]
Rates = Literal["fixed", "tensor", "parameter"]


class InnerRule(nn.Module, ABC):
    """One step of an inner loop."""

    def begin(self, weights: Weights) -> Any:
        """What the rule remembers before its first step."""
        return ()

    @abstractmethod
    def forward(
        self, step: int, weights: Weights, gradients: Weights, loss: Tensor, memory: Any
    ) -> tuple[Weights, Any]:
        """The weights after this step, and what to remember."""

    @abstractmethod
    def describe(self) -> str:
        """The rule and its rates, for a message: 'a learning rate of 0.4'."""


@final
class GradientDescent(InnerRule):
    """w - rate * gradient.

    Args:
        rate: the learning rate, or where learned ones start.
        rates: "fixed"; or learned, one a "tensor" (Antoniou et al. 2019, arXiv:1810.09502, without their one a step) or
            one a "parameter" (Meta-SGD, Li et al. 2017, arXiv:1707.09835).
        shapes: name and shape of every weight that adapts; needed for learned rates.

    Raises:
        ConfigError: an unknown kind of rates, or a rate that is not positive.
    """

    def __init__(self, rate: float, rates: Rates = "fixed", shapes: Mapping[str, torch.Size] | None = None) -> None:
        super().__init__()
        if rates not in get_args(Rates):
            raise ConfigError(f"rates is {rates!r}: {did_you_mean(str(rates), get_args(Rates))}")
        if not rate > 0:
            raise ConfigError(f"inner_lr is {rate}: expected a number above 0, such as 0.01.")
        self.rate, self.names = rate, tuple(shapes or ())
        sizes = () if rates == "fixed" else (shapes or {}).values()
        self.learned = nn.ParameterList(torch.full(size if rates == "parameter" else (), rate) for size in sizes)

    def forward(
        self, step: int, weights: Weights, gradients: Weights, loss: Tensor, memory: Any
    ) -> tuple[Weights, Any]:
        rates = dict(zip(self.names, self.learned, strict=True)) if len(self.learned) else {}
        if not rates:  # one operation each, and one in its derivative
            return {name: torch.add(w, gradients[name], alpha=-self.rate) for name, w in weights.items()}, memory
        return {name: w - rates.get(name, self.rate) * gradients[name] for name, w in weights.items()}, memory

    def describe(self) -> str:
        if not len(self.learned):
            return f"a learning rate of {self.rate:g}"
        lowest, highest = min(float(r.min()) for r in self.learned), max(float(r.max()) for r in self.learned)
        return f"learned learning rates from {lowest:.3g} to {highest:.3g}"


@final
class Adam(InnerRule):
    """Adam (Kingma and Ba 2015, arXiv:1412.6980), as Reptile uses it: without momentum.

    Args:
        rate: the learning rate.
        beta1, beta2: how slowly the means of gradients and of their squares change.
        eps: added to the root.

    Raises:
        ConfigError: a rate that is not positive.
    """

    def __init__(self, rate: float, *, beta1: float = 0.0, beta2: float = 0.999, eps: float = 1e-8) -> None:
        super().__init__()
        if not rate > 0:
            raise ConfigError(f"inner_lr is {rate}: expected a number above 0, such as 0.001.")
        self.rate, self.beta1, self.beta2, self.eps = rate, beta1, beta2, eps

    def begin(self, weights: Weights) -> Any:
        return tuple({name: torch.zeros_like(w) for name, w in weights.items()} for _ in range(2))

    def forward(
        self, step: int, weights: Weights, gradients: Weights, loss: Tensor, memory: Any
    ) -> tuple[Weights, Any]:
        mean, square = memory
        moved: Weights = {}
        mean = {name: self.beta1 * m + (1 - self.beta1) * gradients[name] for name, m in mean.items()}
        square = {name: self.beta2 * v + (1 - self.beta2) * gradients[name].square() for name, v in square.items()}
        scale = 1 / (1 - self.beta1 ** (step + 1)), 1 / (1 - self.beta2 ** (step + 1))
        for name, w in weights.items():
            v = scale[1] * square[name]
            # The root has no finite slope at 0, where gradients of hidden classes are.
            root = torch.where(v > 0, v, 1.0).sqrt() * (v > 0)
            moved[name] = w - self.rate * scale[0] * mean[name] / (root + self.eps)
        return moved, (mean, square)

    def describe(self) -> str:
        return f"Adam with a learning rate of {self.rate:g}"

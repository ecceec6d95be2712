"""Proto-MAML: MAML whose head starts from class means, so one checkpoint serves any number of classes.

    c_k = weighted mean of f_theta(x_s) over the rows of class k
    head:  W_k = 2 c_k,  b_k = -|c_k|^2          what Prototypical says, up to a constant
    then the inner loop of MAML on encoder and head together

Triantafillou et al. 2020, "Meta-Dataset: A Dataset of Datasets for Learning to Learn from Few Examples",
arXiv:1903.03096. MAML: Finn, Abbeel, Levine 2017, arXiv:1703.03400; Prototypical: Snell, Swersky, Zemel 2017,
arXiv:1703.05175.

Differs from the paper: nothing in the method; examples may be weighted. The paper searches rate and steps again
for every encoder; the defaults here are ours, of the same size as its results.
"""

from __future__ import annotations

from typing import Any, Unpack, final

from torch import Tensor, nn
from torch.nn import functional as F

from regard.learners.base import require_vectors
from regard.learners.inner.loop import GradientLearner
from regard.learners.inner.loss import class_centres, require_rows, row_class_mass
from regard.learners.inner.options import InnerOptions
from regard.learners.inner.rule import GradientDescent, Weights
from regard.learners.inner.tasks import Rows, Tensors
from regard.nn.transforms import call_with

_HEAD = ("prototypes: weight", "prototypes: bias")
"""Names that no parameter of an encoder can have."""


@final
class ProtoMAML(GradientLearner):
    """Class means for a first head, then gradient descent.

    Args:
        encoder: items to vectors (N, D).
        inner_lr: learning rate of the inner loop.
        inner_steps: steps in training.
        first_order: leave out the derivative of the inner gradients; the head's start is differentiated all the same,
            as in the paper.
        options: test_steps, adapt_only, inner_loss, noise, execution and task_chunk, see `InnerOptions`.

    Raises:
        ConfigError: an option out of range, or an encoder that gives parts.
    """

    regresses = False
    # The head is written from scratch from the examples, so no column has weights of its own.
    relabels = True

    def __init__(
        self,
        encoder: nn.Module,
        *,
        inner_lr: float = 0.01,
        inner_steps: int = 5,
        first_order: bool = False,
        **options: Unpack[InnerOptions],
    ) -> None:
        require_vectors(encoder, "ProtoMAML")
        super().__init__(encoder, inner_steps=inner_steps, first_order=first_order, **options)
        self.rule = GradientDescent(inner_lr)

    def start(self, support: Rows, buffers: Tensors, n_classes: int) -> Weights:
        weights = super().start(support, buffers, n_classes)
        z = self._encode({**weights, **{name: b.clone() for name, b in buffers.items()}}, support.x)
        centre = class_centres(support, z, row_class_mass(support, n_classes))
        return {**weights, _HEAD[0]: 2 * centre, _HEAD[1]: -centre.square().sum(-1)}

    def outputs(self, tensors: Tensors, x: Any) -> Tensor:
        own = {name: t for name, t in tensors.items() if name not in _HEAD}
        z = self._encode(own, x)
        tensors.update(own)  # buffers that the pass has bound to new tensors
        return F.linear(z, tensors[_HEAD[0]], tensors[_HEAD[1]])

    def _encode(self, tensors: Tensors, x: Any) -> Tensor:
        return require_rows(call_with(self.model, tensors, x), type(self.model).__name__)

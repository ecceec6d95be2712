"""The mean of Gaussian processes and of a forest on the same encoded features: the smooth and the stepwise together.

    f(x) = (g(x) + h(x)) / 2                               g: `KernelMixture`, h: `ExtraTrees`
    s(x)^2 = s_g(x)^2 + ((g(x) - h(x)) / 2)^2              the squared deviation of the processes from f

Both see logarithms where targets are positive. The two err differently, so that their mean errs less than either; half
is not tuned. Deviations are of the processes, since a few rows of a forest do not know how far they reach.

Averaging learners of different kinds: Breiman 1996, "Stacked regressions", Machine Learning 24; Rasmussen and Williams
2006; Geurts, Ernst, Wehenkel 2006.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Normal

from regard.episode import Support, Value
from regard.learners.base import EncodingLearner, require_vectors
from regard.learners.extra_trees import ExtraTrees, Forest
from regard.learners.kernel_mixture import KernelMixture, Processes
from regard.nn.encoder import Encoder
from regard.nn.flat import Flat


@dataclass(frozen=True)
class KernelsAndTrees(Value):
    """What is kept of a support: that of both."""

    processes: Processes
    forest: Forest


@final
class KernelForest(EncodingLearner):
    """The mean of a `KernelMixture` and of `ExtraTrees`.

    Args:
        encoder: items to vectors (N, D); None takes items as they are.
        blocks: sizes of the blocks of D features; those of the encoder by default, else one block.
        on_blocks: the blocks that the trees see; all by default. The processes see all.
        n_trees: of the forest.
        lengths, noises: of the processes.
        logarithms: whether targets that are all positive may be seen as logarithms.
        seed: of the trees.

    Raises:
        ConfigError: as `KernelMixture` and `ExtraTrees`.
    """

    classifies = False
    regresses = True
    reads_zero = True
    vmaps = False

    def __init__(
        self,
        encoder: Encoder | None = None,
        *,
        blocks: Sequence[int] | None = None,
        on_blocks: Sequence[int] | None = None,
        n_trees: int = 100,
        lengths: Sequence[float] = (0.5, 1.5),
        noises: Sequence[float] = (0.01, 0.03, 0.1, 0.3, 1.0),
        logarithms: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.encoder = Flat() if encoder is None else encoder
        require_vectors(self.encoder, "KernelForest")
        sizes = getattr(self.encoder, "blocks", None) if blocks is None else blocks
        self.processes = KernelMixture(blocks=sizes, lengths=lengths, noises=noises, logarithms=logarithms)
        self.forest = ExtraTrees(blocks=sizes, on_blocks=on_blocks, n_trees=n_trees, logarithms=logarithms, seed=seed)

    def adapt_encoded(self, support: Support) -> KernelsAndTrees:
        return KernelsAndTrees(self.processes.adapt_encoded(support), self.forest.adapt_encoded(support))

    def predict_encoded(self, state: KernelsAndTrees, query_z: Float[Tensor, "B Q D"]) -> Normal:
        smooth = self.processes.predict_encoded(state.processes, query_z)
        steps = self.forest.predict_encoded(state.forest, query_z)
        apart = (smooth.mean - steps.mean) / 2
        return Normal(smooth.mean - apart, torch.hypot(smooth.stddev, apart), validate_args=False)

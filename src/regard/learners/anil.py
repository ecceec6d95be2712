"""ANIL: adapt the head alone; almost no inner loop. The encoder is learned by what its vectors do for that.

    z = f_theta(x)                        once for each item
    inner loop of MAML on the head W, b, with the vectors for items
    theta, W and b descend the gradient of the query loss, through all steps

Raghu, Raghu, Bengio, Vinyals 2020, "Rapid Learning or Feature Reuse? Towards Understanding the Effectiveness of MAML",
arXiv:1909.09157. MAML: Finn, Abbeel, Levine 2017, arXiv:1703.03400.

Differs from the paper: nothing in the method; the vectors are computed once rather than at every step, which gives the
same numbers. Where the encoder takes batch statistics always, a task's support and queries make one batch. The
defaults are those of MAML's 5-way Omniglot.
"""

from __future__ import annotations

from typing import Unpack, final

import torch
from torch import Tensor, nn

from regard.episode import Episode, Support
from regard.learners.base import EncodingLearner, Output, PlanningLearner, require_vectors
from regard.learners.inner.loop import AdaptedWeights
from regard.learners.inner.options import InnerOptions
from regard.learners.maml import MAML
from regard.nn.encoder import Encoder


@final
class ANIL(EncodingLearner, PlanningLearner):
    """A learned encoder, and a linear head adapted by gradient descent.

    Args:
        encoder: items to vectors (N, D).
        n_outputs: the most classes a task may have, or the number of targets.
        inner_lr: learning rate of the inner loop.
        inner_steps: steps in training.
        first_order: leave out the derivative of the inner gradients.
        options: of the head: test_steps, inner_loss, noise, execution and task_chunk, see `InnerOptions`.

    Raises:
        ConfigError: an option out of range, or an encoder that gives parts.
    """

    regresses = True
    # Column k of the head has weights of its own.
    relabels = False

    def __init__(
        self,
        encoder: Encoder,
        n_outputs: int,
        *,
        inner_lr: float = 0.4,
        inner_steps: int = 1,
        first_order: bool = False,
        **options: Unpack[InnerOptions],
    ) -> None:
        super().__init__()
        require_vectors(encoder, "ANIL")
        self.encoder = encoder
        head = nn.Linear(encoder.n_features, n_outputs)
        self.head = MAML(head, inner_lr=inner_lr, inner_steps=inner_steps, first_order=first_order, **options)
        self.differentiates_twice = not first_order

    def adapt_encoded(self, support: Support) -> AdaptedWeights:
        return self.head.adapt(support)

    def predict_encoded(self, state: AdaptedWeights, query_z: Tensor) -> Output:
        return self.head.predict(state, query_z)

    def loss(self, episode: Episode, n_steps_ahead: int = 1) -> Tensor:
        """(B,) query losses after adaptation: cross-entropy, or squared error of targets."""
        support, query_z = self.encode_episode(episode)
        encoded = Episode(support, query_z, episode.query_y, episode.query_weight, episode.n_classes)
        return self.head.loss(encoded, n_steps_ahead)

    def encode_episode(self, episode: Episode) -> tuple[Support, Tensor]:
        """Task by task where batch statistics are taken always, so that no task sees another."""
        if not self.transductive:
            return super().encode_episode(episode)
        parts = [super(ANIL, self).encode_episode(episode.tasks(slice(b, b + 1))) for b in range(episode.n_tasks)]
        support, query_z = zip(*parts, strict=True)
        z = torch.cat([part.x for part in support])
        given = episode.support
        return Support(z, given.y, given.weight, given.n_classes), torch.cat(query_z)

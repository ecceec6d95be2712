"""Nearest class mean on the vectors of a plain classifier: the honest baseline.

    training:    min over f, W, b of  cross-entropy(W f(x) + b, the class of x among all training classes)
    a new task:  c_k = mean of f(x_s) / |f(x_s)| over class k           logit_k(x) = - scale | f(x)/|f(x)| - c_k |^2

Training uses no episodes: training asks which of all training classes an item is of, and the linear head is then left
aside. So batches must name classes by their number in the training set (`labels: data` of a recipe's episodes).

Wang, Chao, Weinberger, van der Maaten 2019, "SimpleShot: Revisiting Nearest-Neighbor Classification for Few-Shot
Learning", arXiv:1911.04623.

Differs from the paper: vectors are normalised (its "L2N"), but the mean of the training set is not taken away first
("CL2N"); `normalise=False` is its "UN".
"""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from regard.episode import Episode, Support
from regard.errors import EpisodeError
from regard.learners.base import EncodingLearner, hide_absent, require_vectors, task_mean
from regard.learners.prototypical import Prototypes, class_means
from regard.nn.attention import scores
from regard.nn.encoder import Encoder


@final
class SimpleShot(EncodingLearner):
    """A classifier over all training classes, then nearest class means.

    Args:
        encoder: items to vectors (N, D).
        n_train_classes: how many the classifier tells apart in training.
        normalise: to length 1 before the means, which is to compare by cosine.
        scale: logits are multiplied by it; it changes confidence, never the answer.

    Raises:
        ConfigError: an encoder that gives parts.
        EpisodeError: in `loss`, an episode of more classes.
    """

    def __init__(self, encoder: Encoder, n_train_classes: int, *, normalise: bool = True, scale: float = 10.0) -> None:
        super().__init__()
        require_vectors(encoder, "SimpleShot")
        n_features = encoder.n_features
        self.encoder, self.normalise, self.scale = encoder, normalise, scale
        self.classifier = nn.Linear(n_features, n_train_classes)

    def adapt_encoded(self, support: Support) -> Prototypes:
        return class_means(self._placed(support.x), support)

    def predict_encoded(self, state: Prototypes, query_z: Float[Tensor, "B Q D"]) -> Float[Tensor, "B Q C"]:
        return hide_absent(self.scale * scores(self._placed(query_z), state.centre, "distance"), state.mass)

    def loss(self, episode: Episode) -> Float[Tensor, " B"]:
        """(B,) cross-entropy of every row, support and query alike, among all training classes."""
        if (episode.n_classes) > self.classifier.out_features:
            raise EpisodeError(
                f"an episode of {episode.n_classes} classes, and SimpleShot was made to tell "
                f"{self.classifier.out_features} apart in training: expected n_train_classes to be the number of "
                "classes of the training set, and labels: data in the recipe's episodes."
            )
        support, query_z = self.encode_episode(episode)
        logits = self.classifier(torch.cat([support.x, query_z], 1))
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        y = torch.cat([support.y, episode.query_y], 1)
        loss = F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none").view_as(y)
        return task_mean(loss, torch.cat([support.weight, episode.query_weight], 1))

    def _placed(self, z: Tensor) -> Tensor:
        return F.normalize(z, dim=-1) if self.normalise else z

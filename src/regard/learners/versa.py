"""VERSA: a network reads a class's mean example and writes a Gaussian over that class's weights, in one pass.

    (mu_k, log sigma_k) = g( mean of f(x_s) over the rows of class k )      over a weight for each feature, and a bias
    training    minimise  - log 1/L sum_l softmax_y( [f(x), 1] . W_l ),     W_l,k ~ Normal(mu_k, sigma_k^2)
    prediction  logit_k(x) = [f(x), 1] . mu_k

Each class is written from its own examples alone (the paper's context independence), so any way will do.

Gordon, Bronskill, Bauer, Nowozin, Turner 2019, "Meta-Learning Probabilistic Inference for Prediction",
arXiv:1805.09921.

Differs from the paper: prediction takes the mean weights, so it is a function of the support; the paper averages over
samples there too, which `sample` gives. Classes only: its second experiment, rebuilding views, has a decoder that is
adapted by other means. The starting deviation is ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from regard.episode import Episode, Support, Value
from regard.learners.base import EncodingLearner, hide_absent, query_loss, require_vectors, task_mean
from regard.learners.prototypical import class_means
from regard.nn.encoder import Encoder


@dataclass(frozen=True)
class WeightPosterior(Value):
    """mean, deviation: (B, C, D + 1) of each class's weights, the bias last; mass: (B, C) summed support weight."""

    mean: Tensor
    deviation: Tensor
    mass: Tensor


@final
class VERSA(EncodingLearner):
    """A linear classifier whose weights are inferred by a network.

    Args:
        encoder: items to vectors (N, D).
        width: of the network's two hidden layers.
        n_samples: L, of the weights, in training.
        deviation: of the weights, about where training starts.

    Raises:
        ConfigError: an encoder that gives parts.
    """

    def __init__(self, encoder: Encoder, *, width: int = 256, n_samples: int = 10, deviation: float = 0.1) -> None:
        super().__init__()
        require_vectors(encoder, "VERSA")
        self.encoder, self.n_samples = encoder, n_samples
        d = encoder.n_features
        self.hidden = nn.Sequential(nn.Linear(d, width), nn.ELU(), nn.Linear(width, width), nn.ELU())
        self.mean = nn.Linear(width, d + 1)
        self.log_deviation = nn.Linear(width, d + 1)
        nn.init.constant_(self.log_deviation.bias, math.log(deviation))

    def adapt_encoded(self, support: Support) -> WeightPosterior:
        means = class_means(support.x, support)
        h = self.hidden(means.centre)
        return WeightPosterior(self.mean(h), self.log_deviation(h).exp(), means.mass)

    def predict_encoded(self, state: WeightPosterior, query_z: Float[Tensor, "B Q D"]) -> Float[Tensor, "B Q C"]:
        return hide_absent(F.pad(query_z, (0, 1), value=1.0) @ state.mean.mT, state.mass)

    def sample(
        self,
        state: WeightPosterior,
        query_z: Float[Tensor, "B Q D"],
        n_samples: int,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "L B Q C"]:
        """The logits of each of `n_samples` draws of the weights.

        Args:
            state: of `adapt`.
            query_z: (B, Q, D) encoded queries.
            n_samples: L.
            generator: the randomness; torch's own by default, which training seeds again at each step.
        """
        noise = torch.randn(
            (n_samples, *state.mean.shape), generator=generator, dtype=state.mean.dtype, device=state.mean.device
        )
        weights = state.mean + state.deviation * noise
        logits = F.pad(query_z, (0, 1), value=1.0) @ weights.mT
        return torch.stack([hide_absent(one, state.mass) for one in logits])

    def loss(self, episode: Episode) -> Float[Tensor, " B"]:
        """(B,) in training, minus the log of the probability averaged over draws; else as for every learner."""
        if not self.training:
            return query_loss(self(episode), episode)
        support, query_z = self.encode_episode(episode)
        logits = self.sample(self.adapt_encoded(support), query_z, self.n_samples)
        log_p = torch.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), -1)
        label = episode.query_y.expand(self.n_samples, *episode.query_y.shape)
        asked = log_p.gather(-1, label[..., None]).squeeze(-1)
        # A padded query may have a label its task does not; the log of no probability at all has no derivative.
        asked = torch.where(episode.query_weight > 0, asked, 0.0)
        return task_mean(math.log(self.n_samples) - torch.logsumexp(asked, 0), episode.query_weight)

"""Attention-based weight generation: a class's weights are its mean example plus what its examples recall of a memory.

    z_s     = f(x_s) / |f(x_s)|
    a_s     = sum_b softmax_b( sharpness * cos(W z_s, key_b) ) value_b / |value_b|      attention over B base entries
    w_k     = scale_mean * mean of class k's z_s  +  scale_memory * mean of its a_s      scales by element
    logit_k = temperature * cos( f(x), w_k )

Gidaris, Komodakis 2018, "Dynamic Few-Shot Visual Learning without Forgetting", arXiv:1804.09458.

Differs from the paper: there the values are the classifier weights of base classes, learned in a first stage on plain
classification, and queries of base classes are answered too. Episodes name no base classes, so here keys and values are
a memory that is learned with the encoder, in one stage, by the episodes alone; how many entries it has is an option.
The paper's encoder has no ReLU at its end, so that cosines may be negative: that is up to the encoder given. The
paper's bias on all logits is left out, as it changes no softmax.

It attends over the memory, not over the support, whose rows all count alike within a class; so it makes no claim to be
an `AttendingLearner`.
"""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.episode import Support
from regard.learners.base import EncodingLearner, hide_absent, require_vectors
from regard.learners.prototypical import Prototypes, class_means
from regard.nn.attention import attention, scores, unit
from regard.nn.encoder import Encoder


@final
class WeightGenerator(EncodingLearner):
    """A cosine classifier with generated weights.

    Args:
        encoder: items to vectors (N, D).
        n_base: entries of the memory; the paper has one for each base class, 64 for its miniImageNet.
        temperature: of the logits, where training starts.
        sharpness: of the attention, where training starts.

    Raises:
        ConfigError: an encoder that gives parts.
    """

    def __init__(
        self, encoder: Encoder, *, n_base: int = 64, temperature: float = 10.0, sharpness: float = 10.0
    ) -> None:
        super().__init__()
        require_vectors(encoder, "WeightGenerator")
        self.encoder = encoder
        d = encoder.n_features
        self.query = nn.Linear(d, d)
        self.key = nn.Parameter(torch.randn(n_base, d) * (2 / d) ** 0.5)
        self.value = nn.Parameter(torch.randn(n_base, d) * (2 / d) ** 0.5)
        self.scale_mean = nn.Parameter(torch.ones(d))
        self.scale_memory = nn.Parameter(torch.ones(d))
        self.temperature = nn.Parameter(torch.tensor(float(temperature)))
        self.sharpness = nn.Parameter(torch.tensor(float(sharpness)))
        with torch.no_grad():  # as in the authors' code: an example first asks for what looks like it
            self.query.weight.copy_(torch.eye(d) + 1e-3 * torch.randn(d, d))
            self.query.bias.zero_()

    def adapt_encoded(self, support: Support) -> Prototypes:
        z = unit(support.x)
        recalled = self.recall(z)[0]
        return class_means(self.scale_mean * z + self.scale_memory * recalled, support)

    def predict_encoded(self, state: Prototypes, query_z: Float[Tensor, "B Q D"]) -> Float[Tensor, "B Q C"]:
        return hide_absent(self.temperature * scores(query_z, state.centre, "cosine"), state.mass)

    def recall(self, z: Float[Tensor, "*S D"]) -> tuple[Float[Tensor, "*S D"], Float[Tensor, "*S N"]]:
        """What examples find in the memory, and how they weigh its entries.

        Args:
            z: (..., S, D) unit vectors.

        Returns:
            (..., S, D), and (..., S, n_base) weights.
        """
        found, p = attention(
            self.query(z), self.key, unit(self.value), compare="cosine", keep=True, temperature=1 / self.sharpness
        )
        assert p is not None  # it was asked for
        return found, p

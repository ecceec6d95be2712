"""CNAPs: the support, read as a set, modulates the encoder; class means in the modulated space write the classifier.

    film    = h( mean of e(x_s) over the support )             a scale and a shift for every channel, by task
    c_k     = mean of f(x_s; film) over the rows of class k
    logit_k = (c_k + u(c_k)) . f(x; film) / sqrt(D) + v(c_k)   u, v, h: small networks;  e: an encoder of its own

Requeima, Gordon, Bronskill, Nowozin, Turner 2019, "Fast and Flexible Multi-Task Classification Using Conditional
Neural Adaptive Processes", arXiv:1906.07697. The modulation is FiLM, Perez et al. 2018 (arXiv:1709.07871).

Differs from the paper, being its simplest form: the encoder is trained with the rest, from scratch, where theirs is a
ResNet18 trained on ImageNet and frozen; the modulation of a layer depends on the set alone, without their
auto-regressive reading of the layers before; one network writes the modulation of all layers, and it starts near none
by small weights rather than by a penalty; scores are divided by sqrt(D), without which training starts from overly
certain answers.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.episode import Items, Support, Value, first_tensor, flatten_tasks, unflatten_tasks
from regard.errors import ConfigError
from regard.learners.base import Learner, hide_absent, require_vectors
from regard.learners.prototypical import class_means
from regard.nn.encoder import Encoder
from regard.nn.film import FilmEncoder


@dataclass(frozen=True)
class ModulatedClassifier(Value):
    """film: (B, F); matrix: (B, C, D); bias: (B, C); mass: (B, C) summed support weight."""

    film: Tensor
    matrix: Tensor
    bias: Tensor
    mass: Tensor


@final
class CNAPs(Learner):
    """An encoder and a linear classifier, both written from the support in one pass.

    Args:
        encoder: items to vectors (N, D); one that can be modulated, such as Conv4 or MLP.
        set_encoder: items to vectors, for the look at the whole support; a second one like `encoder` by default.
        width: of the hidden layers of the small networks.

    Raises:
        ConfigError: an encoder that cannot be modulated, or gives parts.
    """

    def __init__(self, encoder: Encoder, *, set_encoder: Encoder | None = None, width: int = 64) -> None:
        super().__init__()
        if not isinstance(encoder, FilmEncoder) or not encoder.n_film:
            raise ConfigError(
                f"CNAPs modulates its encoder, and {type(encoder).__name__} has no layer for that: expected a "
                "FilmEncoder with a ReLU inside, such as Conv4 or MLP."
            )
        self.encoder = encoder
        self.set_encoder = deepcopy(encoder) if set_encoder is None else set_encoder
        for part in (self.encoder, self.set_encoder):
            require_vectors(part, "CNAPs")
        d = encoder.n_features
        self.film = _network(self.set_encoder.n_features, width, encoder.n_film)
        self.matrix, self.bias = _network(d, width, d), _network(d, width, 1)

    def adapt(self, support: Support) -> ModulatedClassifier:
        self._require(support)
        film = self.film(self._read(support))
        means = class_means(self._encode(support.x, film), support)
        matrix = (means.centre + self.matrix(means.centre)) / means.centre.shape[-1] ** 0.5
        return ModulatedClassifier(film, matrix, self.bias(means.centre).squeeze(-1), means.mass)

    def predict(self, state: ModulatedClassifier, query_x: Items) -> Float[Tensor, "B Q C"]:
        z = self._encode(query_x, state.film)
        return hide_absent(z @ state.matrix.mT + state.bias[:, None], state.mass)

    def _read(self, support: Support) -> Float[Tensor, "B E"]:
        """What the support is like, labels unseen."""
        e = unflatten_tasks(self.set_encoder(flatten_tasks(support.x)), support.n_tasks)
        total = support.weight.sum(1, keepdim=True)
        share = support.weight / torch.where(total > 0, total, 1.0)
        return (share[..., None].to(e.dtype) * e).sum(1)

    def _encode(self, x: Items, film: Float[Tensor, "B F"]) -> Float[Tensor, "B R D"]:
        """All rows of all tasks in one pass, each row with its task's modulation."""
        n_tasks, n_rows = first_tensor(x).shape[:2]
        z = self.encoder(flatten_tasks(x), film.repeat_interleave(n_rows, 0))
        return unflatten_tasks(z, n_tasks)


def _network(n_inputs: int, width: int, n_outputs: int) -> nn.Sequential:
    """Two layers that start by saying little: a tenth of the usual weights at the end."""
    last = nn.Linear(width, n_outputs)
    with torch.no_grad():
        last.weight.mul_(0.1)
        last.bias.zero_()
    return nn.Sequential(nn.Linear(n_inputs, width), nn.ELU(), last)

"""Feature-wise linear modulation: an encoder whose channels can be scaled and shifted, item by item, from outside.

    z  becomes  (1 + scale) z + shift      before each ReLU, with a scale and a shift for every channel of every item

So a learner can give each task an encoder of its own and still encode all tasks in one pass: the parameters come in as
an argument, one row an item, and nothing is kept on the module. Zeros leave the encoder as it is.

Perez, Strub, de Vries, Dumoulin, Courville 2018, "FiLM: Visual Reasoning with a General Conditioning Layer",
arXiv:1709.07871.
"""

from __future__ import annotations

from abc import abstractmethod

from jaxtyping import Float
from torch import Tensor, nn

from regard.episode import Items
from regard.errors import EpisodeError
from regard.nn.encoder import Encoder


class FilmEncoder(Encoder):
    """An encoder that can be modulated.

    Attributes:
        film_widths: the channels of each layer that can be.
    """

    film_widths: tuple[int, ...]

    @property
    def n_film(self) -> int:
        """F, the numbers that modulate one item: for each layer its scales, then its shifts."""
        return 2 * sum(self.film_widths)

    @abstractmethod
    def forward(self, x: Items, film: Float[Tensor, "N F"] | None = None) -> Float[Tensor, "N *P D"]:
        """Encode N items, each with its own modulation; as it is where `film` is left out."""


def modulated(
    layers: nn.Sequential, z: Float[Tensor, "N ..."], film: Float[Tensor, "N F"] | None, widths: tuple[int, ...]
) -> Float[Tensor, "N ..."]:
    """Run the layers, with z scaled and shifted before each ReLU.

    Args:
        layers: one after another; as many ReLUs as `widths`.
        z: (N, C, H, W), or (N, ..., C).
        film: (N, F), see `FilmEncoder.n_film`; None runs the layers as they are.
        widths: channels before each ReLU.

    Raises:
        EpisodeError: another number of numbers an item.
    """
    if film is None:
        return layers(z)
    if film.shape[-1] != 2 * sum(widths):
        raise EpisodeError(
            f"film has {film.shape[-1]} numbers an item: expected {2 * sum(widths)}, a scale and a shift for each of "
            f"{' + '.join(map(str, widths))} channels."
        )
    parts = iter(film.split([w for width in widths for w in (width, width)], -1))
    for layer in layers:
        if isinstance(layer, nn.ReLU):
            # (N, C) so that it broadcasts along the channels of z.
            scale, shift = (
                part[:, :, None, None] if z.ndim == 4 else part.view(part.shape[0], *[1] * (z.ndim - 2), part.shape[1])
                for part in (next(parts), next(parts))
            )
            z = (1 + scale) * z + shift
        z = layer(z)
    return z

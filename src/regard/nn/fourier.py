"""Numbers to waves: a few numbers, such as a place or a time, as sines and cosines of many wavelengths.

    x  ->  [ x, sin(2 pi x / l_1), cos(2 pi x / l_1), ..., sin(2 pi x / l_n), cos(2 pi x / l_n) ]

The dot product of two such vectors is a function of how far apart the numbers are, so attention can look near or far
from its first step on; on bare numbers it has to learn waves first, which takes most of the training (Tancik et al.
2020, "Fourier Features Let Networks Learn High Frequency Functions in Low Dimensional Domains", arXiv:2006.10739).

Wavelengths are a geometric series and not learned; they are in the unit of the numbers.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from regard.episode import Items
from regard.errors import ConfigError, EpisodeError
from regard.nn.encoder import Encoder


class Fourier(Encoder):
    """(N, n_inputs) to (N, D), D = n_inputs (1 + 2 n_waves).

    Args:
        n_inputs: numbers in one item.
        n_waves: wavelengths for each number.
        longest, shortest: the first and the last wavelength.

    Raises:
        ConfigError: wavelengths that are not positive and falling.
        EpisodeError: in `forward`, items of another size.
    """

    parts = False

    def __init__(self, n_inputs: int = 1, n_waves: int = 16, *, longest: float = 8.0, shortest: float = 0.25) -> None:
        super().__init__()
        if not longest >= shortest > 0 or n_waves < 1:
            raise ConfigError(
                f"{n_waves} wavelengths from {longest} to {shortest}: expected at least one, longest >= shortest > 0."
            )
        self.n_inputs, self.n_features = n_inputs, n_inputs * (1 + 2 * n_waves)
        step = math.log(shortest / longest) / max(n_waves - 1, 1)
        self.lengths = tuple(longest * math.exp(step * wave) for wave in range(n_waves))

    def forward(self, x: Items) -> Float[Tensor, "N D"]:
        """Waves of each number, beside the number."""
        if isinstance(x, dict) or x.flatten(1).shape[1] != self.n_inputs:
            got = "a dict" if isinstance(x, dict) else f"items of shape {tuple(x.shape[1:])}"
            raise EpisodeError(f"Fourier was made for {self.n_inputs} number(s) and got {got}: give it n_inputs.")
        flat = x.flatten(1)
        angle = flat[..., None] * (2 * math.pi / torch.tensor(self.lengths, dtype=flat.dtype, device=flat.device))
        return torch.cat([flat, angle.sin().flatten(1), angle.cos().flatten(1)], -1)

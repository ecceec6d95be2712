"""Rotary places: attention that knows of two places only how they differ.

    theta_s = W x_s                                        W: one angle for each pair of numbers of a head, not learned
    q', k', v' = R(theta) q, R(theta) k, R(theta) v        R turns each pair of numbers by its angle
    out   = R(-theta_q) sum_s p_s R(theta_s) v_s  =  sum_s p_s R(theta_s - theta_q) v_s,      p = softmax( q'.k'_s )

The score of a query and a key is a Fourier series of how far apart they are, with coefficients that they choose, so a
head looks as near or as far as it likes from its first step on. What is read is a series too: not only what stands
there but on which side and how far. Nothing changes where all places are moved alike.

References: of queries and keys, Su et al. 2021, "RoFormer", arXiv:2104.09864; of values and what is read, Miyato et al.
2024, "GTA: A Geometry-Aware Attention Mechanism for Multi-View Transformers", arXiv:2310.10375.

Differs from the papers: places are vectors of real numbers, not counts of words or cameras. The wavelengths of a head
are a geometric series, each along a direction drawn once; a single number has one direction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.errors import ConfigError, did_you_mean

Places = Literal["token", "rotary"]
"""What knows where a row is: its token, or attention alone."""


@dataclass(frozen=True)
class Turn:
    """Of each row and head its turning: cos, sin: (..., H, S, E), the half of each pair beside the other."""

    cos: Tensor
    sin: Tensor

    def there(self, x: Float[Tensor, "*B H S E"]) -> Float[Tensor, "*C H S E"]:
        """Turned by the angles: pair j is numbers j and j + E / 2."""
        return torch.addcmul(x * self.cos, x.roll(x.shape[-1] // 2, -1), self.sin)

    def back(self, x: Float[Tensor, "*B H S E"]) -> Float[Tensor, "*C H S E"]:
        """Turned the other way."""
        return torch.addcmul(x * self.cos, x.roll(x.shape[-1] // 2, -1), self.sin, value=-1)


class Rotary(nn.Module):
    """Places (..., S, n_inputs) to the turning of their rows.

    Args:
        n_inputs: numbers of a place.
        n_heads: H.
        width: E, numbers of a head; even.
        longest, shortest: the first and the last wavelength of a head, in the unit of the numbers.

    Raises:
        ConfigError: an odd width, or wavelengths that are not positive and falling.
    """

    wave: Tensor

    def __init__(
        self, n_inputs: int, n_heads: int, width: int, *, longest: float = 8.0, shortest: float = 0.25
    ) -> None:
        super().__init__()
        if width % 2:
            raise ConfigError(f"a head has {width} numbers: expected an even number, since they are turned in pairs.")
        if not longest >= shortest > 0:
            raise ConfigError(f"wavelengths from {longest} to {shortest}: expected longest >= shortest > 0.")
        step = math.log(shortest / longest) / max(width // 2 - 1, 1)
        length = longest * torch.exp(step * torch.arange(width // 2))
        direction = nn.functional.normalize(torch.randn(n_inputs, n_heads, width // 2), dim=0)
        self.register_buffer("wave", 2 * math.pi * direction / length)

    def forward(self, place: Float[Tensor, "*B S D"]) -> Turn:
        """One turning for all columns of a task has an axis of 1 before the heads: give places (B, 1, S, D)."""
        angle = torch.einsum("...sd,dhe->...hse", place, self.wave.to(place.dtype))
        cos, sin = angle.cos(), angle.sin()
        return Turn(torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1))


def is_rotary(places: str) -> bool:
    """Whether attention is to know places.

    Raises:
        ConfigError: an unknown name.
    """
    if places not in get_args(Places):
        raise ConfigError(f"places is {places!r}: {did_you_mean(places, get_args(Places))}")
    return places == "rotary"


def placed(rotary: Rotary | None, z: Float[Tensor, "B N D"]) -> tuple[Float[Tensor, "B N E"], Turn | None]:
    """What tokens are told of places, all or nothing, and what attention is."""
    return (z, None) if rotary is None else (z[..., :0], rotary(z[:, None]))

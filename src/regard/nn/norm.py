"""Normalisation by a policy with a name, because in this field the choice changes what a result means.

"group"         groups of channels of one item; mixes nothing, and is the default
"instance"      each channel of one item; mixes nothing
"batch"         batch statistics in training, running averages in prediction: as most papers' code; inductive
"transductive"  batch statistics always, as MAML's code: a query's answer depends on the other queries
"none"          nothing
"""

from __future__ import annotations

from math import gcd
from typing import Literal, get_args

from jaxtyping import Float
from torch import Tensor, nn

from regard.errors import ConfigError, did_you_mean
from regard.nn.standardise import standardise

Norm = Literal["group", "instance", "batch", "transductive", "none"]


class TransductiveNorm(nn.Module):
    """Batch norm that uses the statistics of whatever it is given, also in prediction; right under vmap."""

    mixes_items = True

    def __init__(self, n_channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.scale = nn.Parameter(Tensor(n_channels).fill_(1.0))
        self.shift = nn.Parameter(Tensor(n_channels).zero_())

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        """Normalise each channel over items and places."""
        return standardise(x, self.scale, self.shift, groups=None, eps=self.eps)


class GroupNorm(nn.GroupNorm):
    """nn.GroupNorm of maps: the same parameters and numbers, with a vmap rule for channels-last memory."""

    def forward(self, input: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        """Normalise each group of channels of each item."""
        if input.dtype != self.weight.dtype:  # autocast
            return super().forward(input)
        return standardise(input, self.weight, self.bias, groups=self.num_groups, eps=self.eps)


def norm_2d(policy: Norm, n_channels: int) -> nn.Module:
    """A norm for (N, C, H, W).

    Raises:
        ConfigError: an unknown policy.
    """
    if policy == "group":
        return GroupNorm(gcd(8, n_channels), n_channels)  # the number of groups has to divide the channels
    if policy == "instance":
        return GroupNorm(n_channels, n_channels)
    if policy == "batch":
        return nn.BatchNorm2d(n_channels)
    if policy == "transductive":
        return TransductiveNorm(n_channels)
    if policy == "none":
        return nn.Identity()
    raise ConfigError(f"norm is {policy!r}: {did_you_mean(str(policy), get_args(Norm))}")

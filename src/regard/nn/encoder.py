"""What every encoder promises: items in, vectors or parts out, and never a word about episodes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from regard.episode import Items
from regard.errors import EpisodeError
from regard.nn.transforms import inside_transform


class Encoder(nn.Module, ABC):
    """Maps (N, *item) to (N, D), or to (N, P, D) where `parts` is true.

    Attributes:
        n_features: D.
        parts: whether one vector an item comes out, or P of them (image patches, tokens, atoms).
        n_fixed_features: the first so many features of a part name it (the word that it is), are the same wherever it
            stands, and are not trained; the others say what it means there. 0 where parts have no names.
    """

    n_features: int
    parts: bool
    n_fixed_features: int = 0

    @abstractmethod
    def forward(self, x: Items) -> Float[Tensor, "N *P D"]:
        """Encode N items."""

    def part_weight(self, z: Float[Tensor, "*N P D"]) -> Float[Tensor, "*N P"] | None:
        """Which parts are real: 1, or 0 for padding; None where an encoder never pads (the parts of an image).

        It is read from encoded items alone. An encoder that pads gives padding as exact zeros, so the mark stays with
        the vectors wherever they go: gathered into episodes, kept for a thousand of them, cast or written to a file.
        """
        return None

    def prepare(self, x: Items) -> Any:
        """What of N items does not depend on the weights, for `forward` to take in their place: the items themselves.

        Whoever encodes the same items many times over, with weights that move, prepares them once.
        """
        return x

    def fix_for_file(self) -> None:
        """Compute from now on what a file computes, where that differs: nothing is cached, looked up or rounded.

        Raises:
            ExportError: no file can hold this encoder, with the reason.
        """

    @property
    def transductive(self) -> bool:
        """Whether one item's vector depends on the other items at prediction, as with batch statistics."""
        return any(getattr(module, "mixes_items", False) for module in self.modules())


class FittedEncoder(Encoder):
    """An encoder that has statistics of the training classes, in closed form, from before the first step."""

    @abstractmethod
    def fit(self, x: Items, y: Int[Tensor, " N"]) -> None:
        """Take the statistics of the training items.

        Args:
            x: (N, *item) the training items.
            y: (N,) their classes.
        """


def as_images(x: Items, n_channels: int) -> Float[Tensor, "N C H W"]:
    """(N, H, W) or (N, H, W, C) of uint8 0..255 or floats 0..1 to (N, C, H, W) floats, channels last in memory.

    Channels-last items make this a view, not a copy, and convolutions on a CPU run 1.4 times faster on them.
    """
    if isinstance(x, dict) or x.ndim not in (3, 4) or (1 if x.ndim == 3 else x.shape[-1]) != n_channels:
        shape = "a dict" if isinstance(x, dict) else f"items of shape {tuple(x.shape[1:])}"
        raise EpisodeError(
            f"the encoder was made for images with {n_channels} channel(s) and got {shape}: expected (height, width)"
            f"{'' if n_channels == 1 else f', then {n_channels} channels last'}."
        )
    image = x[..., None] if x.ndim == 3 else x
    image = image.permute(0, 3, 1, 2)
    if inside_transform():  # vmap has no rule for some operations on channels-last memory (torch 2.13)
        image = image.flatten().view(image.shape)  # contiguous() is in doubt where there is one channel
    return image.to(torch.get_default_dtype()).div(255) if image.dtype == torch.uint8 else image

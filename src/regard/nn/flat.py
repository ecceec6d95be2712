"""No encoder: the item as it is, flattened. What baselines compare when nothing was learned."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from regard.episode import Items
from regard.errors import EpisodeError
from regard.nn.encoder import Encoder


class Flat(Encoder):
    """(N, *item) to (N, D), D the item's size; uint8 is divided by 255."""

    parts = False

    def forward(self, x: Items) -> Float[Tensor, "N D"]:
        """Flatten.

        Raises:
            EpisodeError: items that are a dict.
        """
        if isinstance(x, dict):
            raise EpisodeError(
                f"items are a dict of {sorted(x)}, which cannot be compared as they are: expected one tensor; give the "
                "learner an encoder."
            )
        flat = x.flatten(1)
        if flat.dtype == torch.uint8:
            return flat.to(torch.get_default_dtype()) / 255
        return flat if flat.is_floating_point() else flat.to(torch.get_default_dtype())

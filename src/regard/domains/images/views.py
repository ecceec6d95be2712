"""Drawings seen as they are and slightly distorted: what a hand leaves to chance."""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from torch import Tensor

from regard.domains.images.distort import Distortion
from regard.domains.views import Views
from regard.episode import Items
from regard.errors import EpisodeError
from regard.sampling.random import uniform

MILD = Distortion(rotation=8, scale=0.1, shear=0.1, translation=0.04, elastic=0.015, thickness=0.3)
"""How far the views of a drawing go: about half of what such a learner is trained with."""

_SEED = 0


@final
class DrawingViews(Views):
    """Drawings, (N, H, W) uint8, each as it is in the first view and slightly distorted in the others.

    Within a view all examples are distorted alike, and all queries alike but differently from the examples.

    Args:
        n: E.
    """

    def __init__(self, n: int) -> None:
        self.n = n

    def support(self, items: Items) -> Items:
        return self._distorted(items, 0)

    def queries(self, items: Items) -> Items:
        return self._distorted(items, 1)

    def _distorted(self, x: Items, stream: int) -> Tensor:
        if not isinstance(x, Tensor):
            raise EpisodeError(f"X holds {', '.join(x)}: expected drawings, (N, height, width).")
        noise = torch.from_numpy(uniform(_SEED, stream, np.arange(self.n - 1), MILD.n_noise))
        return torch.stack([x, *(MILD(x, each.expand(x.shape[0], -1)) for each in noise)])

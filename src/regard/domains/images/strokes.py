"""Letters with one stroke more: a twin differs from its letter as letters of one alphabet often differ from each other.

What a learner of drawings gets wrong are letters that differ by one small stroke, and few alphabets have many of them.
Here they are made: some letters of each group get a twin with a stroke added, the same for all drawings of the twin up
to a tremor, and told apart from the letter itself in any episode that holds both.

The stroke is a quadratic curve, mostly short, as wide as a pen. Everything is a function of the seed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from regard.errors import ConfigError
from regard.sampling.dataset import Dataset
from regard.sampling.random import uniform

_CHOSEN, _CURVE, _TREMOR = range(3)
_POINTS = 12
_LONGEST = 0.45  # of the picture's side
_TREMBLES = 0.07  # of the picture's side, the range of each end and of the middle
_AT_ONCE = 4096


def with_twins(dataset: Dataset, share: float, *, seed: int = 0) -> Dataset:
    """Also twins, in the same group, of this share of the letters.

    Args:
        dataset: of uint8 pictures (N, side, side), ink light.
        share: of the classes, 0 to 1, chosen at random.
        seed: of which letters, and of their strokes.

    Raises:
        ConfigError: a share that is none.
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"twins is {share}: expected a share of the letters, 0 to 1.")
    chosen = np.flatnonzero(uniform(seed, _CHOSEN, np.arange(dataset.n_classes), 1)[:, 0] < share)
    if not len(chosen):
        return dataset
    number = np.full(dataset.n_classes, -1)
    number[chosen] = np.arange(len(chosen))
    twin = torch.from_numpy(number)[dataset.y]
    rows = torch.nonzero(twin >= 0)[:, 0]
    assert isinstance(dataset.x, Tensor)
    added = [_drawn(dataset.x[part], twin[part].numpy(), part.numpy(), seed) for part in rows.split(_AT_ONCE)]
    return replace(
        dataset,
        x=torch.cat([dataset.x, *added]),
        y=torch.cat([dataset.y, dataset.n_classes + twin[rows]]),
        class_names=(*dataset.class_names, *(f"{dataset.class_names[c]} + stroke" for c in chosen)),
        class_groups=(*dataset.class_groups, *(dataset.class_groups[c] for c in chosen)),
    )


def _drawn(x: Tensor, twin: np.ndarray, row: np.ndarray, seed: int) -> Tensor:
    """Pictures with the stroke of their class on top."""
    side = x.shape[-1]
    curve = torch.from_numpy(uniform(seed, _CURVE, twin, 6)).float()
    tremor = torch.from_numpy(uniform(seed, _TREMOR, row, 7)).float()
    start = side * (0.15 + 0.7 * curve[:, :2])
    angle, length = 2 * torch.pi * curve[:, 2:3], side * (0.06 + (_LONGEST - 0.06) * curve[:, 3:4] ** 1.5)
    end = start + length * torch.cat([angle.cos(), angle.sin()], 1)
    bend = (start + end) / 2 + 0.5 * length * (2 * curve[:, 4:] - 1)
    shaken = torch.stack([start, bend, end], 1) + _TREMBLES * side * (tremor[:, :6].view(-1, 3, 2) - 0.5)
    shaken = shaken.clamp(2, side - 2)
    t = torch.linspace(0, 1, _POINTS)
    weights = torch.stack([(1 - t) ** 2, 2 * t * (1 - t), t**2], 1)
    points = weights @ shaken  # (N, points, 2)
    centre = torch.arange(side) + 0.5
    across = (points[..., 0, None] - centre).square()[..., None, :]
    down = (points[..., 1, None] - centre).square()[..., None]
    distance = (across + down).amin(1).sqrt()
    half_width = (1.0 + 0.25 * tremor[:, 6]) * side / 28
    mark = (255 * (half_width[:, None, None] + 0.5 - distance).clamp(0, 1)).to(torch.uint8)
    return torch.maximum(x, mark)

"""Which places of a picture an answer rests on: by covering each, see `regard.domains.deletion`.

What covers a photograph is its own blur, which has its colours and nothing to be seen; what covers a drawing is paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.domains.base import PartSaliency
from regard.domains.deletion import explain_by_deletion
from regard.episode import first_tensor

MOST_PICTURES = 10
"""Each is looked at some thirty times."""

_SIDE = 5
"""Places along each side."""

_SHOWN = 96
"""Pixels along each side of the map."""


def explained_places(model: Any, pictures: Sequence[Any]) -> list[PartSaliency] | None:
    """How much each of 25 places speaks for the answer to each picture, and what covering the strongest three does.

    Args:
        model: a fitted FewShotClassifier or FewShotRegressor of pictures.
        pictures: to be answered.

    Returns:
        One per picture, with strengths of (96, 96) pixels; None of more than `MOST_PICTURES`.
    """
    if len(pictures) > MOST_PICTURES:
        return None
    return [_explained(model, picture) for picture in pictures]


def _explained(model: Any, picture: Any) -> PartSaliency:
    pixels = first_tensor(model.reader_([picture]))[0].numpy()  # as the learner sees it
    cover = _cover(pixels)
    edges = [np.linspace(0, length, _SIDE + 1).round().astype(int) for length in pixels.shape[:2]]

    def without(deleted: Sequence[Sequence[int]]) -> list[NDArray[Any]]:
        made = []
        for gone in deleted:
            copy = pixels.copy()
            for place in gone:
                rows, columns = (
                    slice(*edge[at : at + 2]) for edge, at in zip(edges, divmod(place, _SIDE), strict=True)
                )
                copy[rows, columns] = cover[rows, columns]
            made.append(copy)
        return made

    found = explain_by_deletion(model, without, _SIDE**2, "places", verb="Covering", n_random=4)
    return PartSaliency(_smooth(found.strength.reshape(_SIDE, _SIDE)), found.sentence)


def _cover(pixels: NDArray[Any]) -> NDArray[Any]:
    from PIL import Image, ImageFilter

    if pixels.ndim == 2 or pixels.shape[-1] == 1:
        return np.zeros_like(pixels)  # of drawings ink is 1, and paper 0
    blur = ImageFilter.GaussianBlur(min(pixels.shape[:2]) / 8)
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).filter(blur))


def _smooth(strength: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """(96, 96) between the middles of the places."""
    from PIL import Image

    image = Image.fromarray(strength.astype(np.float32)).resize((_SHOWN, _SHOWN), Image.Resampling.BILINEAR)
    return np.clip(np.asarray(image, dtype=np.float64), 0, 1)

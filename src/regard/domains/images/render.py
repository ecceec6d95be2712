"""Pictures as HTML: data: URIs, small enough that a thousand of them make a light page, and heat maps over them."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from regard.domains.base import Rendering
from regard.domains.images.folder import ImageReader

_LEVELS = 16
"""Grey levels of ink and of heat: four bits a pixel, and no step that an eye sees at these sizes."""

_SIDE = 96
"""Pixels of a file that is shown."""

_VEIL = 0.7
"""Opacity of heat over a photograph, where it is strongest."""

INK = (0x1F, 0x1C, 0x18)
HEAT = (0xF5, 0x7C, 0x00)


def render_image(thing: Any, saliency: NDArray[np.floating[Any]] | None = None) -> Rendering:
    """One picture, and over it in orange where it mattered.

    Args:
        thing: (H, W) ink as grey, or (H, W, 3), uint8 or floats in 0..1; a file or a Pillow image is read as colour.
        saliency: (H, W) in 0..1.
    """
    if isinstance(thing, np.ndarray | Tensor):
        x = thing.numpy(force=True) if isinstance(thing, Tensor) else thing
        image = x if x.dtype == np.uint8 else (255 * np.clip(x, 0, 1)).round().astype(np.uint8)
    else:
        image = ImageReader(_SIDE, 3)([thing])[0].numpy()
    image = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
    # Ink is transparent paper: heat glows through it from below. A photograph is not, and keeps a veil of it above.
    is_photograph = image.ndim == 3
    shown = [f'<img src="{data_uri(image)}" alt="">']
    if saliency is not None:
        glow = f'<img class="heat" src="{heat(_VEIL * saliency if is_photograph else saliency)}" alt="">'
        shown = [*shown, glow] if is_photograph else [glow, *shown]
    return Rendering("".join(shown), f"a picture of {image.shape[1]} x {image.shape[0]}")


def data_uri(image: NDArray[np.uint8]) -> str:
    """(H, W) ink as transparent paper with dark ink, (H, W, 3) as a photograph."""
    if image.ndim == 2:
        return _stencil(image / 255, INK)
    from PIL import Image

    return _encode(Image.fromarray(np.ascontiguousarray(image)), "JPEG", quality=82)


def heat(strength: NDArray[Any]) -> str:
    """(H, W) in 0..1 as one hue whose opacity is the strength: on paper, lightness falls evenly with it."""
    return _stencil(np.clip(np.asarray(strength, dtype=np.float64), 0, 1), HEAT)


def _stencil(opacity: NDArray[Any], colour: tuple[int, int, int]) -> str:
    from PIL import Image

    level = np.rint(opacity * (_LEVELS - 1)).astype(np.uint8)
    image = Image.fromarray(level).convert("P")
    image.putpalette(colour * _LEVELS)
    image.putdata(level.ravel().tolist())
    return _encode(image, "PNG", optimize=True, bits=4, transparency=bytes(range(0, 256, 17)))


def _encode(image: Any, kind: str, **options: Any) -> str:
    file = BytesIO()
    image.save(file, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"

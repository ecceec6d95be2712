"""Arrays to data: URIs, small enough that a thousand of them make a light page."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LEVELS = 16
"""Grey levels of ink and of heat: four bits a pixel, and no step that an eye sees at these sizes."""

INK = (0x1F, 0x1C, 0x18)
HEAT = (0xF5, 0x7C, 0x00)


def picture(image: NDArray[np.uint8]) -> str:
    """(H, W) ink as transparent paper with dark ink, (H, W, 3) as a photograph."""
    if image.ndim == 2:
        return _stencil(image / 255, INK)
    from PIL import Image

    return _encode(Image.fromarray(np.ascontiguousarray(image)), "JPEG", quality=82)


def heat(strength: NDArray[Any]) -> str:
    """(H, W) in 0..1 as one hue whose opacity is the strength: on paper, lightness falls evenly with it."""
    return _stencil(np.clip(np.asarray(strength, dtype=np.float64), 0, 1), HEAT)


def png(content: bytes) -> str:
    """The bytes of a PNG as they are."""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


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

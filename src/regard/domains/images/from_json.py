"""Pictures as JSON carries them: base64 of a file, or numbers."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

import numpy as np

from regard.domains.images.reader import complain
from regard.errors import DataError


def decode_picture(thing: Any) -> Any:
    """The bytes of a file from base64, with or without `data:image/png;base64,` before it; an array from lists.

    Raises:
        DataError: something else, such as the name of a file: a stranger may not say what is read from this disk.
    """
    if isinstance(thing, str):
        content = thing.partition(",")[2] if thing.startswith("data:") else thing
        try:
            return base64.b64decode(content, validate=True)
        except (binascii.Error, ValueError) as error:
            raise DataError("not base64: expected the content of an image file in base64.") from error
    if isinstance(thing, list):
        try:
            array = np.asarray(thing, dtype=np.float64)
        except (ValueError, TypeError, OverflowError) as error:
            raise DataError("not an array of numbers: expected rows of one length.") from error
        if array.ndim in (2, 3) and array.size and np.isfinite(array).all() and array.min() >= 0 and array.max() <= 255:
            return array if array.max() <= 1 else array.astype(np.uint8)
    raise DataError(
        f"a {type(thing).__name__}: expected base64 of an image file, or rows of numbers in 0..1 or 0..255."
    )


def decode_pictures(things: Sequence[Any]) -> list[Any]:
    """As `decode_picture`, for each.

    Raises:
        DataError: all that cannot be decoded, in one message.
    """
    decoded: list[Any] = []
    mistakes: list[str] = []
    for i, thing in enumerate(things):
        try:
            decoded.append(decode_picture(thing))
        except DataError as error:
            mistakes.append(f"image {i}: {error}")
    complain("images", mistakes)
    return decoded

"""Pictures to items: files, arrays and Pillow images of any size and kind become tensors that an encoder takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.domains.base import Reader
from regard.domains.images.pixels import Ink, Source, border_colour, fit, open_picture, place, white_on_black
from regard.episode import Items, first_tensor
from regard.errors import ConfigError, DataError
from regard.limits import IMAGE_READ_SIDE

_LISTED = 5
T = TypeVar("T")


@dataclass(frozen=True)
class ImageReader(Reader):
    """Turns pictures of any size and kind into a uint8 tensor: what an encoder of this size and channels takes.

    Files are turned upright as their EXIF says; palettes, transparency (laid over white), CMYK, 1-bit and 16-bit
    pictures (scaled by the bits that are used) become grey or RGB; of an animation the first frame is taken. The aspect
    ratio is kept: a picture is padded to a square with the colour of its border, then reduced with antialiasing.
    """

    size: int = 28
    """Side of the square, in pixels."""
    n_channels: int = 1
    """1 for grey, (N, size, size); 3 for RGB, (N, size, size, 3)."""
    ink: Ink = "keep"
    """For drawings and letters: "dark" ink on light or "light" ink on dark is made white on black, as the glyphs and
    Omniglot are, without the dark border of a scanner; "auto" finds out which by comparing the border with the whole;
    "keep" leaves the picture alone."""
    box: float | None = None
    """Crop to the ink and scale its longer side to this share of the picture; 20 / 28 is how the glyphs lie. None keeps
    the picture whole."""

    def __post_init__(self) -> None:
        if type(self.size) is not int or not 1 <= self.size <= IMAGE_READ_SIDE or self.n_channels not in (1, 3):
            raise ConfigError(
                f"size is {self.size!r} and n_channels {self.n_channels!r}: expected a size of 1 to {IMAGE_READ_SIDE}, "
                "and 1 or 3 channels (grey or RGB)."
            )
        if self.ink not in ("auto", "dark", "light", "keep"):
            raise ConfigError(f"ink is {self.ink!r}: choose one of auto, dark, light, keep.")
        if self.ink != "keep" and self.n_channels != 1:
            raise ConfigError(f"ink={self.ink!r} is for grey drawings: use n_channels=1, or ink='keep' for colour.")
        is_share = self.box is None or (isinstance(self.box, int | float) and 0 < self.box <= 1)
        if not is_share or (self.box is not None and self.ink == "keep"):
            raise ConfigError(
                f"box is {self.box!r}: expected a share in (0, 1], with ink other than 'keep' to crop to."
            )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __call__(self, things: Any) -> Tensor:
        """Read pictures into (N, size, size) or (N, size, size, 3) uint8.

        Raises:
            DataError: pictures that cannot be read, all of them in one message.
        """
        if isinstance(things, str | bytes | Path) or hasattr(things, "convert"):
            raise DataError(f"images: got one, {things!r:.80}; expected a list of them: put it into a list, [image].")
        is_names = isinstance(things, np.ndarray) and things.dtype.kind in "OUT"
        if isinstance(things, np.ndarray | Tensor) and things.ndim < 3 and not is_names:
            raise DataError(
                f"images: got an array of shape {tuple(things.shape)}; expected (N, height, width): put one image into "
                "a list, [image]."
            )
        pictures, mistakes = collect(self.read, list(things))
        complain("images", mistakes)
        shape = (self.size, self.size) if self.n_channels == 1 else (self.size, self.size, self.n_channels)
        return torch.from_numpy(np.stack(pictures) if pictures else np.zeros((0, *shape), np.uint8))

    def read(self, source: Source) -> NDArray[np.uint8]:
        """One picture: (size, size) or (size, size, 3).

        Raises:
            DataError: says what is wrong with it.
        """
        picture = open_picture(source, "RGB" if self.n_channels == 3 else "L")
        if self.ink == "keep":
            return np.array(fit(picture, self.size, border_colour(picture)))
        return place(white_on_black(np.asarray(picture), self.ink), self.size, self.box)

    def is_blank(self, items: Items) -> NDArray[np.bool_]:
        """(N,) which drawings have no ink; pictures that are kept as they are may be of one colour, and never are."""
        x = first_tensor(items)
        if self.ink == "keep":
            return super().is_blank(items)
        return np.asarray((x.reshape(len(x), self.size * self.size) == 0).all(1).numpy(force=True))


def read_images(
    sources: Iterable[Source], size: int = 28, *, n_channels: int = 1, ink: Ink = "keep", box: float | None = None
) -> Tensor:
    """Paths, arrays or PIL images to a uint8 tensor; the settings are those of `ImageReader`.

    Raises:
        DataError: pictures that cannot be read, all of them in one message.
    """
    return ImageReader(size, n_channels, ink, box)(sources)


def collect(read: Callable[[Source], T], sources: Sequence[Source]) -> tuple[list[T], list[str]]:
    """Read all that can be read; and one line for each of the others, which says why not."""
    done: list[T] = []
    mistakes: list[str] = []
    for i, source in enumerate(sources):
        try:
            done.append(read(source))
        except DataError as error:
            name = str(source) if isinstance(source, str | Path) else f"image {i}"
            mistakes.append(f"{name}: {error}")
    return done, mistakes


def complain(where: str, mistakes: Sequence[str]) -> None:
    """Raise, unless there is no mistake.

    Raises:
        DataError: how many there are, and the first five of them.
    """
    if not mistakes:
        return
    more = f"\n  and {len(mistakes) - _LISTED} more" if len(mistakes) > _LISTED else ""
    listed = "\n  ".join(mistakes[:_LISTED])
    raise DataError(f"{where}: {len(mistakes)} thing(s) to mend:\n  {listed}{more}")

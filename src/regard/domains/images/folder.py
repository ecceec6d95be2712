"""Anybody's images: a folder with a sub-folder a class, or any list of files, arrays and pictures.

    folder/cat/1.png                  class "cat"
    folder/cat/2.jpg
    folder/Greek/alpha/1.png          or two levels: class "Greek/alpha" of the group "Greek"

All mistakes of a folder are told at once. Nothing is skipped in silence, except hidden files and what file managers
leave behind. Left out: labels in a table beside the images, and augmentation, which is a sampler's transform.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.domains.base import Reader
from regard.errors import ConfigError, DataError
from regard.sampling.dataset import Dataset

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"})
_LEFT_BEHIND = frozenset({"thumbs.db", "desktop.ini"})
_LISTED = 5
_FAINT = 16  # a range of grey below this, of 255, is an empty page rather than a drawing
_INKED = 64  # of 255: lighter traces do not count as ink when a drawing is cropped

Ink = Literal["auto", "dark", "light", "keep"]
Source = Any
"""A path, a PIL image, or an array: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); bytes, booleans or floats in 0..1."""
T = TypeVar("T")


@dataclass(frozen=True)
class ImageReader(Reader):
    """Turns pictures of any size and kind into a uint8 tensor: what an encoder of this size and channels takes.

    Files are turned upright as their EXIF says; palettes, transparency (laid over white), CMYK, 1-bit and 16-bit
    pictures become grey or RGB; of an animation the first frame is taken. The aspect ratio is kept: a picture is padded
    to a square with the colour of its border, then reduced with antialiasing.
    """

    size: int = 28
    """Side of the square, in pixels."""
    n_channels: int = 1
    """1 for grey, (N, size, size); 3 for RGB, (N, size, size, 3)."""
    ink: Ink = "keep"
    """For drawings and letters: "dark" ink on light or "light" ink on dark is made white on black, as the glyphs and
    Omniglot are; "auto" finds out which by comparing the border with the whole; "keep" leaves the picture alone."""
    box: float | None = None
    """Crop to the ink and scale its longer side to this share of the picture; 20 / 28 is how the glyphs lie. None keeps
    the picture whole."""

    def __post_init__(self) -> None:
        if self.size < 1 or self.n_channels not in (1, 3):
            raise ConfigError(
                f"size is {self.size} and n_channels {self.n_channels}: expected a size of 1 or more, and 1 or 3 "
                "channels (grey or RGB)."
            )
        if self.ink not in ("auto", "dark", "light", "keep"):
            raise ConfigError(f"ink is {self.ink!r}: choose one of auto, dark, light, keep.")
        if self.ink != "keep" and self.n_channels != 1:
            raise ConfigError(f"ink={self.ink!r} is for grey drawings: use n_channels=1, or ink='keep' for colour.")
        if self.box is not None and (self.ink == "keep" or not 0 < self.box <= 1):
            raise ConfigError(f"box is {self.box}: expected a share in (0, 1], with ink other than 'keep' to crop to.")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __call__(self, things: Iterable[Source]) -> Tensor:
        """Read pictures into (N, size, size) or (N, size, size, 3) uint8.

        Raises:
            DataError: pictures that cannot be read, all of them in one message.
        """
        pictures, mistakes = _collect(self.read, list(things))
        _complain("images", mistakes)
        shape = (self.size, self.size) if self.n_channels == 1 else (self.size, self.size, self.n_channels)
        return torch.from_numpy(np.stack(pictures) if pictures else np.zeros((0, *shape), np.uint8))

    def read(self, source: Source) -> NDArray[np.uint8]:
        """One picture: (size, size) or (size, size, 3).

        Raises:
            DataError: says what is wrong with it.
        """
        picture = _upright(source, "RGB" if self.n_channels == 3 else "L")
        if self.ink == "keep":
            return np.array(_fit(picture, self.size, _border_colour(picture)))
        drawing = _white_on_black(np.asarray(picture), self.ink)
        return _place(drawing, self.size, self.box)


def read_images(
    sources: Iterable[Source], size: int = 28, *, n_channels: int = 1, ink: Ink = "keep", box: float | None = None
) -> Tensor:
    """Paths, arrays or PIL images to a uint8 tensor; the settings are those of `ImageReader`.

    Raises:
        DataError: pictures that cannot be read, all of them in one message.
    """
    return ImageReader(size, n_channels, ink, box)(sources)


def image_files(folder: Path | str) -> list[Path]:
    """All images in a folder and its sub-folders, sorted: what is asked, or one class.

    Raises:
        DataError: no such folder, no image in it, or files that are no images.
    """
    root = _existing(folder)
    files = sorted(path for path in root.rglob("*") if path.is_file() and not _hidden(path.relative_to(root)))
    _complain(str(root), [f"{path}: {_NOT_AN_IMAGE}" for path in files if not _is_image(path)])
    if not files:
        raise DataError(f"{root} holds no image: expected files such as {root / 'a.png'}.")
    return files


def image_folder(folder: Path | str, reader: ImageReader | None = None, *, n_items: int = 1) -> Dataset:
    """A data set of a folder with a sub-folder a class, or a folder a group and in it a sub-folder a class.

    Args:
        folder: where to look.
        reader: how pictures are made alike; `ImageReader()` by default.
        n_items: images that each class must have at least, such as n_shot + n_query.

    Raises:
        DataError: all that is wrong with the folder and its files, the first five of them in words.
    """
    root = _existing(folder)
    classes, mistakes = _classes(root)
    for name, files in classes.items():
        if len(files) < n_items:
            mistakes.append(
                f"{root / name}: {len(files)} image(s), and each class needs {n_items}; add some or remove the folder."
            )
    reader = reader or ImageReader()
    pictures, unread = _collect(reader.read, [path for files in classes.values() for path in files])
    _complain(str(root), mistakes + unread)
    y = torch.arange(len(classes)).repeat_interleave(torch.tensor([len(files) for files in classes.values()]))
    in_groups = any("/" in name for name in classes)
    groups = tuple(name.split("/")[0] for name in classes) if in_groups else ()
    return Dataset(torch.from_numpy(np.stack(pictures)), y, tuple(classes), groups)


def class_files(folder: Path | str) -> dict[str, list[Path]]:
    """Image files by class, of a folder with a sub-folder a class; unread.

    Raises:
        DataError: files that lie where they cannot belong to a class, or are no images.
    """
    classes, mistakes = _classes(_existing(folder))
    _complain(str(folder), mistakes + [f"{Path(folder) / n}: no image in it." for n, f in classes.items() if not f])
    return classes


_NOT_AN_IMAGE = f"not an image by its name; expected one of {', '.join(sorted(SUFFIXES))}, or remove it."


def _existing(folder: Path | str) -> Path:
    root = Path(folder).expanduser()
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise DataError(f"{root} {what}: expected a folder of images.")
    return root


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts) or path.name.lower() in _LEFT_BEHIND


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _classes(root: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """Files by class name ("class" or "group/class"), and what is wrong with where they lie."""
    files = [path for path in root.rglob("*") if path.is_file() and not _hidden(path.relative_to(root))]
    depths = {len(path.relative_to(root).parts) - 1 for path in files if _is_image(path)}
    expected = f"expected {root / 'class' / 'image.png'} or {root / 'group' / 'class' / 'image.png'}"
    if not depths:
        raise DataError(f"{root} holds no image: {expected}.")
    if depths == {0}:
        raise DataError(f"{root} holds images and no sub-folders: put those of each class into its own, {expected}.")
    level = max(set(depths) & {1, 2}, default=0)
    mistakes = [f"{path}: {_NOT_AN_IMAGE}" for path in sorted(files) if not _is_image(path)]
    classes: dict[str, list[Path]] = {}
    for folder in sorted(root.glob("/".join("*" * level))) if level else []:
        name = folder.relative_to(root)
        if folder.is_dir() and not _hidden(name):
            classes[name.as_posix()] = sorted(p for p in files if p.parent == folder and _is_image(p))
    listed = {path for members in classes.values() for path in members}
    mistakes += [
        f"{p}: lies elsewhere than the others; {expected}." for p in sorted(files) if _is_image(p) and p not in listed
    ]
    return classes, mistakes


def _collect(read: Callable[[Source], T], sources: Sequence[Source]) -> tuple[list[T], list[str]]:
    """Read all that can be read, and say of the rest why not."""
    done: list[T] = []
    mistakes: list[str] = []
    for i, source in enumerate(sources):
        try:
            done.append(read(source))
        except DataError as error:
            name = str(source) if isinstance(source, str | Path) else f"image {i}"
            mistakes.append(f"{name}: {error}")
    return done, mistakes


def _complain(where: str, mistakes: Sequence[str]) -> None:
    if not mistakes:
        return
    more = f"\n  and {len(mistakes) - _LISTED} more" if len(mistakes) > _LISTED else ""
    listed = "\n  ".join(mistakes[:_LISTED])
    raise DataError(f"{where}: {len(mistakes)} thing(s) to mend:\n  {listed}{more}")


def _upright(source: Source, mode: str) -> Image:
    """A path, an array or a PIL image to a PIL image of this mode."""
    from PIL import Image, ImageOps

    if isinstance(source, str | Path):
        return _opened(Path(source), mode)
    picture = source if isinstance(source, Image.Image) else _from_array(source)
    return _in_mode(ImageOps.exif_transpose(picture), mode)


def _opened(path: Path, mode: str) -> Image:
    from PIL import Image, ImageOps, UnidentifiedImageError

    if not path.is_file():
        raise DataError("no such file; check the name.")
    if path.stat().st_size == 0:
        raise DataError("empty, 0 bytes; copy it again or remove it.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                file.load()
                return _in_mode(ImageOps.exif_transpose(file), mode)
    except UnidentifiedImageError:
        raise DataError("not an image, whatever its name says; convert it to PNG or remove it.") from None
    except DataError:
        raise
    except Exception as error:
        # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error ... on a damaged file.
        raise DataError(f"damaged ({type(error).__name__}: {error}); copy it again or remove it.") from error


def _from_array(source: Source) -> Image:
    from PIL import Image

    if isinstance(source, Tensor):
        source = source.detach().cpu().numpy()
    array = np.asarray(source)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)) or 0 in array.shape:
        raise DataError(f"an array of shape {array.shape}; expected (H, W), (H, W, 1), (H, W, 3) or (H, W, 4).")
    return Image.fromarray(_as_bytes(array))


def _as_bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Booleans, bytes, 16-bit integers and floats in 0..1 to 0..255."""
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array.astype(np.uint8) * np.uint8(255)
    if np.issubdtype(array.dtype, np.floating):
        if not np.isfinite(array).all():
            raise DataError("has NaN or infinite pixels; replace them.")
        low, high = float(array.min()), float(array.max())
        if low < 0 or high > 1:
            raise DataError(f"has float pixels from {low:g} to {high:g}; expected 0..1, or uint8 0..255.")
        return (array * 255).round().astype(np.uint8)
    if np.issubdtype(array.dtype, np.integer):
        low, high = int(array.min()), int(array.max())
        wide = array.dtype == np.uint16 or high > 255
        if low >= 0 and high <= 65535:
            return (array.astype(np.uint32) // (257 if wide else 1)).astype(np.uint8)
        raise DataError(f"has integer pixels from {low} to {high}; expected 0..255, or 16 bits.")
    raise DataError(f"has pixels of type {array.dtype}; expected uint8 0..255 or floats 0..1.")


def _in_mode(picture: Image, mode: str) -> Image:
    """Any Pillow mode to "L" or "RGB"."""
    from PIL import Image

    if picture.mode.startswith(("I", "F")):
        picture = Image.fromarray(_as_bytes(np.asarray(picture)))
    if picture.has_transparency_data:
        picture = _over_page(picture.convert("RGBA"))
    # Palettes, CMYK and 1 bit: Pillow knows the way, through RGB where it knows none to grey.
    return picture.convert("RGB").convert(mode) if picture.mode != mode else picture.copy()


def _over_page(picture: Image) -> Image:
    """Lay a transparent picture over white; over black where it is itself white and would vanish."""
    from PIL import Image

    for page in ("white", "black"):
        laid = Image.alpha_composite(Image.new("RGBA", picture.size, page), picture).convert("RGB")
        low, high = laid.convert("L").getextrema()
        if high - low >= _FAINT:  # type: ignore[operator]
            return laid
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def _border(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(K,) or (K, C): the pixels of the outermost frame."""
    return np.concatenate([array[0], array[-1], array[1:-1, 0], array[1:-1, -1]])


def _border_colour(picture: Image) -> int | tuple[int, ...]:
    colour = np.median(_border(np.asarray(picture)), axis=0).round().astype(int).tolist()
    return tuple(colour) if isinstance(colour, list) else colour


def _fit(picture: Image, size: int, colour: int | tuple[int, ...]) -> Image:
    """Pad to a square, then reduce."""
    from PIL import Image

    side = max(picture.size)
    if picture.size != (side, side):
        square = Image.new(picture.mode, (side, side), colour)
        square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
        picture = square
    return picture if side == size else picture.resize((size, size), Image.Resampling.LANCZOS)


def _white_on_black(grey: NDArray[np.uint8], ink: Ink) -> NDArray[np.uint8]:
    """Ink 255 on 0, stretched from the page's own grey; an empty page is black."""
    page = float(np.median(_border(grey)))
    if ink == "dark" or (ink == "auto" and page > grey.mean()) or (ink == "auto" and page == grey.mean() > 127):
        grey, page = 255 - grey, 255 - page
    strongest = float(grey.max()) - page
    if strongest < _FAINT:
        return np.zeros_like(grey)
    stretched = (grey.astype(np.float32) - page) * (255 / strongest)
    return stretched.clip(0, 255).round().astype(np.uint8)


def _place(drawing: NDArray[np.uint8], size: int, box: float | None) -> NDArray[np.uint8]:
    from PIL import Image

    rows, columns = (np.flatnonzero((drawing >= _INKED).any(axis)) for axis in (1, 0))
    if box is None or not len(rows):
        return np.array(_fit(Image.fromarray(drawing), size, 0))
    ink = Image.fromarray(drawing[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    scale = box * size / max(ink.size)
    width, height = (max(1, round(side * scale)) for side in ink.size)
    out = Image.new("L", (size, size))
    reduced = ink if ink.size == (width, height) else ink.resize((width, height), Image.Resampling.LANCZOS)
    out.paste(reduced, ((size - width) // 2, (size - height) // 2))
    return np.array(out)

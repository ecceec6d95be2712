"""One picture, of whatever kind, to grey or RGB pixels; and drawings to white ink on black.

    open_picture     a path, an array or a Pillow image, upright, as "L" or "RGB"
    fit              padded to a square and reduced
    white_on_black   the ink of a drawing, stretched; without the black border of a scanner
    place            the ink cropped and scaled into a box

What a file claims is checked before it is decoded, see `regard.limits`.
"""

from __future__ import annotations

import math
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from regard.errors import DataError
from regard.limits import IMAGE_JPEG_PIXELS, IMAGE_PIXELS, IMAGE_SIDE, IMAGE_WHOLE_PIXELS

if TYPE_CHECKING:
    from PIL.Image import Image

Ink = Literal["auto", "dark", "light", "keep"]
Source = Any
"""A path, the bytes of a file, a PIL image, or an array: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); bytes, booleans or
floats in 0..1."""

FAINT = 16
"""A range of grey below this, of 255, is a blank page rather than a drawing."""

_INKED = 64  # of 255: lighter traces do not count as ink when a drawing is cropped
_DEPTHS = (8, 10, 12, 14, 16)  # bits that cameras and scanners use of 16; more is scaled by its own range
_FORMATS = [
    "PNG",
    "JPEG",
    "MPO",
    "BMP",
    "DIB",
    "GIF",
    "WEBP",
    "TIFF",
    "AVIF",
    "PPM",
    "TGA",
    "PCX",
    "ICO",
    "JPEG2000",
    "QOI",
    "HEIF",
]  # no EPS or WMF, which start other programs

HEIC_ADVICE = "HEIC is not read by Pillow; convert it to JPEG or PNG, or install pillow-heif and register its opener."


def open_picture(source: Source, mode: Literal["L", "RGB"]) -> Image:
    """An upright Pillow image of this mode.

    Raises:
        DataError: says what is wrong with it.
    """
    from PIL import Image

    if isinstance(source, str | Path):
        return _opened(Path(source).expanduser(), mode)
    if isinstance(source, bytes):
        with tempfile.NamedTemporaryFile() as file:
            file.write(source)
            file.flush()
            return _opened(Path(file.name), mode)
    picture = source if isinstance(source, Image.Image) else _from_array(source)
    _require_size(picture.size, IMAGE_PIXELS)
    return _upright(picture, mode)


def _opened(path: Path, mode: str) -> Image:
    from PIL import Image, UnidentifiedImageError

    if not path.is_file():
        if not path.exists():
            raise DataError("no such file; check the name.")
        raise DataError("a folder; expected one image." if path.is_dir() else "not a regular file; expected an image.")
    if path.stat().st_size == 0:
        raise DataError("empty, 0 bytes; copy it again or remove it.")
    Image.init()
    formats = [name for name in _FORMATS if name in Image.OPEN]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow: bombs, whose size is checked here, and odd metadata
            with Image.open(path, formats=formats) as file:
                if file.format == "JPEG" and math.prod(file.size) > IMAGE_PIXELS:
                    _require_size(file.size, IMAGE_JPEG_PIXELS)
                    file.draft(None, (file.width // 2, file.height // 2))
                _require_size(file.size, IMAGE_PIXELS)
                lower = [tile._replace(args=_lower(tile.args)) for tile in file.tile]
                file.load()
                if all(tile.args for tile in lower) and max(high for _, high in _extrema(file)) < 64:
                    return _upright(_with_lower_byte(path, file, lower), mode)
                return _upright(file, mode)
    except UnidentifiedImageError:
        with path.open("rb") as opened:
            start = opened.read(12)
        if start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"mif1", b"msf1", b"hevc"):
            raise DataError(HEIC_ADVICE) from None
        raise DataError("not an image, whatever its name says; convert it to PNG or remove it.") from None
    except DataError:
        raise
    except Image.DecompressionBombError:
        raise DataError(
            f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6:.0f} megapixels; reduce it first."
        ) from None
    except Exception as error:
        # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error ... on a damaged file.
        reason = f"{type(error).__name__}: {error}"[:200]
        raise DataError(f"damaged ({reason}); copy it again or remove it.") from error


def _require_size(size: tuple[int, int], pixels: int) -> None:
    width, height = size
    if width * height > pixels or max(size) > IMAGE_SIDE:
        raise DataError(
            f"{width:,} x {height:,} pixels; expected at most {pixels / 1e6:.0f} million, and {IMAGE_SIDE:,} a side; "
            "reduce it first."
        )


def _extrema(picture: Image) -> list[tuple[int, int]]:
    """Lowest and highest value of each band."""
    return [band.getextrema() for band in picture.split()]  # pyright: ignore[reportReturnType]


_LOWER = {f"{mode};16{a}": f"{mode};16{b}" for mode in ("RGB", "RGBA") for a, b in ("BL", "LB", "NB")}


def _lower(arguments: Any) -> Any:
    """The arguments of a decoder of 16-bit colours, of which Pillow keeps the upper byte, for the lower; else None."""
    first, *others = arguments if isinstance(arguments, tuple) else (arguments,)
    other = _LOWER.get(first) if isinstance(first, str) else None
    return other and ((other, *others) if isinstance(arguments, tuple) else other)


def _with_lower_byte(path: Path, upper: Image, tiles: list[Any]) -> Image:
    """16-bit colours of which few bits are used, so that the upper byte says little: decoded again, and scaled."""
    from PIL import Image, ImageFile

    with Image.open(path) as file:
        assert isinstance(file, ImageFile.ImageFile)
        file.tile = tiles
        file.load()
        pixels = (np.asarray(upper).astype(np.uint16) << 8) | np.asarray(file)
    exif, scaled = upper.getexif(), Image.fromarray(_as_bytes(pixels))
    scaled.info["exif"] = exif.tobytes()
    return scaled


def _from_array(source: Source) -> Image:
    from PIL import Image

    if isinstance(source, Tensor):
        source = source.detach().cpu().numpy()
    try:
        array = np.asarray(source)
    except ValueError as error:
        raise DataError(f"{type(source).__name__} is no picture ({error}); expected a path or an array.") from None
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)) or 0 in array.shape:
        raise DataError(f"an array of shape {array.shape}; expected (H, W), (H, W, 1), (H, W, 3) or (H, W, 4).")
    _require_size((array.shape[1], array.shape[0]), IMAGE_PIXELS)
    return Image.fromarray(_as_bytes(array))


def _as_bytes(array: NDArray[Any], *, from_file: bool = False) -> NDArray[np.uint8]:
    """Booleans, bytes, integers and floats to 0..255, by the bits that are used.

    Args:
        array: of any numbers; integers up to 1 are a mask, and floats are in 0..1.
        from_file: what lies outside, as in scans of bodies and of heights, is shifted and scaled.

    Raises:
        DataError: NaN, or an array of other numbers.
    """
    if array.dtype == bool:
        return array.astype(np.uint8) * np.uint8(255)
    if np.issubdtype(array.dtype, np.floating):
        if not np.isfinite(array).all():
            raise DataError("has NaN or infinite pixels; replace them.")
        low, high = float(array.min()), float(array.max())
        if low >= 0 and high <= 1:
            return (array * 255).round().astype(np.uint8)
        if not from_file:
            raise DataError(f"has float pixels from {low:g} to {high:g}; expected 0..1, or uint8 0..255.")
        low = min(low, 0.0)
        # Floats of 0..255 keep their levels; others have no known white but their own.
        full = 255.0 if low == 0 and high <= 255 else max(high - low, 1e-30)
        return ((array.astype(np.float64) - low) * (255 / full)).round().astype(np.uint8)
    if np.issubdtype(array.dtype, np.integer):
        low, high = int(array.min()), int(array.max())
        if high <= 1 and low == 0:
            return (array == 1).astype(np.uint8) * np.uint8(255)
        if array.dtype == np.uint8:
            return array
        if not from_file and not (low >= 0 and high <= 65535):
            raise DataError(f"has integer pixels from {low} to {high}; expected 0..255, or 16 bits.")
        low = min(low, 0)
        full = next((2**bits - 1 for bits in _DEPTHS if high - low < 2**bits), high - low)
        if full == 65535 and low == 0:
            return (array // 257).astype(np.uint8)
        return ((array.astype(np.float64) - low) * (255 / full)).astype(np.uint8)
    raise DataError(f"has pixels of type {array.dtype}; expected uint8 0..255 or floats 0..1.")


def _upright(picture: Image, mode: str) -> Image:
    """Any Pillow mode to "L" or "RGB", turned as its EXIF says; a huge one reduced first."""
    from PIL import Image, ImageOps

    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith(("I", "F")):
        picture = Image.fromarray(_as_bytes(np.asarray(picture), from_file=True))
    if math.prod(picture.size) > IMAGE_WHOLE_PIXELS:
        plain = {"1": "L", "P": "RGBA" if picture.has_transparency_data else "RGB", "PA": "RGBA"}.get(picture.mode)
        factor = math.ceil(math.sqrt(math.prod(picture.size) / IMAGE_WHOLE_PIXELS))
        # A strip keeps its short side: only what is long is reduced.
        across, down = (min(factor, max(1, side // 1024)) for side in picture.size)
        picture = (picture if plain is None else picture.convert(plain)).reduce((across, down))
    if picture.mode == "L" and picture.getextrema() == (0, 1):
        picture = picture.point(lambda level: 255 * level)  # a mask
    if picture.has_transparency_data:
        picture = _over_page(picture.convert("RGBA"))
    # Palettes, CMYK and 1 bit: Pillow knows the way, through RGB where it knows none to grey.
    return picture.convert("RGB").convert(mode) if picture.mode != mode else picture.copy()


def _over_page(picture: Image) -> Image:
    """Lay a transparent picture over white; over black where it is itself white and would vanish."""
    from PIL import Image

    for page in ("white", "black"):
        laid = Image.alpha_composite(Image.new("RGBA", picture.size, page), picture).convert("RGB")
        (low, high), *_ = _extrema(laid.convert("L"))
        if high - low >= FAINT:
            return laid
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


# ---- a picture into a square -----------------------------------------------------------------------------------------


def _border(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(K,) or (K, C): the pixels of the outermost frame."""
    return np.concatenate([array[0], array[-1], array[1:-1, 0], array[1:-1, -1]])


def border_colour(picture: Image) -> int | tuple[int, ...]:
    """The median of the outermost pixels."""
    colour = np.median(_border(np.asarray(picture)), axis=0).round().astype(int).tolist()
    return tuple(colour) if isinstance(colour, list) else colour


def fit(picture: Image, size: int, colour: int | tuple[int, ...]) -> Image:
    """Pad to a square with this colour, then reduce with antialiasing."""
    from PIL import Image

    side, resample = max(picture.size), Image.Resampling.LANCZOS
    square = (side, side)
    if side * side > IMAGE_WHOLE_PIXELS:
        # The square of a long strip may be huge: its long side is reduced first, which gives the same but for rounding.
        is_long = [length == side for length in picture.size]
        width, height = (size if long else length for long, length in zip(is_long, picture.size, strict=True))
        picture = picture.resize((width, height), resample)
        square = (size if is_long[0] else side, size if is_long[1] else side)
    if picture.size != square:
        padded = Image.new(picture.mode, square, colour)
        padded.paste(picture, ((square[0] - picture.width) // 2, (square[1] - picture.height) // 2))
        picture = padded
    return picture if picture.size == (size, size) else picture.resize((size, size), resample)


# ---- drawings --------------------------------------------------------------------------------------------------------


def white_on_black(grey: NDArray[np.uint8], ink: Ink) -> NDArray[np.uint8]:
    """Ink 255 on 0, stretched from the page's own grey; a blank page is black.

    Where ink may be dark, the dark border that a scanner leaves around a page is cut off first.
    """
    if ink in ("auto", "dark"):
        grey = without_frame(grey)
    page = float(np.median(_border(grey)))
    if ink == "dark" or (ink == "auto" and page > grey.mean()) or (ink == "auto" and page == grey.mean() > 127):
        grey, page = 255 - grey, 255 - page
    strongest = float(grey.max()) - page
    if strongest < FAINT:
        return np.zeros_like(grey)
    stretched = (grey.astype(np.float32) - page) * (255 / strongest)
    return stretched.clip(0, 255).round().astype(np.uint8)


def without_frame(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The page without dark strips along its edges, as the lid of a scanner leaves them; else the same array.

    A strip is dark over nine tenths of its length, at most an eighth of the page wide, and around what is left the page
    is clear: so the stem of a letter that was cropped tightly is none. Of a page that lay askew, with strips along two
    sides that meet, the wedges that are left along the edges are made paper. Within strips on all four sides the page
    may be blank; a strip on fewer sides of a page without ink is taken for the ink.
    """
    height, width = grey.shape
    deep, wide = height // 8, width // 8
    if not deep or not wide:
        return grey
    centre = grey[deep : height - deep, wide : width - wide]
    page = float(np.median(centre))
    darkest = float(min(grey[0].min(), grey[-1].min(), grey[:, 0].min(), grey[:, -1].min(), centre.min()))
    if page - darkest < 4 * FAINT:
        return grey
    dark = grey < page - (page - darkest) / 4
    by_row, by_column = dark.mean(1) >= 0.9, dark.mean(0) >= 0.9
    if not (by_row[0] or by_row[-1] or by_column[0] or by_column[-1]):
        return grey
    strips = [_leading(by_row), _leading(by_row[::-1]), _leading(by_column), _leading(by_column[::-1])]
    top, bottom, left, right = strips
    if max(top, bottom) > deep or max(left, right) > wide:
        return grey
    if [bool(strip) for strip in strips] in ([True, True, False, False], [False, False, True, True]):
        return grey  # the bars of a letter such as Ξ or Ⅱ, cropped tightly
    # The edge of a strip is blurred or a little askew: a few more lines, where the strip can still be seen in them.
    for _ in range(2 + max(height, width) // 50):
        inner = dark[top : height - bottom, left : width - right]
        top += bool(strips[0] and inner[0].mean() > 0.01)
        bottom += bool(strips[1] and inner[-1].mean() > 0.01)
        left += bool(strips[2] and inner[:, 0].mean() > 0.01)
        right += bool(strips[3] and inner[:, -1].mean() > 0.01)
    inside = slice(top, height - bottom), slice(left, width - right)
    inner, cropped = dark[inside], grey[inside]
    if not _clear_around(inner) and (strips[0] or strips[1]) and (strips[2] or strips[3]):
        wedges = _wedges(inner, min(deep, wide))
        inner, cropped = inner & ~wedges, np.where(wedges, np.uint8(page), cropped)
    has_ink = bool(inner.any()) or all(strips)
    return cropped if _clear_around(inner) and has_ink else grey


def _clear_around(dark: NDArray[np.bool_]) -> bool:
    """Whether next to nothing along the four edges is dark."""
    return bool(max(edge.mean() for edge in (dark[0], dark[-1], dark[:, 0], dark[:, -1])) <= 0.01)


def _wedges(dark: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """Dark patches that touch an edge and reach no further from it, with their blurred border."""
    from scipy import ndimage

    labels: NDArray[np.int32] = np.empty(dark.shape, dtype=np.int32)
    ndimage.label(dark, np.ones((3, 3)), output=labels)
    found = np.zeros_like(dark)
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
        height, width = dark.shape
        edges = rows.start, height - rows.stop, columns.start, width - columns.stop
        depths = rows.stop, height - rows.start, columns.stop, width - columns.start
        if any(not edge and depth <= reach for edge, depth in zip(edges, depths, strict=True)):
            found |= labels == number
    return np.asarray(ndimage.binary_dilation(found, np.ones((3, 3)), 1 + max(dark.shape) // 50), dtype=np.bool_)


def _leading(flags: NDArray[np.bool_]) -> int:
    """How many there are before the first that is False."""
    return len(flags) if flags.all() else int(np.argmin(flags))


def place(drawing: NDArray[np.uint8], size: int, box: float | None) -> NDArray[np.uint8]:
    """A drawing in a square, or its ink scaled so that the longer side is this share of it."""
    from PIL import Image

    rows, columns = (np.flatnonzero((drawing >= _INKED).any(axis)) for axis in (1, 0))
    if box is None or not len(rows):
        return np.array(fit(Image.fromarray(drawing), size, 0))
    ink = Image.fromarray(drawing[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    scale = box * size / max(ink.size)
    width, height = (max(1, round(side * scale)) for side in ink.size)
    out = Image.new("L", (size, size))
    reduced = ink if ink.size == (width, height) else ink.resize((width, height), Image.Resampling.LANCZOS)
    out.paste(reduced, ((size - width) // 2, (size - height) // 2))
    return np.array(out)

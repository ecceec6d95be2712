"""The glyphs: letters of ten scripts, each drawn by several faces of one type family, rendered on the spot.

The DejaVu fonts come inside matplotlib, so this data set needs no download and no licence text of its own. A
class is a character; its examples are the faces that hold it (sans, serif and mono, upright and slanted,
regular and bold). It is rendered type, not handwriting: the faces are close kin, and pixel nearest neighbours
do well on the clean pictures. Pair it with `regard.domains.images.distort` to make a task of it.

Left out: accented and composed letters, near twins of their base; the second of two letters that look alike
once scaled to one box, such as Latin A and Greek Alpha; and any cache, as the same matplotlib gives the same
arrays.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regard.errors import ConfigError, DataError, MissingExtraError

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

SPLIT: Mapping[str, tuple[str, ...]] = {
    "train": ("Latin", "Canadian syllabics", "Cyrillic", "Greek", "Old Italic"),
    "validation": ("Arabic", "Lao"),
    "test": ("Armenian", "Georgian", "Hebrew"),
}
"""Whole scripts are held out, so that a test letter belongs to an alphabet never seen in training."""

SYMBOLS: Mapping[str, tuple[range, ...]] = {
    "Operators": (range(0x2200, 0x2300), range(0x27C0, 0x27F0), range(0x2980, 0x2B00)),
    "Arrows": (range(0x2190, 0x2200), range(0x27F0, 0x2800), range(0x2900, 0x2980), range(0x2B00, 0x2C00)),
    "Dingbats": (range(0x2300, 0x2400), range(0x25A0, 0x27C0)),
}
"""Unicode blocks of the optional extra training scripts."""

TWIN = 0.95
"""Mean cosine, over the faces two characters share, above which they count as one picture."""

TWIN_ACROSS = 0.90
"""The same between two splits, stricter, as Latin h (training) and Armenian ho (test) reach 0.93."""

_BOX = 20 / 28  # the longer side of the ink, as a fraction of the picture: the proportion of MNIST
_EM = 64  # glyphs are drawn this large, then reduced, which is where the grey edges come from
_ORDER = (*SPLIT["test"], *SPLIT["validation"], *SPLIT["train"], *SYMBOLS)  # who stays when two are twins


@dataclass(frozen=True, eq=False)
class Glyphs:
    """Pictures of N glyphs of C characters in F faces, sorted by character and then face.

    images: (N, size, size) uint8, ink 255 on 0. character: (N,) int64 into `characters`. face: (N,) int64
    into `face_names`. characters, names and scripts have length C; a name reads "Latin/U+0061".
    """

    images: NDArray[np.uint8]
    character: NDArray[np.int64]
    face: NDArray[np.int64]
    characters: tuple[str, ...]
    names: tuple[str, ...]
    scripts: tuple[str, ...]
    face_names: tuple[str, ...]


def render_glyphs(size: int = 28, min_faces: int = 4, symbols: bool = False) -> Glyphs:
    """Render every base letter that at least `min_faces` faces draw, without near-duplicates.

    `symbols` adds mathematical operators, arrows and dingbats as training scripts. They never displace a
    letter, so the letters are the same with and without them.
    """
    if size < 8:
        raise ConfigError(f"size must be at least 8 pixels to tell letters apart, got {size}.")
    faces = _faces()
    if not 1 <= min_faces <= len(faces):
        raise ConfigError(f"min_faces must lie between 1 and the {len(faces)} faces, got {min_faces}.")
    from matplotlib.ft2font import FT2Font
    from PIL import ImageFont

    charmaps = [frozenset(map(chr, FT2Font(str(path)).get_charmap())) for path in faces]
    characters = _candidates(charmaps, min_faces, symbols)
    # One dense canvas; a face without the character stays blank.
    canvas_CFHW = np.zeros((len(characters), len(faces), size, size), np.uint8)
    for f, (path, charmap) in enumerate(zip(faces, charmaps, strict=True)):
        font = ImageFont.truetype(str(path), _EM, layout_engine=ImageFont.Layout.BASIC)
        for c, character in enumerate(characters):
            if character in charmap:
                _draw(font, character, canvas_CFHW[c, f])
    # Symbols are for training.
    split = {script: name for name, scripts in SPLIT.items() for script in scripts}
    splits_C = np.array([split.get(script_of(character), "train") for character in characters])
    # A charmap may list blanks, so ink is counted.
    keep_C = (_ink(canvas_CFHW).sum(axis=1) >= min_faces) & _without_twins(canvas_CFHW, splits_C)
    kept = [character for character, stays in zip(characters, keep_C, strict=True) if stays]
    canvas_CFHW = canvas_CFHW[keep_C]
    scripts = tuple(script_of(character) for character in kept)
    character, face = _ink(canvas_CFHW).nonzero()
    return Glyphs(
        images=canvas_CFHW[character, face],
        character=character,
        face=face,
        characters=tuple(kept),
        names=tuple(f"{s}/U+{ord(c):04X}" for s, c in zip(scripts, kept, strict=True)),
        scripts=scripts,
        face_names=tuple(path.stem for path in faces),
    )


def script_of(character: str) -> str:
    """The script of a letter or symbol as this data set names it, "" for what it leaves out."""
    if unicodedata.decomposition(character):
        return ""
    kind = unicodedata.category(character)[0]
    if kind == "L":
        name = unicodedata.name(character, "")
        return next((script for script in _ORDER if name.startswith(script.upper() + " ")), "")
    if kind != "S":
        return ""
    return next((script for script, blocks in SYMBOLS.items() if any(ord(character) in b for b in blocks)), "")


def _faces() -> list[Path]:
    """The twelve text faces; Display holds a handful of symbols only."""
    try:
        import matplotlib
    except ImportError as error:
        raise MissingExtraError("Glyphs are drawn with matplotlib's fonts: pip install matplotlib.") from error
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    faces = sorted(path for path in folder.glob("DejaVu*.ttf") if "Display" not in path.stem)
    if not faces:
        raise DataError(f"No DejaVu fonts in {folder}. Reinstall matplotlib: its wheels carry them.")
    return faces


def _candidates(charmaps: Iterable[frozenset[str]], min_faces: int, symbols: bool) -> list[str]:
    """Characters in order of precedence: test scripts first, each script by code point."""
    count = Counter(character for charmap in charmaps for character in charmap)
    scripts = {character: script_of(character) for character, n in count.items() if n >= min_faces}
    wanted = _ORDER if symbols else _ORDER[: -len(SYMBOLS)]
    rank = {script: i for i, script in enumerate(wanted)}
    chosen = [character for character, script in scripts.items() if script in rank]
    return sorted(chosen, key=lambda character: (rank[scripts[character]], character))


def _draw(font: FreeTypeFont, character: str, out_HW: NDArray[np.uint8]) -> None:
    """Write one glyph into `out_HW`, its ink centred and scaled to the box with the aspect ratio kept."""
    from PIL import Image, ImageDraw

    large = Image.new("L", (4 * _EM, 3 * _EM))
    ImageDraw.Draw(large).text((2 * _EM, 3 * _EM // 2), character, fill=255, font=font, anchor="mm")
    box = large.getbbox()
    if box is None:
        return
    size, (width, height) = len(out_HW), (box[2] - box[0], box[3] - box[1])
    scale = _BOX * size / max(width, height)
    w, h = (max(1, round(side * scale)) for side in (width, height))
    top, left = (size - h) // 2, (size - w) // 2
    out_HW[top : top + h, left : left + w] = np.asarray(large.resize((w, h), Image.Resampling.HAMMING, box=box))


def _ink(canvas_CFHW: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(C, F) which pictures are not blank."""
    return np.asarray(canvas_CFHW.max(axis=(2, 3)) > 0)


def _without_twins(canvas_CFHW: NDArray[np.uint8], splits_C: NDArray[Any]) -> NDArray[np.bool_]:
    """(C,) which characters are no twin of one that stays before them.

    Precedence is the order of the rows, hence a training letter gives way to its twin in a test script.
    """
    limit_CC = np.where(splits_C[:, None] == splits_C, TWIN, TWIN_ACROSS)
    # Cosine of pixels, averaged over the faces that both characters have; 0 where they share none.
    pixels_CFP = canvas_CFHW.reshape(*canvas_CFHW.shape[:2], -1).astype(np.float32)
    norm_CF1 = np.linalg.norm(pixels_CFP, axis=2, keepdims=True)
    unit_CK = (pixels_CFP / np.maximum(norm_CF1, 1)).reshape(len(pixels_CFP), -1)
    has_CF = _ink(canvas_CFHW).astype(np.float32)
    near_CC = (unit_CK @ unit_CK.T) / np.maximum(has_CF @ has_CF.T, 1) > limit_CC
    keep = np.ones(len(near_CC), bool)
    for c in range(len(keep)):
        keep[c] = not (near_CC[c, :c] & keep[:c]).any()
    return keep

"""Alphabets to train on for a learner that is to tell the letters of any alphabet apart, from one drawing each.

    fonts         letters and signs of the DejaVu faces, as type and as two pens would draw them
    handwriting   alphabets of Omniglot, boxed like everything a user will show

Every alphabet comes in eight ways, turned by quarters and mirrored, each an alphabet of its own; only type beside
handwriting comes upright, or it would be three quarters of the training. In an episode all letters are turned alike,
since an alphabet that holds a letter and the same letter turned exists (the Canadian syllabics), and one that holds it
by accident would be wrong.

Letters that only Old Church Slavonic has are left out of the fonts' Cyrillic: it is one of the alphabets that Lake et
al. test on.

Lake, Salakhutdinov, Tenenbaum 2015, "Human-level concept learning through probabilistic program induction", Science
350, 1332-1338; more classes by turning: Santoro et al. 2016 (arXiv:1605.06065).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from regard.domains.cached import Arrays, cached
from regard.domains.images.distort import Distortion
from regard.domains.images.folder import ImageReader
from regard.domains.images.fonts import SPLIT, render_glyphs
from regard.domains.images.omniglot import BACKGROUND, SMALL_BACKGROUNDS, omniglot
from regard.domains.images.pen import thinned
from regard.domains.images.strokes import with_twins
from regard.errors import ConfigError, did_you_mean
from regard.sampling.dataset import Dataset
from regard.sampling.random import uniform

HANDWRITING: Mapping[str, tuple[str, ...]] = {"none": (), **SMALL_BACKGROUNDS, "background": BACKGROUND}
"""Alphabets of Omniglot to train on, by name."""

SIZE = 28
BOX = 24 / 28
"""Side of a picture, and the share of it that the longer side of the ink takes: a little more than the glyphs have,
since each pixel of a small drawing counts."""

_FORMAT = 1  # raise it when the content of the cached file changes
_EM = 64  # letters are thinned this large
_INK = 110  # of 255: what is darker is ink when a letter is thinned
_PENS = (1, 2)  # half widths of the pens, in pixels of such a letter
_OLD_CHURCH_SLAVONIC = range(0x460, 0x48A)
_VALIDATION_DRAWINGS = 20


def characters(
    folder: Path | str | None = None,
    *,
    fonts: bool = True,
    handwriting: str = "none",
    twins: float = 0.0,
    cache: Path | str | None = None,
) -> dict[str, Dataset]:
    """The splits "train", "validation" and, where there is a folder, "test": uint8 (N, 28, 28), ink 255 on 0.

    Args:
        folder: with Omniglot, as `regard.domains.images.omniglot` describes it.
        fonts: train on the fonts: all scripts but the two of validation.
        handwriting: train on Lake's five alphabets "small1" or "small2", on all thirty "background" ones, or "none".
        twins: to this share of the training letters add another with one stroke more, see
            `regard.domains.images.strokes`.
        cache: folder of the rendered fonts; `regard.files.cache_folder()` by default.

    Returns:
        "train": the alphabets, in eight ways. "validation": drawings of two scripts of the fonts, distorted. "test":
        Omniglot's other alphabets.

    Raises:
        ConfigError: nothing to train on, an unknown set, or handwriting without a folder.
        DataError: a folder without Omniglot.
    """
    if handwriting not in HANDWRITING:
        raise ConfigError(f"handwriting is {handwriting!r}: {did_you_mean(handwriting, HANDWRITING)}")
    if folder is None and handwriting != "none":
        raise ConfigError(f"handwriting is {handwriting!r} and folder is not set: say where Omniglot lies.")
    if not fonts and handwriting == "none":
        raise ConfigError("fonts is off and handwriting 'none': expected something to train on.")
    # First what may be missing: rendering takes a minute.
    drawn = omniglot(folder, size=SIZE, box=BOX) if folder is not None else None
    rendered = cached("characters", {"format": _FORMAT, "size": SIZE, "box": BOX}, _render, cache)
    alphabets = [_font_alphabets(rendered, set(SPLIT["validation"]), held_out=True)] if fonts else []
    if drawn is None or handwriting == "none":
        alphabets = [in_eight_ways(type_) for type_ in alphabets]
    else:
        hands = drawn.select_groups([name for name in HANDWRITING[handwriting] if name in drawn.class_groups])
        alphabets.append(in_eight_ways(hands))
    # An alphabet of type and one of handwriting stay two, whatever they are called.
    starts = np.cumsum([0, *(alphabet.n_classes for alphabet in alphabets)])
    train = Dataset(
        torch.cat([alphabet.x for alphabet in alphabets]),  # type: ignore[misc]
        torch.cat([alphabet.y + int(start) for alphabet, start in zip(alphabets, starts, strict=False)]),
        tuple(name for alphabet in alphabets for name in alphabet.class_names),
        tuple(name for alphabet in alphabets for name in alphabet.class_groups),
    )
    splits = {"train": with_twins(train, twins), "validation": _validation(rendered)}
    if drawn is not None:
        splits["test"] = drawn.select_groups([g for g in dict.fromkeys(drawn.class_groups) if g not in BACKGROUND])
    return splits


def in_eight_ways(dataset: Dataset) -> Dataset:
    """Every group of classes turned by 0, 90, 180 and 270 degrees and mirrored: eight times the groups and classes.

    Args:
        dataset: its items are square pictures (N, side, side).
    """
    x = dataset.x
    assert isinstance(x, torch.Tensor)
    ways = [(turn, mirrored) for mirrored in (False, True) for turn in range(4)]
    named = [f"@{90 * turn}{' mirrored' * mirrored}" for turn, mirrored in ways]
    return replace(
        dataset,
        x=torch.cat([torch.rot90(x.flip(2) if mirrored else x, turn, (1, 2)) for turn, mirrored in ways]),
        y=torch.cat([dataset.y + k * dataset.n_classes for k in range(len(ways))]),
        class_names=tuple(name + way for way in named for name in dataset.class_names),
        class_groups=tuple(group + way for way in named for group in dataset.class_groups),
    )


def _render() -> Arrays:
    """All letters and signs in all faces: as type, and as each pen draws them."""
    from scipy.ndimage import binary_dilation  # comes with scikit-learn

    glyphs = render_glyphs(_EM, symbols=True)
    reader = ImageReader(SIZE, 1, "light", BOX)
    lines = thinned(glyphs.images > _INK)
    drawn = []
    for half in _PENS:
        square = np.arange(-half, half + 1) ** 2
        nib = np.add.outer(square, square) <= half * half + 0.5  # a round pen of 2 * half + 1 pixels
        drawn.append(binary_dilation(lines, nib[None]) * np.uint8(255))
    kinds = [reader(list(pictures)).numpy() for pictures in (glyphs.images, *drawn)]
    names = [f"type/{name}" for name in glyphs.names]
    return {"images": np.stack(kinds, 1), "character": glyphs.character, "names": np.array(names)}


def _font_alphabets(rendered: Arrays, scripts: set[str], *, held_out: bool) -> Dataset:
    """The letters of these scripts, or with `held_out` of all others; groups are "type/Latin" and so on."""
    names: list[str] = rendered["names"].tolist()
    chosen = [
        i
        for i, name in enumerate(names)
        if (name.split("/")[1] in scripts) != held_out and int(name.rsplit("+", 1)[1], 16) not in _OLD_CHURCH_SLAVONIC
    ]
    number = np.full(len(names), -1)
    number[chosen] = np.arange(len(chosen))
    rows = np.flatnonzero(number[rendered["character"]] >= 0)
    images = rendered["images"][rows]
    y = np.repeat(number[rendered["character"][rows]], images.shape[1])
    groups = tuple("/".join(names[i].split("/")[:2]) for i in chosen)
    x = torch.from_numpy(images.reshape(-1, SIZE, SIZE))
    return Dataset(x, torch.from_numpy(y), tuple(names[i] for i in chosen), groups)


def _validation(rendered: Arrays) -> Dataset:
    """Twenty distorted drawings of each letter of the scripts of validation, by pens; always the same ones."""
    clean = _font_alphabets(rendered, set(SPLIT["validation"]), held_out=False)
    distortion = Distortion(thickness=0.5)
    drawings: list[Any] = []
    for c in range(clean.n_classes):
        own = clean.x[clean.y == c]  # type: ignore[index]
        pens = own.view(-1, 1 + len(_PENS), SIZE, SIZE)[:, 1:].flatten(0, 1)
        picked = pens[torch.arange(_VALIDATION_DRAWINGS) % len(pens)]
        noise = uniform(0, 0, np.array([c]), _VALIDATION_DRAWINGS * distortion.n_noise)
        drawings.append(distortion(picked, torch.from_numpy(noise).view(_VALIDATION_DRAWINGS, -1)))
    y = torch.arange(clean.n_classes).repeat_interleave(_VALIDATION_DRAWINGS)
    return replace(clean, x=torch.cat(drawings), y=y)

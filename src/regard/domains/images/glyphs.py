"""The glyphs as data sets: training, validation and test characters of different scripts, rendered once and cached.

Training items are clean renderings, for a sampler whose transform is a `Distortion`: a fresh one each time. Validation
and test items are drawings: renderings distorted by noise that depends on (seed, character, drawing) alone. So a test
item is one fixed picture, which need be encoded only once, and drawing 3 of a character stays what it is whatever other
characters are there.

Every character has the same number of items, cycling over its 4 to 12 faces. An episode takes different drawings of a
character, not necessarily of different faces.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from regard.domains.cached import cached
from regard.domains.images.distort import Distortion
from regard.domains.images.fonts import SPLIT, SYMBOLS, render_glyphs
from regard.errors import ConfigError
from regard.sampling.dataset import Dataset
from regard.sampling.random import uniform

DRAWINGS = 20
"""Items a character, as in Omniglot."""

_FORMAT = 1  # raise it when the content of the cached file changes
_DRAWINGS_STREAM = 0


def glyphs(
    cache: Path | str | None = None,
    *,
    size: int = 28,
    drawings: int = DRAWINGS,
    seed: int = 0,
    symbols: bool = False,
    distortion: Distortion | None = None,
) -> dict[str, Dataset]:
    """The splits "train", "validation" and "test": uint8 (N, size, size), ink 255 on 0, class group = script.

    Args:
        cache: folder of the rendered file; `regard.files.cache_folder()` by default. One that cannot be written
            costs a warning and the seconds of rendering again.
        size: side of a picture.
        drawings: items a character.
        seed: of the distortion of validation and test drawings.
        symbols: also train on operators, arrows and dingbats.
        distortion: of validation and test drawings; `Distortion()` by default.

    Raises:
        ConfigError: a size or a number of drawings that is too small.
    """
    if drawings < 1:
        raise ConfigError(f"drawings is {drawings}: expected at least 1, and n_shot + n_query for episodes.")
    settings: dict[str, Any] = {
        "size": size,
        "drawings": drawings,
        "seed": seed,
        "symbols": symbols,
        "distortion": distortion or Distortion(),
    }
    arrays = cached("glyphs", {"format": _FORMAT, **settings}, lambda: _make(**settings), cache)
    splits = {}
    for split in SPLIT:
        images, names = arrays[f"{split}_images"], arrays[f"{split}_names"].tolist()
        y = torch.arange(len(names)).repeat_interleave(len(images) // len(names))
        groups = tuple(name.split("/")[0] for name in names)
        splits[split] = Dataset(torch.from_numpy(images), y, tuple(names), groups)
    return splits


def _make(size: int, drawings: int, seed: int, symbols: bool, distortion: Distortion) -> dict[str, NDArray[Any]]:
    rendered = render_glyphs(size, symbols=symbols)
    scripts = {**SPLIT, "train": (*SPLIT["train"], *SYMBOLS)}
    arrays: dict[str, NDArray[Any]] = {}
    n_faces = np.bincount(rendered.character)
    start = np.cumsum(n_faces) - n_faces
    for split in SPLIT:
        chosen = [c for c, script in enumerate(rendered.scripts) if script in scripts[split]]
        # The renderings of each character, its faces in turn: (C, drawings) rows.
        turn = np.arange(drawings)[None, :] % n_faces[chosen][:, None]
        images = rendered.images[start[chosen][:, None] + turn]
        if split != "train":
            codes = np.array([ord(rendered.characters[c]) for c in chosen], dtype=np.int64)
            # Noise is counted by (code point, drawing).
            noise = uniform(seed, _DRAWINGS_STREAM, codes, drawings * distortion.n_noise)
            drawn = [
                distortion(torch.from_numpy(clean), torch.from_numpy(noise_K.reshape(drawings, -1)))
                for clean, noise_K in zip(images, noise, strict=True)
            ]
            images = torch.stack(drawn).numpy()
        arrays[f"{split}_images"] = images.reshape(-1, size, size)
        arrays[f"{split}_names"] = np.array([rendered.names[c] for c in chosen])
    return arrays

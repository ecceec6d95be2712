"""The rendered glyphs and their distortion: what is in them, and that both are pure functions."""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.domains.images.distort import Distortion
from regard.domains.images.fonts import SPLIT, SYMBOLS, TWIN, TWIN_ACROSS, Glyphs, render_glyphs
from regard.errors import ConfigError, DataError

COUNTS = {
    "Latin": 394,
    "Canadian syllabics": 372,
    "Cyrillic": 195,
    "Georgian": 119,
    "Armenian": 75,
    "Greek": 45,
    "Arabic": 44,
    "Lao": 37,
    "Hebrew": 29,
    "Old Italic": 29,
}
STILL = Distortion(rotation=0, scale=0, shear=0, translation=0, elastic=0)


@cache
def glyphs() -> Glyphs:
    return render_glyphs()


@cache
def cosine() -> tuple[NDArray[np.float32], NDArray[np.str_]]:
    """(C, C) mean cosine over shared faces, face by face, and the script of each character."""
    g = glyphs()
    total = np.zeros((len(g.characters),) * 2, np.float32)
    shared = np.zeros_like(total)
    for face in range(len(g.face_names)):
        rows = g.character[g.face == face]
        unit = g.images[g.face == face].reshape(len(rows), -1).astype(np.float32)
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
        total[np.ix_(rows, rows)] += unit @ unit.T
        shared[np.ix_(rows, rows)] += 1
    np.fill_diagonal(total, 0)
    return total / np.maximum(shared, 1), np.array(g.scripts)


def pictures(n: int = 64) -> Tensor:
    return torch.from_numpy(glyphs().images[:: len(glyphs().images) // n][:n])


def noise(distortion: Distortion, n: int, seed: int = 0) -> Tensor:
    return torch.rand(n, distortion.n_noise, generator=torch.Generator().manual_seed(seed))


def test_counts_by_script() -> None:
    count = Counter(glyphs().scripts)
    assert set(count) == {script for scripts in SPLIT.values() for script in scripts}
    # Another FreeType, Pillow or Unicode table may move a letter over the edge of being a twin, not more.
    assert dict(count) == pytest.approx(COUNTS, rel=0.05, abs=2)


def test_arrays_agree_in_shape_and_type() -> None:
    g = glyphs()
    n = len(g.images)
    assert g.images.shape == (n, 28, 28) and g.images.dtype == np.uint8
    assert g.character.shape == g.face.shape == (n,)
    assert len(g.characters) == len(g.names) == len(g.scripts) == len(set(g.names))
    assert len(g.face_names) == 12
    assert np.bincount(g.character, minlength=len(g.characters)).min() >= 4
    assert len(np.unique(g.character * 12 + g.face)) == n


def test_names_say_script_and_code_point() -> None:
    g = glyphs()
    assert g.names[g.characters.index("a")] == "Latin/U+0061"
    assert all(f"{s}/U+{ord(c):04X}" == name for c, s, name in zip(g.characters, g.scripts, g.names, strict=True))


def test_only_base_letters() -> None:
    assert all(unicodedata.category(c)[0] == "L" and not unicodedata.decomposition(c) for c in glyphs().characters)


def test_ink_fills_a_centred_box() -> None:
    ink = glyphs().images > 0
    for axis in (1, 2):
        seen = ink.any(axis=axis)
        first, last = seen.argmax(axis=1), 27 - seen[:, ::-1].argmax(axis=1)
        assert np.abs(first + last - 27).max() <= 2
        assert first.min() >= 4 and last.max() <= 23
    assert (ink.any(axis=2).sum(axis=1) >= 19).mean() > 0.5


def test_rendering_is_deterministic() -> None:
    again = render_glyphs()
    assert again.names == glyphs().names
    assert np.array_equal(again.images, glyphs().images)


def test_no_two_characters_are_twins() -> None:
    assert cosine()[0].max() <= TWIN + 1e-4


@pytest.mark.parametrize("held_out", ["validation", "test"])
def test_no_held_out_letter_has_a_twin_in_training(held_out: str) -> None:
    near, scripts = cosine()
    across = near[np.ix_(np.isin(scripts, SPLIT[held_out]), np.isin(scripts, SPLIT["train"]))]
    assert across.max() <= TWIN_ACROSS + 1e-4


def test_symbols_displace_no_letter() -> None:
    more = render_glyphs(size=16, symbols=True)
    letters = render_glyphs(size=16)
    assert more.names[: len(letters.names)] == letters.names
    assert set(more.scripts) == set(letters.scripts) | set(SYMBOLS)


@pytest.mark.parametrize(("size", "min_faces"), [(4, 4), (28, 0), (28, 13)])
def test_impossible_settings_are_refused(size: int, min_faces: int) -> None:
    with pytest.raises(ConfigError, match="got"):
        render_glyphs(size, min_faces)


@pytest.mark.parametrize("shape", [(28, 28), (20, 31)])
def test_no_strength_changes_nothing(shape: tuple[int, int]) -> None:
    x = torch.randint(0, 256, (16, *shape), dtype=torch.uint8)
    u = noise(STILL, 16)
    assert torch.equal(STILL(x, u), x)
    torch.testing.assert_close(STILL(x / 255, u), x / 255, atol=1e-4, rtol=0)


@pytest.mark.parametrize("thickness", [0.0, 0.8])
def test_a_row_alone_is_the_row_in_a_batch(thickness: float) -> None:
    distortion = replace(Distortion(), thickness=thickness)
    x, u = pictures(), noise(distortion, 64)
    alone = torch.cat([distortion(row[None], own[None]) for row, own in zip(x, u, strict=True)])
    assert (alone.int() - distortion(x, u).int()).abs().max() <= 1


def test_bytes_and_floats_agree() -> None:
    distortion = Distortion()
    x, u = pictures(), noise(distortion, 64)
    y = distortion(x / 255, u)
    assert y.dtype == torch.float32 and distortion(x, u).dtype == torch.uint8
    assert y.min() >= 0 and y.max() <= 1 + 1e-6
    assert (255 * y - distortion(x, u)).abs().max() <= 0.51


def test_noise_decides_everything() -> None:
    distortion = Distortion()
    x = pictures()
    first, same, other = (distortion(x, noise(distortion, 64, seed)) for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert (first != other).flatten(1).any(1).all()


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_extreme_noise_stays_finite(value: float) -> None:
    distortion = Distortion(thickness=1)
    y = distortion(pictures() / 255, torch.full((64, distortion.n_noise), value))
    assert y.isfinite().all()


def test_middle_noise_is_the_identity() -> None:
    distortion = Distortion(thickness=1)
    assert torch.equal(distortion(pictures(), torch.full((64, distortion.n_noise), 0.5)), pictures())


def test_a_quarter_turn_is_a_quarter_turn() -> None:
    distortion = replace(STILL, rotation=90)
    u = torch.full((64, distortion.n_noise), 0.5)
    u[:, 0] = 1
    off = distortion(pictures(), u).int() - pictures().rot90(1, (1, 2)).int()
    assert off.abs().max() <= 1


@pytest.mark.parametrize(("draw", "sign"), [(1.0, 1), (0.0, -1)])
def test_strokes_grow_and_shrink(draw: float, sign: int) -> None:
    distortion = replace(STILL, thickness=0.5)
    change = distortion(pictures(), torch.full((64, distortion.n_noise), draw)).int() - pictures().int()
    assert (sign * change >= 0).all() and change.any()


@pytest.mark.parametrize(
    ("x", "u"),
    [
        (torch.zeros(2, 1, 28, 28), torch.rand(2, STILL.n_noise)),
        (torch.zeros(2, 28, 28, dtype=torch.int64), torch.rand(2, STILL.n_noise)),
        (torch.zeros(2, 28, 28), torch.rand(3, STILL.n_noise)),
        (torch.zeros(2, 28, 28), torch.rand(2, 5)),
        (torch.zeros(2, 28, 28), torch.zeros(2, STILL.n_noise, dtype=torch.int64)),
    ],
)
def test_bad_shapes_are_refused(x: Tensor, u: Tensor) -> None:
    with pytest.raises(DataError, match="Expected"):
        STILL(x, u)


@pytest.mark.parametrize(
    "wrong", [{"rotation": -1.0}, {"scale": float("nan")}, {"elastic_grid": 1}, {"thickness": 2.0}]
)
def test_bad_strengths_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Distortion(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(("distorted", "low", "high"), [(False, 0.6, 0.75), (True, 0.19, 0.26)])
def test_defaults_defeat_pixel_neighbours(distorted: bool, low: float, high: float) -> None:
    """20-way 1-shot within the held-out scripts, support and query from two faces."""
    n_tasks, n_way, g, rng = 200, 20, glyphs(), np.random.default_rng(0)
    pools = [np.flatnonzero(np.array(g.scripts) == script) for script in SPLIT["test"]]
    classes = np.stack([rng.choice(pools[t % 3], n_way, replace=False) for t in range(n_tasks)])
    pairs = [rng.choice(np.flatnonzero(g.character == c), 2, replace=False) for c in classes.flat]
    x = torch.from_numpy(g.images[np.concatenate(pairs)])
    x = Distortion()(x, noise(Distortion(), len(x))) if distorted else x
    z = torch.nn.functional.normalize(x.flatten(1).float(), dim=1).view(n_tasks, n_way, 2, -1)
    guess = (z[:, :, 1] @ z[:, :, 0].mT).argmax(dim=2)
    assert low < (guess == torch.arange(n_way)).float().mean() < high

"""Pictures of odd kinds: few bits of many, borders of scanners, blank pages, strips, and files made to do harm."""

from __future__ import annotations

import os
import resource
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import get_data_path
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from regard.domains.images.pixels import white_on_black, without_frame
from regard.domains.images.reader import ImageReader, read_images
from regard.errors import DataError
from regard.estimators import FewShotClassifier
from regard.limits import IMAGE_WHOLE_PIXELS

DRAWING = ImageReader(28, 1, "auto", 20 / 28)


def letter(character: str, side: int = 200, angle: float = 0) -> NDArray[np.uint8]:
    """Dark on a light page, clear of its border."""
    font = ImageFont.truetype(str(Path(get_data_path()) / "fonts/ttf/DejaVuSerif-Bold.ttf"), side * 3 // 5)
    page = Image.new("L", (side, side), 255)
    ImageDraw.Draw(page).text((side / 2, side / 2), character, fill=0, font=font, anchor="mm")
    return np.asarray(page.rotate(angle, fillcolor=255))


def drawings(n: int) -> list[NDArray[np.uint8]]:
    """Dark strokes of a pen on a light page of 105 x 105, some of them up to its border, as Omniglot's are."""
    rng = np.random.default_rng(0)
    pages = []
    for _ in range(n):
        page = Image.new("L", (105, 105), 255)
        for _ in range(rng.integers(1, 5)):
            points = rng.integers(0, 105, (rng.integers(2, 6), 2))
            ImageDraw.Draw(page).line([(int(x), int(y)) for x, y in points], fill=0, width=3)
        pages.append(np.asarray(page))
    return pages


def plainly(page: NDArray[np.uint8], box: float | None) -> NDArray[np.uint8]:
    """What published numbers were measured on: dark ink made white, cropped to, reduced, and pasted in the middle."""
    ink = Image.fromarray(255 - page)
    if box is None:
        return np.array(ink.resize((28, 28), Image.Resampling.LANCZOS))
    left, top, right, bottom = ink.point(lambda level: 255 * (level >= 64)).getbbox() or (0, 0, 1, 1)
    scale = box * 28 / max(right - left, bottom - top)
    size = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    out = Image.new("L", (28, 28))
    small = ink.crop((left, top, right, bottom)).resize(size, Image.Resampling.LANCZOS)
    out.paste(small, ((28 - size[0]) // 2, (28 - size[1]) // 2))
    return np.array(out)


@pytest.mark.parametrize("box", [None, 20 / 28])
def test_drawings_and_type_are_what_published_numbers_were_measured_on(box: float | None) -> None:
    pages = [*drawings(40), *(letter(c) for c in "ABQXÆЖΞ≡□▣E|")]
    for page in pages:
        assert np.array_equal(ImageReader(28, 1, "auto", box).read(page), plainly(page, box))
        assert np.array_equal(ImageReader(28, 1, "light", box).read(255 - page), plainly(page, box))


# ---- few bits of many ------------------------------------------------------------------------------------------------


def save_colour(path: Path, pixels: NDArray[np.uint16]) -> None:
    """A PNG of 16-bit colours, which Pillow cannot write."""
    height, width, n_channels = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[n_channels], 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        content += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    path.write_bytes(content)


@pytest.mark.parametrize("step", [1, 4, 16, 64, 257])
def test_sixteen_bits_are_scaled_by_those_that_are_used(tmp_path: Path, step: int) -> None:
    page = letter("R")
    wide = page.astype(np.uint16) * step
    Image.fromarray(wide).save(tmp_path / "grey.png")
    Image.fromarray(wide).save(tmp_path / "grey.tif")
    save_colour(tmp_path / "colour.png", np.stack([wide] * 3, -1))
    things = [tmp_path / "grey.png", tmp_path / "grey.tif", tmp_path / "colour.png", wide, wide.astype(np.int64)]
    for ink in ("keep", "auto"):
        difference = read_images(things, 40, ink=ink).int() - read_images([page], 40, ink=ink).int()
        assert int(difference.abs().max()) <= 2


def test_colours_of_sixteen_bits_with_few_used_keep_their_hue(tmp_path: Path) -> None:
    save_colour(tmp_path / "red.png", np.full((8, 8, 3), (4095, 2048, 0), np.uint16))
    assert read_images([tmp_path / "red.png"], 8, n_channels=3)[0, 0, 0].tolist() == [255, 127, 0]


def test_masks_and_pictures_of_heights_are_seen(tmp_path: Path) -> None:
    mask = (letter("R") < 128).astype(np.uint8)
    heights = mask.astype(np.float32) * 900 - 200
    Image.fromarray(mask).save(tmp_path / "mask.png")
    Image.fromarray(heights).save(tmp_path / "heights.tif")
    Image.fromarray(mask.astype(np.int32) * 3000 - 1000).save(tmp_path / "scan.tif")
    things = [tmp_path / "mask.png", tmp_path / "heights.tif", tmp_path / "scan.tif", mask]
    read = read_images(things, ink="light", box=20 / 28).int()
    assert int((read - read_images([mask > 0], ink="light", box=20 / 28).int()).abs().max()) <= 2


# ---- borders and blank pages -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sides", ["tblr", "l", "t", "lb", "lrt"])
@pytest.mark.parametrize("width", [1, 2, 6, 20])
@pytest.mark.parametrize("level", [0, 60, 120])
def test_the_dark_border_of_a_scanner_is_cut_off(sides: str, width: int, level: int) -> None:
    for character in "RAIE":
        page = letter(character, angle=4).copy()
        clean = DRAWING.read(page).astype(int)
        edges = {"t": np.s_[:width], "b": np.s_[-width:], "l": np.s_[:, :width], "r": np.s_[:, -width:]}
        for side in sides:
            page[edges[side]] = level
        noise = np.random.default_rng(0).normal(0, 3, page.shape)
        for framed in (page, np.clip(page + noise, 0, 255).astype(np.uint8)):
            assert np.abs(DRAWING.read(framed) - clean).mean() < 6


def test_a_border_that_is_a_little_askew_is_cut_off_too() -> None:
    page = letter("R").copy()
    page[:8] = page[-8:] = page[:, :8] = page[:, -8:] = 0
    askew = np.asarray(Image.fromarray(page).rotate(1, Image.Resampling.BILINEAR, fillcolor=0))
    assert np.abs(DRAWING.read(askew) - DRAWING.read(letter("R", angle=1)).astype(int)).mean() < 8


@pytest.mark.parametrize("sides", ["tblr", "tl", "br"])
@pytest.mark.parametrize("angle", [2, -3, 4])
def test_a_page_that_lay_askew_on_a_dark_lid_leaves_no_wedges(sides: str, angle: float) -> None:
    for character in "RAIE":
        page = letter(character).copy()
        edges = {"t": np.s_[:8], "b": np.s_[-8:], "l": np.s_[:, :8], "r": np.s_[:, -8:]}
        for side in sides:
            page[edges[side]] = 40
        askew = np.asarray(Image.fromarray(page).rotate(angle, Image.Resampling.BILINEAR, fillcolor=40)).astype(float)
        noise = np.random.default_rng(0).normal(0, 10, askew.shape)
        found = DRAWING.read(np.clip(askew + noise, 0, 255).astype(np.uint8)).astype(int)
        assert np.abs(found - DRAWING.read(letter(character, angle=angle)).astype(int)).mean() < 12


def test_whole_numbers_of_more_than_sixteen_bits_are_scaled_by_their_range(tmp_path: Path) -> None:
    grey = letter("R").astype(np.int32)
    for scale in (1000, 70_000, 8_000_000):
        Image.fromarray(grey * scale).save(tmp_path / "deep.tif")
        assert np.abs(DRAWING.read(tmp_path / "deep.tif").astype(int) - DRAWING.read(letter("R"))).max() <= 2


def test_the_stems_of_tightly_cropped_letters_are_no_borders() -> None:
    for character in "ELFHIUWЫШ|=ΞⅡ≡":
        page = letter(character)
        ink = np.argwhere(page < 250)
        (top, left), (bottom, right) = ink.min(0), ink.max(0) + 1
        tight = page[top:bottom, left:right]
        assert without_frame(tight) is tight
    for character in "ELFHIUTГЫШΠ":
        page = letter(character, angle=5)
        ink = np.argwhere(page < 250)
        (top, left), (bottom, right) = ink.min(0), ink.max(0) + 1
        tight = page[top:bottom, left:right]
        assert without_frame(tight) is tight


def test_a_blank_page_has_no_ink_with_a_border_and_without() -> None:
    page = np.full((200, 200), 240, np.uint8)
    noisy = np.random.default_rng(0).integers(236, 245, page.shape).astype(np.uint8)
    framed = page.copy()
    framed[:6] = framed[-6:] = framed[:, :6] = framed[:, -6:] = 0
    assert not any(white_on_black(each, "auto").any() for each in (page, noisy, framed, 0 * page))
    items = DRAWING([page, noisy, framed, letter("R")])
    assert DRAWING.is_blank(items).tolist() == [True, True, True, False]


def test_photographs_of_one_colour_are_not_blank() -> None:
    reader = ImageReader(8, 3)
    swatches = reader([np.full((9, 9, 3), colour, np.uint8) for colour in ((255, 255, 255), (0, 0, 0), (200, 30, 10))])
    assert not reader.is_blank(swatches).any()


def test_a_blank_query_is_not_answered_and_named(tmp_path: Path) -> None:
    Image.new("L", (200, 200), 255).save(tmp_path / "blank.png")
    model = FewShotClassifier("characters", n_estimators=1).fit([letter("A"), letter("G")], ["A", "G"])
    with pytest.warns(UserWarning, match=r"1 of 2 queries blank, first .*blank\.png.*not answered"):
        answered = model.answers([letter("A"), tmp_path / "blank.png"])
    assert answered.tolist() == [True, False]
    with pytest.warns(UserWarning, match=r"1 of 2 examples blank, first .*blank\.png"):
        model.fit([letter("A"), tmp_path / "blank.png"], ["A", "G"])


# ---- strips and harm -------------------------------------------------------------------------------------------------


def test_a_strip_is_reduced_before_it_is_padded(tmp_path: Path) -> None:
    side = int(IMAGE_WHOLE_PIXELS**0.5) + 904
    strip = np.repeat(np.linspace(0, 255, side).astype(np.uint8)[:, None], 40, 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for thin in (strip, strip.T):
        (read,) = read_images([thin], 50, n_channels=3).int()
        square = np.full(
            (side, side), int(np.median(np.r_[thin[0], thin[-1], thin[1:-1, 0], thin[1:-1, -1]])), np.uint8
        )
        at = (side - 40) // 2
        square[(np.s_[:, at : at + 40] if thin is strip else np.s_[at : at + 40])] = thin
        whole = torch.from_numpy(np.array(Image.fromarray(square).resize((50, 50), Image.Resampling.LANCZOS))).int()
        assert int((read - whole[..., None]).abs().max()) <= 2
    Image.new("L", (1, 60_000), 255).save(tmp_path / "long.png")
    assert bool((read_images([tmp_path / "long.png"], 84, n_channels=3) == 255).all())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**19  # kB


def test_pictures_beyond_the_limits_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    Image.new("1", (12_000, 12_000)).save(tmp_path / "bomb.tif", compression="group4")
    Image.new("1", (1, 200_000)).save(tmp_path / "needle.png")
    for name in ("bomb.tif", "needle.png"):
        with pytest.raises(DataError, match=r"pixels; expected at most 67 million"):
            read_images([tmp_path / name])
    with pytest.raises(DataError, match="pixels; expected at most"):
        read_images([np.broadcast_to(np.uint8(0), (9000, 9000))])


def test_a_large_photograph_is_reduced_while_it_is_decoded(tmp_path: Path) -> None:
    Image.new("RGB", (9000, 9000), (200, 30, 10)).save(tmp_path / "telephone.jpg")
    (read,) = read_images([tmp_path / "telephone.jpg"], 4, n_channels=3).int()
    assert int((read - torch.tensor([200, 30, 10])).abs().max()) <= 3


@pytest.mark.skipif(os.name != "posix", reason="named pipes are of POSIX")
def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError, match="not a regular file"):
        read_images([tmp_path / "pipe.png"])
    with pytest.raises(DataError, match="a folder"):
        read_images([tmp_path])


def test_files_that_start_other_programs_are_no_images(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(DataError, match="not an image"):
        read_images([tmp_path / "a.png"])


def test_heic_is_named_whatever_its_suffix(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    with pytest.raises(DataError, match=r"convert it .*pillow-heif"):
        read_images([tmp_path / "a.jpg"])


@pytest.mark.parametrize(
    "one", ["a.png", Path("a.png"), b"a", letter("A"), Image.new("L", (9, 9))], ids=lambda one: type(one).__name__
)
def test_one_picture_has_to_be_put_into_a_list(one: object) -> None:
    with pytest.raises(DataError, match=r"into a list"):
        DRAWING(one)

"""Glyphs as data sets, Omniglot from its own files, and anybody's folder of images."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from regard.domains.images import glyphs as glyphs_module
from regard.domains.images.distort import Distortion
from regard.domains.images.folder import ImageReader, class_files, image_files, image_folder, read_images
from regard.domains.images.fonts import SPLIT
from regard.domains.images.glyphs import glyphs
from regard.errors import ConfigError, DataError
from regard.sampling.dataset import Dataset
from regard.sampling.splits import check_disjoint


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def parts(cache: Path) -> dict[str, Dataset]:
    return glyphs(cache)


# ---------------------------------------------------------------- glyphs


def equal(a: dict[str, Dataset], b: dict[str, Dataset]) -> bool:
    return a.keys() == b.keys() and all(
        torch.equal(a[k].x, b[k].x) and torch.equal(a[k].y, b[k].y) and a[k].class_names == b[k].class_names for k in a
    )


def test_glyphs_have_three_disjoint_parts_of_whole_scripts(parts: dict[str, Dataset]) -> None:
    check_disjoint(parts)
    for part, dataset in parts.items():
        assert set(dataset.class_groups) == set(SPLIT[part])
        assert dataset.x.shape == (20 * dataset.n_classes, 28, 28)
        assert dataset.x.dtype == torch.uint8
        assert torch.equal(torch.bincount(dataset.y), torch.full((dataset.n_classes,), 20))
        assert all(n.startswith(g + "/U+") for n, g in zip(dataset.class_names, dataset.class_groups, strict=True))


def test_training_items_are_clean_and_test_items_are_drawings_all_different(parts: dict[str, Dataset]) -> None:
    train, test = parts["train"].x.view(-1, 20, 784), parts["test"].x.view(-1, 20, 784)
    assert all(4 <= len(faces.unique(dim=0)) <= 12 for faces in train[::10])
    assert all(len(drawings.unique(dim=0)) == 20 for drawings in test[::10])


def test_glyphs_are_read_from_the_cache_as_they_were_made(
    cache: Path, parts: dict[str, Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(glyphs_module, "render_glyphs", lambda *_, **__: pytest.fail("rendered again"))
    assert equal(glyphs(cache), parts)
    assert len(list(cache.iterdir())) == 1
    monkeypatch.setenv("REGARD_CACHE", str(cache))
    assert equal(glyphs(), parts)


def test_a_drawing_depends_on_seed_character_and_number_alone(tmp_path: Path, parts: dict[str, Dataset]) -> None:
    fewer = glyphs(tmp_path, drawings=3)["test"].x.view(-1, 3, 784)
    assert torch.equal(fewer, parts["test"].x.view(-1, 20, 784)[:, :3])
    other = glyphs(tmp_path, drawings=3, seed=1)
    assert not torch.equal(other["test"].x.view(-1, 3, 784), fewer)
    assert torch.equal(other["train"].x.view(-1, 3, 784), parts["train"].x.view(-1, 20, 784)[:, :3])
    assert len(list(tmp_path.iterdir())) == 2


def test_still_drawings_are_the_renderings_and_size_is_kept(tmp_path: Path) -> None:
    still = Distortion(rotation=0, scale=0, shear=0, translation=0, elastic=0)
    small = glyphs(tmp_path, size=12, drawings=12, distortion=still)
    assert small["test"].x.shape[1:] == (12, 12)
    rendered = glyphs_module.render_glyphs(12)
    first = rendered.images[rendered.face == 0]
    names = [rendered.names[c] for c in rendered.character[rendered.face == 0]]
    at = small["test"].class_names.index(names[0])
    assert torch.equal(small["test"].x.view(-1, 12, 12, 12)[at, 0], torch.from_numpy(first[0]))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", "truncated"])
def test_a_damaged_cache_is_made_anew(
    cache: Path, parts: dict[str, Dataset], tmp_path: Path, content: bytes | str, caplog: pytest.LogCaptureFixture
) -> None:
    (good,) = cache.iterdir()
    damaged = tmp_path / good.name
    damaged.write_bytes(good.read_bytes()[:-5000] if isinstance(content, str) else content)
    with caplog.at_level(logging.WARNING):
        assert equal(glyphs(tmp_path), parts)
    assert "making them again" in caplog.text
    assert damaged.stat().st_size == good.stat().st_size


def test_a_cache_folder_that_cannot_be_written_costs_a_warning_only(
    tmp_path: Path, parts: dict[str, Dataset], caplog: pytest.LogCaptureFixture
) -> None:
    occupied = tmp_path / "file"  # a folder below a file can be made by nobody, not even by root
    occupied.write_text("")
    with caplog.at_level(logging.WARNING):
        assert equal(glyphs(occupied / "cache"), parts)
    assert "REGARD_CACHE" in caplog.text


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes to read-only folders, too")
def test_a_read_only_cache_folder_costs_a_warning_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with caplog.at_level(logging.WARNING):
        glyphs(tmp_path, drawings=1)
    assert "REGARD_CACHE" in caplog.text


def test_a_full_disk_costs_a_warning_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(file: object, **arrays: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with caplog.at_level(logging.WARNING):
        glyphs(tmp_path, drawings=1)
    assert "No space left" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_glyphs_without_drawings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="drawings is 0"):
        glyphs(tmp_path, drawings=0)


# ---------------------------------------------------------------- any folder of images


def letter(width: int = 60, height: int = 60) -> np.ndarray:
    """A white L on black, clear of the border."""
    drawing = np.zeros((height, width), np.uint8)
    drawing[10 : height - 10, 10:16] = 255
    drawing[height - 16 : height - 10, 10 : width - 10] = 255
    return drawing


def test_a_glyph_saved_as_a_picture_is_read_back_unchanged(tmp_path: Path, parts: dict[str, Dataset]) -> None:
    for i in range(5):
        Image.fromarray(parts["train"].x[i * 700].numpy()).save(tmp_path / f"{i}.png")
        Image.fromarray(255 - parts["train"].x[i * 700].numpy()).save(tmp_path / f"{i}.bmp")
    files = image_files(tmp_path)
    wanted = parts["train"].x[torch.arange(5).repeat_interleave(2) * 700]
    for box in (None, 20 / 28):
        assert torch.equal(read_images(files, ink="auto", box=box), wanted)
    assert torch.equal(read_images(files[1::2]), wanted[::2])  # "keep" leaves light ink as it is


def forms(drawing: np.ndarray) -> dict[str, Image.Image]:
    """One drawing, white on black, in every mode that Pillow can save."""
    grey = Image.fromarray(drawing)
    clear = Image.new("RGBA", grey.size, (0, 0, 0, 0))
    clear.putalpha(grey)  # black ink on nothing: black on white
    white = Image.new("RGBA", grey.size, (255, 255, 255, 0))
    white.putalpha(grey)
    palette = clear.quantize(4, method=Image.Quantize.FASTOCTREE)
    return {
        "grey.png": grey,
        "rgb.jpg": grey.convert("RGB"),
        "lossy.webp": grey.convert("RGB"),
        "one_bit.png": grey.convert("1"),
        "palette.gif": grey.convert("P"),
        "cmyk.tif": grey.convert("RGB").convert("CMYK"),
        "deep.png": Image.fromarray(drawing.astype(np.uint16) * 257),
        "float.tiff": Image.fromarray(drawing.astype(np.float32) / 255),
        "integer.tiff": Image.fromarray(drawing.astype(np.int32)),
        "black_on_nothing.png": clear,
        "white_on_nothing.png": white,
        "grey_alpha.png": clear.convert("LA"),
        "clear_palette.png": palette,
    }


@pytest.mark.parametrize("name", sorted(forms(letter())))
def test_any_mode_of_picture_is_the_same_drawing(tmp_path: Path, name: str) -> None:
    picture = forms(letter())[name]
    picture.save(tmp_path / name)
    read = read_images([tmp_path / name, picture, letter()], ink="auto").int()
    assert int((read[0] - read[2]).abs().max()) <= 40  # lossy formats ring
    assert int((read[1] - read[2]).abs().max()) <= 2
    colour = read_images([tmp_path / name], n_channels=3)
    assert colour.shape == (1, 28, 28, 3)


def test_exif_orientation_is_followed(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side: turn clockwise to see it
    Image.fromarray(letter(50, 70)).save(tmp_path / "turned.png", exif=exif)
    turned = read_images([tmp_path / "turned.png"], ink="auto")
    assert torch.equal(turned, read_images([np.rot90(letter(50, 70), -1).copy()], ink="auto"))


def test_arrays_tensors_and_floats_are_pictures_too() -> None:
    drawing = letter()
    as_bytes = read_images([drawing])
    others = [torch.from_numpy(drawing), drawing / 255, drawing > 0, drawing[..., None], drawing.astype(np.int64)]
    assert torch.equal(read_images(others), as_bytes.expand(5, 28, 28))
    assert torch.equal(read_images([np.stack([drawing] * 3, -1)]), as_bytes)
    assert read_images([]).shape == (0, 28, 28)


def test_aspect_is_kept_and_the_border_colour_pads() -> None:
    wide = np.full((20, 40, 3), (200, 30, 10), np.uint8)
    assert torch.equal(read_images([wide], 16, n_channels=3)[0], torch.tensor([200, 30, 10]).byte().expand(16, 16, 3))
    tall = read_images([letter(30, 60)], 60, ink="auto")[0]
    assert torch.equal(tall[:, 15:45], torch.from_numpy(letter(30, 60)))
    assert not tall[:, :15].any()


def test_ink_is_found_whatever_the_page() -> None:
    light = letter()
    dark = 255 - light
    photograph = (180 - light * 0.5).astype(np.uint8)  # grey ink on a grey page
    read = read_images([light, dark, photograph], ink="auto").int()
    assert int((read - read[0]).abs().max()) <= 3
    assert torch.equal(read_images([dark], ink="dark").int(), read[:1])
    assert torch.equal(read_images([light], ink="light").int(), read[:1])
    assert not read_images([np.full((9, 9), 255, np.uint8), np.full((9, 9), 130, np.uint8)], ink="auto").any()


def test_a_box_crops_to_the_ink_wherever_it_is() -> None:
    page = np.full((400, 300), 255, np.uint8)
    page[300:360, 20:80] = 255 - letter()
    (read,) = read_images([page], ink="auto", box=20 / 28)
    rows, columns = (np.flatnonzero((read.numpy() > 64).any(axis)) for axis in (1, 0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (4, 23, 4, 23)


def write(folder: Path, names: list[str]) -> None:
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), i, np.uint8)).save(folder / name)


def test_a_sub_folder_is_a_class(tmp_path: Path) -> None:
    write(tmp_path, ["cat/2.png", "cat/1.png", "dog/1.png", "dog/.hidden.png"])
    (tmp_path / "dog" / "Thumbs.db").write_text("left by a file manager")
    dataset = image_folder(tmp_path, ImageReader(8))
    assert dataset.class_names == ("cat", "dog")
    assert dataset.class_groups == ()
    assert dataset.y.tolist() == [0, 0, 1]
    assert dataset.x[:, 0, 0].tolist() == [1, 0, 2]


def test_two_levels_are_group_and_class(tmp_path: Path) -> None:
    write(tmp_path, ["Greek/alpha/1.png", "Greek/beta/1.png", "Latin/a/1.png", "Latin/a/2.png"])
    dataset = image_folder(tmp_path, ImageReader(8))
    assert dataset.class_names == ("Greek/alpha", "Greek/beta", "Latin/a")
    assert dataset.class_groups == ("Greek", "Greek", "Latin")
    assert dataset.y.tolist() == [0, 1, 2, 2]


def test_what_is_asked_may_lie_flat_or_deep(tmp_path: Path) -> None:
    write(tmp_path, ["b.png", "deep/er/a.png"])
    assert [str(path.relative_to(tmp_path)) for path in image_files(tmp_path)] == ["b.png", "deep/er/a.png"]


def test_all_mistakes_of_a_folder_are_told_at_once(tmp_path: Path) -> None:
    write(tmp_path, ["cat/1.png", "cat/2.png", "dog/1.png", "dog/deeper/1.png"])
    (tmp_path / "cat" / "empty.png").write_bytes(b"")
    (tmp_path / "cat" / "text.png").write_text("not a picture")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "cat" / "half.png")
    whole = (tmp_path / "cat" / "half.png").read_bytes()
    (tmp_path / "cat" / "half.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "cat" / "notes.txt").write_text("hello")
    (tmp_path / "bird").mkdir()
    with pytest.raises(DataError) as caught:
        image_folder(tmp_path / "cat")
    assert "no sub-folders" in str(caught.value)
    (tmp_path / "dog" / "deeper" / "1.png").unlink()
    with pytest.raises(DataError) as caught:
        image_folder(tmp_path, n_items=2)
    message = str(caught.value)
    assert "6 thing(s) to mend" in message
    assert "and 1 more" in message
    for part in ("bird: 0 image(s)", "dog: 1 image(s)", "notes.txt: not an image", "empty.png: empty, 0 bytes"):
        assert part in message
    with pytest.raises(DataError, match=r"text\.png: not an image") as caught:
        read_images(sorted((tmp_path / "cat").glob("*.png")))
    assert "half.png: damaged" in str(caught.value)
    assert "copy it again" in str(caught.value)


def test_images_at_different_depths_are_told(tmp_path: Path) -> None:
    write(tmp_path, ["Greek/alpha/1.png", "stray/1.png", "top.png"])
    with pytest.raises(DataError, match=r"stray/1\.png: lies elsewhere") as caught:
        image_folder(tmp_path)
    assert "top.png" in str(caught.value)


def test_a_stray_picture_is_named_and_not_the_good_ones(tmp_path: Path) -> None:
    write(tmp_path, ["A/1.png", "B/1.png", "C/1.png", "A/more/2.png"])
    with pytest.raises(DataError, match=r"1 thing\(s\) to mend") as caught:
        class_files(tmp_path)
    assert str(Path("A/more/2.png")) in str(caught.value) and "B" + os.sep not in str(caught.value)
    write(tmp_path / "deep", ["a/b/c/d/1.png"])
    with pytest.raises(DataError, match="4 folders deep"):
        class_files(tmp_path / "deep")


def test_what_computers_leave_behind_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, ["A/1.png", "B/1.png", "A/@eaDir/1.png", "__MACOSX/A/._1.png", "@eaDir/B/1.png"])
    for left in ("A/ehthumbs.db", "B/Picasa.ini", "A/.picasa.ini", "desktop.ini", ".DS_Store", "B/Icon\r"):
        (tmp_path / left).write_text("left")
    assert {name: len(files) for name, files in class_files(tmp_path).items()} == {"A": 1, "B": 1}
    assert len(image_files(tmp_path)) == 2


def test_links_are_followed_and_those_to_nothing_named(tmp_path: Path) -> None:
    write(tmp_path / "store", ["A/1.png", "A/2.png", "B/1.png"])
    view = tmp_path / "view"
    (view / "C").mkdir(parents=True)
    for name in "AB":
        (view / name).symlink_to(tmp_path / "store" / name)
    (view / "C" / "1.png").symlink_to(tmp_path / "store" / "A" / "1.png")
    assert {name: len(files) for name, files in class_files(view).items()} == {"A": 2, "B": 1, "C": 1}
    assert len(image_files(view)) == 4
    (view / "C" / "2.png").symlink_to(tmp_path / "absent.png")
    (view / "D").symlink_to(tmp_path / "absent")
    (view / "C" / "round").symlink_to(view)
    (view / "E").symlink_to(view / "E")
    with pytest.raises(DataError, match=r"4 thing\(s\) to mend") as caught:
        class_files(view)
    assert str(caught.value).count("a link to nothing") == 3 and "round: a link to a folder that it lies in" in str(
        caught.value
    )


@pytest.mark.skipif(os.name != "posix", reason="named pipes are of POSIX")
def test_a_pipe_called_like_an_image_is_refused(tmp_path: Path) -> None:
    write(tmp_path, ["A/1.png"])
    os.mkfifo(tmp_path / "A" / "2.png")
    for read in (class_files, image_files):
        with pytest.raises(DataError, match=r"2\.png: not a regular file"):
            read(tmp_path)


def test_folders_within_folders_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, ["A/1.png", "A/2.png"])
    monkeypatch.setattr("regard.domains.images.folder.FOLDER_ENTRIES", 2)
    with pytest.raises(DataError, match="more than 2 files and folders"):
        class_files(tmp_path)
    monkeypatch.undo()
    deep = tmp_path.joinpath(*["d"] * 40)
    deep.mkdir(parents=True)
    with pytest.raises(DataError, match="more than 32 folders deep"):
        class_files(tmp_path)


@pytest.mark.parametrize("suffix", ["jfif", "avif", "ppm", "pgm", "tga", "JPE", "dib"])
def test_files_that_pillow_reads_are_images(tmp_path: Path, suffix: str) -> None:
    kind = {"jfif": "JPEG", "jpe": "JPEG", "pgm": "PPM", "dib": "BMP"}.get(suffix.lower(), suffix.upper())
    Image.fromarray(letter()).save(tmp_path / f"a.{suffix}", kind)
    files = image_files(tmp_path)
    read = read_images(files, ink="auto").int()
    assert int((read[0] - read_images([letter()], ink="auto")[0].int()).abs().max()) <= 40


def test_heic_comes_with_advice(tmp_path: Path) -> None:
    write(tmp_path, ["A/1.png"])
    (tmp_path / "A" / "IMG_0001.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(DataError, match=r"IMG_0001\.HEIC: .*convert it to JPEG"):
        image_files(tmp_path)


def test_folders_that_hold_nothing_say_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        image_folder(tmp_path / "absent")
    with pytest.raises(DataError, match=r"holds no image: expected .*class/image\.png"):
        image_folder(tmp_path)
    with pytest.raises(DataError, match="holds no image"):
        image_files(tmp_path)
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(DataError, match="is a file"):
        image_files(tmp_path / "a.txt")
    with pytest.raises(DataError, match="not an image by its name"):
        image_files(tmp_path)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((4, 4), np.nan), "NaN"),
        (np.full((4, 4), 2.0), "expected 0..1"),
        (np.full((4, 4), -1), "from -1 to -1"),
        (np.zeros((4, 4, 5)), "shape"),
        (np.zeros((0, 4)), "shape"),
        (np.full((4, 4), "a"), "type"),
        ("absent.png", "no such file"),
    ],
)
def test_arrays_that_are_no_pictures_say_why(array: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_images([array])


@pytest.mark.parametrize(
    "settings", [{"size": 0}, {"n_channels": 2}, {"ink": "blue"}, {"ink": "auto", "n_channels": 3}, {"box": 0.5}]
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(Exception, match=r"size|ink|box"):  # a wrong literal is found by the annotations first, in tests
        ImageReader(**settings)  # type: ignore[arg-type]

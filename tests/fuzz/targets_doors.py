"""What users hand in: pictures, folders, texts, recipes, settings and the arguments of commands."""

from __future__ import annotations

import io
import os
import random
import shutil
import string
from contextlib import suppress
from pathlib import Path

import numpy as np
from harness import damage, target
from PIL import Image
from typer.testing import CliRunner

from regard.cli import app
from regard.domains.images.folder import class_files, image_files
from regard.domains.images.reader import read_images
from regard.domains.texts.files import read_labelled, read_lines
from regard.domains.texts.tokenizer import Tokenizer
from regard.errors import RegardError
from regard.recipes.components import build_learner
from regard.recipes.config import Recipe

# ---- pictures --------------------------------------------------------------------------------------------------------


def _pictures(folder: Path) -> list[bytes]:
    rng = np.random.default_rng(0)
    grey, colour = rng.integers(0, 256, (40, 30), dtype=np.uint8), rng.integers(0, 256, (30, 40, 4), dtype=np.uint8)
    picture, seeds = Image.fromarray(colour), []
    for kind in ("PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF", "TGA", "PPM", "JPEG", "PCX"):
        file = io.BytesIO()
        (picture.convert("RGB") if kind in ("PPM", "JPEG", "PCX") else picture).save(file, kind)
        seeds.append(file.getvalue())
    for image, kind in ((Image.fromarray(grey.astype(np.uint16) * 16), "PNG"), (Image.fromarray(grey / 255), "TIFF")):
        image.convert("F" if kind == "TIFF" else image.mode).save(file := io.BytesIO(), kind)
        seeds.append(file.getvalue())
    return seeds


def _bomb(content: bytes, rng: random.Random) -> bytes:
    """Another size or depth in an honest file: long, thin or huge; or damage."""
    if rng.random() < 0.7:
        return damage(content, rng)
    width, height = rng.choice(((1, 60_000), (60_000, 1), (30_000, 200), (9_000, 9_000), (4_000, 4_000), (200_000, 1)))
    mode, kind = rng.choice((("1", "TIFF"), ("1", "PNG"), ("L", "PNG"), ("1", "GIF")))
    options = {"compression": "group4"} if kind == "TIFF" else {}
    if mode == "L" and width * height > 2**25:
        mode = "1"
    try:
        Image.new(mode, (width, height)).save(file := io.BytesIO(), kind, **options)
    except (OSError, ValueError, SystemError, OverflowError):  # GIF ends at 65,535
        return content
    return file.getvalue()


@target(seeds=_pictures, suffix=".png", mutate=_bomb)
def picture(path: Path) -> None:
    """One file as a drawing and as a photograph."""
    try:
        read_images([path], 28, ink="auto", box=20 / 28)
    finally:
        read_images([path], 84, n_channels=3)


def _trees(folder: Path) -> list[bytes]:
    return [b"A/1.png\nB/1.png\nB/2.jpg\n", b"Greek/a/1.png\nGreek/b/1.png\nLatin/a/2.tif\n"]


def _moved(content: bytes, rng: random.Random) -> bytes:
    """Names of what lies in folders: links, pipes, odd names, left-behind files and other depths."""
    lines = content.decode(errors="replace").splitlines()
    odd = ["A->.", "C->A", "D->nowhere", "A/3.png->1.png", "p.png|", "A/p.png|", "__MACOSX/A/._1.png", "A/Thumbs.db"]
    odd += ["A/more/2.png", "x.heic", "/".join("d" * 40) + "/1.png", "A/\udc80.png", " /1.png", "A/1.png/2.png", "C/"]
    return "\n".join([*rng.sample(lines, rng.randrange(len(lines) + 1)), *rng.choices(odd, k=rng.randrange(4))]).encode(
        errors="surrogatepass"
    )


@target(seeds=_trees, suffix=".txt", mutate=_moved)
def tree(path: Path) -> None:
    """A folder of classes, described by lines; `->` is a link, `|` a pipe, `/` at the end an empty folder."""
    root = path.parent / "tree"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for line in path.read_bytes().split(b"\n")[:50]:
        name, arrow, goal = line.partition(b"->")
        place = Path(os.fsdecode(os.path.normpath(os.fsencode(root) + b"/" + name.strip(b"/|\0").replace(b"..", b"."))))
        try:
            (place if line.endswith(b"/") else place.parent).mkdir(parents=True, exist_ok=True)
            if arrow:
                place.symlink_to(os.fsdecode(goal.replace(b"\0", b"")))
            elif line.endswith(b"|"):
                os.mkfifo(place)
            elif not line.endswith(b"/"):
                place.write_bytes(b"x")
        except (OSError, ValueError):  # a name that this disk cannot have
            continue
    for read in (class_files, image_files):
        with suppress(RegardError):
            read(root)


# ---- texts -----------------------------------------------------------------------------------------------------------


def _tables(folder: Path) -> list[bytes]:
    rows = 'text,label\n"pay, please",a\nöffne das Konto,b\n我想开户,c\n'
    return [
        rows.encode(),
        rows.replace(",", ";").encode("utf-8-sig"),
        rows.encode("utf-16"),
        rows.replace("我想开户", "x").encode("cp1252"),
        b'{"text": "pay", "label": "a"}\n{"text": "rain", "label": 3}\n',
        b'[{"text": "pay", "label": "a"}]',
    ]


@target(seeds=_tables, suffix=".csv")
def texts(path: Path) -> None:
    """Labelled texts as a table and as JSON, texts alone, and their tokens."""
    other = path.with_suffix(".jsonl")
    shutil.copy(path, other)
    for name in (path, other):
        for read in (read_labelled, read_lines):
            try:
                found = read(name)
            except RegardError:
                continue
            Tokenizer.learn(["pay please"], least=1)(found[0] if isinstance(found, tuple) else found)


# ---- recipes and commands --------------------------------------------------------------------------------------------


def _recipes(folder: Path) -> list[bytes]:
    return [Recipe.read(name).to_yaml().encode() for name in ("glyphs", "folder", "sinusoid", "texts")]


_ODD = [
    "[",
    "{",
    "&a [*a]",
    "*b",
    "1e999",
    "-1",
    "9" * 30,
    ".nan",
    "!!python/name:os.system",
    "2024-13-45",
    "'",
    "null",
]
_ODD += ["[[[[[[", "? a", "a: b: c", "\t", "0x", "1_0", "~", "true", "5", "x", "[1, 2, 3]", "{name: 3}", "é"]
_ODD += ["\\ud800"]


def _edited(content: bytes, rng: random.Random) -> bytes:
    """A value replaced by an odd one."""
    lines = content.decode(errors="replace").splitlines()
    at = rng.randrange(len(lines)) if lines else 0
    lines[at : at + 1] = [f"{lines[at].partition(':')[0] if lines else 'a'}: {rng.choice(_ODD)}"]
    return "\n".join(lines).encode()


@target(seeds=_recipes, suffix=".yaml", mutate=_edited)
def recipe(path: Path) -> None:
    """A recipe of a user's own."""
    Recipe.read(str(path))


def _settings(folder: Path) -> list[bytes]:
    return [
        b"train.steps=100",
        b"evaluation.0.n_way=3",
        b"learner.d_head=1e-3",
        b"data={name: glyphs, drawings: 3}",
        b"learner.encoder={name: Conv4, n_filters: 8}",
        b"episodes.n_way=[2, 5]",
    ]


def _slipped(content: bytes, rng: random.Random) -> bytes:
    key, _, value = content.decode(errors="replace").partition("=")
    steps = key.split(".")
    steps[rng.randrange(len(steps))] = rng.choice(["", "0", "5", "-1", "x", "name", "n_way", "²", "a" * 500])
    return f"{'.'.join(steps) if rng.random() < 0.5 else key}={rng.choice([value, *_ODD])}".encode()


@target(seeds=_settings, mutate=_slipped)
def setting(path: Path) -> None:
    """`--set`, and the learner that comes of it, unless it is large."""
    text = path.read_bytes().decode(errors="replace")
    found = Recipe.read("glyphs", [text])
    if not any(isinstance(v, int) and abs(v) > 512 for v in (*found.learner.options().values(), *_numbers(found))):
        build_learner(found.learner.spec())


def _numbers(found: Recipe) -> list[object]:
    encoder = found.learner.options().get("encoder")
    return list(encoder.values()) if isinstance(encoder, dict) else []


def _commands(folder: Path) -> list[bytes]:
    return [
        b"train glyphs --show --set train.steps=3",
        b"evaluate none --n-way 5 --episodes 3 --seed 1",
        b"compare none none --suite --minutes 1 --learners FEAT",
        b"predict characters --support none --query none",
        b"cite MAML",
        b"calibrate none --target-error 0.1",
        b"doctor none --episodes 2",
        b"--version",
    ]


def _typed(content: bytes, rng: random.Random) -> bytes:
    words = content.decode(errors="replace").split()
    odd = [
        "-1",
        "nan",
        "inf",
        "9" * 30,
        "",
        "--",
        "-",
        "--seed",
        "--out",
        "/dev/null",
        "[red]",
        "\x1b[31m",
        "é",
        "..",
        "x",
    ]
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(words) + 1)
        words[at : at + rng.randrange(2)] = [rng.choice([*odd, *string.ascii_letters])]
    return " ".join(words).encode(errors="replace")


@target(seeds=_commands, mutate=_typed)
def arguments(path: Path) -> None:
    """The command line; `train` only with --show, and quickstart not at all, which would do as they are told."""
    words = path.read_bytes().decode(errors="replace").replace("\0", "").split(" ")
    if "quickstart" in words or ("train" in words and "--show" not in words) or "characters" in words[1:2]:
        return
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        done = CliRunner().invoke(app, words)
    finally:
        os.chdir(before)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception

"""Images in folders: those of a user's disk, with a sub-folder per class.

    folder/cat/1.png                  class "cat"
    folder/cat/2.jpg
    folder/Greek/alpha/1.png          or two levels: class "Greek/alpha" of the group "Greek"

All mistakes of a folder are reported at once. Links are followed. Nothing is skipped in silence, except hidden files
and what file managers and archives leave behind. Not here: labels in a table beside the images.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from regard.domains.images.pixels import HEIC_ADVICE
from regard.domains.images.reader import ImageReader, collect, complain, read_images
from regard.errors import DataError
from regard.limits import FOLDER_DEPTH, FOLDER_ENTRIES
from regard.sampling.dataset import Dataset

__all__ = ["SUFFIXES", "ImageReader", "class_files", "image_files", "image_folder", "read_images"]

SUFFIXES = frozenset(
    {".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".bmp", ".dib", ".gif", ".webp", ".tif", ".tiff"}
    | {".avif", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".pcx"}
)
_USUAL = ".png, .jpg, .gif, .webp, .tif or .bmp"
_HEIC = frozenset({".heic", ".heif", ".hif"})
_LEFT_BEHIND = frozenset(
    {
        "thumbs.db",
        "ehthumbs.db",
        "ehthumbs_vista.db",
        "desktop.ini",
        "picasa.ini",
        "zbthumbnail.info",
        "icon\r",
        "__macosx",
        "@eadir",
        "@recycle",
        "#recycle",
        "$recycle.bin",
        "system volume information",
        "lost+found",
        "__pycache__",
    }
)


def image_files(folder: Path | str) -> list[Path]:
    """All images in a folder and its sub-folders, sorted: the queries, or one class.

    Raises:
        DataError: no such folder, no image in it, or files that are no images.
    """
    root = _existing(folder)
    files, _, mistakes = _files(root)
    complain(str(root), mistakes)
    if not files:
        raise DataError(f"{root} holds no image: expected files such as {root / 'a.png'}.")
    return files


def image_folder(folder: Path | str, reader: ImageReader | None = None, *, n_items: int = 1) -> Dataset:
    """A data set of a folder with a sub-folder per class, or a folder per group and in it a sub-folder per class.

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
    pictures, unread = collect(reader.read, [path for files in classes.values() for path in files])
    complain(str(root), mistakes + unread)
    y = torch.arange(len(classes)).repeat_interleave(torch.tensor([len(files) for files in classes.values()]))
    in_groups = any("/" in name for name in classes)
    groups = tuple(name.split("/")[0] for name in classes) if in_groups else ()
    return Dataset(torch.from_numpy(np.stack(pictures)), y, tuple(classes), groups)


def class_files(folder: Path | str) -> dict[str, list[Path]]:
    """Image files by class, of a folder with a sub-folder per class; unread.

    Raises:
        DataError: files that lie where they cannot belong to a class, or are no images.
    """
    classes, mistakes = _classes(_existing(folder))
    complain(str(folder), mistakes + [f"{Path(folder) / n}: no image in it." for n, f in classes.items() if not f])
    return classes


def _existing(folder: Path | str) -> Path:
    root = Path(folder).expanduser()
    if not root.is_dir():
        what = "is a file" if root.exists() else "is a link to nothing" if root.is_symlink() else "does not exist"
        raise DataError(f"{root} {what}: expected a folder of images.")
    return root


def _is_left_behind(name: str) -> bool:
    return name.startswith(".") or name.lower() in _LEFT_BEHIND


def _walk(root: Path) -> Iterator[tuple[Path, str]]:
    """Every file and folder below, links followed, with what it is: "file", "folder", or what is wrong with it.

    Raises:
        DataError: more than `regard.limits` allows.
    """
    status = root.stat()
    count = 0
    waiting: list[tuple[Path, tuple[tuple[int, int], ...]]] = [(root, ((status.st_dev, status.st_ino),))]
    while waiting:
        folder, above = waiting.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            yield folder, f"cannot be listed ({error.strerror}); change its permissions or remove it."
            continue
        for entry in entries:
            if _is_left_behind(entry.name):
                continue
            path, count = folder / entry.name, count + 1
            if count > FOLDER_ENTRIES:
                raise DataError(f"{root} holds more than {FOLDER_ENTRIES:,} files and folders: name a smaller folder.")
            try:
                status = path.stat()
            except OSError as error:
                reason = "a link to nothing" if path.is_symlink() else f"cannot be read ({error.strerror})"
                yield path, f"{reason}; mend or remove it."
                continue
            identity = (status.st_dev, status.st_ino)
            if stat.S_ISREG(status.st_mode):
                yield path, "file"
            elif not stat.S_ISDIR(status.st_mode):
                yield path, "not a regular file; remove it."
            elif identity in above:
                yield path, "a link to a folder that it lies in; remove it."
            elif len(above) >= FOLDER_DEPTH:
                yield path, f"more than {FOLDER_DEPTH} folders deep; move it up."
            else:
                yield path, "folder"
                waiting.append((path, (*above, identity)))


def _files(root: Path) -> tuple[list[Path], list[Path], list[str]]:
    """All images and all folders below, sorted, and what is wrong with everything else."""
    files: list[Path] = []
    folders: list[Path] = []
    mistakes: list[str] = []
    for path, what in sorted(_walk(root)):
        suffix = path.suffix.lower()
        if what == "folder":
            folders.append(path)
        elif what != "file":
            mistakes.append(f"{path}: {what}")
        elif suffix in SUFFIXES or (suffix in _HEIC and _reads_heic()):
            files.append(path)
        else:
            advice = HEIC_ADVICE if suffix in _HEIC else f"expected {_USUAL}, or remove it."
            mistakes.append(f"{path}: not an image by its name; {advice}")
    return files, folders, mistakes


def _reads_heic() -> bool:
    """Whether a package has taught Pillow to."""
    from PIL import Image

    return "HEIF" in Image.OPEN


def _classes(root: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """Files by class name ("class" or "group/class"), and what is wrong with where they lie."""
    files, folders, mistakes = _files(root)
    depths = Counter(len(path.relative_to(root).parts) - 1 for path in files)
    expected = f"expected {root / 'class' / 'image.png'} or {root / 'group' / 'class' / 'image.png'}"
    if not depths:
        found = f"; first: {mistakes[0]}" if mistakes else "."
        raise DataError(f"{root} holds no image: {expected}{found}")
    if set(depths) == {0}:
        raise DataError(f"{root} holds images and no sub-folders: put those of each class into its own, {expected}.")
    # Where most images lie; the others are strays.
    level = max((depth for depth in depths if depth in (1, 2)), key=lambda depth: (depths[depth], depth), default=0)
    if not level:
        raise DataError(f"{root} holds images {min(depths)} folders deep, first {files[0]}: {expected}.")
    in_folder: dict[Path, list[Path]] = {}
    for file in files:
        in_folder.setdefault(file.parent, []).append(file)
    homes = [folder for folder in folders if len(folder.relative_to(root).parts) == level]
    mistakes += [
        f"{file}: lies elsewhere than the others; {expected}."
        for folder in sorted(in_folder.keys() - set(homes))
        for file in in_folder[folder]
    ]
    return {home.relative_to(root).as_posix(): in_folder.get(home, []) for home in homes}, mistakes

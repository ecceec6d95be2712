"""How many changed copies of training pictures the doctor finds among test pictures, and its false alarms.

    python benchmarks/doctor_copies.py --data FOLDER [--copies 24] [--only glyphs caltech signs]

Three kinds of pictures: glyphs (generated; 28 x 28), Caltech-101 and traffic signs (32 x 32, in colour; FOLDER holds
caltech101/ and gtsrb/). Classes (of glyphs: scripts) are parted at random, two thirds for training; 8 test pictures for
each change are replaced by changed copies of training pictures, and recall is the share of them that is named. A clean pair is the same pair of
splits with nothing planted. Writes benchmarks/results/doctor_copies.json.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from scipy.stats import binomtest
from torch import Tensor

from common import (
    Document,
    Section,
    argument_parser,
    made_by,
    provenance,
    read_document,
    render_after,
    table,
    write_document,
)
from regard.domains.images.glyphs import glyphs
from regard.evaluation.leaks.duplicates import near_copies
from regard.sampling.dataset import Dataset

TITLE = "Changed copies of pictures that the doctor finds"
BAR = 0.95


# ---- changes ---------------------------------------------------------------------------------------------------------


def shifted(right: int, down: int) -> Callable[[np.ndarray], np.ndarray]:
    """By whole pixels; the border is repeated."""

    def change(x: np.ndarray) -> np.ndarray:
        rows = np.clip(np.arange(x.shape[0]) - down, 0, x.shape[0] - 1)
        columns = np.clip(np.arange(x.shape[1]) - right, 0, x.shape[1] - 1)
        return x[rows][:, columns]

    return change


def turned(degrees: float) -> Callable[[np.ndarray], np.ndarray]:
    """About the middle; corners are filled from the border."""
    return lambda x: ndimage.rotate(x, degrees, (0, 1), reshape=False, order=1, mode="nearest")


def cropped(share: float, right: float = 0.5, down: float = 0.5) -> Callable[[np.ndarray], np.ndarray]:
    """This share of each side, at this position (0 to 1), brought back to the size of the picture."""

    def change(x: np.ndarray) -> np.ndarray:
        side = x.shape[0]
        place = share * (np.arange(side) + 0.5) + (1 - share) * side * np.array([[down], [right]]) - 0.5
        rows, columns = np.meshgrid(place[0], place[1], indexing="ij")
        planes = x[..., None] if x.ndim == 2 else x
        made = np.stack(
            [ndimage.map_coordinates(p, (rows, columns), order=1, mode="nearest") for p in planes.transpose(2, 0, 1)],
            -1,
        )
        return made[..., 0] if x.ndim == 2 else made

    return change


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "1 pixel right": shifted(1, 0),
    "1 pixel down and left": shifted(-1, 1),
    "2 pixels up": shifted(0, -2),
    "3 pixels right": shifted(3, 0),
    "3 pixels down and left": shifted(-3, 3),
    "mirrored": lambda x: x[:, ::-1],
    "upside down": lambda x: x[::-1],
    "inverted": lambda x: 255 - x,
    "turned by 5 degrees": turned(5),
    "turned by 17 degrees": turned(17),
    "turned by 45 degrees": turned(45),
    "turned by -73 degrees": turned(-73),
    "turned by 90 degrees": lambda x: np.rot90(x),
    "turned by 180 degrees": lambda x: np.rot90(x, 2),
    "turned by 270 degrees": lambda x: np.rot90(x, 3),
    "cropped to 90%": cropped(0.9),
    "cropped to 80%": cropped(0.8),
    "cropped to 75%": cropped(0.75),
    "a corner of 90%": cropped(0.9, 0, 0),
    "a corner of 80%": cropped(0.8, 1, 0),
}
"""Pictures (H, W) or (H, W, C) of bytes, one at a time."""


# ---- data ------------------------------------------------------------------------------------------------------------


def pictures(name: str, folder: Path) -> Dataset:
    """All pictures of a kind that the script compares, at most 5,000."""
    if name == "glyphs":
        splits = glyphs()
        return spread(splits["test"], 4460)
    if name == "caltech":
        with np.load(folder / "caltech101" / "caltech32_shared.npz") as held:
            return of_arrays(held["images"], held["labels"], held["class_names"])
    with np.load(folder / "gtsrb" / "gtsrb32_shared.npz") as held:
        # Frames of one track show one sign: one of each.
        _, first = np.unique(
            held["train_track"].astype(np.int64) + 10_000 * held["train_labels"].astype(np.int64), return_index=True
        )
        images = np.concatenate([held["train_images"][first], held["test_images"]])
        return of_arrays(
            images, np.concatenate([held["train_labels"][first], held["test_labels"]]), held["class_names"]
        )


def of_arrays(images: np.ndarray, labels: np.ndarray, names: np.ndarray) -> Dataset:
    """A data set of these arrays."""
    present, y = np.unique(labels, return_inverse=True)
    return Dataset(
        torch.from_numpy(images),
        torch.from_numpy(y),
        tuple(str(names[c]) if c < len(names) else str(c) for c in present),
    )


def spread(data: Dataset, most: int) -> Dataset:
    """Whole classes, spread over the data, of at most so many items."""
    n_classes = min(data.n_classes, most * data.n_classes // len(data))
    return of_classes(data, np.linspace(0, data.n_classes - 1, n_classes).astype(int))


def of_classes(data: Dataset, classes: np.ndarray) -> Dataset:
    """The items of these classes."""
    rows = torch.isin(data.y, torch.from_numpy(classes))
    x = data.x
    assert isinstance(x, Tensor)
    _, y = torch.unique(data.y[rows], return_inverse=True)
    names, groups = (
        tuple(values[c] for c in sorted(classes.tolist()))
        for values in (data.class_names, data.class_groups or data.class_names)
    )
    return Dataset(x[rows], y, names, groups if data.class_groups else ())


# ---- measurement -----------------------------------------------------------------------------------------------------


def parted(data: Dataset, seed: int) -> tuple[Dataset, Dataset]:
    """Training classes (two thirds, at random) and test classes; letters of one script stay together."""
    groups = np.array(data.class_groups or range(data.n_classes))
    order = np.random.default_rng(seed).permutation(np.unique(groups))
    is_test = np.isin(groups, order[: len(order) // 3])
    return of_classes(data, np.flatnonzero(~is_test)), of_classes(data, np.flatnonzero(is_test))


def planted(train: Dataset, test: Dataset, n: int, seed: int) -> tuple[Dataset, dict[int, str]]:
    """The test split with `n` copies of each change in it, each of another training picture; rows by change."""
    generator = np.random.default_rng(seed)
    n_all = n * len(CHANGES)
    rows, originals = (generator.choice(len(split), n_all, replace=False).tolist() for split in (test, train))
    assert isinstance(train.x, Tensor) and isinstance(test.x, Tensor)
    x, names = test.x.clone(), [name for name in CHANGES for _ in range(n)]
    for row, original, name in zip(rows, originals, names, strict=True):
        copy = CHANGES[name](train.x[original].numpy().astype(np.float64))
        x[row] = torch.from_numpy(np.clip(np.round(copy), 0, 255).astype(np.uint8))
    return replace(test, x=x), dict(zip(rows, names, strict=True))


def measure(data: Dataset, n_copies: int, seed: int, n_pairs: int) -> Document:
    """Recall of each change, alarms of clean pairs, and seconds."""
    found, seconds, others, alarms = dict.fromkeys(CHANGES, 0), [], 0, 0
    each = n_copies // n_pairs
    for number in range(n_pairs):
        train, test = parted(data, seed + number)
        began = time.process_time()
        alarm = near_copies(test.x, train.x, test.y, train.y)
        seconds.append(time.process_time() - began)
        alarms += bool(alarm)
        spoiled, change_of = planted(train, test, each, seed + number)
        named = {pair.row_a for pair in near_copies(spoiled.x, train.x, spoiled.y, train.y)}
        for row in named & change_of.keys():
            found[change_of[row]] += 1
        others += len(named - change_of.keys())
        print(number, "alarms", alarm, "others", others, f"{seconds[-1]:.1f} s", found, flush=True)
    return {
        "pictures": len(data),
        "classes": data.n_classes,
        "found": found,
        "copies": each * n_pairs,
        "others": others,
        "clean_pairs": n_pairs,
        "alarms": alarms,
        "cpu_seconds": round(float(np.median(seconds)), 1),
    }


def main() -> None:
    """Measure, print, write."""
    arguments = parser().parse_args()
    torch.set_num_threads(1)
    kinds = read_document(arguments.out).get("kinds", {})
    for name in arguments.only or KINDS:
        data = pictures(name, arguments.data)
        kinds[name] = measure(data, arguments.copies, arguments.seed, arguments.pairs)
        settings = {"copies": arguments.copies, "pairs": arguments.pairs}
        write_document(
            arguments.out,
            {"title": TITLE, "kinds": kinds, "settings": settings, **provenance(seed=arguments.seed)},
        )
    render_after(arguments, SECTIONS)


KINDS = {"glyphs": "glyphs, 28 x 28", "caltech": "Caltech-101, 32 x 32", "signs": "traffic signs, 32 x 32"}


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(
        __doc__, SECTIONS, "doctor_copies.json", data="caltech101/ and gtsrb/", seed=0, only=[*KINDS]
    )
    made.add_argument("--copies", type=int, default=24, help="of each change and kind (default 24)")
    made.add_argument("--pairs", type=int, default=3, help="pairs of splits of each kind (default 3)")
    return made


def section(document: Document) -> str:
    """Recall of each change, with intervals of all changes together; alarms and seconds."""
    kinds = {name: document["kinds"][name] for name in KINDS if name in document["kinds"]}
    rows = [[change, *(f"{k['found'][change]} of {k['copies']}" for k in kinds.values())] for change in CHANGES]
    totals = [(sum(k["found"].values()), k["copies"] * len(CHANGES)) for k in kinds.values()]
    rows.append(["**all**", *(f"**{_share(found, n)}**" for found, n in totals)])
    rows.append(
        ["clean pairs of splits with an alarm", *(f"{k['alarms']} of {k['clean_pairs']}" for k in kinds.values())]
    )
    rows.append(
        ["pictures; seconds per pair of splits", *(f"{k['pictures']:,}; {k['cpu_seconds']}" for k in kinds.values())]
    )
    heads = ["change", *(KINDS[name] for name in kinds)]
    return "\n\n".join([f"## {TITLE}", table(heads, rows), made_by(document)])


def _share(found: int, n: int) -> str:
    interval = binomtest(found, n).proportion_ci(0.95, "wilson")
    return f"{100 * found / n:.1f}% ({100 * interval.low:.1f} to {100 * interval.high:.1f})"


SECTIONS = (Section("doctor_copies", "doctor_copies.json", section),)


if __name__ == "__main__":
    main()

"""Properties of materials as tasks: files of formulas and values, merged, split by chemical system, ranked.

A file is a CSV (also .csv.gz) with a column `formula` and a column of numbers: `target`, `value`, or the only other
one.
Repeats of a composition (polymorphs, other units of the same formula) are merged by their mean.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regard.domains.csv_rows import read_csv_rows
from regard.domains.materials.formula import ELEMENTS, find_unreadable
from regard.domains.materials.reader import MOST_ROWS, read_fractions
from regard.errors import DataError

Floats = NDArray[np.float64]

GROUPS: dict[str, tuple[str, ...]] = {
    "bulk": ("ael_bulk_modulus_vrh", "log10_K_VRH", "mp_bulk_modulus"),
    "shear": ("ael_shear_modulus_vrh", "log10_G_VRH", "mp_shear_modulus", "mp_elastic_anisotropy"),
    "thermal": ("ael_debye_temperature", "agl_thermal_expansion_300K", "agl_thermal_conductivity_300K"),
    "phonons": ("matbench_phonons",),
    "gap": ("Egap", "expt_gap", "expt_is_metal"),
    "dielectric": ("dielectric",),
    "energy": ("energy_atom", "castelli"),
    "exfoliation": ("jdft2d",),
    "glass": ("glass",),
    "superconductivity": ("supercon",),
}
"""Properties that are near copies of one another, by parts of their files' names: held out together."""


def group_of(name: str) -> str:
    """The group of a file's name; a name that is in none is a group of its own."""
    for group, parts in GROUPS.items():
        if any(part in name for part in parts):
            return group
    return name


@dataclass(frozen=True)
class Property:
    """One property of N distinct compositions.

    Args:
        name: of its file, without endings.
        formulas: (N,) one formula of each composition.
        fractions: (N, 118).
        target: (N,).
        skipped: rows of the file that were left out, with the reason.
    """

    name: str
    formulas: tuple[str, ...]
    fractions: NDArray[np.float32]
    target: Floats
    skipped: dict[int, str]

    @property
    def systems(self) -> list[str]:
        """(N,) the elements of each composition, in alphabetical order."""
        return systems_of(self.fractions)

    def rows(self, index: NDArray[np.int64]) -> Property:
        """Some of the compositions."""
        formulas = tuple(self.formulas[i] for i in index)
        return Property(self.name, formulas, self.fractions[index], self.target[index], self.skipped)


def systems_of(fractions: NDArray[np.float32]) -> list[str]:
    """(N,) chemical systems, such as "Fe-O"."""
    symbols = np.array(ELEMENTS)
    return ["-".join(sorted(symbols[row])) for row in fractions > 0]


def is_test_system(system: str, share: float = 0.4) -> bool:
    """Whether a chemical system is kept out of training: the same systems, whatever the data set."""
    return zlib.crc32(system.encode()) % 1000 < 1000 * share


def read_columns(path: Path, value: str | None = "target") -> tuple[list[str], list[str]]:
    """Formulas and values of a file, as text.

    Args:
        path: of the CSV.
        value: the column of numbers; `target`, `value` or the only other column if it is not there; None reads
            formulas alone.

    Raises:
        DataError: no such file, no column `formula`, or no column of numbers.
    """
    lines = [line for line in read_csv_rows(path, MOST_ROWS) if any(cell.strip() for cell in line)]
    head = [name.strip().lower() for name in lines[0]] if lines else []
    shown = ", ".join(head)[:200]
    if "formula" not in head:
        raise DataError(f"{path} has columns {shown or 'none'}: expected one named 'formula'.")

    def column(name: str) -> list[str]:
        place = head.index(name)
        return ["".join(line[place : place + 1]) for line in lines[1:]]

    if value is None:
        return column("formula"), []
    others = [name for name in head if name not in ("formula", "split", "")]
    known = [name for name in (value.lower(), "target", "value") if name in head]
    if not known and len(others) != 1:
        raise DataError(f"{path} has columns {shown}: expected numbers in one named 'target'.")
    return column("formula"), column((known or others)[0])


def read_property(path: Path, *, skip_unreadable: bool = False) -> Property:
    """A file of one property.

    Args:
        path: of the CSV.
        skip_unreadable: leave out rows that hold no formula or no number; they are in `skipped`, with the reason.

    Raises:
        DataError: as `read_columns`; a row that cannot be read, unless they are skipped; or no row.
    """
    formulas, values = read_columns(path)
    wrong = find_unreadable(formulas)
    numbers = np.full(len(values), np.nan)
    for row, value in enumerate(values):
        try:
            numbers[row] = float(value)
        except ValueError:
            wrong.setdefault(row, f"{value!r:.40} is no number")
        if row not in wrong and not np.isfinite(numbers[row]):
            wrong[row] = f"{value!r:.40} is no finite number"
    if wrong and not skip_unreadable:
        row, reason = min(wrong.items())
        raise DataError(f"{path}: {len(wrong)} row(s) cannot be read, first row {row}: {reason}; mend or skip them.")
    kept = [row for row in range(len(formulas)) if row not in wrong]
    if not kept:
        raise DataError(f"{path} has no row that can be read: expected formulas and numbers.")
    name = path.name.removesuffix(".gz").removesuffix(".csv")
    return merged(name, [formulas[row] for row in kept], numbers[kept], wrong)


def merged(name: str, formulas: Sequence[str], target: Floats, skipped: dict[int, str] | None = None) -> Property:
    """A property with each composition once, its target the mean over repeats."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # proportions in published tables are as they are
        fractions = read_fractions(formulas)
    _, first, group = np.unique(np.round(fractions, 5), axis=0, return_index=True, return_inverse=True)
    group = group.ravel()
    mean = np.bincount(group, target) / np.bincount(group)
    order = np.argsort(first)
    first = first[order]
    return Property(name, tuple(str(formulas[i]) for i in first), fractions[first], mean[order], skipped or {})


def read_folder(folder: Path) -> list[Property]:
    """All files of a folder, rows that cannot be read left out.

    Raises:
        DataError: a folder without such files.
    """
    paths = sorted([*folder.glob("*.csv"), *folder.glob("*.csv.gz")]) if folder.is_dir() else []
    if not paths:
        raise DataError(f"{folder} holds no .csv or .csv.gz files: expected one file per property.")
    return [read_property(path, skip_unreadable=True) for path in paths]


def normal_ranks(values: Floats) -> Floats:
    """Values by the normal quantiles of their ranks, ties by their mean rank: of mean 0 and deviation about 1."""
    from scipy.special import ndtri
    from scipy.stats import rankdata

    return np.asarray(ndtri((rankdata(values) - 0.5) / len(values)))


@dataclass(frozen=True)
class TrainingTable:
    """Several properties of the same compositions, side by side.

    Args:
        names: (P,) of the properties.
        formulas: (N,) one formula of each composition.
        fractions: (N, 118) of distinct compositions.
        target: (N, P) normal ranks, or values; NaN where a property is not known.
    """

    names: tuple[str, ...]
    formulas: tuple[str, ...]
    fractions: NDArray[np.float32]
    target: Floats


def side_by_side(properties: Sequence[Property], *, ranked: bool = True) -> TrainingTable:
    """Compositions of all properties, each once.

    Args:
        properties: to train on, test systems left out before.
        ranked: targets are normal ranks, so that one unit suits all; else as measured.
    """
    stacked = np.concatenate([p.fractions for p in properties])
    _, first, group = np.unique(np.round(stacked, 5), axis=0, return_index=True, return_inverse=True)
    group = group.ravel()
    target = np.full((len(first), len(properties)), np.nan)
    at = 0
    for k, p in enumerate(properties):
        target[group[at : at + len(p.target)], k] = normal_ranks(p.target) if ranked else p.target
        at += len(p.target)
    formulas = [formula for p in properties for formula in p.formulas]
    return TrainingTable(tuple(p.name for p in properties), tuple(formulas[i] for i in first), stacked[first], target)

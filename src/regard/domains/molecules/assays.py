"""Files of assays: one row per molecule, one column per assay, empty where it was not measured.

The column of SMILES is found by its name (smiles, canonical_smiles, mol, structure); every other column whose cells are
all numbers is an assay, of classes where they are 0 and 1, else of values. Rows of one molecule (by canonical SMILES of
the largest fragment) are merged: the mean of values, the majority of classes, and nothing where these are tied.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regard.domains.csv_rows import read_csv_rows
from regard.domains.molecules.chemistry import Mixtures, Molecule, read_molecule, scaffold
from regard.errors import DataError, did_you_mean
from regard.limits import MOLECULES

SMILES_COLUMNS = ("smiles", "canonical_smiles", "canonicalsmiles", "mol", "structure")
LABEL_COLUMNS = ("label", "class", "activity", "active", "y")
_TEST_SHARE = 400
_LISTED = 5


@dataclass(frozen=True)
class Assays:
    """N molecules, T assays.

    Args:
        molecules: N, each once.
        names: of the assays.
        y: (N, T) float32, NaN where not measured.
        skipped: why rows were left out, by row of the file.
    """

    molecules: tuple[Molecule, ...]
    names: tuple[str, ...]
    y: NDArray[np.float32]
    skipped: Mapping[int, str]

    @property
    def has_classes(self) -> bool:
        """Whether all labels are 0 and 1."""
        return bool(np.isin(self.y[~np.isnan(self.y)], (0, 1)).all())

    def select(self, names: Iterable[str]) -> Assays:
        """Some of the assays, in this order.

        Raises:
            DataError: an assay that is not there.
        """
        wanted = list(names)
        for name in wanted:
            if name not in self.names:
                raise DataError(f"no assay is called {name!r}: {did_you_mean(name, self.names)}")
        return Assays(self.molecules, tuple(wanted), self.y[:, [self.names.index(n) for n in wanted]], self.skipped)


def read_assays(
    path: Path | str,
    *,
    smiles: str | None = None,
    columns: Sequence[str] | None = None,
    mixtures: Mixtures = "largest",
    skip_invalid: bool = True,
) -> Assays:
    """A CSV file, which may be gzipped.

    Args:
        path: of the file.
        smiles: name of the column of SMILES; found by default.
        columns: names of the assays; by default every column of numbers.
        mixtures: "largest" keeps the largest fragment, "error" refuses a mixture.
        skip_invalid: leave out rows that are no molecules, with the reason in `skipped`, instead of an error.

    Raises:
        DataError: no such file, not CSV, no SMILES or no assays, or, without `skip_invalid`, rows that are no
            molecules.
    """
    head, rows = _read_csv(Path(path))
    place = _smiles_column(head, smiles, Path(path))
    chosen = _assay_columns(head, rows, place, columns, Path(path))
    labels: dict[str, list[NDArray[np.float64]]] = {}
    molecules: dict[str, Molecule] = {}
    skipped: dict[int, str] = {}
    for number, row in enumerate(rows):
        try:
            molecule = read_molecule(row[place], mixtures)
        except ValueError as error:
            skipped[number] = f"{row[place][:60]!r}: {error}"
            continue
        molecules.setdefault(molecule.smiles, molecule)
        labels.setdefault(molecule.smiles, []).append(
            np.array([float(row[c]) if row[c].strip() else np.nan for c in chosen])
        )
    if skipped and not skip_invalid:
        shown = "; ".join(f"row {n}, {reason}" for n, reason in list(skipped.items())[:_LISTED])
        raise DataError(
            f"{path}: {len(skipped)} of {len(rows)} rows are no molecules: {shown}. Correct these rows, or "
            "set skip_invalid."
        )
    if not molecules:
        raise DataError(f"{path} has no row that is a molecule, of {len(rows)}: expected SMILES in {head[place]!r}.")
    classes = all(bool(np.isin(v[~np.isnan(v)], (0, 1)).all()) for found in labels.values() for v in found)
    y = np.stack([_merged(found, classes) for found in labels.values()]).astype(np.float32)
    return Assays(tuple(molecules.values()), tuple(head[c] for c in chosen), y, skipped)


def _merged(rows: list[NDArray[np.float64]], classes: bool) -> NDArray[np.float64]:
    """One row of several of the same molecule."""
    if len(rows) == 1:
        return rows[0]
    values = np.stack(rows)
    known = ~np.isnan(values)
    count = known.sum(0)
    mean = np.where(known, values, 0).sum(0) / np.maximum(count, 1)
    mean[count == 0] = np.nan
    return np.where(mean == 0.5, np.nan, np.round(mean)) if classes else mean


def read_smiles_column(path: Path) -> tuple[list[str], list[str], list[list[str]]]:
    """SMILES, the names of the other columns, and their cells, of a CSV file with a header or of one SMILES per line.

    Raises:
        DataError: no such file, or no column of SMILES.
    """
    head, rows = _read_csv(path)
    lower = [name.strip().lower() for name in head]
    if len(head) == 1 and lower[0] not in SMILES_COLUMNS:
        return [head[0], *(row[0] for row in rows)], [], [[] for _ in range(len(rows) + 1)]
    place = _smiles_column(head, None, path)
    others = [i for i in range(len(head)) if i != place]
    return [row[place] for row in rows], [head[i] for i in others], [[row[i] for i in others] for row in rows]


def _read_csv(path: Path) -> tuple[list[str], list[list[str]]]:
    lines = read_csv_rows(path, MOLECULES)
    if not lines:
        raise DataError(f"{path} is empty: expected a header and one row per molecule.")
    widths = {len(line) for line in lines}
    if len(widths) != 1:
        raise DataError(f"{path} has lines of {sorted(widths)[:5]} cells: expected each as long as the header.")
    return lines[0], lines[1:]


def _smiles_column(head: Sequence[str], wanted: str | None, path: Path) -> int:
    if wanted is not None:
        if wanted not in head:
            raise DataError(f"{path} has no column {wanted!r}: {did_you_mean(wanted, head)}")
        return list(head).index(wanted)
    lower = [name.strip().lower() for name in head]
    found = [lower.index(name) for name in SMILES_COLUMNS if name in lower]
    if not found:
        raise DataError(
            f"{path} has the columns {list(head)[:8]}, none of them called {' or '.join(SMILES_COLUMNS)}: expected a "
            "column of SMILES, or its name as smiles=."
        )
    return found[0]


def _assay_columns(
    head: Sequence[str], rows: Sequence[Sequence[str]], place: int, wanted: Sequence[str] | None, path: Path
) -> list[int]:
    if wanted is not None:
        for name in wanted:
            if name not in head:
                raise DataError(f"{path} has no column {name!r}: {did_you_mean(name, head)}")
    candidates = (
        [i for i in range(len(head)) if i != place] if wanted is None else [list(head).index(n) for n in wanted]
    )
    chosen = [i for i in candidates if all(_is_number(row[i]) for row in rows) and any(row[i].strip() for row in rows)]
    if wanted is not None and len(chosen) < len(candidates):
        wrong = next(head[i] for i in candidates if i not in chosen)
        raise DataError(f"{path}: column {wrong!r} holds cells that are no numbers: expected numbers or empty cells.")
    if not chosen:
        raise DataError(f"{path} has no column of numbers beside {head[place]!r}: expected assays or values.")
    return chosen


def _is_number(cell: str) -> bool:
    if not cell.strip():
        return True
    try:
        return bool(np.isfinite(float(cell)))
    except ValueError:
        return False


def in_test_scaffolds(molecules: Sequence[Molecule]) -> NDArray[np.bool_]:
    """(N,) the disjoint protocol: 40% of all scaffolds, by a hash of the scaffold, the same for all files."""
    return np.array([zlib.crc32(scaffold(m).encode()) % 1000 < _TEST_SHARE for m in molecules], dtype=bool)


_VARIANT = re.compile(
    r"up|down|dn|ch[12]|ratio|viability|agonist\d?|antagonist\d?|activator\d?|inhibition|p\d|\d+h(r|pf)?|\d{3,4}|\d",
    re.IGNORECASE,
)


def family(name: str) -> str:
    """An assay's name without channel, direction, time and concentration: readings of one experiment share it.

    Examples:
        >>> family("TOX21_p53_BLA_p1_ch2"), family("CLD_CYP1A1_24hr")
        ('tox21_p53_bla', 'cld_cyp1a1')
    """
    return "_".join(word for word in name.split("_") if not _VARIANT.fullmatch(word)).lower()


def same_target(name: str, other: str) -> bool:
    """Whether an assay of ToxCast measures what one of Tox21 (such as SR-p53) does, by its name.

    Examples:
        >>> same_target("TOX21_p53_BLA_p1_ch2", "SR-p53"), same_target("BSK_BE3C_MMP1_up", "SR-MMP")
        (True, False)
    """
    target = other.partition("-")[2]
    return bool(target) and any(re.fullmatch(f"(?i:{re.escape(target)})([A-Z].*)?", word) for word in name.split("_"))

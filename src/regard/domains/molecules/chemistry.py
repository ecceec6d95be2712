"""SMILES to molecules, by RDKit: what does not parse is named with its row, salts lose their counter-ions, stereo and
isotopes are kept.

A molecule is its largest fragment (by heavy atoms), in RDKit's canonical isomeric SMILES: two rows with one such SMILES
are the same molecule. A mixture, whose second largest fragment is as good a candidate (more than half as many heavy
atoms, and another molecule), is an error unless `mixtures="largest"`: nobody but the user knows which was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from regard.domains.csv_rows import as_list
from regard.errors import DataError
from regard.extras import import_extra
from regard.limits import MOLECULE_ATOMS, MOLECULES

Mixtures = Literal["error", "largest"]
_LISTED = 5
_SMALL_FRAGMENT = 6
"""Heavy atoms below which a fragment is a counter-ion or a solvent beside anything larger."""


class Molecule(NamedTuple):
    """One molecule.

    Args:
        mol: of RDKit, its largest fragment.
        smiles: canonical, isomeric.
    """

    mol: Any
    smiles: str


def chem() -> Any:
    """`rdkit.Chem`, with its messages off: what went wrong is in our own errors.

    Raises:
        MissingExtraError: RDKit is not installed.
    """
    import_extra("rdkit.rdBase", "molecules").DisableLog("rdApp.*")
    return import_extra("rdkit.Chem", "molecules")


def read_molecule(smiles: Any, mixtures: Mixtures = "error") -> Molecule:
    """One molecule from SMILES.

    Raises:
        ValueError: why it is none, in a few words.
    """
    Chem = chem()
    if isinstance(smiles, Molecule):
        return smiles
    if not isinstance(smiles, str):
        raise ValueError(f"a {type(smiles).__name__}, not text")
    text = smiles.strip()
    mol = Chem.MolFromSmiles(text) if text else None
    if mol is None:
        raise ValueError("empty" if not text else "not valid SMILES")
    fragments = Chem.GetMolFrags(mol, asMols=True, sanitizeFrags=False) if "." in text else (mol,)
    if not fragments or mol.GetNumAtoms() == 0:
        raise ValueError("no atoms")
    found = sorted(((f.GetNumHeavyAtoms(), Chem.MolToSmiles(f), i) for i, f in enumerate(fragments)), reverse=True)
    size, canonical, first = found[0]
    if size > MOLECULE_ATOMS:
        raise ValueError(f"{size} heavy atoms, more than {MOLECULE_ATOMS}")
    for other_size, other, _ in found[1:]:
        rivals = other_size >= _SMALL_FRAGMENT and 2 * other_size > size and other != canonical
        if rivals and mixtures == "error":
            raise ValueError(f"a mixture of {canonical} and {other}")
    if len(fragments) > 1:
        mol = Chem.MolFromSmiles(canonical) or fragments[first]
    return Molecule(mol, canonical)


def read_molecules(things: Any, mixtures: Mixtures = "error") -> list[Molecule]:
    """A list, an array or a column of SMILES.

    Raises:
        DataError: names the first rows that are no molecules, with the reason; nothing is dropped. See `invalid_rows`.
    """
    rows = as_column(things)
    found: list[Molecule] = []
    wrong: list[str] = []
    for row, smiles in enumerate(rows):
        try:
            found.append(read_molecule(smiles, mixtures))
        except ValueError as error:
            wrong.append(f"row {row}, {str(smiles)[:60]!r}: {error}")
    if wrong:
        shown = "; ".join(wrong[:_LISTED]) + (f"; and {len(wrong) - _LISTED} more" if len(wrong) > _LISTED else "")
        raise DataError(
            f"{len(wrong)} of {len(rows)} SMILES cannot be read: {shown}. Correct or drop these rows; "
            "regard.domains.molecules.chemistry.invalid_rows lists them all, and of mixtures, "
            "largest_fragments(smiles) keeps the largest molecule."
        )
    return found


def invalid_rows(things: Any, mixtures: Mixtures = "error") -> dict[int, str]:
    """Row to reason, of all SMILES that cannot be read: to drop them knowingly."""
    reasons: dict[int, str] = {}
    for row, smiles in enumerate(as_column(things)):
        try:
            read_molecule(smiles, mixtures)
        except ValueError as error:
            reasons[row] = str(error)
    return reasons


def largest_fragments(things: Any) -> list[str]:
    """Canonical SMILES of the largest fragment of each row, of mixtures too.

    Raises:
        DataError: as `read_molecules`.
    """
    return [molecule.smiles for molecule in read_molecules(things, "largest")]


def as_column(things: Any) -> list[Any]:
    """A list of SMILES from a list, tuple, array, Series, or a frame or array of one column.

    Raises:
        DataError: a single text, several columns, or more rows than are read at once.
    """
    if isinstance(things, str):
        raise DataError(f"one text, {things[:60]!r}: expected a list or a column of SMILES; write [smiles].")
    if hasattr(things, "columns"):
        if len(things.columns) != 1:
            raise DataError(
                f"a frame with the columns {[str(c) for c in things.columns][:8]}: expected SMILES alone; "
                'give frame["smiles"].'
            )
        things = things.iloc[:, 0]
    if not isinstance(things, np.ndarray) or things.shape[:1] > (MOLECULES,):
        things = as_list(things, MOLECULES, "molecules")
    if isinstance(things, Sequence) and all(isinstance(thing, str | Molecule) for thing in things):
        return list(things)
    array = np.asarray(things, dtype=object)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise DataError(f"SMILES have shape {array.shape}: expected one text per molecule, ({array.size},).")
    return array.tolist()


def scaffold(molecule: Molecule) -> str:
    """The Bemis-Murcko scaffold; of acyclic molecules their own SMILES, so that they are not all one group."""
    murcko = import_extra("rdkit.Chem.Scaffolds.MurckoScaffold", "molecules")
    return murcko.MurckoScaffoldSmiles(mol=molecule.mol) or molecule.smiles

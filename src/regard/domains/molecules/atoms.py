"""Which atoms an answer rests on: by deleting them, and asking again.

Without an atom all environments of the fingerprint that contain it are gone, and descriptors are computed with a dummy
in its place, which has no weight, charge or polarity; those that RDKit cannot compute of a dummy stay as they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from regard.domains.base import PartSaliency
from regard.domains.deletion import drops, explain_by_deletion
from regard.domains.molecules.chemistry import Molecule, chem, read_molecule
from regard.domains.molecules.features import N_BITS, logged_descriptors
from regard.domains.molecules.reader import MoleculeReader
from regard.extras import import_extra


def atom_saliency(model: Any, smiles: str | Molecule, label: Any = None) -> NDArray[np.float64]:
    """(P,) how far the answer to one molecule falls without each atom; negative where the atom speaks against it.

    Args:
        model: a fitted FewShotClassifier or FewShotRegressor of molecules.
        smiles: the molecule; its largest fragment.
        label: whose log-odds are looked at; by default the predicted one. Of a regressor it is the value.
    """
    molecule = read_molecule(smiles, "largest")
    return drops(model, partial(without_atoms, model.reader_, molecule), n_atoms(molecule), label)


def explained_atoms(model: Any, smiles: str | Molecule) -> PartSaliency:
    """How much each atom speaks for the answer to one molecule, and what deleting the strongest together does.

    Args:
        model: a fitted FewShotClassifier or FewShotRegressor of molecules.
        smiles: the molecule; its largest fragment.
    """
    molecule = read_molecule(smiles, "largest")
    return explain_by_deletion(model, partial(without_atoms, model.reader_, molecule), n_atoms(molecule), "atoms")


def without_atoms(reader: MoleculeReader, molecule: Molecule, deleted: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """Items of one molecule, one row for each list of atoms that are deleted."""
    counts = np.stack([counts_without(molecule, atoms) for atoms in deleted])
    raw = np.stack([descriptors_without(molecule, atoms) for atoms in deleted])
    whole = logged_descriptors(molecule.mol)
    return reader.items(counts, np.where(np.isnan(raw), whole, raw))


def descriptors_without(molecule: Molecule, atoms: Sequence[int]) -> NDArray[np.float32]:
    """(N_DESCRIPTORS,) with dummies in the place of these atoms; NaN where there is no value."""
    if not atoms:
        return logged_descriptors(molecule.mol)
    masked = chem().RWMol(molecule.mol)
    for number in atoms:
        atom = masked.GetAtomWithIdx(int(number))
        atom.SetAtomicNum(0)
        atom.SetFormalCharge(0)
        atom.SetIsotope(0)
    masked.UpdatePropertyCache(strict=False)
    chem().FastFindRings(masked)
    return logged_descriptors(masked)


def n_atoms(molecule: Molecule) -> int:
    """P."""
    return int(molecule.mol.GetNumAtoms())


def counts_without(molecule: Molecule, atoms: Sequence[int]) -> NDArray[np.uint8]:
    """(N_BITS,) counts of the environments that contain none of these atoms."""
    fingerprint = import_extra("rdkit.Chem.rdFingerprintGenerator", "molecules")
    output = fingerprint.AdditionalOutput()
    output.AllocateBitInfoMap()
    fingerprint.GetMorganGenerator(radius=2, fpSize=N_BITS).GetCountFingerprint(molecule.mol, additionalOutput=output)
    counts = np.zeros(N_BITS, dtype=np.uint8)
    deleted = set(atoms)
    for bit, environments in output.GetBitInfoMap().items():
        kept = sum(not deleted & environment_atoms(molecule, centre, radius) for centre, radius in environments)
        counts[bit] = min(kept, 255)
    return counts


def environment_atoms(molecule: Molecule, centre: int, radius: int) -> set[int]:
    """The atoms of one environment."""
    bonds = chem().FindAtomEnvironmentOfRadiusN(molecule.mol, radius, centre) if radius else ()
    found = {centre}
    for number in bonds:
        bond = molecule.mol.GetBondWithIdx(number)
        found |= {bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()}
    return found

"""Molecules to numbers: counts of circular substructures (ECFP4), descriptors, and graphs.

    counts       2,048 hashed counts of atom environments up to radius 2 (Morgan fingerprints)
    descriptors  321 numbers that RDKit computes in C++ (1.7 ms a molecule; the Python list of 217 takes 25 ms): 43
                 properties, 42 counts of MQN, 36 surface areas by charge, refractivity and log P, 8 eigenvalues of
                 BCUT, 192 autocorrelations. As sign(v) log(1 + |v|); what a molecule has no value of is NaN.
    graphs       atoms (P, 40) bytes, bonds (P, P) bytes (0 none, 1 single, 2 double, 3 triple, 4 aromatic), mask (P,)

References: ECFP, Rogers and Hahn 2010 (doi:10.1021/ci100050t); MQN, Nguyen et al. 2009 (doi:10.1002/cmdc.200900317);
BCUT, Pearlman and Smith 1999 (doi:10.1021/ci980137x).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.domains.molecules.chemistry import Molecule
from regard.extras import import_extra

N_BITS = 2048
N_DESCRIPTORS = 321
N_ATOM_FEATURES = 40
N_BOND_TYPES = 4
MAX_ATOMS = 64
"""Heavy atoms of a graph; of larger molecules the first so many are kept, in canonical order."""

_BONDS = {"SINGLE": 1, "DOUBLE": 2, "TRIPLE": 3, "AROMATIC": 4}
_ELEMENTS = ("C", "N", "O", "S", "F", "Cl", "Br", "I", "P", "B", "Si", "Na", "Se")


@cache
def _generator() -> Any:
    return import_extra("rdkit.Chem.rdFingerprintGenerator", "molecules").GetMorganGenerator(radius=2, fpSize=N_BITS)


@cache
def _properties() -> Any:
    return import_extra("rdkit.Chem.rdMolDescriptors", "molecules").Properties()


def fingerprints(molecules: Sequence[Molecule]) -> NDArray[np.uint8]:
    """(N, N_BITS) counts, at most 255."""
    counts = np.zeros((len(molecules), N_BITS), dtype=np.uint8)
    for row, molecule in enumerate(molecules):
        counts[row] = np.minimum(_generator().GetCountFingerprintAsNumPy(molecule.mol), 255)
    return counts


def descriptors(molecules: Sequence[Molecule]) -> NDArray[np.float32]:
    """(N, N_DESCRIPTORS) signed logarithms; NaN where there is no value."""
    found = np.zeros((len(molecules), N_DESCRIPTORS), dtype=np.float32)
    for row, molecule in enumerate(molecules):
        found[row] = logged_descriptors(molecule.mol)
    return found


def logged_descriptors(mol: Any) -> NDArray[np.float32]:
    """(N_DESCRIPTORS,) signed logarithms; NaN where there is no value."""
    values = descriptors_of(mol)
    values[~np.isfinite(values)] = np.nan
    return (np.sign(values) * np.log1p(np.abs(values))).astype(np.float32)


def descriptors_of(mol: Any) -> NDArray[np.float64]:
    """(N_DESCRIPTORS,) of one molecule of RDKit, as they are; NaN where there is no value."""
    rd = import_extra("rdkit.Chem.rdMolDescriptors", "molecules")
    try:
        bcut = rd.BCUT2D(mol)
    except (ValueError, RuntimeError):  # atoms without parameters, such as metals
        bcut = [np.nan] * 8
    areas = (*rd.PEOE_VSA_(mol), *rd.SMR_VSA_(mol), *rd.SlogP_VSA_(mol))
    values = (*_properties().ComputeProperties(mol), *rd.MQNs_(mol), *areas, *bcut, *rd.CalcAUTOCORR2D(mol))
    return np.array(values, dtype=np.float64)


def graphs(
    molecules: Sequence[Molecule], n_atoms: int | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Atoms (N, P, N_ATOM_FEATURES), bonds (N, P, P) and mask (N, P).

    Args:
        molecules: N.
        n_atoms: P; the size of the largest by default, and at most MAX_ATOMS.
    """
    sizes = [molecule.mol.GetNumAtoms() for molecule in molecules]
    n_rows, width = len(molecules), n_atoms or min(max(sizes, default=1), MAX_ATOMS)
    atoms = np.zeros((n_rows, width, N_ATOM_FEATURES), dtype=np.uint8)
    bonds = np.zeros((n_rows, width, width), dtype=np.uint8)
    mask = np.zeros((n_rows, width), dtype=np.uint8)
    for row, molecule in enumerate(molecules):
        for i, atom in enumerate(list(molecule.mol.GetAtoms())[:width]):
            atoms[row, i] = atom_features(atom)
            mask[row, i] = 1
        for bond in molecule.mol.GetBonds():
            i, j = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
            if max(i, j) < width:
                bonds[row, i, j] = bonds[row, j, i] = _BONDS.get(str(bond.GetBondType()), 1)
    return atoms, bonds, mask


def atom_features(atom: Any) -> NDArray[np.uint8]:
    """Element (14, the last for others), degree (6), hydrogens (5), charge (5), hybridisation (4), ring sizes (4),
    aromatic, and chirality.
    """
    found = np.zeros(N_ATOM_FEATURES, dtype=np.uint8)
    symbol = atom.GetSymbol()
    found[_ELEMENTS.index(symbol) if symbol in _ELEMENTS else 13] = 1
    found[14 + min(atom.GetDegree(), 5)] = 1
    found[20 + min(atom.GetTotalNumHs(), 4)] = 1
    found[25 + int(np.clip(atom.GetFormalCharge(), -2, 2)) + 2] = 1
    kinds = ("SP", "SP2", "SP3")
    kind = str(atom.GetHybridization())
    found[30 + (kinds.index(kind) if kind in kinds else 3)] = 1
    found[34 : 34 + 4] = [
        atom.IsInRingSize(3) or atom.IsInRingSize(4),
        atom.IsInRingSize(5),
        atom.IsInRingSize(6),
        atom.IsInRing(),
    ]
    found[38] = atom.GetIsAromatic()
    found[39] = str(atom.GetChiralTag()) != "CHI_UNSPECIFIED"
    return found

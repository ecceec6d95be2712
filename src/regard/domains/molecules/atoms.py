"""Which atoms an answer rests on: by deleting the environments that contain them, and asking again.

A fingerprint counts environments: an atom and its neighbours up to two bonds away. Without an atom all environments
that contain it are gone. What is left of the counts goes to the learner with the descriptors of the molecule as they
are, which belong to no atom; so the change is that of structure alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.domains.molecules.chemistry import Molecule, chem, read_molecule
from regard.domains.molecules.features import N_BITS
from regard.extras import import_extra

Answer = Callable[[dict[str, Tensor]], NDArray[np.floating[Any]]]
"""Items to (N,) numbers, such as the log-odds of a class."""


def atom_saliency(model: Any, smiles: str | Molecule, label: Any = None) -> NDArray[np.float64]:
    """(P,) how far the answer to one molecule falls without each atom; negative where the atom speaks against it.

    Args:
        model: a fitted FewShotClassifier or FewShotRegressor of molecules.
        smiles: the molecule; its largest fragment.
        label: whose log-odds are looked at; by default the predicted one. Of a regressor it is the value.
    """
    items = model.reader_([smiles])
    molecule = read_molecule(smiles, "largest")
    if not hasattr(model, "classes_"):
        return by_deletion(model.predict, items, molecule)
    wanted = model.predict(items)[0] if label is None else label
    column = int(np.flatnonzero(model.classes_ == wanted)[0])

    def log_odds(batch: dict[str, Tensor]) -> NDArray[np.float64]:
        p = np.clip(model.predict_proba(batch)[:, column], 1e-12, 1 - 1e-12)
        return np.log(p) - np.log1p(-p)

    return by_deletion(log_odds, items, molecule)


def by_deletion(answer: Answer, items: dict[str, Tensor], molecule: Molecule) -> NDArray[np.float64]:
    """(P,) the answer to one molecule minus the answer without each atom.

    Args:
        answer: items to numbers.
        items: of the molecule, one row.
        molecule: whose atoms are deleted.
    """
    left = np.stack([without_atoms(molecule, ()), *(without_atoms(molecule, (i,)) for i in range(n_atoms(molecule)))])
    batch = {key: tensor.expand(len(left), *tensor.shape[1:]) for key, tensor in items.items()}
    found = np.asarray(answer({**batch, "counts": torch.from_numpy(left)}), dtype=np.float64)
    return found[0] - found[1:]


def n_atoms(molecule: Molecule) -> int:
    """P."""
    return int(molecule.mol.GetNumAtoms())


def without_atoms(molecule: Molecule, atoms: tuple[int, ...]) -> NDArray[np.uint8]:
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

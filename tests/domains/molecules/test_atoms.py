"""What is deleted is what contains an atom, and the atoms that are said to matter are those that an answer needs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from conftest_molecules import written_molecules
from regard.domains.molecules.atoms import by_deletion, without_atoms
from regard.domains.molecules.chemistry import read_molecule
from regard.domains.molecules.domain import MOLECULES
from regard.domains.molecules.features import fingerprints
from regard.domains.molecules.reader import MoleculeReader


def test_nothing_deleted_is_the_fingerprint_and_everything_deleted_is_empty() -> None:
    for smiles in written_molecules(10):
        molecule = read_molecule(smiles)
        np.testing.assert_array_equal(without_atoms(molecule, ()), fingerprints([molecule])[0])
        assert not without_atoms(molecule, tuple(range(molecule.mol.GetNumAtoms()))).any()


def test_the_atoms_of_a_group_carry_an_answer_that_counts_it() -> None:
    """An answer that is the number of environments shared with chlorine's own: only atoms near it matter."""
    chlorine = without_atoms(read_molecule("CCCCCCl"), ()) > without_atoms(read_molecule("CCCCCCl"), (5,))
    molecule = read_molecule("ClCCCCCCCCN")

    def answer(items: dict[str, Tensor]) -> NDArray[np.floating]:
        return items["counts"].numpy()[:, chlorine].astype(float).sum(1)

    saliency = by_deletion(answer, MoleculeReader()([molecule.smiles]), molecule)
    symbols = [atom.GetSymbol() for atom in molecule.mol.GetAtoms()]
    place = symbols.index("Cl")
    assert int(saliency.argmax()) == place and saliency[symbols.index("N")] <= 0.5 * saliency[place]


def test_a_molecule_is_drawn_with_its_atoms_shaded() -> None:
    plain, shaded = (MOLECULES.render("CCO.Cl", s) for s in (None, np.array([0.0, 0.5, 1.0])))
    assert plain.text == "CCO" and "<svg" in plain.html and "<script" not in plain.html
    assert shaded.html.count("<ellipse") == plain.html.count("<ellipse") + 2
    assert MOLECULES.render("no <molecule>").html == "<code>no &lt;molecule&gt;</code>"

"""What is deleted is what contains an atom, and the atoms that are said to matter are those that an answer needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from conftest_molecules import written_molecules
from regard import FewShotClassifier
from regard.commands.explain import explain_files
from regard.domains.base import LabelledFiles
from regard.domains.molecules.atoms import atom_saliency, counts_without
from regard.domains.molecules.chemistry import read_molecule
from regard.domains.molecules.domain import MOLECULES
from regard.domains.molecules.features import fingerprints
from regard.domains.molecules.reader import MoleculeReader


def test_nothing_deleted_is_the_fingerprint_and_everything_deleted_is_empty() -> None:
    for smiles in written_molecules(10):
        molecule = read_molecule(smiles)
        np.testing.assert_array_equal(counts_without(molecule, ()), fingerprints([molecule])[0])
        assert not counts_without(molecule, tuple(range(molecule.mol.GetNumAtoms()))).any()


def test_the_atoms_of_a_group_carry_an_answer_that_counts_it() -> None:
    """An answer that is the number of environments shared with chlorine's own: only atoms near it matter."""
    chlorine = counts_without(read_molecule("CCCCCCl"), ()) > counts_without(read_molecule("CCCCCCl"), (5,))
    molecule = read_molecule("ClCCCCCCCCN")

    class Counts:
        reader_ = MoleculeReader()

        def predict(self, items: dict[str, Tensor]) -> NDArray[np.floating]:
            return items["counts"].numpy()[:, chlorine].astype(float).sum(1)

    saliency = atom_saliency(Counts(), molecule)
    symbols = [atom.GetSymbol() for atom in molecule.mol.GetAtoms()]
    place = symbols.index("Cl")
    assert int(saliency.argmax()) == place and saliency[symbols.index("N")] <= 0.5 * saliency[place]


def test_a_molecule_is_drawn_with_its_atoms_shaded() -> None:
    plain, shaded = (MOLECULES.render("CCO.Cl", s) for s in (None, np.array([0.0, 0.5, 1.0])))
    assert plain.text == "CCO" and "<svg" in plain.html and "<script" not in plain.html
    assert shaded.html.count("<ellipse") == plain.html.count("<ellipse") + 2
    assert MOLECULES.render("no <molecule>").html == "<code>no &lt;molecule&gt;</code>"


def test_the_page_draws_the_atoms_and_says_what_deleting_them_does(tmp_path: Path) -> None:
    smiles = written_molecules(60)
    ring = [s for s in smiles if "c1" in s][:8]
    chain = [s for s in smiles if "c1" not in s][:8]
    support, query, page = (tmp_path / name for name in ("examples.csv", "queries.csv", "page.html"))
    rows = [*(f"{s},ring" for s in ring), *(f"{s},chain" for s in chain)]
    support.write_text("\n".join(["smiles,label", *rows]) + "\n")
    query.write_text("smiles\nCc1ccccc1CCCCO\nCCCCCCO\n")
    explain_files("molecules", support, query, page)
    text = page.read_text()
    assert text.count('<span class="molecule">') >= 2 and "darkest atoms" in text
    model = FewShotClassifier("molecules").fit([*ring, *chain], ["ring"] * 8 + ["chain"] * 8)
    read = LabelledFiles([], [], [], ["Cc1ccccc1CCCCO"], ["query"])
    (found,) = MOLECULES.part_saliency(model, read)
    assert found.strength.shape == (12,) and found.strength.max() == 1
    shaded = MOLECULES.render("Cc1ccccc1CCCCO", found.strength).html
    assert shaded != MOLECULES.render("Cc1ccccc1CCCCO").html

"""Molecules to numbers: finite for every molecule, scaled by the training molecules alone."""

from __future__ import annotations

import numpy as np
import torch

from regard.domains.molecules.chemistry import read_molecules
from regard.domains.molecules.features import N_ATOM_FEATURES, N_DESCRIPTORS, descriptors, fingerprints, graphs
from regard.domains.molecules.reader import DescriptorScale, MoleculeReader

ODD = ["[Fe+2]", "C", "[Na+].[Cl-]", "O=[Pt](Cl)Cl", "C" * 120, "[2H]O[2H]", "*CC", "[K+].[O-]c1ccccc1"]


def test_items_are_finite_for_odd_molecules() -> None:
    items = MoleculeReader()(ODD)
    assert items["counts"].shape == (len(ODD), 2048) and items["counts"].dtype == torch.uint8
    assert items["descriptors"].shape == (len(ODD), N_DESCRIPTORS)
    assert bool(torch.isfinite(items["descriptors"]).all()) and float(items["descriptors"].abs().max()) <= 5


def test_scaling_is_that_of_the_training_molecules() -> None:
    raw = descriptors(read_molecules(["CCO", "c1ccccc1", "CC(=O)O", "CCCCN"]))
    scale = DescriptorScale.fit(raw)
    known = ~np.isnan(raw).any(0)
    scaled = scale(raw)[:, known]
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-3)
    spread = scaled.std(0)
    np.testing.assert_allclose(spread[spread > 0.5], 1, atol=1e-2)
    one = MoleculeReader(scale)(["CCO"])["descriptors"]
    assert torch.equal(one[0], MoleculeReader(scale)(["c1ccccc1", "CCO"])["descriptors"][1])


def test_a_reader_is_restored_from_json() -> None:
    reader = MoleculeReader(DescriptorScale.fit(descriptors(read_molecules(["CCO", "CCCC"]))), mixtures="largest")
    assert MoleculeReader.from_dict(reader.to_dict()) == reader


def test_counts_count_environments() -> None:
    counts = fingerprints(read_molecules(["CCCC", "CCCCCCCC"]))
    assert (counts[0] > 0).sum() <= (counts[1] > 0).sum() and counts[1].max() > counts[0].max()


def test_graphs_are_those_of_the_molecule() -> None:
    atoms, bonds, mask = graphs(read_molecules(["C=O", "c1ccccc1"]))
    assert atoms.shape == (2, 6, N_ATOM_FEATURES) and mask.sum(1).tolist() == [2, 6]
    assert bonds[0, 0, 1] == bonds[0, 1, 0] == 2 and (bonds[1] == 4).sum() == 12
    assert not atoms[0, 2:].any()

"""The models that ship: from SMILES to answers, whatever the labels, and bad input is named."""

from __future__ import annotations

import time

import numpy as np
import pytest

from conftest_molecules import written_molecules
from regard import FewShotClassifier, FewShotRegressor
from regard.domains.molecules.atoms import atom_saliency
from regard.errors import DataError, EpisodeError

SMILES = written_molecules(220)
HAS_RING = np.array(["c1" in smiles for smiles in SMILES])


def test_rings_are_told_from_ten_examples_of_each() -> None:
    rows = np.concatenate([np.flatnonzero(HAS_RING)[:10], np.flatnonzero(~HAS_RING)[:10]])
    rest = np.setdiff1d(np.arange(len(SMILES)), rows)
    labels = np.where(HAS_RING, "ring", "chain")
    model = FewShotClassifier("molecules").fit([SMILES[i] for i in rows], labels[rows])
    queries = [SMILES[i] for i in rest]
    assert (model.predict(queries) == labels[rest]).mean() > 0.8
    model.reader_(queries)
    began = time.perf_counter()
    model.fit([SMILES[i] for i in rows], labels[rows]).predict_proba((queries * 10)[:1000])
    assert time.perf_counter() - began < 5  # 1 s on a core that is free


def test_the_number_of_carbons_is_predicted_with_a_deviation() -> None:
    y = np.array([smiles.upper().count("C") for smiles in SMILES], dtype=float)
    model = FewShotRegressor("molecules").fit(SMILES[:60], y[:60])
    mean, deviation = model.predict(SMILES[60:], return_std=True)
    assert 1 - np.square(mean - y[60:]).mean() / y[60:].var() > 0.3
    assert 0.8 < (np.abs(mean - y[60:]) < 2 * deviation).mean() <= 1


def test_the_unit_of_values_does_not_matter_far_from_that_of_training() -> None:
    y = np.array([smiles.upper().count("C") for smiles in SMILES], dtype=float)
    near, far = (FewShotRegressor("molecules").fit(SMILES[:60], 300 + scale * y[:60]) for scale in (1.0, 10.0))
    a, b = (model.predict(SMILES[60:]) - 300 for model in (near, far))
    np.testing.assert_allclose(b, 10 * a, rtol=1e-3, atol=1e-2)


def test_one_class_only_and_what_is_no_molecule_are_errors_that_say_so() -> None:
    with pytest.raises(EpisodeError, match="all examples are of one class, 'active'"):
        FewShotClassifier("molecules").fit(SMILES[:5], ["active"] * 5)
    model = FewShotClassifier("molecules").fit(SMILES[:5], [1, 1, 0, 1, 1])
    with pytest.raises(DataError, match="row 1, 'not one'"):
        model.predict(["CCO", "not one"])
    with pytest.raises(DataError, match="2 of 2 SMILES"):
        FewShotClassifier("molecules").fit(["x y", "z z"], [0, 1])
    with pytest.raises(DataError, match="no examples"):
        FewShotClassifier("molecules").fit([], [])


def test_deleting_the_atoms_that_matter_most_moves_the_answer_most() -> None:
    rows = np.concatenate([np.flatnonzero(HAS_RING)[:10], np.flatnonzero(~HAS_RING)[:10]])
    model = FewShotClassifier("molecules").fit([SMILES[i] for i in rows], HAS_RING[rows])
    saliency = atom_saliency(model, "Cc1ccccc1CCCCO", True)
    ring, chain = saliency[1:7].mean(), saliency[8:].mean()
    assert ring > chain

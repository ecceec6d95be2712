"""Statistics of compositions against loops over elements; networks, and training side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from regard.domains.materials.attention import ElementAttention
from regard.domains.materials.data import merged, side_by_side
from regard.domains.materials.encoder import N_STATISTICS, CompositionEncoder, element_table, magpie_statistics
from regard.domains.materials.formula import ELEMENTS, parse_formula
from regard.domains.materials.pretrain import train_side_by_side
from regard.domains.materials.reader import FormulaReader
from regard.errors import ConfigError, EpisodeError
from regard.estimators import FewShotRegressor
from regard.recipes.trained import load

FORMULAS = ["Fe2O3", "NaCl", "Ca0.4Ba1.25La1.25Cu3O6.98", "Al", "CuSO4·5H2O", "Ni3(PbSe)2"]


def made(n_properties: int = 2) -> CompositionEncoder:
    """An encoder with random descriptors of the elements, in place of elementembeddings'."""
    torch.manual_seed(0)
    encoder = CompositionEncoder(n_properties, width=16, n_learned=8, tables=False)
    encoder.magpie.normal_()
    encoder.mat2vec.normal_()
    return encoder


def test_statistics_equal_loops_over_elements() -> None:
    table = torch.randn(118, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = magpie_statistics(FormulaReader()(FORMULAS).double(), table)
    for row, formula in zip(found, FORMULAS, strict=True):
        amounts = parse_formula(formula)
        total = sum(amounts.values())
        share = {ELEMENTS.index(e): a / total for e, a in amounts.items()}
        values = {i: table[i].numpy() for i in share}
        mean = sum(p * values[i] for i, p in share.items())
        deviation = sum(p * np.abs(values[i] - mean) for i, p in share.items())
        stacked = np.stack(list(values.values()))
        largest = max(share.values())
        main = np.mean([values[i] for i, p in share.items() if p > largest - 1e-9], 0)
        p = np.array(list(share.values()))
        sizes = [len(p), *((p**k).sum() ** (1 / k) for k in (2, 3, 5, 7, 10)), -(p * np.log(p)).sum()]
        span = stacked.max(0) - stacked.min(0)
        expected = np.concatenate([mean, deviation, stacked.max(0), stacked.min(0), span, main, sizes])
        np.testing.assert_allclose(row.numpy(), expected, atol=1e-6)


def test_a_compound_does_not_depend_on_its_neighbours() -> None:
    x = FormulaReader()(FORMULAS)
    torch.manual_seed(0)
    attention = ElementAttention(1, n_features=16, tables=False)
    attention.table.normal_()
    for encoder in (made().eval(), attention.eval()):
        with torch.no_grad():
            together = encoder(x)
            alone = torch.cat([encoder(x[i : i + 1]) for i in range(len(x))])
        assert together.shape == (len(x), encoder.n_features)
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_outputs_and_blocks() -> None:
    x = FormulaReader()(FORMULAS)
    encoder = made(3)
    assert encoder.blocks == (N_STATISTICS, 8, 3) and encoder(x).shape == (6, N_STATISTICS + 11)
    assert CompositionEncoder(3, output="z", n_learned=8, tables=False).blocks == (8,)
    assert CompositionEncoder(output="magpie", tables=False)(x).shape == (6, N_STATISTICS)
    for wrong in (torch.zeros(2, 5), {"x": torch.zeros(2, 118)}):
        with pytest.raises(EpisodeError, match="FormulaReader"):
            encoder(wrong)
    with pytest.raises(ConfigError, match="expected 1 or more"):
        CompositionEncoder(width=0, tables=False)
    with pytest.raises(ConfigError, match="at least 1"):
        ElementAttention(n_layers=0, tables=False)


def test_training_side_by_side_learns_and_leaves_random_numbers_alone() -> None:
    rng = np.random.default_rng(0)
    pairs = [(a, b) for a in ("Fe", "Co", "Ni", "Ti") for b in ("O", "S", "N")]
    formulas = [f"{a}{p}{b}{q}" for a, b in pairs for p in (1, 2) for q in (1, 3)]
    value = np.array([len(f) + rng.normal() for f in formulas])
    table = side_by_side([merged("a", formulas, value), merged("b", formulas[::2], -value[::2])])
    encoder = made()
    before = torch.get_rng_state()
    losses = train_side_by_side(encoder, table, epochs=40, batch=16)
    assert torch.equal(torch.get_rng_state(), before)
    assert losses[-1] < 0.5 * losses[0] and not encoder.training
    again = made()
    assert train_side_by_side(again, table, epochs=40, batch=16) == losses


def test_tables_of_the_elements_are_read() -> None:
    pytest.importorskip("elementembeddings", reason="the extra materials is not installed")
    magpie = element_table("magpie", 22)
    assert magpie[ELEMENTS.index("Fe"), 0] == 26 and magpie[ELEMENTS.index("Fe"), 2] == pytest.approx(55.845, abs=0.01)
    assert bool(magpie[ELEMENTS.index("Og")].isnan().all())
    shipped = load("materials").learner.encoder
    assert isinstance(shipped, CompositionEncoder)
    torch.testing.assert_close(shipped.magpie[:83], magpie[:83])
    assert bool(CompositionEncoder(output="magpie").magpie.isfinite().all())


def test_the_model_that_ships_predicts_from_a_few_measurements() -> None:
    """Melting points (K) of elements, and of what was not measured; no extra is needed."""
    measured = {"Li": 454, "Na": 371, "K": 337, "Rb": 312, "Ti": 1941, "V": 2183, "Nb": 2750, "W": 3695, "Re": 3459}
    model = FewShotRegressor("materials").fit(list(measured), list(measured.values()))
    mean, deviation = model.predict(["Cs", "Ta", "Mo"], return_std=True)
    assert mean[0] < 900 < min(mean[1:]) and bool((deviation > 0).all())
    one, other = model.predict(["Fe2O3", "Fe4O6"])
    assert one == pytest.approx(other)


def test_a_materials_estimator_is_saved(tmp_path: Path) -> None:
    from regard.estimators import load_estimator, save_estimator

    model = FewShotRegressor("materials").fit(["NaCl", "KCl", "LiF"], [1.0, 2.0, 3.0])
    save_estimator(model, tmp_path / "model.safetensors")
    again = load_estimator(tmp_path / "model.safetensors")
    assert isinstance(again, FewShotRegressor)
    np.testing.assert_allclose(again.predict(["NaF"]), model.predict(["NaF"]), rtol=1e-5)

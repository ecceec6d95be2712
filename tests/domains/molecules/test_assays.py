"""Files of assays: columns found, repeats merged, and the protocols that keep molecules apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from regard.domains.molecules.assays import family, in_test_scaffolds, read_assays, same_target
from regard.domains.molecules.data import AssayData, Pool, assay_splits
from regard.domains.molecules.domain import MOLECULES
from regard.domains.options import EpisodeOptions
from regard.errors import ConfigError, DataError


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_repeats_are_merged_by_majority_and_ties_are_unknown(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.csv", "SMILES,name,x,y", "OCC,a,1,0", "CCO,b,0,0", "C(O)C,c,1,", "CC.[Cl-],d,,1", "zz,e,1,1"
    )
    found = read_assays(file)
    assert [m.smiles for m in found.molecules] == ["CCO", "CC"] and found.names == ("x", "y")
    np.testing.assert_array_equal(found.y, np.array([[1, 0], [np.nan, 1]], dtype=np.float32))
    assert found.skipped == {4: "'zz': not valid SMILES"} and found.has_classes
    tie = read_assays(write(tmp_path / "b.csv", "mol,x", "CCO,1", "OCC,0", "C,0"))
    assert np.isnan(tie.y[0, 0]) and tie.y[1, 0] == 0
    with pytest.raises(DataError, match="row 4, 'zz'"):
        read_assays(file, skip_invalid=False)


def test_values_are_averaged(tmp_path: Path) -> None:
    found = read_assays(write(tmp_path / "v.csv", "smiles,pIC50", "CCO,6.5", "OCC,7.5", "CC,4"))
    assert found.y[:, 0].tolist() == [7, 4] and not found.has_classes


def test_files_without_smiles_or_assays_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a column of SMILES"):
        read_assays(write(tmp_path / "a.csv", "a,b", "1,2"))
    with pytest.raises(DataError, match="no column of numbers"):
        read_assays(write(tmp_path / "b.csv", "smiles,name", "CCO,ethanol"))
    with pytest.raises(DataError, match="no row that is a molecule"):
        read_assays(write(tmp_path / "c.csv", "smiles,x", "zz,1"))
    with pytest.raises(DataError, match="cannot be read"):
        read_assays(tmp_path / "none.csv")
    with pytest.raises(DataError, match=r"column 'name' holds cells that are no numbers"):
        read_assays(write(tmp_path / "d.csv", "smiles,name,x", "CCO,ethanol,1"), columns=["name"])


def test_readings_of_one_experiment_are_one_family() -> None:
    assert family("TOX21_p53_BLA_p1_ch2") == family("TOX21_p53_BLA_p4_viability")
    assert family("APR_HepG2_CellLoss_24h_dn") == family("APR_HepG2_CellLoss_72h_dn")
    assert family("NVS_ENZ_hMMP1") != family("NVS_ENZ_hMMP13")
    assert same_target("APR_HepG2_p53Act_24h_up", "SR-p53") and not same_target("NVS_ENZ_hMMP1", "SR-MMP")


def data(folder: Path, **options: object) -> AssayData:
    found = MOLECULES.data_sets()["assays"](
        folder=str(folder), files=["one", "two"], test=["ring"], validation_share=0.3, **options
    )
    assert isinstance(found, AssayData)
    return found


def test_disjoint_splits_share_neither_molecules_nor_readings(assay_folder: Path) -> None:
    splits = data(assay_folder).splits
    assert splits["test"].names == ("ring",)
    assert not set(splits["train"].ids) & set(splits["test"].ids)
    trained = {*splits["train"].names, *splits["validation"].names}
    assert not trained & {"ring", "ring_ch1"} and trained == {
        "acid",
        "base",
        "halogen",
        "sulfur",
        "nitrile",
        "halogen_ch1",
    }
    usual = data(assay_folder, protocol="usual").splits
    assert set(usual["test"].ids) <= set(usual["train"].ids) | set(usual["validation"].ids) | set(usual["test"].ids)
    assert len(usual["test"]) > len(splits["test"])


def test_features_are_cached_and_the_same(assay_folder: Path, tmp_path: Path) -> None:
    fresh, cached, again = (data(assay_folder, cache=c) for c in (None, str(tmp_path), str(tmp_path)))
    for split in fresh.splits:
        for key, value in fresh.splits[split].x.items():  # type: ignore[union-attr]
            assert value.equal(cached.splits[split].x[key]) and value.equal(again.splits[split].x[key])  # type: ignore[index]
    assert len(list(tmp_path.iterdir())) == 1


def test_episodes_have_two_classes(assay_folder: Path) -> None:
    found = data(assay_folder)
    episode = found.training(EpisodeOptions(n_way=2, n_shot=3, n_query=2), 0)([0, 1, 2])
    assert episode.support.y.tolist()[0] == [0, 0, 0, 1, 1, 1] and episode.n_classes == 2
    with pytest.raises(ConfigError, match="n_way is 5: expected 2"):
        found.training(EpisodeOptions(n_way=5), 0)


def test_scaffolds_are_split_alike_in_every_file(assay_folder: Path) -> None:
    one, two = (read_assays(assay_folder / f"{name}.csv") for name in ("one", "two"))
    side = [
        dict(zip([m.smiles for m in a.molecules], in_test_scaffolds(a.molecules).tolist(), strict=True))
        for a in (one, two)
    ]
    assert all(side[0][smiles] == value for smiles, value in side[1].items())
    pool = Pool.of({"one": one, "two": two})
    molecules, train = assay_splits(pool, [0], validation_share=0.0)["train"]
    assert 0.2 < 1 - molecules.mean() < 0.7 and 0 not in train


def test_no_validation_assay_is_given_away_by_a_training_assay() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random((400, 40)) < 0.4).astype(np.float32)
    y[:, 20:] = y[:, :20]  # under other names
    names = tuple(f"{word}_assay" for word in "abcdefghijklmnopqrst") + tuple(f"x{i}_z" for i in range(20))
    pool = Pool((), y, names, ("one",) * 40, np.zeros(400, dtype=bool))
    before, after = (assay_splits(pool, [0], "usual", 0.5, strict) for strict in (False, True))
    assert len(before["validation"][1]) > len(after["validation"][1]) > 0
    train, validation = (set(after[split][1]) for split in ("train", "validation"))
    assert train | validation == set(range(40)) - {0, 20}
    assert {(t + 20) % 40 for t in validation} == validation

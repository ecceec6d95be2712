"""Files of properties: read, merged, split by chemical system and by group."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from regard.domains.materials.data import (
    group_of,
    is_test_system,
    merged,
    normal_ranks,
    read_columns,
    read_folder,
    read_property,
    side_by_side,
    systems_of,
)
from regard.domains.materials.tasks import load_properties
from regard.domains.options import EpisodeOptions
from regard.errors import ConfigError, DataError
from regard.recipes.config import Recipe
from regard.recipes.run import train_recipe
from regard.recipes.trained import load

METALS = ("Fe", "Co", "Ni", "Cu", "Zn", "Ti", "V", "Mn", "Al", "Mg")


def write_property(path: Path, seed: int = 0, n: int = 80) -> None:
    """Compounds of two metals and oxygen, whose value depends on what they are made of."""
    rng = np.random.default_rng(seed)
    rows = ["formula,target,split"]
    for _ in range(n):
        a, b = rng.choice(len(METALS), 2, replace=False)
        p, q = rng.integers(1, 4, 2)
        rows.append(f"{METALS[a]}{p}{METALS[b]}{q}O{p + q},{a * p + b * q + 0.1 * rng.normal():.3f},train")
    text = "\n".join(rows) + "\n"
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for k, name in enumerate(("mp_bulk_modulus.csv", "matbench_phonons.csv.gz", "matbench_jdft2d.csv", "mine.csv")):
        write_property(tmp_path / name, k)
    write_property(tmp_path / "ael_debye_temperature.csv", 9)
    return tmp_path


def test_a_file_is_read_and_its_faults_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("\ufeffFormula,value\nFe2O3,1.5\nFe2Qq,2\nNaCl,none\nNaCl,inf\nO6Fe4,2.5\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"3 row\(s\) cannot be read, first row 1: 'Fe2Qq' has 'Qq'"):
        read_property(path)
    found = read_property(path, skip_unreadable=True)
    assert sorted(found.skipped) == [1, 2, 3] and found.formulas == ("Fe2O3",)
    assert found.target.tolist() == [2.0]  # one composition, measured twice


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("name,value\nFe,1\n", "expected one named 'formula'"),
        ("formula,a,b\nFe,1,2\n", "expected numbers in one named 'target'"),
        ("", "columns none"),
        ("formula,target\nQq,1\n", "no row that can be read"),
    ],
)
def test_files_of_another_form_are_refused(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(DataError, match=reason):
        read_property(tmp_path / "a.csv", skip_unreadable=True)


def test_files_that_are_not_there_or_damaged(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not there"):
        read_columns(tmp_path / "a.csv")
    (tmp_path / "b.csv.gz").write_bytes(b"nothing zipped")
    with pytest.raises(DataError, match="cannot be read"):
        read_columns(tmp_path / "b.csv.gz")
    (tmp_path / "c.csv").write_bytes(b"formula,target\n\xff\xfe,1\n")
    with pytest.raises(DataError, match="cannot be read"):
        read_columns(tmp_path / "c.csv")
    with pytest.raises(DataError, match="holds no"):
        read_folder(tmp_path / "nothing")


def test_groups_and_systems_do_not_depend_on_the_file() -> None:
    assert group_of("mp_bulk_modulus") == group_of("matbench_log10_K_VRH") == "bulk"
    assert group_of("aflow__agl_thermal_conductivity_300K") == group_of("aflow__ael_debye_temperature")
    assert group_of("steels_yield") == "steels_yield"
    systems = [f"{a}-{b}" for a in METALS for b in METALS if a < b]
    share = np.mean([is_test_system(system) for system in systems])
    assert 0.2 < share < 0.6
    one = merged("a", ["NaCl", "ClNa", "Na2Cl2", "LiF"], np.array([1.0, 2.0, 3.0, 9.0]))
    assert one.systems == ["Cl-Na", "F-Li"] and one.target.tolist() == [2.0, 9.0]


def test_side_by_side_lines_compositions_up() -> None:
    a = merged("a", ["NaCl", "LiF"], np.array([1.0, 2.0]))
    b = merged("b", ["ClNa", "KBr"], np.array([5.0, 4.0]))
    found = side_by_side([a, b])
    assert found.target.shape == (3, 2)
    row = int(np.flatnonzero((~np.isnan(found.target)).all(1))[0])
    assert found.target[row].tolist() == pytest.approx([normal_ranks(a.target)[0], normal_ranks(b.target)[0]])
    assert normal_ranks(np.array([3.0, 1.0, 1.0, 2.0]))[1] == normal_ranks(np.array([3.0, 1.0, 1.0, 2.0]))[2]


def test_splits_share_neither_group_nor_system(folder: Path) -> None:
    data = load_properties(str(folder))
    assert data.splits["train"].names == ("mine", "mp_bulk_modulus")
    assert data.splits["validation"].names == ("ael_debye_temperature",)
    systems = {split: set(systems_of(np.asarray(table.x))) for split, table in data.splits.items()}
    assert not systems["test"] & (systems["train"] | systems["validation"])
    with pytest.raises(ConfigError, match="no property is of the group"):
        load_properties(str(folder), held_out=("optical",))


@pytest.mark.parametrize("learner", ["DeepKernel", "AttentiveNeuralProcess", "KernelMixture"])
def test_the_recipe_trains_on_a_folder_of_properties(folder: Path, tmp_path: Path, learner: str) -> None:
    pytest.importorskip("elementembeddings", reason="the extra materials is not installed")
    settings = [f"data.folder={folder}", "train.steps=2", "train.validate_every=2", "train.validation_episodes=2"]
    settings += [f"learner={{name: {learner}, encoder: {{name: CompositionEncoder, width: 16, output: z}}}}"]
    rows = "{n_shot: 5, n_query: 5}"
    recipe = Recipe.read("materials", [*settings, f"episodes={rows}", f"validation={rows}", f"evaluation=[{rows}]"])
    trained = load(train_recipe(recipe, tmp_path / "run"))
    assert type(trained.learner).__name__ == learner
    assert trained.reader()(["NaCl"]).shape == (1, 118)


def test_episodes_are_a_function_of_seed_and_number(folder: Path) -> None:
    data = load_properties(str(folder))
    source = data.training(EpisodeOptions(n_shot=(5, 10), n_query=6), seed=3)
    whole, alone = source([0, 1, 2, 3]), source([2])
    assert whole.support.x.shape == (4, 10, 118) and whole.query_y.shape == (4, 6, 1)
    np.testing.assert_array_equal(whole.support.y[2], alone.support.y[0])
    sizes = whole.support.weight.sum(1)
    assert bool(((sizes >= 5) & (sizes <= 10)).all())
    with pytest.raises(DataError, match="n_shot \\+ n_query asks for 5005 rows"):
        data.training(EpisodeOptions(n_shot=5000, n_query=5), seed=0)

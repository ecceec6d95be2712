"""These tests need RDKit, which the extra `molecules` installs; there they all run."""

from __future__ import annotations

import csv
from importlib.util import find_spec
from pathlib import Path

import pytest

from conftest_molecules import written_molecules


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests of this folder where RDKit is not installed."""
    if find_spec("rdkit") is None:
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="the extra molecules is not installed"))


@pytest.fixture(scope="session")
def assay_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files of assays whose labels follow the structure: of rings, of acids, of nitrogen."""
    folder = tmp_path_factory.mktemp("assays")
    rules = {"ring": "c1", "acid": "C(=O)O", "base": "N", "halogen": "Cl", "sulfur": "S", "nitrile": "C#N"}
    smiles = written_molecules(240)
    for file, names in (("one", list(rules)[:3]), ("two", list(rules)[3:])):
        with (folder / f"{file}.csv").open("w", newline="") as out:
            writer = csv.writer(out)
            writer.writerow(["smiles", *names, *(f"{name}_ch1" for name in names[:1])])
            for i, text in enumerate(smiles if file == "one" else smiles[40:]):
                labels = [int(rules[name] in text) for name in names]
                writer.writerow([text, *(v if (i + k) % 7 else "" for k, v in enumerate(labels)), labels[0]])
    return folder

"""These tests need RDKit, which the extra `molecules` installs; there they all run."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rdkit", reason="the extra molecules is not installed")

PIECES = ("C", "CC", "O", "N", "c1ccccc1", "C(=O)O", "C1CCNCC1", "c1ccncc1", "Cl", "F", "S", "C#N", "C(=O)N")


def written_molecules(n: int, seed: int = 0) -> list[str]:
    """So many different molecules, chains of pieces."""
    rng = np.random.default_rng(seed)
    found: dict[str, None] = {}
    while len(found) < n:
        chosen = [PIECES[i] for i in rng.integers(0, len(PIECES), rng.integers(2, 5))]
        found["C" + "".join(f"({piece})C" for piece in chosen)] = None
    return list(found)


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

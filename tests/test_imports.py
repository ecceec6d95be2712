"""The folders say one sentence: imports go one way, and importing is cheap."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_each_layer_imports_only_from_the_layers_under_it() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("module", ["regard", "regard.cli", "regard.learners"])
def test_import_leaves_pytorch_alone(module: str) -> None:
    heavy = {"torch", "pydantic", "matplotlib", "sklearn"}
    code = f"import sys, {module}; found = {heavy} & set(sys.modules); assert not found, found"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_can_be_imported() -> None:
    import regard

    for name in regard.__all__:
        assert getattr(regard, name) is not None

"""Each run has one backend, KERAS_BACKEND (PyTorch by default); `.ci/run` starts one run for each that is there."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keras converts PyTorch's tensors in a way of which NumPy warns."""
    for item in items:
        if "keras_models" in item.path.parts:
            item.add_marker(pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"))

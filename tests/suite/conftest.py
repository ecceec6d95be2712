"""A folder of pictures for all tests of suites."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty kinds of stripes, seven of each."""
    folder = tmp_path_factory.mktemp("pets")
    rng = np.random.default_rng(0)
    for c in range(20):
        (folder / f"pet{c:02}").mkdir()
        stripes = 127 * (1 + np.sin(np.arange(28) * (c + 1) / 8))
        for i in range(7):
            page = np.clip(stripes[None, :] + rng.normal(0, 40, (28, 28)), 0, 255).astype(np.uint8)
            Image.fromarray(page).save(folder / f"pet{c:02}" / f"{i}.png")
    return folder

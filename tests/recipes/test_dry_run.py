"""What a dry run foretells is what a training then takes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from regard.domains.images.data import ImageData
from regard.domains.images.folder import ImageReader
from regard.recipes.components import build_learner
from regard.recipes.config import Recipe
from regard.recipes.dry_run import _execution
from regard.recipes.run import learner_spec
from regard.sampling.dataset import Dataset

SETTINGS = {
    "narrow": ["learner.execution=loop", "train.tasks_per_step=2"],
    "wide": ["learner.execution=vmap", "learner.model.hidden=[700, 700]", "train.tasks_per_step=16"],
}


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="the memory of another process is asked by wait4")
@pytest.mark.parametrize("name", SETTINGS)
def test_memory_is_foretold_within_a_quarter(name: str, tmp_path: Path) -> None:
    common = ["evaluation_episodes=4", "train.validation_episodes=4", "train.tensorboard=false", *SETTINGS[name]]
    settings = [f"--set={setting}" for setting in common]
    command = [sys.executable, "-m", "regard", "train", "sinusoid", *settings]
    foretold = subprocess.run([*command, "--dry-run"], capture_output=True, text=True)
    assert foretold.returncode == 0, foretold.stderr
    assert f"execution   {SETTINGS[name][0].partition('=')[2]}" in foretold.stdout
    found = re.search(r"peak memory ([\d,]+) MiB", foretold.stdout)
    assert found is not None
    predicted = float(found[1].replace(",", ""))
    process = subprocess.Popen([*command, "--set=train.steps=8", f"--out={tmp_path}"], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    measured = used.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    assert abs(predicted / measured - 1) < 0.25, (predicted, measured)
    if name == "wide":  # so that the number says something about the setting, and not about the libraries alone
        assert measured > 520


@pytest.mark.parametrize(("n_query", "told"), [(1, "vmap (by rule)"), (15, "loop (by rule)")])
def test_the_execution_told_is_that_of_such_episodes(n_query: int, told: str) -> None:
    recipe = Recipe.read("maml_omniglot", (f"episodes.n_query={n_query}", "episodes.rotations=false"))
    items = Dataset(torch.zeros(96, 28, 28), torch.arange(6).repeat(16), tuple("abcdef"))
    data = ImageData.of("blank pages", {"train": items}, ImageReader(28))
    assert _execution(build_learner(learner_spec(recipe, data)).train(), recipe, data, 1) == told

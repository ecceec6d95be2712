"""Episodes of a recipe beside its data: checked before the first step, fitted where the user set nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from regard.cli import app, main
from regard.domains.images.data import ImageData
from regard.domains.images.folder import ImageReader
from regard.errors import ConfigError, DataError, StorageError
from regard.recipes.config import Recipe
from regard.recipes.fitting import check_episodes, fitted_to
from regard.recipes.run import train_recipe
from regard.sampling.dataset import Dataset

FAST = (
    "data.size=16",
    "learner.encoder.n_filters=4",
    "learner.encoder.n_halvings=2",
    "learner.d_head=4",
    "train.steps=2",
    "train.validate_every=2",
    "train.validation_episodes=2",
    "train.tensorboard=false",
    "evaluation_episodes=2",
)


def data(**n_classes: int) -> ImageData:
    """Blank pictures of eight per class."""
    splits = {}
    for split, n in n_classes.items():
        y = torch.arange(n).repeat_interleave(8)
        splits[split] = Dataset(
            torch.zeros(8 * n, 8, 8, 3, dtype=torch.uint8), y, tuple(f"{split}{i}" for i in range(n))
        )
    return ImageData.of("photos", splits, ImageReader(8, 3))


def test_counts_that_the_user_set_stay_and_others_shrink() -> None:
    recipe, small = Recipe.read("folder"), data(train=12, validation=4, test=3)
    fitted, notes = fitted_to(recipe, small)
    assert (fitted.episodes, fitted.validation.n_way) == (recipe.episodes, 4)
    assert [(e.n_way, e.n_shot, e.n_query) for e in fitted.evaluation] == [(3, 1, 5), (3, 5, 3)]
    assert len(notes) == 3 and notes[0].startswith("validation: 4-way 1-shot")
    check_episodes(fitted, small)
    settings = ["validation.n_way=5", "evaluation.1.n_query=5"]
    kept, _ = fitted_to(Recipe.read("folder", settings), small, settings=settings)
    assert (kept.validation.n_way, kept.evaluation[1].n_shot, kept.evaluation[1].n_query) == (5, 3, 5)


def test_every_split_is_checked_and_named_with_its_keys() -> None:
    recipe = Recipe.read("folder")
    with pytest.raises(DataError) as caught:
        check_episodes(recipe, data(train=12, validation=4, test=3))
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    for line, key, split in zip(
        lines, ("validation", "evaluation.0", "evaluation.1"), ("validation", "test", "test"), strict=True
    ):
        assert f"{key}, of the split {split!r}" in line and f"{key}.n_way" in line and "--set" in line
    with pytest.raises(DataError, match=r"n_shot \+ n_query asks for 10"):
        check_episodes(recipe, data(train=12, validation=5, test=5))


def test_an_evaluation_that_cannot_be_is_refused_before_the_first_step(tmp_path: Path) -> None:
    recipe = Recipe.read("folder", [*FAST, "evaluation=[{n_way: 5, n_shot: 1, n_query: 2}]"])
    with pytest.raises(DataError, match=r"evaluation\.0"):
        train_recipe(recipe, tmp_path / "run", data=data(train=12, validation=6, test=4))
    assert not (tmp_path / "run" / "last.safetensors").exists()


def test_a_file_in_the_place_of_the_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for folder in (tmp_path / "notes.txt", tmp_path / "notes.txt" / "run"):
        with pytest.raises(StorageError, match="choose another"):
            train_recipe(Recipe.read("folder"), folder, data=data(train=12, validation=6, test=6))
    assert (tmp_path / "notes.txt").read_text() == "mine"


def photos(folder: Path, n_classes: int) -> Path:
    rng = np.random.default_rng(0)
    for k in range(n_classes):
        (folder / f"c{k:02}").mkdir(parents=True)
        for i in range(8):
            Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"c{k:02}" / f"{i}.png")
    return folder


def test_train_on_a_small_folder_fits_and_says_so_and_is_resumed_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = [f"--set={s}" for s in (*FAST, f"data.folder={photos(tmp_path / 'photos', 20)}")]
    command = ["train", "folder", *settings, "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "validation: 4-way 1-shot with 5 queries instead of 5-way" in done.output
    assert (tmp_path / "run" / "results.json").exists()
    monkeypatch.setattr("sys.argv", ["regard", *command, "--set", "train.learning_rate=0.01"])
    with pytest.raises(SystemExit, match="1"):
        main()
    told = capsys.readouterr().err
    assert "--fresh" in told and "resume=False" not in told
    monkeypatch.setattr("sys.argv", ["regard", *command, "--set", "validation.n_way=5", "--fresh"])
    with pytest.raises(SystemExit, match="1"):
        main()
    assert "validation, of the split 'validation'" in capsys.readouterr().err


@pytest.mark.parametrize("setting", ["accelerator=tpu", "accelerator=x", "strategy=y"])
def test_devices_that_are_not_there_are_one_line(setting: str, tmp_path: Path) -> None:
    recipe = Recipe.read("folder", [*FAST, "evaluation.1.n_shot=1", f"train.{setting}"])
    with pytest.raises(ConfigError, match=r"cannot be had here"):
        train_recipe(recipe, tmp_path / "run", data=data(train=12, validation=6, test=6))


@pytest.mark.parametrize("option", ["--seed=-1", f"--seed={2**64}", "--episodes=-3", "--n-way=0"])
def test_numbers_that_cannot_be_are_refused_by_the_command_line(option: str) -> None:
    done = CliRunner().invoke(app, ["evaluate", "characters", option])
    assert done.exit_code == 2 and "Invalid value" in done.output

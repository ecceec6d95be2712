"""Beginning with trained weights: what fits is taken over, to the bit, and what does not is refused by name."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from regard.errors import CheckpointError, ConfigError
from regard.recipes.checkpoints import load_matching_weights
from regard.recipes.components import build_learner
from regard.recipes.config import Recipe
from regard.recipes.locations import checkpoint_file, shipped_models
from regard.recipes.run import learner_spec, train_recipe, untrained
from regard.recipes.trained import load
from regard.training import save_checkpoint

ENCODER = {"name": "Conv4", "n_filters": 4, "norm": "batch", "image_size": 16}
SIMPLE_SHOT = {"name": "SimpleShot", "n_train_classes": 6, "encoder": ENCODER}
PARTS = {"name": "CrossTransformer", "d_head": 4, "encoder": {**ENCODER, "n_halvings": 2, "parts": True}}


def saved(spec: dict[str, Any], path: Path, seed: int = 7) -> Path:
    torch.manual_seed(seed)
    save_checkpoint(path, build_learner(spec), spec={"learner": spec})
    return path


def test_another_method_takes_the_encoder_and_nothing_else(tmp_path: Path) -> None:
    path = saved(SIMPLE_SHOT, tmp_path / "a.safetensors")
    torch.manual_seed(0)
    learner = build_learner(PARTS)
    before = {name: tensor.clone() for name, tensor in learner.state_dict().items()}
    taken = load_matching_weights(learner, path)
    torch.manual_seed(7)
    theirs = build_learner(SIMPLE_SHOT).state_dict()
    assert set(taken) == {name for name in before if name.startswith("encoder.")}
    for name, tensor in learner.state_dict().items():
        torch.testing.assert_close(tensor, theirs[name] if name in taken else before[name], rtol=0, atol=0)


def test_the_same_method_takes_its_head_too(tmp_path: Path) -> None:
    path = saved(PARTS, tmp_path / "a.safetensors")
    learner = build_learner(PARTS)
    assert set(load_matching_weights(learner, path)) == set(learner.state_dict())


def test_a_head_of_another_size_stays_as_it_was_drawn(tmp_path: Path) -> None:
    path = saved(SIMPLE_SHOT, tmp_path / "a.safetensors")
    taken = load_matching_weights(build_learner({**SIMPLE_SHOT, "n_train_classes": 9}), path)
    assert "encoder" in {name.split(".")[0] for name in taken}
    assert not any(name.startswith("classifier") for name in taken)


def test_nothing_that_fits_is_an_error_and_so_is_nothing_there(tmp_path: Path) -> None:
    path = saved(SIMPLE_SHOT, tmp_path / "a.safetensors")
    with pytest.raises(ConfigError, match=r"a SimpleShot, and does not fit this Prototypical: 'encoder\.blocks"):
        load_matching_weights(build_learner({"name": "Prototypical", "encoder": {"name": "MLP", "n_inputs": 3}}), path)
    with pytest.raises(ConfigError, match="no network in common"):
        load_matching_weights(
            build_learner({"name": "MAML", "inner_lr": 0.1, "model": {"encoder": ENCODER, "n_outputs": 2}}), path
        )
    with pytest.raises(ConfigError, match="no file, and no model that ships"):
        load_matching_weights(build_learner(PARTS), tmp_path / "none")
    save_checkpoint(tmp_path / "b.safetensors", build_learner(PARTS), spec={"other": 1})
    with pytest.raises(CheckpointError, match="holds no learner"):
        load_matching_weights(build_learner(PARTS), tmp_path / "b.safetensors")


def test_a_model_that_ships_goes_by_its_name() -> None:
    assert "characters" in shipped_models()
    assert load("characters").recipe.learner.name == "CrossTransformer"
    with pytest.raises(ConfigError, match="did you mean 'characters'"):
        checkpoint_file("charcters")


def test_a_recipe_begins_with_a_run_and_its_own_run_goes_on_without(tmp_path: Path) -> None:
    def recipe(**more: Any) -> Recipe:
        tasks = {"n_way": 0, "n_shot": 5, "n_query": 5}
        content = {
            "data": {"name": "sinusoids"},
            "learner": {"name": "LinearProbe", "encoder": {"name": "MLP", "hidden": [8]}},
            "episodes": tasks,
            "validation": tasks,
            "evaluation": [tasks],
            "train": {"steps": 3, "validate_every": 3, "validation_episodes": 2, "tensorboard": False},
        }
        return Recipe.of({**content, **more})

    first = train_recipe(recipe(), tmp_path / "first")
    begun = recipe(init_from=str(tmp_path / "first"))
    trained = load(first).learner.state_dict()
    at_first = untrained(begun, learner_spec(begun, load(first).data())).state_dict()
    assert all(torch.equal(at_first[name], trained[name]) for name in trained)
    moved = load(train_recipe(begun, tmp_path / "second")).learner.state_dict()
    assert any(not torch.equal(moved[name], trained[name]) for name in trained)
    with pytest.raises(ConfigError, match=r"recipe\.init_from is another"):
        train_recipe(recipe(), tmp_path / "second")
    shutil.rmtree(tmp_path / "first")
    again = load(train_recipe(begun, tmp_path / "second")).learner.state_dict()
    assert all(torch.equal(again[name], moved[name]) for name in moved)
    with pytest.raises(ConfigError, match="no file, and no model that ships"):
        train_recipe(begun, tmp_path / "second", resume=False)

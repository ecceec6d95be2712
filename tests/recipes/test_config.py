"""A recipe is checked before anything is trained: wrong keys get a suggestion."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from regard.domains.registry import find_domain
from regard.errors import CheckpointError, ConfigError, MissingExtraError
from regard.recipes.components import build_encoder, build_learner
from regard.recipes.config import Recipe, recipe_names
from regard.recipes.data import load_data
from regard.recipes.run import learner_spec
from regard.recipes.trained import load


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_is_whole_and_its_learner_can_be_built(name: str) -> None:
    recipe = Recipe.read(name)
    assert Recipe.of(yaml.safe_load(recipe.to_yaml())) == recipe
    spec = recipe.learner.spec()
    network = spec.get("encoder") or spec.get("model") or spec  # a learner may have no network but its own
    network = network.get("encoder", network)  # a model may be an encoder with a head
    # What only the data knows.
    if network["name"].startswith("Token"):
        network["n_tokens"] = 10
    if network["name"] == "SceneObjects":
        network |= {"n_shared": 2, "n_objects": 3, "n_object_features": 4}
    if network["name"] == "MLP":
        network["n_inputs"] = 1
    try:
        learner = build_learner(spec)
    except MissingExtraError as error:
        pytest.skip(f"its encoder needs an extra: {error}")
    assert sum(p.numel() for p in learner.parameters()) > 0


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("train.stepz=3", "did you mean 'steps'"),
        ("episodes.nway=3", "did you mean 'n_way'"),
        ("epsiodes.n_way=3", "did you mean 'episodes'"),
        ("train.steps=none", "train.steps"),
        ("train.steps", "expected key=value"),
        ("evaluation.0.n_shots=2", "did you mean 'n_shot'"),
    ],
)
def test_a_wrong_setting_says_what_was_meant(setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Recipe.read("glyphs", [setting])


def test_wrong_names_and_options_of_parts_get_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="did you mean 'glyphs'"):
        Recipe.read("glyps")
    with pytest.raises(ConfigError, match="did you mean 'Prototypical'"):
        build_learner({"name": "Prototypicl"})
    with pytest.raises(ConfigError, match="did you mean 'n_filters'"):
        build_encoder({"name": "Conv4", "n_filter": 3})
    with pytest.raises(ConfigError, match="needs 'encoder'"):
        build_learner({"name": "Prototypical"})
    with pytest.raises(ConfigError, match="did you mean 'symbols'"):
        load_data(Recipe.read("glyphs", ["data.symbol=true"]).data)
    with pytest.raises(ConfigError, match="no domain is called 'sound'"):
        find_domain("sound")


@pytest.mark.parametrize("name", ["R2D2", "MetaOptNet", "WeightGenerator", "VERSA", "CNAPs"])
def test_learners_that_write_weights_are_built_from_a_recipe(name: str) -> None:
    recipe = Recipe.read("glyphs", [f"learner={{name: {name}, encoder: {{name: Conv4, n_filters: 8}}}}"])
    assert type(build_learner(recipe.learner.spec())).__name__ == name


def test_a_second_encoder_is_built_too() -> None:
    encoder = {"name": "MLP", "n_inputs": 4}
    learner = build_learner({"name": "CNAPs", "encoder": encoder, "set_encoder": {**encoder, "n_features": 3}})
    assert learner.set_encoder.n_features == 3  # type: ignore[union-attr]


def test_settings_reach_lists_and_new_options() -> None:
    recipe = Recipe.read("glyphs", ["evaluation.1.n_shot=3", "learner.d_head=16", "data.drawings=12"])
    assert recipe.evaluation[1].n_shot == 3
    assert recipe.learner.options()["d_head"] == 16
    assert recipe.data.options() == {"symbols": True, "drawings": 12}


def test_what_the_data_knows_fills_what_the_encoder_leaves_open() -> None:
    recipe = Recipe.read("glyphs")
    data = load_data(recipe.data)
    assert learner_spec(recipe, data)["encoder"]["image_size"] == 28
    changed = Recipe.read("glyphs", ["learner.encoder.image_size=32"])
    assert learner_spec(changed, data)["encoder"]["image_size"] == 32


def test_not_yaml_and_not_a_checkpoint(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1")
    with pytest.raises(ConfigError, match="not YAML"):
        Recipe.read(str(broken))
    broken.write_text("just words")
    with pytest.raises(ConfigError, match="mapping"):
        Recipe.read(str(broken))
    with pytest.raises(CheckpointError):
        load(tmp_path)


@pytest.mark.parametrize(
    "encoder",
    [
        {"name": "Conv4", "n_filters": 20_000},
        {"name": "MLP", "n_inputs": 6, "hidden": [10**5, 10**5]},
        {"name": "MLP", "n_inputs": 6, "hidden": [2] * 2_000},
        {"name": "TokenTransformer", "n_tokens": 9, "d_model": 8, "n_layers": 10**6},  # layers that PyTorch copies
    ],
)
def test_a_network_beyond_the_limits_is_refused_before_it_is_built(encoder: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"too large a network .*use fewer"):
        build_learner({"name": "Prototypical", "encoder": encoder})


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("learner.inner_lr=fast", "inner_lr is 'fast', expected a valid number"),
        ("learner.noise=loud", "noise is 'loud', expected a valid number"),  # of the options that many learners share
        ("learner.task_chunk=1.5", "task_chunk is 1.5, expected a valid integer"),
        ("learner.execution=turbo", "execution is 'turbo'"),
    ],
)
def test_a_value_of_another_type_is_refused_wherever_the_option_stands(setting: str, expected: str) -> None:
    recipe = Recipe.read("sinusoid", ["learner.model.n_inputs=1", setting])
    with pytest.raises(ConfigError, match=expected):
        build_learner(recipe.learner.spec())

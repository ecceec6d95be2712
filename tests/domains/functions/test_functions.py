"""A recipe on functions goes from its file to a trained learner, and from there to results and comparisons."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from regard.commands.show import show_results
from regard.domains.data import GeneratedData, LabelledData
from regard.domains.registry import find_domain
from regard.errors import ConfigError, DataError
from regard.evaluation import TARGET_METRICS
from regard.recipes.config import Recipe
from regard.recipes.data import load_data
from regard.recipes.run import EvaluationOptions, compare_checkpoints, evaluate_learner, learner_spec, train_recipe
from regard.recipes.trained import load
from regard.sampling import Dataset, GaussianProcesses, Sinusoids


def recipe(*settings: str, learner: dict[str, Any] | None = None) -> Recipe:
    probe = {"name": "LinearProbe", "encoder": {"name": "MLP", "hidden": [16]}}
    content = {
        "data": {"name": "sinusoids", "amplitude": [1, 2]},
        "learner": learner or probe,
        "episodes": {"n_way": 0, "n_shot": 5, "n_query": 10},
        "validation": {"n_way": 0, "n_shot": 5, "n_query": 10},
        "evaluation": [{"n_way": 0, "n_shot": s, "n_query": 20} for s in (5, 10)],
        "evaluation_episodes": 12,
        "train": {"steps": 6, "validate_every": 3, "validation_episodes": 4, "tensorboard": False},
    }
    return Recipe.of(content, settings)


def test_trained_evaluated_compared_and_shown(tmp_path: Path) -> None:
    paths = [train_recipe(recipe(), tmp_path / "a"), train_recipe(recipe("train.seed=1"), tmp_path / "b")]
    loaded = load(paths[0])
    results = evaluate_learner(loaded, loaded.data())
    assert [(r.data, r.n_way, r.n_shot, r.n_query) for r in results] == [
        ("sinusoids/test", 0, 5, 20),
        ("sinusoids/test", 0, 10, 20),
    ]
    asked = evaluate_learner(loaded, loaded.data(), EvaluationOptions(n_shot=7, n_query=3, episodes=5))
    assert [(r.n_shot, r.n_query, r.episodes) for r in asked] == [(7, 3, 5)]
    both, comparisons = compare_checkpoints(paths, (), EvaluationOptions())
    assert len(both) == 4 and len(comparisons) == 2 * len(TARGET_METRICS)
    console = Console(record=True, width=140)
    show_results(both, comparisons, console)
    text = console.export_text()
    assert "5-shot, 12 episodes of sinusoids/test" in text and "CRPS" in text and "0-way" not in text


def test_inner_steps_are_changed_without_training(tmp_path: Path) -> None:
    maml = {"name": "MAML", "inner_lr": 0.01, "model": {"name": "MLP", "n_features": 1, "hidden": [8]}}
    path = train_recipe(recipe("train.steps=2", learner=maml), tmp_path)
    for steps in (1, 3):
        loaded = load(path, [f"learner.test_steps={steps}"])
        (result, *_) = evaluate_learner(loaded, loaded.data(), EvaluationOptions(episodes=3))
        by_hand = load(path).learner
        by_hand.test_steps = steps  # type: ignore[assignment]
        again = evaluate_learner(replace(loaded, learner=by_hand), loaded.data(), EvaluationOptions(episodes=3))[0]
        np.testing.assert_array_equal(result.per_episode["mse"], again.per_episode["mse"])
    with pytest.raises(ConfigError, match="cannot be changed"):
        load(path, ["learner.inner_lr=1"])


def test_parts_never_share_a_function() -> None:
    data, episodes = load_data(recipe().data), recipe().episodes
    parts = [data.source(part, episodes, 0) for part in ("train", "validation", "test")]
    first = [source([0]).support.y for source in parts]
    assert not any(torch.isclose(a, b).any() for a, b in ((first[0], first[1]), (first[1], first[2])))
    practice = data.training(episodes, 0)
    assert isinstance(practice, Sinusoids) and practice.amplitude == (1, 2)
    torch.testing.assert_close(practice([0]).support.y, first[0])
    # The tests of seed 0 are what the sampler gives by itself, for those who write no recipe.
    torch.testing.assert_close(Sinusoids(5, 10, amplitude=(1, 2))([0]).support.y, first[2])


def test_ranges_reach_the_sampler() -> None:
    wide = recipe("episodes.n_shot=[3, 46]", "episodes.n_query=[3, 46]")
    content = Recipe.of({**wide.model_dump(mode="json"), "data": {"name": "gaussian_processes", "kernel": "matern52"}})
    source = load_data(content.data).training(content.episodes, 3)
    assert isinstance(source, GaussianProcesses)
    assert (source.kernel, source.n_shot, source.seed) == ("matern52", (3, 46), 3)


def test_the_network_is_told_of_one_input() -> None:
    chosen = recipe()
    spec = learner_spec(chosen, load_data(chosen.data))
    assert spec["encoder"]["n_inputs"] == 1
    np.testing.assert_allclose(find_domain("functions").reader({})([1.0, 2.0]), [[1.0], [2.0]])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("data.amplitud=[1, 2]", "did you mean 'amplitude'"),
        ("data.seed=3", "train.seed"),
        ("data.name=sinusoid", "did you mean 'sinusoids'"),
        ("episodes.n_way=5", "no classes: expected 0"),
        ("episodes.distortion=true", "distortion"),
    ],
)
def test_what_does_not_fit_is_said(setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        chosen = recipe(setting)
        load_data(chosen.data).training(chosen.episodes, 0)


def test_unknown_parts_and_classes_without_ways() -> None:
    data = load_data(recipe().data)
    assert isinstance(data, GeneratedData)
    with pytest.raises(DataError, match="did you mean 'test'"):
        data.source("tests", recipe().episodes, 0)
    with pytest.raises(ConfigError, match="n_way is 0"):
        LabelledData.sampler(recipe().episodes, Dataset.of(torch.zeros(2, 1), torch.arange(2)), 0)

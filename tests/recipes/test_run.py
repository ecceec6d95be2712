"""From a recipe to training and to results: which splits, seeds and options reach them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from regard.domains.registry import find_domain
from regard.errors import ConfigError
from regard.evaluation import Interval, Result
from regard.recipes import run as r
from regard.recipes.config import Recipe
from regard.recipes.run import EvaluationOptions, compare_by_setting, compare_checkpoints, learner_spec, train_recipe


def recipe() -> Recipe:
    return Recipe.read("glyphs", ("evaluation=[{n_way: 5, n_shot: 1, n_query: 3}, {n_way: 8, n_shot: 5, n_query: 3}]",))


def test_training_and_validation_have_seeds_of_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls: dict[str, Any] = {}

    def noted(learner: Any, sampler: Any, config: Any, **options: Any) -> SimpleNamespace:
        calls.update(options, sampler=sampler, config=config)
        return SimpleNamespace(interrupted=False, best_checkpoint=None, last_checkpoint=tmp_path / "last", step=3)

    monkeypatch.setattr(r, "train", noted)
    chosen = Recipe.read("sinusoid", ("train.seed=11",))
    data = find_domain("functions").data_sets()["sinusoids"]()
    assert train_recipe(chosen, tmp_path, data=data, resume=False, n_steps_ahead=9) == tmp_path / "last"
    training, validation = calls["sampler"], calls["validation_sampler"]
    assert (training.seed, validation.seed) == (11, 12) and training.stream != validation.stream
    assert not np.isin(training(range(20)).support.x, validation(range(20)).support.x).any()
    assert calls["config"] == chosen.train and calls["n_steps_ahead"] == 9 and calls["resume"] is False
    assert calls["folder"] == tmp_path and Recipe.of(calls["spec"]["recipe"]) == chosen
    assert calls["spec"]["learner"] == learner_spec(chosen, data) and calls["spec"]["items"] == data.items


def test_an_interrupted_run_says_where_it_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stopped = SimpleNamespace(interrupted=True, step=3, best_checkpoint=None, last_checkpoint=tmp_path)
    monkeypatch.setattr(r, "train", lambda *_, **__: stopped)
    data = find_domain("functions").data_sets()["sinusoids"]()
    with pytest.raises(KeyboardInterrupt, match="stopped at step 3; the same command resumes it"):
        train_recipe(Recipe.read("sinusoid"), tmp_path, data=data)


def test_options_change_the_first_kind_of_episodes_and_none_keeps_all() -> None:
    assert EvaluationOptions(episodes=3, seed=4, split="train").settings(recipe()) == recipe().evaluation
    [e] = EvaluationOptions(n_way=3, n_query=1).settings(recipe())
    assert (e.n_way, e.n_shot, e.n_query) == (3, 1, 1)
    [zero] = EvaluationOptions(n_shot=7).settings(recipe())
    assert (zero.n_way, zero.n_shot) == (5, 7)


def result(name: str, values: list[float], **changes: Any) -> Result:
    fields: dict[str, Any] = {
        "data": "d", "n_way": 5, "n_shot": 1, "n_query": 1, "episodes": 3, "seed": 0, "transductive": False,
        "metrics": {"accuracy": Interval(0, 0, 0)}, "seconds": 0.0, "per_episode": {"accuracy": np.array(values)},
    }  # fmt: skip
    return Result(learner=name, **{**fields, **changes})


def test_only_results_of_one_setting_are_compared() -> None:
    results = [
        result("a", [1.0, 2.0, 3.0]), result("b", [0.0, 2.0, 3.0]), result("a", [5.0, 5.0, 6.0], n_shot=5),
        result("b", [1.0, 2.0, 9.0], n_shot=5), result("a", [0.0, 0.0, 1.0], n_way=9),
        result("c", [0.0, 1.0, 1.0], data="e"),
    ]  # fmt: skip
    found = compare_by_setting(results, ["accuracy"])
    assert [(c.a, c.b, c.n_shot) for c in found] == [("a", "b", 1), ("a", "b", 5)]
    assert found[0].difference.mean == pytest.approx(1 / 3) and found[1].difference.mean == pytest.approx(4 / 3)


def test_one_checkpoint_is_not_compared() -> None:
    with pytest.raises(ConfigError, match="compare got 1 checkpoint: expected two or more"):
        compare_checkpoints([Path("a")], (), EvaluationOptions())

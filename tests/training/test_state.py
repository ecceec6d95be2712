"""Where a run stands: what a fresh one knows, when it is done, and what settings a file may be resumed with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from regard.errors import CheckpointError, ConfigError
from regard.training import TrainConfig
from regard.training.checkpoint import save_checkpoint
from regard.training.optimization import make_optimizer, optimizer_tensors
from regard.training.state import RunState


def test_a_fresh_run_has_done_nothing() -> None:
    state = RunState.fresh(TrainConfig(steps=7))
    assert state == RunState(7, 0, None, 0, 0, None, 0.0, 0, 0.0, 0, 0.0, None, 0)
    assert RunState.fresh(TrainConfig(max_minutes=1.0)).steps is None


def test_a_run_is_done_after_its_steps_or_its_patience() -> None:
    config = TrainConfig(steps=7, patience=2)
    assert not RunState(7, 6).done(config) and RunState(7, 7).done(config)
    assert not RunState(None, 6).done(config)
    assert [RunState(7, 3, stale=stale).done(config) for stale in (0, 1, 2, 3)] == [False, False, True, True]
    assert not RunState(7, 3, stale=9).done(TrainConfig(steps=7)), "patience 0 never stops"
    assert not RunState(7, 3, stale=0).out_of_patience(TrainConfig(steps=7))
    assert RunState(7, 3, stale=1).out_of_patience(TrainConfig(patience=1))


def test_a_row_of_the_logs_has_the_mean_loss_since_the_last() -> None:
    state = RunState(7)
    assert state.take_loss() == 0.0
    for loss in (1.0, 2.0, 6.0):
        state.add_loss(loss)
    assert state.take_loss() == 3.0 and (state.loss_sum, state.loss_count) == (0.0, 0)
    state.add_loss(5.0)
    assert state.take_loss() == 5.0


def test_steps_are_fitted_again_in_the_first_half_only() -> None:
    assert RunState(20).later(10) == 10 and RunState(20).later(11) is None
    assert RunState(None).later(1) is None and RunState(None).later(0) == 0
    config = TrainConfig(max_minutes=2.0)
    assert RunState(None, 5).steps_in_time(config, 20.0, 0.5) == 5 + 190
    assert RunState(None, 5).steps_in_time(config, 500.0, 0.5) == 6


def saved(path: Path, config: TrainConfig, step: int = 3, spec: dict[str, object] | None = None) -> Path:
    """A checkpoint of a run of these settings."""
    torch.manual_seed(0)
    learner = nn.Linear(2, 2)
    optimizer = make_optimizer(learner, config)
    learner(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    training = RunState(config.steps, step, best=0.5, n_rows=1).to_json(config)
    tensors = optimizer_tensors(learner, optimizer)
    save_checkpoint(path, learner, spec=spec or {}, step=step, training=training, optimizer=tensors)
    return path


def resumed(path: Path, config: TrainConfig, spec: dict[str, object] | None = None) -> RunState:
    """Where it stands, into a learner of its own."""
    learner = nn.Linear(2, 2)
    optimizer = make_optimizer(learner, config)
    state = RunState.resumed(path, learner, optimizer, config, spec or {})
    assert len(optimizer.state) == 2
    return state


def test_free_settings_may_change_and_others_may_not(tmp_path: Path) -> None:
    path = saved(tmp_path / "last.safetensors", TrainConfig(steps=9))
    assert resumed(path, TrainConfig(steps=9, log_every=3, checkpoint_every=7, tensorboard=False)).best == 0.5
    with pytest.raises(ConfigError, match=r"learning_rate was 0.001 and is 0.01"):
        resumed(path, TrainConfig(steps=9, learning_rate=0.01))
    with pytest.raises(ConfigError, match=r"steps was 9 and is 12"):
        resumed(path, TrainConfig(steps=12))


def test_a_recipe_may_be_evaluated_in_another_way_but_not_trained(tmp_path: Path) -> None:
    config = TrainConfig(steps=9)
    recipe = {"learner": "a", "evaluation": [1], "evaluation_episodes": 5, "train": {"steps": 9}}
    path = saved(tmp_path / "last.safetensors", config, spec={"recipe": recipe, "version": 1})
    other = {**recipe, "evaluation": [2], "evaluation_episodes": 7, "train": {"steps": 10}}
    assert resumed(path, config, {"recipe": other, "version": 1}).step == 3
    for spec, message in (
        ({"recipe": {**recipe, "learner": "b"}, "version": 1}, "recipe.learner is another"),
        ({"recipe": recipe, "version": 2}, "version is another"),
        ({"recipe": 3, "version": 1}, "recipe is another"),
        ({"version": 1}, "recipe is another"),
    ):
        with pytest.raises(ConfigError, match=message):
            resumed(path, config, dict(spec))


def test_an_extensible_run_is_extended_before_its_rate_falls(tmp_path: Path) -> None:
    settings = {"schedule": "trapezoid", "decay_steps": 4, "warmup_steps": 0}
    for step, ok in ((5, True), (6, True), (7, False)):
        path = saved(tmp_path / f"{step}.safetensors", TrainConfig(steps=10, **settings), step)  # type: ignore[arg-type]
        longer = TrainConfig(steps=20, **settings)  # type: ignore[arg-type]
        if ok:
            assert resumed(path, longer).steps == 20
        else:
            with pytest.raises(ConfigError, match=r"before the learning rate falls \(step 6\)"):
                resumed(path, longer)
    constant = {"schedule": "constant"}
    path = saved(tmp_path / "constant.safetensors", TrainConfig(steps=10, **constant), 8)  # type: ignore[arg-type]
    assert resumed(path, TrainConfig(steps=9, **constant)).steps == 9  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"\(step 7\)"):
        resumed(path, TrainConfig(steps=7, **constant))  # type: ignore[arg-type]


def test_a_file_that_is_for_use_or_was_edited_is_not_resumed(tmp_path: Path) -> None:
    learner, path = nn.Linear(2, 2), tmp_path / "best.safetensors"
    save_checkpoint(path, learner, spec={})
    with pytest.raises(CheckpointError, match="for use only"):
        resumed(path, TrainConfig())
    for training, message in (
        ({}, "does not say where its run stood"),
        ({"config": {"unheard": 1}, "state": {"steps": 3}}, "has the setting 'unheard'"),
        ({"config": {"steps": 0}, "state": {"steps": 3}}, r"settings that cannot be \(steps\)"),
        ({"config": [], "state": {"steps": 3, "step": 4}}, "does not say where its run stood"),
    ):
        save_checkpoint(path, learner, spec={}, training=training)
        with pytest.raises(CheckpointError, match=message):
            resumed(path, TrainConfig())

"""`fit` on episodes and on tf.data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

keras = pytest.importorskip("keras", reason="needs the extra keras")

import keras_models as benchmark  # noqa: E402
import regard.keras as rk  # noqa: E402
from regard.episode import Episode, Support  # noqa: E402
from regard.errors import ConfigError, EpisodeError  # noqa: E402
from regard.evaluation import evaluate  # noqa: E402
from regard.recipes.components import build_learner  # noqa: E402
from regard.training import Silent, TrainConfig, train  # noqa: E402

BACKEND = keras.backend.backend()


@pytest.mark.parametrize("feed", ["PyDataset", "tf.data"])
def test_fit_reaches_what_our_trainer_reaches(feed: str, tmp_path: Path) -> None:
    """From the same start, on the same episodes, with the same optimizer: within two points of accuracy."""
    if feed == "tf.data" and BACKEND != "tensorflow":
        pytest.skip("tf.data is tested under TensorFlow")
    spec, kind = benchmark.LEARNERS["Prototypical"]
    training, validation = benchmark.samplers(kind, seed=0)
    ours = build_learner(spec)
    path = benchmark.save_learner(tmp_path / "start.safetensors", spec, ours)
    before = evaluate(ours, validation, 100).metrics["accuracy"].mean
    settings = TrainConfig(
        steps=60,
        tasks_per_step=benchmark.TASKS,
        optimizer="adam",
        schedule="constant",
        warmup_steps=0,
        weight_decay=0.0,
        tensorboard=False,
    )
    train(ours, training, settings, folder=tmp_path / "run", progress=Silent())
    expected = evaluate(ours, validation, 100).metrics["accuracy"].mean
    model = benchmark.fitted(path, training, validation, 60, feed)
    got = evaluate(rk.as_learner(model), validation, 100, batch=16).metrics["accuracy"].mean
    assert expected > before + 0.05 and abs(got - expected) < 0.02


def test_validation_repeats_and_training_goes_on() -> None:
    training, _ = benchmark.samplers("rows", seed=0)
    fixed, moving = (rk.EpisodeDataset(training, 2, 3, repeat=repeat) for repeat in (True, False))
    first = [data[0][0]["query"] for data in (fixed, moving)]
    for data in (fixed, moving):
        data.on_epoch_end()
    np.testing.assert_array_equal(fixed[0][0]["query"], first[0])
    assert np.abs(moving[0][0]["query"] - first[1]).max() > 0
    np.testing.assert_array_equal(moving[0][0]["query"], training(np.arange(6, 9)).query_x.numpy())


def test_an_episode_becomes_arrays() -> None:
    support = Support(torch.eye(3)[None], torch.tensor([[0, 1, 1]]), torch.tensor([[1.0, 2.0, 0.0]]))
    inputs, y, weight = rk.episode_arrays(Episode(support, torch.eye(3)[None], torch.tensor([[0, 1, 1]])))
    np.testing.assert_array_equal(inputs["membership"], [[[1, 0], [0, 2], [0, 0]]])
    np.testing.assert_array_equal(inputs["membership"], rk.membership([[0, 1, 1]], [[1.0, 2.0, 0.0]]))
    assert y.tolist() == [[0, 1, 1]] and weight.tolist() == [[1, 1, 1]]
    numbers = Support(torch.eye(3)[None], torch.zeros(1, 3, 1))
    with pytest.raises(EpisodeError, match="expected classes"):
        rk.episode_arrays(Episode(numbers, torch.eye(3)[None], torch.zeros(1, 3, 1)))
    with pytest.raises(EpisodeError, match=r"labels hold 3: expected 0\.\.2"):
        rk.membership([[0, 3]], n_classes=3)
    with pytest.raises(ConfigError, match="expected at least 1 of each"):
        rk.EpisodeDataset(None, 0)


def test_threads_are_set_or_it_is_said_why_not() -> None:
    with pytest.raises(ConfigError, match="at least 1 thread"):
        rk.set_threads(0)
    if BACKEND == "torch":
        rk.set_threads(1)
        assert torch.get_num_threads() == 1
    else:
        keras.ops.ones((2, 2)) @ keras.ops.ones((2, 2))
        with pytest.raises(ConfigError, match=r"taskset|call set_threads right after the imports"):
            rk.set_threads(2)

"""A checkpoint of PyTorch gives a Keras model with the same answers, on every backend, and `.keras` files keep it."""

from __future__ import annotations

import subprocess
import sys
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

keras = pytest.importorskip("keras", reason="needs the extra keras")

import keras_models as benchmark  # noqa: E402
import regard  # noqa: E402
import regard.keras as rk  # noqa: E402
from regard.episode import Support  # noqa: E402
from regard.errors import CheckpointError, ConfigError, EpisodeError  # noqa: E402
from regard.keras.checkpoint import ENCODERS, MODELS, assign_weights  # noqa: E402
from regard.learners import find_learner  # noqa: E402
from regard.recipes.components import encoder_class  # noqa: E402

BACKEND = keras.backend.backend()


@pytest.mark.parametrize("case", benchmark.CASES)
def test_answers_are_those_of_pytorch(case: str, tmp_path: Path) -> None:
    errors = benchmark.answer_errors(benchmark.CASES[case], tmp_path)
    assert all(error < 1e-5 for error in errors.values()), errors


def test_the_model_that_ships_answers_as_in_pytorch() -> None:
    generator = torch.Generator().manual_seed(0)
    support = Support(torch.rand(1, 6, 28, 28, generator=generator), torch.tensor([[0, 0, 1, 1, 2, 2]]))
    query = torch.rand(1, 4, 28, 28, generator=generator)
    with torch.no_grad():
        learner = regard.load("characters").learner
        expected = learner.predict(learner.adapt(support), query).numpy()
    model = rk.from_checkpoint("characters")
    got = model((support.x.numpy(), rk.membership(support.y)), query.numpy())
    assert np.abs(benchmark.to_numpy(got) - expected).max() < 1e-5


def one_case(tmp_path: Path, case: str = "AttentionMetaLearner, word codes, n-grams, rarity") -> tuple[Any, Any]:
    spec = benchmark.CASES[case]
    path = benchmark.save_learner(tmp_path / "learner.safetensors", spec, benchmark.random_learner(spec))
    support, query = benchmark.random_task(spec)
    inputs = {
        "support": benchmark.in_numpy(support.x),
        "membership": support.membership().numpy(),
        "query": benchmark.in_numpy(query),
    }
    return rk.from_checkpoint(path), inputs


@pytest.mark.parametrize(
    "case", ["AttentionMetaLearner, word codes, n-grams, rarity", "CrossTransformer, residual maps"]
)
def test_a_saved_model_is_loaded(case: str, tmp_path: Path) -> None:
    model, inputs = one_case(tmp_path, case)
    expected = benchmark.to_numpy(model(inputs))
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(benchmark.to_numpy(rk.load_model(tmp_path / "model.keras")(inputs)), expected)


def test_one_dict_and_two_arguments_are_one_call(tmp_path: Path) -> None:
    model, inputs = one_case(tmp_path)
    one = benchmark.to_numpy(model(inputs))
    two = benchmark.to_numpy(model((inputs["support"], inputs["membership"]), inputs["query"]))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_allclose(model.predict(inputs, verbose=0), one, atol=1e-5)


def test_a_file_of_another_backend_is_loaded(tmp_path: Path) -> None:
    """Written under each other backend that is installed, in a process of its own."""
    model, inputs = one_case(tmp_path)
    expected = benchmark.to_numpy(model(inputs))
    for other, package in (("torch", "torch"), ("tensorflow", "tensorflow"), ("jax", "jax")):
        if other == BACKEND or not is_installed(package):
            continue
        file = tmp_path / f"{other}.keras"
        source = tmp_path / "learner.safetensors"
        code = f"import regard.keras as rk; rk.from_checkpoint({str(source)!r}).save({str(file)!r})"
        run_under(other, code)
        np.testing.assert_allclose(benchmark.to_numpy(rk.load_model(file)(inputs)), expected, atol=1e-5)


def test_pytorch_is_not_imported(tmp_path: Path) -> None:
    if BACKEND == "torch":
        pytest.skip("the backend is PyTorch")
    code = """
import sys, numpy as np, regard.keras as rk
model = rk.from_checkpoint("characters")
x = np.zeros((1, 2, 28, 28), "float32")
model((x, rk.membership([[0, 1]])), x)
assert "torch" not in sys.modules, "PyTorch was imported"
"""
    run_under(BACKEND, code)


def is_installed(package: str) -> bool:
    from importlib.util import find_spec

    return find_spec(package) is not None


def run_under(backend: str, code: str) -> None:
    import os

    environment = {**os.environ, "KERAS_BACKEND": backend}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("name", MODELS)
def test_models_have_the_defaults_of_learners(name: str) -> None:
    same_defaults(find_learner(name).load(), MODELS[name])


@pytest.mark.parametrize("name", ENCODERS)
def test_layers_have_the_defaults_of_encoders(name: str) -> None:
    same_defaults(encoder_class(name), ENCODERS[name])


def same_defaults(theirs: Any, ours: Any) -> None:
    left_out = {"noise"}
    expected, got = ({k: p.default for k, p in signature(f.__init__).parameters.items()} for f in (theirs, ours))
    for key in expected.keys() - {"self", *left_out}:
        if "args" not in key:
            assert got[key] == expected[key], key


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    model, _ = one_case(tmp_path, "Prototypical, images")
    before = [benchmark.to_numpy(v) for v in model.weights]
    with pytest.raises(CheckpointError, match=r"no tensor 'encoder.blocks.0.weight'.*; and \d+ more"):
        assign_weights(model, {"odd": np.zeros(3)}, "this file")
    assert all((a == benchmark.to_numpy(v)).all() for a, v in zip(before, model.weights, strict=True))
    other = benchmark.random_learner(benchmark.CASES["Prototypical, images"])
    file = benchmark.save_learner(tmp_path / "other.safetensors", {"name": "SNAIL", "encoder": {"name": "Flat"}}, other)
    with pytest.raises(ConfigError, match="the learner is 'SNAIL', which has no form in Keras"):
        rk.from_checkpoint(file)
    with pytest.raises(EpisodeError, match="inputs are a dict of \\['support'\\]"):
        model.call({"support": np.zeros((1, 1, 16, 16))})


def test_padding_of_a_keras_encoder_is_its_mask() -> None:
    """`Embedding(mask_zero=True)`: more padding at the end of the texts changes nothing."""
    encoder = keras.Sequential(
        [keras.layers.Embedding(30, 8, mask_zero=True), keras.layers.LSTM(6, return_sequences=True)]
    )
    model = rk.AttentionMetaModel(encoder, d_head=5, d_pair=4)
    ids = np.random.default_rng(0).integers(1, 30, (1, 8, 5))
    longer = np.pad(ids, ((0, 0), (0, 0), (0, 3)))
    member = rk.membership([[0, 0, 1, 1, 2]])
    answers = [benchmark.to_numpy(model((x[:, :5], member), x[:, 5:])) for x in (ids, longer)]
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-5)

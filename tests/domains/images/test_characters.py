"""Alphabets in eight ways, letters drawn by a pen, and Lake's runs: what is in them, and what is kept out."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import label

from regard.domains.data import LabelledData
from regard.domains.images import characters as module
from regard.domains.images.characters import characters, in_eight_ways
from regard.domains.images.fonts import render_glyphs
from regard.domains.images.lake import N_WAY, drawn_runs, lake_runs, typical_drawers
from regard.domains.images.pen import thinned
from regard.domains.images.strokes import with_twins
from regard.errors import ConfigError, DataError
from regard.recipes.config import Recipe
from regard.recipes.data import load_data
from regard.sampling.dataset import Dataset

NAMES = (
    *(f"type/Latin/U+{code:04X}" for code in range(0x61, 0x65)),
    *(f"type/Arabic/U+{code:04X}" for code in range(0x627, 0x62A)),
    "type/Cyrillic/U+0436",
    "type/Cyrillic/U+0461",
)


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few letters in two faces, instead of all, which take a minute."""
    images = np.random.default_rng(0).integers(0, 255, (2 * len(NAMES), 3, 28, 28), np.uint8)
    arrays = {"images": images, "character": np.arange(len(NAMES)).repeat(2), "names": np.array(NAMES)}
    monkeypatch.setattr(module, "cached", lambda *_: arrays)


def write_omniglot(folder: Path, alphabets: tuple[str, ...] = ("Greek", "Latin", "Angelic"), letters: int = 2) -> None:
    rng = np.random.default_rng(1)
    names = [f"{alphabet}/character{i:02d}" for alphabet in alphabets for i in range(letters)]
    ink = rng.random((len(names) * 2, 105, 105)) > 0.9
    np.savez(
        folder / "omniglot105_shared.npz",
        images_packed=np.packbits(ink.reshape(len(ink), -1), axis=1),
        labels=np.arange(len(names)).repeat(2),
        class_names=np.array(names),
        class_alphabet=np.array([name.split("/")[0] for name in names]),
    )


def test_thinning_keeps_what_hangs_together_and_leaves_lines() -> None:
    ink = render_glyphs(64).images[::400] > 110
    lines = thinned(ink)
    around = np.ones((3, 3))
    for before, after in zip(ink, lines, strict=True):
        assert label(before, around)[1] == label(after, around)[1]
    assert not (lines & ~ink).any()
    squares = lines[:, 1:, 1:] & lines[:, :-1, 1:] & lines[:, 1:, :-1] & lines[:, :-1, :-1]
    assert squares.sum() < 0.02 * lines.sum() < 0.02 * ink.sum()
    np.testing.assert_array_equal(thinned(lines), lines)


def test_thinning_a_bar_leaves_its_middle() -> None:
    bar = np.zeros((1, 11, 30), bool)
    bar[0, 3:8, 5:25] = True
    assert thinned(bar)[0].any(0).sum() > 14
    assert thinned(bar)[0].any(1).tolist() == [i == 5 for i in range(11)]
    assert thinned(np.zeros((0, 5, 5), bool)).shape == (0, 5, 5)


def test_eight_ways_are_alphabets_of_their_own() -> None:
    x = torch.arange(2 * 9, dtype=torch.uint8).view(2, 3, 3)
    ways = in_eight_ways(Dataset(x, torch.tensor([0, 1]), ("G/a", "H/b"), ("G", "H")))
    assert (
        ways.n_classes == 16 and len(set(ways.class_groups)) == 16 and len({t.numpy().tobytes() for t in ways.x}) == 16
    )  # type: ignore[union-attr]
    assert ways.class_names[2 * 5] == "G/a@90 mirrored" and ways.class_groups[2 * 5 + 1] == "H@90 mirrored"
    assert torch.equal(ways.x[ways.y == 10][0], x[0].flip(1).rot90(1, (0, 1)))  # type: ignore[index]


def test_a_twin_is_its_letter_and_one_stroke_the_same_in_all_its_drawings() -> None:
    x = torch.zeros(6, 28, 28, dtype=torch.uint8)
    x[:, 4:24, 14] = 255
    letters = Dataset(x, torch.tensor([0, 1, 2]).repeat(2), ("a", "b", "c"), ("G", "H", "H"))
    every = with_twins(letters, 1.0)
    assert every.class_names[3:] == ("a + stroke", "b + stroke", "c + stroke")
    assert every.class_groups == ("G", "H", "H") * 2
    drawn = torch.stack([every.x[every.y == c] for c in range(3, 6)]).float()  # type: ignore[index]
    stroke = drawn - x[:1].float()
    assert (stroke >= 0).all() and (stroke > 128).flatten(2).sum(-1).min() >= 3
    # Of one twin the strokes lie together, of two apart.
    unit = stroke.flatten(2) / stroke.flatten(2).norm(dim=-1, keepdim=True)
    alike = torch.einsum("anp,bmp->abnm", unit, unit)
    assert (alike[range(3), range(3), 0, 1] > alike[~torch.eye(3, dtype=torch.bool)].max()).all()
    assert torch.equal(every.x, with_twins(letters, 1.0).x)  # type: ignore[arg-type]
    some = with_twins(in_eight_ways(letters), 0.5)
    assert 24 < some.n_classes < 48
    assert with_twins(letters, 0.0).n_classes == 3
    with pytest.raises(ConfigError, match="share of the letters"):
        with_twins(letters, 1.5)


def test_what_is_practised_on_and_what_is_kept_out(rendered: None, tmp_path: Path) -> None:
    write_omniglot(tmp_path)
    fonts = characters()
    assert set(fonts) == {"train", "validation"}
    assert {n.split("@")[0] for n in fonts["train"].class_groups} == {"type/Latin", "type/Cyrillic"}
    # U+0461 is a letter of Old Church Slavonic, which is tested on.
    assert {n.split("@")[0] for n in fonts["train"].class_names} == {n for n in NAMES if "Arabic" not in n} - {
        NAMES[-1]
    }
    assert set(fonts["validation"].class_groups) == {"type/Arabic"} and len(fonts["validation"]) == 3 * 20
    # Without handwriting there is nothing to be tested on but the scripts of validation.
    assert load_data(Recipe.read("characters").data).evaluation_split == "validation"
    small = characters(tmp_path, fonts=False, handwriting="small1")
    assert {n.split("@")[0] for n in small["train"].class_groups} == {"Greek", "Latin"}
    assert set(small["test"].class_groups) == {"Angelic"}
    both = characters(tmp_path, handwriting="background")
    # Beside handwriting, type comes upright.
    assert both["train"].n_classes == fonts["train"].n_classes // 8 + small["train"].n_classes
    # Every item stays with its class.
    first = both["train"].y == both["train"].class_names.index("Greek/character00@0")
    assert torch.equal(both["train"].x[first], small["train"].x[small["train"].y == 0])  # type: ignore[index]


def test_options_that_do_not_go_together(rendered: None) -> None:
    with pytest.raises(ConfigError, match="'small1'"):
        load_data(Recipe.read("characters", ["data.handwriting=smal1"]).data)
    with pytest.raises(ConfigError, match="where Omniglot lies"):
        characters(handwriting="background")
    with pytest.raises(ConfigError, match="something to train on"):
        characters(fonts=False)


def test_the_recipe_distorts_as_it_says(rendered: None) -> None:
    recipe = Recipe.read("characters", ["episodes.n_way=3"])
    data = load_data(recipe.data)
    assert isinstance(data, LabelledData) and data.items["n_views"] == 8
    transform = data.training(recipe.episodes, 0).transform
    assert transform is not None and transform.thickness == 0.3  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="no option 'thicknes'"):
        data.training(Recipe.read("characters", ["episodes.distortion={thicknes: 1}"]).episodes, 0)


def alphabets(n_letters: int) -> Dataset:
    """Two alphabets by three hands; pixel 0 is the letter and pixel 1 the hand."""
    x = torch.zeros(2 * n_letters * 3, 5, 5, dtype=torch.uint8)
    y = torch.arange(2 * n_letters).repeat_interleave(3)
    x[:, 0, 0], x[:, 0, 1] = y.to(torch.uint8), torch.arange(3, dtype=torch.uint8).repeat(2 * n_letters)
    names = tuple(f"{g}/{i}" for g in "GH" for i in range(n_letters))
    return Dataset(x, y, names, tuple(name[0] for name in names))


def test_a_run_is_one_alphabet_and_two_hands() -> None:
    dataset = alphabets(N_WAY + 2)
    runs = drawn_runs(dataset, 5)
    assert [run.group for run in runs] == ["G"] * 5 + ["H"] * 5
    for run in runs:
        assert len(set(run.labels)) == N_WAY and set(run.answers) == set(run.labels) and run.answers != run.labels
        assert {name[0] for name in run.labels} == {run.group}
        hands = [{int(picture[0, 1]) for picture in pictures} for pictures in (run.support, run.query)]
        assert all(len(hand) == 1 for hand in hands) and hands[0] != hands[1]
        for pictures, names in ((run.support, run.labels), (run.query, run.answers)):
            assert [dataset.class_names[picture[0, 0]] for picture in pictures] == names
    again = drawn_runs(dataset, 5)
    assert [r.answers for r in again] == [r.answers for r in runs]
    assert [r.answers for r in drawn_runs(dataset, 5, seed=1)] != [r.answers for r in runs]
    with pytest.raises(DataError, match="20 letters"):
        drawn_runs(alphabets(4))


def test_a_typical_hand_draws_like_everybody_else() -> None:
    """Eight hands: a bar a letter, at the letter's own height; hands 2, 5 and 7 draw something else."""
    drawings = np.zeros((6, 8, 28, 28), np.uint8)
    for letter in range(6):
        drawings[letter, :, 2:26, 4 * letter + 3] = 255
        drawings[letter, :, 3 * letter + 4, 2:26] = 255
        for k, odd in enumerate((2, 5, 7)):
            drawings[letter, odd] = 0
            drawings[letter, odd, 2:26, 2 + k] = drawings[letter, odd, 25 - letter, 2:26] = 255
    assert not set(typical_drawers(drawings)) & {2, 5, 7}
    assert len(typical_drawers(drawings)) == 2 and len(typical_drawers(drawings.repeat(2, 1))) == 4


def test_typical_hands_are_whose_drawings_are_shown_and_asked() -> None:
    dataset = alphabets(N_WAY)
    x = dataset.x.numpy().copy()  # type: ignore[union-attr]
    x[:, 4], x[2::3, 4], x[2::3, :, 4] = 255, 0, 255  # the third hand draws its line elsewhere
    dataset = replace(dataset, x=torch.from_numpy(x))
    runs = {
        hands: drawn_runs(dataset, 8, hands=hands) for hands in (("any", "any"), ("typical", "any"), ("typical",) * 2)
    }

    def seen(hands: tuple[str, str]) -> list[set[int]]:
        return [
            {int(part[0][0, 1]) for run in runs[hands] for part in (getattr(run, of),)} for of in ("support", "query")
        ]

    assert seen(("any", "any")) == [{0, 1, 2}] * 2
    assert seen(("typical", "any")) == [{0, 1}, {0, 1, 2}]
    assert seen(("typical", "typical")) == [{0, 1}] * 2
    for run in runs["typical", "typical"]:
        assert run.support[0][0, 1] != run.query[0][0, 1]


def png(grey: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("folder", ["", "all_runs/"])
def test_lakes_runs_are_read_from_their_zip(folder: str, tmp_path: Path) -> None:
    path = tmp_path / "all_runs.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for run in ("run01", "run02"):
            lines = [f"{run}/test/item{i:02d}.png {run}/training/class{3 - i:02d}.png" for i in (1, 2)]
            archive.writestr(f"{folder}{run}/class_labels.txt", "\n".join(lines))
            for i in (1, 2):
                archive.writestr(f"{folder}{run}/test/item{i:02d}.png", png(np.full((9, 9), i, np.uint8)))
                archive.writestr(f"{folder}{run}/training/class{i:02d}.png", png(np.full((9, 9), 10 * i, np.uint8)))
    runs = lake_runs(path)
    assert [run.name for run in runs] == ["run01", "run02"]
    assert [int(p[0, 0]) for p in runs[0].support] == [10, 20] and [int(p[0, 0]) for p in runs[0].query] == [1, 2]
    assert runs[0].answers == runs[0].labels[::-1]


def test_what_is_no_file_of_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not there"):
        lake_runs(tmp_path / "all_runs.zip")
    (tmp_path / "a.zip").write_bytes(b"no zip")
    with pytest.raises(DataError, match="damaged or of another make"):
        lake_runs(tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("run01/other.txt", "")
    with pytest.raises(DataError, match="holds no class_labels"):
        lake_runs(tmp_path / "b.zip")

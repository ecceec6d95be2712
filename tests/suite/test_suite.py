"""A suite asks all the same, names the best with its ties, goes on where it was stopped, and says what each costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO, StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from regard.cli import app
from regard.domains.data import LabelledData
from regard.domains.images.folder import ImageReader
from regard.domains.registry import find_domain
from regard.errors import ConfigError, DataError, DivergenceError
from regard.evaluation import Result, mean_interval, read_results
from regard.evaluation.metrics import METRICS
from regard.recipes.config import Recipe
from regard.recipes.data import load_data
from regard.recipes.fitting import fitted_to
from regard.recipes.run import EvaluationOptions, compare_by_setting
from regard.recipes.trained import load
from regard.sampling.dataset import Dataset
from regard.suite import Suite, candidates_for, rank_candidates, run_suite, show_suite, write_suite
from regard.suite import jobs as suite_jobs
from regard.suite import run as suite_run
from regard.suite.candidates import PROBE, UNTRAINED
from regard.suite.hunger import curve_lines, curve_picture
from regard.training.progress import Silent

SETTINGS = (
    "data.size=28",
    "data.n_channels=1",
    "learner.d_head=8",
    "learner.encoder.n_filters=8",
    "train.max_minutes=null",
    "train.steps=3",
    "train.validation_episodes=2",
    "train.tensorboard=false",
)


SOME = ("SimpleShot", "ANIL", "LinearProbe")


def run(pets: Path, out: Path, learners: Sequence[str] = SOME, **more: object) -> Suite:
    return run_suite(
        "folder",
        (f"data.folder={pets}", *SETTINGS),
        out=out,
        learners=learners,
        options=EvaluationOptions(episodes=4),
        console=Console(quiet=True),
        **more,  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def suite(pets: Path, tmp_path_factory: pytest.TempPathFactory) -> Suite:
    return run(pets, tmp_path_factory.mktemp("suite"), classes=(6,))


# ---- who takes part --------------------------------------------------------------------------------------------------


def blank(n_classes: int, n_items: int, side: int = 28) -> Dataset:
    y = torch.arange(n_classes).repeat_interleave(n_items)
    return Dataset(torch.zeros(len(y), side, side, dtype=torch.uint8), y, tuple(f"c{i:03}" for i in range(n_classes)))


def blank_data(domain: str = "images", n_classes: int = 12, n_items: int = 20) -> LabelledData:
    splits = {name: blank(n_classes, n_items) for name in ("train", "validation", "test")}
    encoder = {"n_channels": 1, "image_size": 28}
    return LabelledData(find_domain(domain), "blank", splits, ImageReader(28, 1), encoder)


def test_all_take_the_recipes_encoder_and_the_recipes_own_learner_is_as_it_says() -> None:
    recipe = Recipe.read("glyphs")
    found = {entrant.name: entrant.recipe for entrant in candidates_for(recipe, blank_data())}
    assert found["CrossTransformer"] is recipe
    whole = recipe.learner.options()["encoder"]
    vector = {k: v for k, v in whole.items() if k not in ("parts", "n_halvings")}
    for name in ("Prototypical", "Matching", "FEAT", "R2D2", "MetaOptNet", PROBE, UNTRAINED):
        assert found[name].learner.options()["encoder"] == vector
    assert found["Relation"].learner.options()["encoder"] == whole
    assert found["MAML"].learner.options()["model"] == {"n_outputs": 30, "encoder": {**vector, "norm": "group"}}
    shot = found["SimpleShot"]
    assert shot.learner.options()["n_train_classes"] == 12 and shot.episodes.labels == "data"
    # As many images a step, more or less: 4 tasks of 30 x (1 + 1), and 2 of 30 x (1 + 5).
    assert (found["FEAT"].episodes.n_query, found["FEAT"].train.tasks_per_step) == (5, 2)
    assert found["NearestNeighbour (pixels)"].learner.options() == {"encoder": {"name": "Flat"}}


def test_an_encoder_of_vectors_gives_maps_to_those_who_compare_places() -> None:
    found = {e.name: e.recipe for e in candidates_for(Recipe.read("omniglot"), blank_data())}
    encoder = {"name": "Conv4", "norm": "batch"}
    assert found["R2D2"].learner.options()["encoder"] == encoder
    assert found["CrossTransformer"].learner.options()["encoder"] == {**encoder, "parts": True, "n_halvings": 2}


def test_texts_have_entrants_of_their_own() -> None:
    names = [e.name for e in candidates_for(Recipe.read("intents"), blank_data("texts"))]
    assert "AttentionMetaLearner" in names and not {"CrossTransformer", "MAML", "NearestNeighbour (pixels)"} & set(
        names
    )
    assert names[-1] == UNTRAINED


def test_names_are_looked_up_and_data_without_classes_is_refused() -> None:
    recipe, data = Recipe.read("glyphs"), blank_data()
    assert [e.name for e in candidates_for(recipe, data, ["feat"])] == ["FEAT", UNTRAINED, "NearestNeighbour (pixels)"]
    with pytest.raises(ConfigError, match="did you mean 'FEAT'"):
        candidates_for(recipe, data, ["FEET"])
    with pytest.raises(ConfigError, match="all methods start from scratch"):
        candidates_for(recipe.model_copy(update={"init_from": "characters"}), data)
    with pytest.raises(ConfigError, match="no classes of labelled items"):
        run_suite("sinusoid", out=Path("none"), console=Console(quiet=True))


def test_episodes_are_fitted_to_small_data_and_what_cannot_be_is_refused() -> None:
    recipe = Recipe.read("folder")
    small = replace(blank_data(n_classes=3, n_items=4))
    fitted, told = fitted_to(recipe, small)
    assert [(e.n_way, e.n_shot, e.n_query) for e in fitted.evaluation] == [(3, 1, 3), (3, 3, 1)]
    assert "3-way 1-shot" in told[0] and all("instead of" in line for line in told)
    assert fitted_to(recipe, blank_data()) == (recipe, [])
    with pytest.raises(DataError, match="at least two of both"):
        fitted_to(recipe, blank_data(n_items=1))


# ---- the contest -----------------------------------------------------------------------------------------------------


def test_all_are_asked_the_same_and_can_be_used(suite: Suite) -> None:
    assert {r.digest for r in suite.results if r.n_shot == 1} == {suite.results[0].digest}
    assert set(suite.entries) == {"SimpleShot", "ANIL", PROBE, UNTRAINED, "NearestNeighbour (pixels)"}
    assert set(suite.baselines) == {UNTRAINED, "NearestNeighbour (pixels)"}
    for name, entry in suite.entries.items():
        reader = {"size": 28, "n_channels": 1, "ink": "keep", "box": None}
        assert load(entry.path.parent).items == {"domain": "images", "reader": reader}
        assert entry.cost.steps == (3 if name not in suite.baselines else 0)
        assert entry.cost.file_bytes == entry.path.stat().st_size
        assert (entry.cost.training_seconds > 0) == (name not in suite.baselines)
    probe, host = (suite.entries[name].trained.learner.encoder.state_dict() for name in (PROBE, "SimpleShot"))  # type: ignore[union-attr]
    assert all(torch.equal(probe[key], host[key]) for key in host)


def test_nothing_is_trained_twice_and_what_was_stopped_goes_on(
    suite: Suite, pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = suite.folder / "SimpleShot" / "best.safetensors"
    before = first.stat().st_mtime_ns

    class Steps(Silent):
        done = 0

        def advance(self, report: object) -> None:
            Steps.done += 1

    monkeypatch.setattr(suite_run, "automatic", lambda title: Steps())
    again = run(pets, suite.folder, SOME[:2], classes=(6,))
    assert Steps.done == 0 and first.stat().st_mtime_ns == before
    expected = [(r.learner, r.metrics) for r in suite.results if r.learner != PROBE]
    assert [(r.learner, r.metrics) for r in again.results] == expected
    assert all(entry.cost == suite.entries[name].cost for name, entry in again.entries.items())


def test_a_learner_that_diverges_is_told_and_the_others_go_on(
    pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trains = suite_jobs.train_recipe

    def diverges(recipe: Recipe, *arguments: object, **more: object) -> Path:
        if recipe.learner.name == "SimpleShot":
            raise DivergenceError("the loss is nan")
        return trains(recipe, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(suite_jobs, "train_recipe", diverges)
    found = run(pets, tmp_path, ("SimpleShot", "R2D2", "LinearProbe"))
    assert found.failed == {"SimpleShot": "the loss is nan"}
    assert set(found.entries) == {"R2D2", UNTRAINED, "NearestNeighbour (pixels)"}  # and no probe without its encoder


def test_mistakes_are_found_before_any_time_is_spent(pets: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="numbers from 2 to 12"):
        run(pets, tmp_path, classes=(6, 100))
    with pytest.raises(ConfigError, match="did you mean 'MAML'"):
        run(pets, tmp_path, ("MAMLE",))
    assert not list(tmp_path.iterdir())


# ---- fewer classes ---------------------------------------------------------------------------------------------------


def test_fewer_classes_are_among_more_whatever_their_order(pets: Path) -> None:
    data = load_data(Recipe.read("folder", (f"data.folder={pets}", *SETTINGS)).data)
    assert isinstance(data, LabelledData)
    names = {n: set(data.training_on(n, seed=1).split("train").class_names) for n in (3, 6, 12)}
    assert names[3] < names[6] < names[12] and [len(v) for v in names.values()] == [3, 6, 12]
    train = data.split("train")
    turned = replace(data, splits={**data.splits, "train": train.select_classes(range(train.n_classes)[::-1])})
    assert set(turned.training_on(3, seed=1).split("train").class_names) == names[3]
    assert set(data.training_on(6, seed=2).split("train").class_names) != names[6]
    assert data.training_on(3).split("test") is data.split("test")
    said = Recipe.read(
        "folder", (f"data.folder={pets}", *SETTINGS, "data.n_training_classes=6", "data.training_classes_seed=1")
    )
    again = load_data(said.data)
    assert isinstance(again, LabelledData) and set(again.split("train").class_names) == names[6]
    with pytest.raises(ConfigError, match="expected 2 to 12"):
        data.training_on(13)


def test_the_curve_holds_its_numbers_and_practises_alike(suite: Suite) -> None:
    assert list(suite.curve) == [6, 12]
    assert {r.learner for r in suite.curve[6]} == {"SimpleShot", "ANIL", PROBE}
    few, many = (load(suite.folder / where / "SimpleShot") for where in ("6-classes", ""))
    assert few.require_recipe().data.options()["n_training_classes"] == 6
    assert few.require_recipe().episodes == many.require_recipe().episodes
    picture = Image.open(BytesIO(curve_picture(suite.curve, suite.baselines)))
    assert picture.width > picture.height > 300
    assert any("12" in line for line in curve_lines(suite.curve)) and not list(curve_lines({12: suite.results}))


# ---- the verdict -----------------------------------------------------------------------------------------------------


def result(learner: str, mean: float, *, shot: int = 1, seconds: float = 0.01, noise: int = 0) -> Result:
    """Of episodes that are as hard for all."""
    rng = np.random.default_rng(shot)
    own = np.random.default_rng(noise).normal(0, 0.05, 100) if noise else np.zeros(100)
    values = {m: mean + 0.2 * rng.standard_normal(100) + own - own.mean() for m in METRICS}
    intervals = {m: mean_interval(v) for m, v in values.items()}
    return Result(
        learner, "pets/test", 5, shot, 5, 100, 0, False, intervals, 1.0, values, adaptation_seconds=seconds, digest="x"
    )


def verdict_of(*results: Result, baselines: Sequence[str] = ("pixels",)) -> tuple[str, str, list[list[int]]]:
    verdict = rank_candidates(results, compare_by_setting(results, ("accuracy",)), baselines)
    ranked = [[one.rank for one in here] for here in verdict.placed.values()]
    return verdict.learner, " ".join(verdict.sentences), ranked


def test_the_best_is_named_and_ties_are_told_as_ties() -> None:
    best, why, ranked = verdict_of(
        result("slow", 0.60, seconds=0.5, noise=1), result("quick", 0.595, noise=2), result("pixels", 0.3, noise=3)
    )
    assert best == "slow" and "quick ties with it" in why and ranked == [[1, 1, 3]]
    assert "quick either, and it adapts in 10 ms against 500 ms" in why
    best, why, ranked = verdict_of(result("a", 0.7), result("b", 0.6), result("pixels", 0.3))
    assert best == "a" and "clearly ahead of the next, b" in why and ranked == [[1, 2, 3]]


def test_one_that_nobody_beats_anywhere_is_before_one_that_wins_once() -> None:
    best, _, _ = verdict_of(
        *(result("even", 0.60, noise=1), result("once", 0.601, noise=2), result("pixels", 0.2)),
        *(result("even", 0.8, shot=5), result("once", 0.7, shot=5), result("pixels", 0.4, shot=5)),
    )
    assert best == "even"


def test_a_baseline_that_is_not_beaten_is_named() -> None:
    assert "was not trained at all" in verdict_of(result("a", 0.5), result("pixels", 0.6))[1]
    told = verdict_of(result("a", 0.601, noise=1), result("pixels", 0.6, noise=2))[1]
    assert "pixels, which was not trained, is not clearly behind" in told


# ---- what is written -------------------------------------------------------------------------------------------------


def test_table_page_and_json_say_the_same(suite: Suite) -> None:
    console = Console(record=True, width=80, file=StringIO())
    show_suite(suite, console)
    told = console.export_text()
    assert f"Use {suite.verdict.learner}: regard predict" in told and "Prototypical (untrained)" in told
    page = write_suite(suite)
    text = page.read_text()
    assert "What each costs" in text and "More classes to train on" in text and suite.verdict.learner in text
    results, comparisons = read_results(page.parent / "results.json")
    assert [r.learner for r in results if r.learner.endswith("6 classes") and r.n_shot == 1] == [
        f"{name}, 6 classes" for name in ("SimpleShot", "ANIL", PROBE)
    ]
    assert len(comparisons) == 2 * 10 and {c.metric for c in comparisons} == {"accuracy"}


def test_the_command_says_what_it_cannot_do() -> None:
    runner = CliRunner()
    assert runner.invoke(app, ["compare", "a", "b", "--suite"]).exit_code == 2
    done = runner.invoke(app, ["compare", "glyphs", "--suite", "--classes", "16,many"])
    assert done.exit_code == 2 and "16,64,256" in done.output

"""Calibration is set on validation and measured on test, with episodes of one seed, and kept in the checkpoint."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from regard.commands import calibrate as command
from regard.commands.calibrate import Calibrated, calibrate, show_calibrated, write_calibrated
from regard.domains.data import LabelledData
from regard.domains.images.folder import ImageReader
from regard.domains.registry import find_domain
from regard.errors import ConfigError
from regard.evaluation.confidence import Confidence, ConfidenceReport
from regard.evaluation.intervals import Interval
from regard.recipes.components import build_learner
from regard.recipes.config import Recipe
from regard.recipes.run import checkpoint_content, learner_spec
from regard.recipes.trained import load
from regard.sampling.dataset import Dataset
from regard.training import load_checkpoint, save_checkpoint


def pictures(n_classes: int, seed: int) -> Dataset:
    generator = torch.Generator().manual_seed(seed)
    centre = torch.randint(0, 200, (n_classes, 1, 28, 28), generator=generator)
    x = (centre + torch.randint(0, 50, (n_classes, 6, 28, 28), generator=generator)).to(torch.uint8)
    y = torch.arange(n_classes).repeat_interleave(6)
    return Dataset(x.flatten(0, 1), y, tuple(f"{seed}-{i}" for i in range(n_classes)))


@pytest.fixture(scope="module")
def data() -> LabelledData:
    splits = {name: pictures(8, seed) for seed, name in enumerate(("train", "validation", "test"))}
    return LabelledData(find_domain("images"), "blobs", splits, ImageReader(28, 1), {"n_channels": 1, "image_size": 28})


@pytest.fixture
def file(data: LabelledData, tmp_path: Path) -> Path:
    settings = (
        "learner={name: Prototypical, encoder: {name: Conv4, n_filters: 4}}",
        "evaluation=[{n_way: 4, n_shot: 1, n_query: 2}]",
    )
    recipe = Recipe.read("glyphs", settings)
    spec = learner_spec(recipe, data)
    torch.manual_seed(0)
    save_checkpoint(
        tmp_path / "best.safetensors", build_learner(spec), spec=checkpoint_content(recipe, spec, data), step=7
    )
    return tmp_path / "best.safetensors"


def test_set_on_validation_and_measured_on_test(
    file: Path, data: LabelledData, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, Any, dict[str, Any]]] = []
    fit, measure = command.fit_confidence, command.measure_confidence

    def noted(name: str, function: Any) -> Any:
        def call(learner: Any, sampler: Any, *rest: Any, **options: Any) -> Any:
            calls.append((name, sampler, options))
            return function(learner, sampler, *rest, **options)

        return call

    monkeypatch.setattr(command, "fit_confidence", noted("fit", fit))
    monkeypatch.setattr(command, "measure_confidence", noted("measure", measure))
    done = calibrate(file, target_error=0.3, n_episodes=3, seed=5, data=data)
    assert [name for name, *_ in calls] == ["fit", "measure"]
    (_, validation, fitting), (_, test, measuring) = calls
    assert validation.dataset is data.splits["validation"] and test.dataset is data.splits["test"]
    assert validation.seed == test.seed == 5
    assert fitting == {"target_error": 0.3, "n_unknown": 1, "n_episodes": 3}
    assert measuring == {"n_unknown": 1, "n_episodes": 6}
    assert (done.n_known, done.n_unknown, done.path) == (4, 1, file)
    assert done.confidence.target_error == 0.3


def test_the_checkpoint_keeps_confidence_weights_step_and_spec(file: Path, data: LabelledData) -> None:
    before = load(file)
    assert before.confidence == Confidence()
    done = calibrate(file, n_episodes=2, n_unknown=3, data=data)
    after = load(file)
    assert after.confidence == done.confidence and done.n_unknown == 3
    assert after.spec == before.spec and after.items == before.items and after.recipe == before.recipe
    for name, tensor in before.learner.state_dict().items():
        assert torch.equal(tensor, after.learner.state_dict()[name])
    assert load_checkpoint(file).step == 7


def test_numbers_have_no_confidence(file: Path) -> None:
    functions = find_domain("functions").data_sets()["sinusoids"]()
    with pytest.raises(ConfigError, match="which has no classes: only answers that are classes can be refused"):
        calibrate(file, data=functions)


# ---- what is shown and written ---------------------------------------------------------------------------------------


def calibrated() -> Calibrated:
    before = {"ece": Interval(0.2, 0.15, 0.25), "brier": Interval(0.5, 0.4, 0.6), "nll": Interval(1.25, 1.0, 1.5)}
    after = {"ece": Interval(0.05, 0.04, 0.06), "brier": Interval(0.4, 0.3, 0.5), "nll": Interval(1.0, 0.9, 1.1)}
    report = ConfidenceReport(
        before, after, Interval(0.8, 0.75, 0.85), Interval(0.6, 0.5, 0.7), Interval(0.04, 0.03, 0.05), 0.9125
    )
    return Calibrated(Confidence(2.5, (0.1, 1.0, 0.2), 0.7, 0.05), report, 4, 2, Path("model.safetensors"))


def test_the_table_has_before_and_after_and_the_sentence_all_shares() -> None:
    console = Console(file=StringIO(), width=400)
    show_calibrated(calibrated(), console)
    told = console.file.getvalue()  # type: ignore[attr-defined]
    rows = {line.split()[0]: line.split()[1:] for line in told.splitlines() if line.split()[:1]}
    assert rows["ece"] == ["0.200", "±0.050", "0.050", "±0.010"]
    assert rows["nll"] == ["1.250", "±0.250", "1.000", "±0.100"]
    for part in ("Temperature 2.5", "2 unknown classes", "target of 5% error", "answers 80.0% ±5.0", "AUROC 0.912"):
        assert part in told
    assert "refuses 60.0% ±10.0" in told and "errs in 4.0% ±1.0" in told and "model.safetensors" in told


def test_json_holds_all_of_it(tmp_path: Path) -> None:
    write_calibrated(tmp_path / "c.json", calibrated())
    told = json.loads((tmp_path / "c.json").read_text())
    assert Confidence.from_dict(told["confidence"]) == calibrated().confidence and told["n_unknown"] == 2
    assert told["report"]["after"]["nll"] == {"mean": 1.0, "low": 0.9, "high": 1.1}
    assert told["report"]["auroc"] == 0.9125

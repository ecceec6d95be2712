"""The page "add a domain in one folder" is true: its blocks, installed outside the library, run every command."""

from __future__ import annotations

import importlib
import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from regard import FewShotClassifier
from regard.cli import app
from regard.domains import registry
from regard.recipes import config

PAGE = Path(__file__).parents[2] / "docs" / "add-a-domain.md"
QUICK = ["--set", "train.steps=8", "--set", "train.validate_every=4", "--set", "train.validation_episodes=4"]
QUICK += ["--set", "train.tensorboard=false", "--set", "evaluation_episodes=6", "--set", "data.n_tunes=24"]


def blocks() -> dict[str, str]:
    """The files that the page shows."""
    found = re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    return dict(found)


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The package of the page on sys.path, with the metadata that an installer writes."""
    folder = tmp_path_factory.mktemp("site")
    for name, text in blocks().items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "regard_melodies" / "__init__.py").touch()
    project = tomllib.loads(blocks()["pyproject.toml"])["project"]
    info = folder / "regard_melodies-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    ((group, points),) = project["entry-points"].items()
    (info / "entry_points.txt").write_text(f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()))
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    yield folder
    sys.path.remove(str(folder))
    registry.find_domain.cache_clear()
    config._recipe_of.cache_clear()
    for name in [m for m in sys.modules if m.startswith("regard_melodies")]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def run(installed: Path) -> Path:
    """A trained learner of melodies."""
    folder = installed / "run"
    call("train", "melodies", "--out", str(folder), *QUICK)
    return folder


def call(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def csv_of(path: Path, rows: list[list[object]]) -> Path:
    path.write_text("\n".join(",".join(map(str, row)) for row in rows) + "\n")
    return path


def test_it_is_found_by_its_entry_point() -> None:
    assert "melodies" in registry.domain_names()
    assert "melodies" in config.recipe_names()
    assert registry.domain_of_data("melodies").name == "melodies"


def test_the_recipe_is_shown_and_trained(run: Path) -> None:
    assert "name: melodies" in call("train", "melodies", "--show")
    assert (run / "best.safetensors").exists() and (run / "results.json").exists()


def test_it_is_evaluated_calibrated_and_examined(run: Path, tmp_path: Path) -> None:
    call("evaluate", str(run), "--episodes", "6", "--json", str(tmp_path / "r.json"))
    result = json.loads((tmp_path / "r.json").read_text())["results"][0]
    assert result["data"] == "melodies/test" and result["metrics"]["accuracy"]["mean"] > 0.6
    assert "Temperature" in call("calibrate", str(run), "--episodes", "8")
    assert "passed" in CliRunner().invoke(app, ["doctor", str(run), "--episodes", "6"]).output


def test_a_users_own_files_are_labelled(run: Path, tmp_path: Path) -> None:
    support = csv_of(tmp_path / "examples.csv", [["up", *range(8)], ["down", *range(8, 0, -1)]])
    query = csv_of(tmp_path / "queries.csv", [[8, 7, 6, 5, 4, 3, 2, 2], [0, 1, 2, 3, 4, 6, 6, 7]])
    call("predict", str(run), "--support", str(support), "--query", str(query), "--json", str(tmp_path / "p.json"))
    predictions = json.loads((tmp_path / "p.json").read_text())
    assert [p["label"] for p in predictions] == ["down", "up"] == [p["attended"] for p in predictions]
    model = FewShotClassifier(run).fit([list(range(8)), list(range(8, 0, -1))], ["up", "down"])
    np.testing.assert_array_equal(model.predict([[8, 7, 6, 5, 4, 3, 2, 2]]), ["down"])


def test_the_suite_compares_learners_on_it_and_writes_a_report(tmp_path: Path) -> None:
    out = tmp_path / "suite"
    call("compare", "melodies", "--suite", "--learners", "Prototypical", "--out", str(out), "--episodes", "6", *QUICK,
         "--set", "train.max_minutes=null")  # fmt: skip
    page = (out / "report.html").read_text()
    assert "Which learner for melodies?" in page and "Prototypical (untrained)" in page


def test_mistakes_are_the_domains_own(run: Path) -> None:
    from regard.errors import DataError

    with pytest.raises(DataError, match="melody 1 has 3 notes: expected 8"):
        FewShotClassifier(run).fit([list(range(8)), [1, 2, 3]], ["up", "down"])


def test_a_domain_may_bring_an_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    from regard.errors import ConfigError
    from regard.nn.mlp import MLP
    from regard.recipes.components import build_encoder, encoder_class

    domain = registry.find_domain("melodies")
    monkeypatch.setattr(type(domain), "own_encoders", {"TuneEncoder": "regard.nn.mlp:MLP"})
    assert encoder_class("TuneEncoder") is MLP
    assert build_encoder({"name": "TuneEncoder", "n_inputs": 8, "hidden": [4]}).n_features == 64
    with pytest.raises(ConfigError, match="did you mean 'TuneEncoder'"):
        encoder_class("TuneEncode")


def test_the_doctor_asks_the_domain_for_near_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    from regard.domains import NearCopy
    from regard.evaluation.leaks import find_leaks
    from regard.evaluation.leaks.data import contents_have_no_near_copy
    from regard.learners import Prototypical
    from regard.nn.flat import Flat

    domain = registry.find_domain("melodies")
    data = domain.data_sets()["melodies"](n_tunes=12)
    sampler = data.source("test", domain.evaluation_options(n_way=3, n_shot=1, n_query=2), 0)

    def verdict() -> str:
        checks = [contents_have_no_near_copy]
        (finding,) = find_leaks(Prototypical(Flat()), sampler, data.splits, n_episodes=2, checks=checks, domain=domain)
        return finding.verdict

    assert verdict() == "passed"
    monkeypatch.setattr(
        type(domain), "near_copies", lambda self, a, b, y_a, y_b: [NearCopy(0, 0, 0.99, "a transposed tune")]
    )
    assert verdict() == "failed"

"""The next experiment: expected improvement by integration, and choices that any user would make."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.stats import norm
from typer.testing import CliRunner

import regard
from regard.cli import app
from regard.commands.next_experiment import plan_experiments
from regard.errors import ConfigError, DataError, EpisodeError
from regard.estimators import FewShotRegressor, expected_improvement, next_experiment


@pytest.mark.parametrize(("mean", "deviation", "best"), [(1.0, 2.0, 0.5), (-3.0, 1.0, 0.0), (2.0, 0.1, 1.0)])
def test_expected_improvement_is_the_integral(mean: float, deviation: float, best: float) -> None:
    integral, _ = quad(lambda v: (v - best) * norm.pdf(v, mean, deviation), best, mean + 12 * deviation)
    assert expected_improvement([mean], [deviation], best)[0] == pytest.approx(integral, rel=1e-6, abs=1e-12)


X = [[x] for x in np.linspace(0, 1, 9).tolist()]
Y = [x[0] * 2 for x in X]


def test_the_promising_end_is_chosen() -> None:
    candidates = [[-0.5], [0.5], [1.3]]
    assert regard.next_experiment("tables", X, Y, candidates)[0].row == 2
    best, second = next_experiment(FewShotRegressor("tables"), X, Y, candidates, n=2, maximise=False)
    assert best.row == 0 and best.mean < 0.5 and best.candidate == [-0.5] and second.row != 0
    low, high = best.interval
    assert low < best.mean < high and best.improvement >= 0


def test_each_choice_believes_those_before_it() -> None:
    candidates = [[1.2], [1.1], [-0.3]]
    chosen = next_experiment("tables", X, Y, candidates, n=3)
    assert sorted(s.row for s in chosen) == [0, 1, 2]
    first, second = chosen[:2]
    model = FewShotRegressor("tables").fit([*X, first.candidate], [*Y, first.mean])
    mean, deviation = model.predict([second.candidate], return_std=True)
    assert (second.mean, second.deviation) == pytest.approx((mean[0], deviation[0]))


def test_data_frames_and_an_estimator_that_was_fitted() -> None:
    frame = pd.DataFrame({"a": np.linspace(0, 1, 9), "b": np.zeros(9)})
    model = FewShotRegressor("tables").fit(frame, Y)
    before = model.predict(frame)
    found = next_experiment(model, frame, Y, pd.DataFrame({"a": [0.2, 1.4], "b": [0.0, 0.0]}))
    assert found[0].row == 1
    np.testing.assert_array_equal(model.predict(frame), before)


def test_what_cannot_be_chosen_from() -> None:
    with pytest.raises(EpisodeError, match="no candidates"):
        next_experiment("tables", X, Y, [])
    with pytest.raises(EpisodeError, match="one number for each"):
        next_experiment("tables", X, Y[:3], [[1.0]])
    with pytest.raises(ConfigError, match="at most as many"):
        next_experiment("tables", X, Y, [[1.0]], n=2)
    with pytest.raises(ConfigError, match="whole number"):
        next_experiment("tables", X, Y, [[1.0]], n=0)
    with pytest.raises(EpisodeError, match="put it into a list"):
        next_experiment("materials", "NaCl", [1.0], ["KCl"])


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Melting points, and elements to measure next."""
    measured, candidates = tmp_path / "measured.csv", tmp_path / "candidates.csv"
    measured.write_text("formula,target\nNa,371\nK,337\nRb,312\nTi,1941\nNb,2750\nRe,3459\nV,2183\nLi,454\n")
    candidates.write_text("formula\nCs\nW\nTa\nNa\nW\n")
    return measured, candidates


def test_the_command_writes_a_table_a_page_and_json(files: tuple[Path, Path], tmp_path: Path) -> None:
    page, results = tmp_path / "next.html", tmp_path / "next.json"
    options = ["--measured", str(files[0]), "--candidates", str(files[1]), "-n", "2"]
    done = CliRunner().invoke(app, ["next", "materials", *options, "--page", str(page), "--json", str(results)])
    assert done.exit_code == 0, done.output
    rows = json.loads(results.read_text())
    assert {row["candidate"] for row in rows} <= {"W", "Ta"}  # Na is measured already
    assert rows[0]["interval"][0] < rows[0]["predicted"] < rows[0]["interval"][1]
    text = page.read_text()
    assert text.count("<svg") == 2 and "3459" in text and "<script" not in text and "http" not in text
    smallest = plan_experiments("materials", *files, n=1, maximise=False)
    assert smallest.suggestions[0].candidate == "Cs" and smallest.best == 312


def test_the_command_names_what_is_wrong(files: tuple[Path, Path], tmp_path: Path) -> None:
    files[1].write_text("formula\nNa\n")
    with pytest.raises(DataError, match="nothing that is not measured"):
        plan_experiments("materials", *files)
    files[0].write_text("formula,target\nNa,hot\n")
    with pytest.raises(DataError, match="'hot' is no number"):
        plan_experiments("materials", *files)
    files[0].write_text("formula,target\nNa,371\nLi,nan\n")
    with pytest.raises(DataError, match="row 1, 'Li': 'nan' is no number"):
        plan_experiments("materials", *files)
    files[0].write_text("formula,target\n")
    with pytest.raises(DataError, match="at least one with its number"):
        plan_experiments("materials", *files)
    files[0].write_text("formula,target\nQq,1\n")
    files[1].write_text("formula\nNa\n")
    with pytest.raises(DataError, match="row 0: 'Qq'"):
        plan_experiments("materials", *files)

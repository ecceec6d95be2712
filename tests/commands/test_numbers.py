"""Numbers of files, by the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from regard.cli import app
from regard.estimators import FewShotRegressor


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    (tmp_path / "measured.csv").write_text("formula,target\nNa,371\nK,337\nTi,1941\nNb,2750\nLi,454\n")
    (tmp_path / "new.csv").write_text("formula\nRb\nW\n")
    return ["--support", str(tmp_path / "measured.csv"), "--query", str(tmp_path / "new.csv")]


def test_numbers_are_those_of_the_estimator(files: list[str], tmp_path: Path) -> None:
    path = tmp_path / "numbers.json"
    done = CliRunner().invoke(app, ["predict", "materials", *files, "--json", str(path)])
    assert done.exit_code == 0, done.output
    rows = json.loads(path.read_text())
    model = FewShotRegressor("materials").fit(["Na", "K", "Ti", "Nb", "Li"], [371, 337, 1941, 2750, 454])
    mean, deviation = model.predict(["Rb", "W"], return_std=True)
    assert [row["query"] for row in rows] == ["Rb", "W"]
    np.testing.assert_allclose([row["value"] for row in rows], mean)
    np.testing.assert_allclose([row["interval"][1] for row in rows], mean + 1.959964 * deviation)
    assert "95% interval" in done.output


def test_explaining_a_model_for_numbers_needs_no_option(files: list[str], tmp_path: Path) -> None:
    page = tmp_path / "why.html"
    done = CliRunner().invoke(app, ["explain", "materials", *files, "--out", str(page)])
    assert done.exit_code == 0, done.output
    assert "Rb" in page.read_text()


def test_what_is_no_number_is_named(files: list[str]) -> None:
    Path(files[1]).write_text("formula,target\nNa,371\nK,inf\n")
    done = CliRunner().invoke(app, ["predict", "materials", *files])
    assert done.exit_code != 0 and "row 1, 'K': 'inf' is no number" in str(done.exception) + done.output

"""The commands as a user meets them."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from regard.cli import app
from regard.commands.predict import predict_files
from regard.evaluation import read_results
from regard.evaluation.leaks import CHECKS
from regard.recipes.trained import load

REGARD = [sys.executable, "-m", "regard"]
TINY = [
    "--set=train.steps=4",
    "--set=train.max_minutes=null",
    "--set=train.validate_every=2",
    "--set=train.validation_episodes=2",
    "--set=train.checkpoint_every=2",
    "--set=evaluation_episodes=4",
    "--set=learner.encoder.n_filters=8",
    "--set=learner.d_head=8",
]

COMMANDS = {
    *("app", "export"),
    *("quickstart", "train", "evaluate", "compare", "calibrate", "doctor", "learners", "cite"),
    *("predict", "next", "rollout", "explain", "serve"),
}


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, as a user starts it."""
    command = [*REGARD, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "COLUMNS": "140"})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "glyphs"
    done = run("train", "glyphs", "--out", folder, *TINY)
    assert done.returncode == 0, done.stderr
    return folder


def test_help_is_instant() -> None:
    seconds = []
    for _ in range(3):
        before = _children_seconds()
        assert run("--help").returncode == 0
        seconds.append(_children_seconds() - before)
    assert min(seconds) < 0.5


def _children_seconds() -> float:
    """Of the processor, so that a machine with other work gives the same number."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_learners_and_cite() -> None:
    listed = run("learners").stdout
    assert "CrossTransformer" in listed and "attention" in listed
    assert "1703.05175" in run("cite", "prototypical").stdout


def test_learners_are_readable_at_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    from regard.learners import LEARNERS

    monkeypatch.setenv("COLUMNS", "80")
    done = CliRunner().invoke(app, ["learners"])
    assert done.exit_code == 0, done.exception
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    for row in LEARNERS:
        [line] = [line for line in lines if line.split()[:1] == [row.name]]
        assert str(row.year) in line and ", ".join(row.family) in line and "…" not in line


def test_version_is_printed() -> None:
    from regard import __version__

    done = CliRunner().invoke(app, ["--version"])
    assert done.exit_code == 0 and done.stdout == f"regard {__version__}\n"


def test_a_mistake_is_one_message_and_no_traceback() -> None:
    done = run("cite", "Prototypicl")
    assert done.returncode == 1
    assert "did you mean 'Prototypical'" in done.stderr and "Traceback" not in done.stderr
    done = run("train", "glyphs", "--set", "train.stepz=3")
    assert done.returncode == 1 and "did you mean 'steps'" in done.stderr


@pytest.mark.parametrize("extra", [["--show"], ["--set", "train.stepz=3"]])
def test_reading_a_recipe_leaves_pytorch_alone(extra: list[str]) -> None:
    code = (
        "import sys, regard.cli\n"
        "try:\n    regard.cli.main()\n"
        "finally:\n    print('heavy:', sorted({'torch', 'sklearn', 'matplotlib'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, "train", "glyphs", *extra], capture_output=True, text=True)
    assert "heavy: []" in done.stderr, done.stderr
    assert "patience: 0" in done.stdout or "did you mean 'steps'" in done.stderr


def test_train_show_prints_every_default_and_trains_nothing(tmp_path: Path) -> None:
    done = run("train", "glyphs", "--show", "--out", tmp_path / "none")
    assert "validation_episodes:" in done.stdout and "patience: 0" in done.stdout
    assert not (tmp_path / "none").exists()


def test_train_writes_checkpoints_logs_and_results(trained: Path) -> None:
    assert {"best.safetensors", "last.safetensors", "metrics.csv", "results.json"} <= {
        p.name for p in trained.iterdir()
    }
    results, _ = read_results(trained / "results.json")
    assert [(r.n_way, r.n_shot) for r in results] == [(20, 1), (5, 5)]


def test_evaluate_and_compare_write_the_documented_schema(trained: Path, tmp_path: Path) -> None:
    done = run("evaluate", trained, "--n-way", "5", "--episodes", "3", "--json", tmp_path / "one.json")
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "one.json").read_text())
    assert content["results"][0]["n_way"] == 5 and content["results"][0]["episodes"] == 3
    assert {"mean", "low", "high"} == set(content["results"][0]["metrics"]["accuracy"])
    done = run("compare", trained, trained / "last.safetensors", "--episodes", "3", "--json", tmp_path / "two.json")
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "two.json").read_text())
    first = content["comparisons"][0]
    assert set(first) == {"a", "b", "data", "n_way", "n_shot", "metric", "difference"}
    assert "tie" in done.stdout


def test_processes_leave_no_trace_in_the_file(trained: Path, tmp_path: Path) -> None:
    files = []
    for processes in (1, 3):
        files.append(tmp_path / f"{processes}.json")
        words = ["evaluate", trained, "--episodes", "7", "--processes", processes, "--json", files[-1]]
        done = run(*map(str, words))
        assert done.returncode == 0, done.stderr
    # How long it took and the command are all that may differ.
    one, three = (re.sub(r'("(\w*seconds|command)": )[^\n]+', r"\1", file.read_text()) for file in files)
    assert one == three and "seconds" in one


def test_compare_wants_two(trained: Path) -> None:
    done = run("compare", trained)
    assert done.returncode == 1 and "two or more" in done.stderr


def test_predict_names_files_from_a_folder_a_class(trained: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("alpha", "beta"):
        (tmp_path / "support" / name).mkdir(parents=True)
        Image.fromarray(rng.integers(0, 255, (40, 30), dtype=np.uint8)).save(tmp_path / "support" / name / "a.png")
    (tmp_path / "query").mkdir()
    Image.open(tmp_path / "support" / "beta" / "a.png").save(tmp_path / "query" / "same.png")
    out = tmp_path / "p.json"
    done = run("predict", trained, "--support", tmp_path / "support", "--query", tmp_path / "query", "--json", out)
    assert done.returncode == 0, done.stderr
    (prediction,) = json.loads(out.read_text())
    assert prediction["query"] == "same.png" and prediction["label"] == "beta"
    assert Path(prediction["attended"]).name == "a.png"


def test_predict_says_what_is_wrong_with_the_files(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "support" / "alpha").mkdir(parents=True)
    (tmp_path / "support" / "alpha" / "broken.png").write_bytes(b"not a picture")
    done = run("predict", trained, "--support", tmp_path / "support", "--query", tmp_path / "support")
    assert done.returncode == 1
    assert "broken.png" in done.stderr and "Traceback" not in done.stderr


def test_a_checkpoint_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"PK\x03\x04 pretending")
    done = run("evaluate", tmp_path / "x.safetensors")
    assert done.returncode == 1 and "pickle" in done.stderr


def test_doctor_tells_every_check_and_fails_where_one_fails(trained: Path, tmp_path: Path) -> None:
    done = run("doctor", trained, "--episodes", "2", "--json", tmp_path / "found.json")
    findings = json.loads((tmp_path / "found.json").read_text())["findings"]
    assert len(findings) == len(CHECKS) and all(set(f) == {"check", "verdict", "proof"} for f in findings)
    failed = [f for f in findings if f["verdict"] == "failed"]
    assert done.returncode == bool(failed) and done.stdout.count("FAILED") == len(failed)
    assert "queries can be removed" in done.stdout


def test_calibrate_keeps_what_it_set_in_the_checkpoint(trained: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes((trained / "best.safetensors").read_bytes())
    done = run("calibrate", copy, "--episodes", "4", "--target-error", "0.5", "--json", tmp_path / "c.json")
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "c.json").read_text())
    assert told["n_unknown"] == 5 and set(told["report"]["before"]) == {"ece", "brier", "nll"}
    kept = load(copy)
    assert kept.confidence.to_dict() == told["confidence"] and kept.confidence.target_error == 0.5
    before = load(trained / "best.safetensors").learner.state_dict()
    assert all(torch.equal(t, before[name]) for name, t in kept.learner.state_dict().items())
    for name in ("alpha", "beta"):
        (tmp_path / "support" / name).mkdir(parents=True)
        page = np.random.default_rng(len(name)).integers(0, 255, (40, 30), dtype=np.uint8)
        Image.fromarray(page).save(tmp_path / "support" / name / "a.png")
    (prediction, _) = predict_files(copy, tmp_path / "support", tmp_path / "support")
    assert isinstance(prediction.answered, bool)
    done = run("calibrate", trained / "last.safetensors", "--episodes", "4")
    assert done.returncode == 1 and "calibrate that" in done.stderr


def test_no_command_is_lost() -> None:
    """Commands stand in two files, and a merge may drop one without a sound."""
    named = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
    assert named == COMMANDS


def test_every_command_has_help() -> None:
    runner = CliRunner()
    for name in COMMANDS:
        assert runner.invoke(app, [name, "--help"]).exit_code == 0


def test_quickstart_writes_checkpoint_results_and_report(tmp_path: Path) -> None:
    done = run("quickstart", "--out", tmp_path / "q", "--minutes", "0.05", "--episodes", "6")
    assert done.returncode == 0, done.stderr
    results, comparisons = read_results(tmp_path / "q" / "results.json")
    assert {r.learner for r in results} == {"CrossTransformer", "Prototypical", "NearestNeighbour (pixels)"}
    assert any(c.metric == "accuracy" and {c.a, c.b} == {"CrossTransformer", "Prototypical"} for c in comparisons)
    page = (tmp_path / "q" / "report.html").read_text()
    assert page.count("data:image/png") > 12 and "http://" not in page.replace("http://www.w3.org", "")
    assert run("evaluate", tmp_path / "q", "--episodes", "2").returncode == 0

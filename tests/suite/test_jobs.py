"""Candidates that train side by side give what they give one after the other, and go on where they were killed."""

from __future__ import annotations

import fcntl
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from regard.cli import app
from regard.errors import ConfigError
from regard.recipes.run import EvaluationOptions
from regard.suite import Suite, Workers, run_suite
from regard.suite import jobs as suite_jobs
from regard.suite import run as suite_run
from regard.suite.jobs import Job, available_cores, run_jobs
from regard.training.checkpoint import load_checkpoint
from regard.training.file_format import LAST

SETTINGS = (
    "data.size=28",
    "data.n_channels=1",
    "learner.encoder.n_filters=8",
    "train.max_minutes=null",
    "train.steps=3",
    "train.validation_episodes=2",
    "train.tensorboard=false",
)


def run(pets: Path, out: Path, workers: Workers | None = None) -> Suite:
    return run_suite(
        "folder",
        (f"data.folder={pets}", *SETTINGS),
        out=out,
        learners=("Prototypical", "SimpleShot"),
        options=EvaluationOptions(episodes=4),
        workers=workers,
        console=Console(quiet=True),
    )


def weights_of(suite: Suite) -> dict[str, dict[str, torch.Tensor]]:
    return {name: entry.trained.learner.state_dict() for name, entry in suite.entries.items()}


class Killed(Job):
    """A job whose process is killed the first time."""

    def __call__(self) -> str | None:
        mark = self.folder / "killed-once"
        if not mark.exists():
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__()


class AlwaysKilled(Job):
    def __call__(self) -> str | None:
        os.kill(os.getpid(), signal.SIGKILL)
        return None


# ---- the words of the command ----------------------------------------------------------------------------------------


def test_where_to_train_is_read_from_words() -> None:
    assert Workers.read(1, "local", ()).here and not Workers.read(2, "local", ()).here
    found = Workers.read(4, "slurm", ("slurm_partition=gpu", "timeout_min=30"))
    assert found == Workers(4, "slurm", (("slurm_partition", "gpu"), ("timeout_min", 30))) and not found.here


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((1, "slrum", ()), "slurm"),
        ((2, "local", ("timeout_min=3",)), "--on slurm"),
        ((2, "slurm", ("timeout_min",)), "key=value"),
    ],
)
def test_words_that_say_nothing_are_refused(words: tuple[int, str, tuple[str, ...]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Workers.read(*words)


def test_more_processes_than_cores_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="equal training time"):
        run_jobs([], Workers(len(available_cores()) + 1), tmp_path, print)


def test_the_command_takes_one_recipe_and_a_place(pets: Path) -> None:
    result = CliRunner().invoke(app, ["compare", "folder", "--suite", "--on", "moon"])
    assert "--on moon" in str(result.exception or result.output)


# ---- side by side ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alone(pets: Path, tmp_path_factory: pytest.TempPathFactory) -> Suite:
    return run(pets, tmp_path_factory.mktemp("alone"))


# Processes take seconds to start, so these run with the extra's tests.
submitit = pytest.importorskip("submitit", reason="processes and clusters are tested with the extra cluster")


@pytest.mark.parametrize("workers", [Workers(len(available_cores())), Workers(2, "rehearsal")])
def test_side_by_side_is_one_after_the_other(alone: Suite, pets: Path, tmp_path: Path, workers: Workers) -> None:
    found = run(pets, tmp_path / "suite", workers)
    assert not found.failed
    for name, weights in weights_of(alone).items():
        for key, tensor in weights.items():
            assert torch.equal(tensor, weights_of(found)[name][key]), (name, key)
    for ours, theirs in zip(found.results, alone.results, strict=True):
        assert np.array_equal(ours.per_episode["accuracy"], theirs.per_episode["accuracy"])


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config) -> None:
    """What other processes need to find the jobs of this file."""
    root = str(pytestconfig.rootpath)
    monkeypatch.syspath_prepend(root)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH")))))


@pytest.mark.usefixtures("importable")
@pytest.mark.parametrize("workers", [Workers(2), Workers(2, "rehearsal")])
def test_a_killed_process_starts_again(
    pets: Path, tmp_path: Path, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suite_run, "Job", Killed)
    found = run(pets, tmp_path / "suite", replace(workers, jobs=min(workers.jobs, len(available_cores()))))
    assert not found.failed
    assert load_checkpoint(tmp_path / "suite" / "Prototypical" / LAST).training["state"]["step"] == 3


@pytest.mark.usefixtures("importable")
def test_one_that_is_always_killed_is_named(pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite_run, "Job", AlwaysKilled)
    with pytest.raises(ConfigError, match=r"(Prototypical|SimpleShot) was killed 3 times"):
        run(pets, tmp_path / "suite", Workers(min(2, len(available_cores()))))


def test_an_option_that_the_cluster_does_not_have_is_named(pets: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--cluster no_such=1"):
        run(pets, tmp_path / "suite", Workers(1, "rehearsal", (("no_such", 1),)))


def test_each_process_has_cores_of_its_own(tmp_path: Path) -> None:
    cores = available_cores()
    if len(cores) < 2:
        pytest.skip("one core only")
    with (tmp_path / "cores-0.lock").open("w") as held:  # as another process does
        fcntl.flock(held, fcntl.LOCK_EX)
        with suite_jobs._own_cores(tmp_path, 1):
            assert available_cores() == cores[1:2]
    with suite_jobs._own_cores(tmp_path, 1):
        assert available_cores() == cores[:1]
    assert available_cores() == cores

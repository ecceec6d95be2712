"""What only whole processes can show: kills, a full disk, and two processes that do the work of one."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from regard.training import load_checkpoint
from regard.training.logs import read_metrics

SCRIPT = str(Path(__file__).with_name("script.py"))
SETTINGS = {"steps": 60, "validate_every": 20, "log_every": 5, "checkpoint_every": 7, "warmup_steps": 5}


def start(folder: Path, **settings: object) -> subprocess.Popen[str]:
    words = [f"{key}={value}" for key, value in (SETTINGS | settings).items()]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error::UserWarning:regard", SCRIPT, str(folder), *words]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors


def run(folder: Path, **settings: object) -> None:
    code, errors = finish(start(folder, **settings))
    assert code == 0, errors


def wait_for_step(folder: Path, step: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline and process.poll() is None:
        if any(row["step"] >= step for row in read_metrics(folder / "metrics.csv")):
            return
        time.sleep(0.005)
    pytest.fail(f"never came to step {step}: {process.communicate(timeout=10)[1]}")


def curves(folder: Path) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(folder / "metrics.csv")]


def assert_same_run(a: Path, b: Path) -> None:
    for name in ("last.safetensors", "best.safetensors"):
        left, right = load_checkpoint(a / name), load_checkpoint(b / name)
        assert left.all_tensors.keys() == right.all_tensors.keys()
        for key, tensor in left.all_tensors.items():
            assert torch.equal(tensor, right.all_tensors[key]), f"{name}: {key}"
        assert (left.step, left.metrics) == (right.step, right.metrics)
    assert curves(a) == curves(b)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    run(folder)
    return folder


def test_killed_and_resumed_is_never_killed(whole: Path, tmp_path: Path) -> None:
    dice = random.Random()
    for reach in (10, 35):
        process = start(tmp_path)
        wait_for_step(tmp_path, reach, process)
        time.sleep(dice.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        finish(process)
    assert 7 <= load_checkpoint(tmp_path / "last.safetensors").step < 60, "killed too late to show anything"
    run(tmp_path)
    assert_same_run(whole, tmp_path)


@pytest.mark.parametrize(("n_processes", "dropout"), [(2, 0), (3, 1)])
def test_several_processes_take_the_steps_of_one_bit_for_bit(tmp_path: Path, n_processes: int, dropout: int) -> None:
    settings = {"steps": 12, "tasks_per_step": 6, "optimizer": "adam", "learning_rate": 0.05, "dropout": dropout}
    run(tmp_path / "one", grad_clip=0.5, **settings)
    run(tmp_path / "more", grad_clip=0.5, devices=n_processes, strategy="ddp", **settings)
    assert_same_run(tmp_path / "one", tmp_path / "more")


def test_two_machines_take_the_steps_of_one_bit_for_bit(tmp_path: Path) -> None:
    """As on a cluster: the same command on each machine, here both on the loopback."""
    settings = {"steps": 6, "tasks_per_step": 2, "validate_every": 6, "dropout": 1}
    run(tmp_path / "one", **settings)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [f"{key}={value}" for key, value in (SETTINGS | settings | {"nodes": 2, "strategy": "ddp"}).items()]
    machines = []
    for rank in range(2):
        # What torchrun sets for the only process of each machine.
        torchrun = {
            "RANK": rank,
            "GROUP_RANK": rank,
            "NODE_RANK": rank,
            "LOCAL_RANK": 0,
            "TORCHELASTIC_RUN_ID": "test",
            "WORLD_SIZE": 2,
            "LOCAL_WORLD_SIZE": 1,
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
        }
        environment = os.environ | {"OMP_NUM_THREADS": "1"} | {key: str(value) for key, value in torchrun.items()}
        command = [sys.executable, SCRIPT, str(tmp_path / "two"), *words]
        machines.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    for machine in machines:
        code, errors = finish(machine)
        assert code == 0, errors
    assert_same_run(tmp_path / "one", tmp_path / "two")


def test_two_processes_of_whole_shares_take_nearly_the_steps_of_one(tmp_path: Path) -> None:
    # Without momentum's square root: Adam turns the rounding of a gradient that is zero into a whole step.
    settings = {"steps": 12, "tasks_per_step": 4, "optimizer": "sgd", "learning_rate": 0.05, "dropout": 0}
    run(tmp_path / "one", tasks_at_once=4, **settings)
    run(tmp_path / "two", tasks_at_once=2, devices=2, strategy="ddp", **settings)
    one, two = load_checkpoint(tmp_path / "one/last.safetensors"), load_checkpoint(tmp_path / "two/last.safetensors")
    for name, tensor in one.tensors("learner").items():
        torch.testing.assert_close(two.tensors("learner")[name], tensor, rtol=1e-5, atol=1e-6)
    for a, b in zip(curves(tmp_path / "one"), curves(tmp_path / "two"), strict=True):
        assert a == pytest.approx(b, rel=1e-4)


def test_a_disk_that_fills_up_leaves_the_last_checkpoint(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    before = (tmp_path / "last.safetensors").read_bytes()
    # Not even the first checkpoint of the new run fits.
    code, errors = finish(start(tmp_path, resume=0, file_limit=1024))
    assert code == 3, errors
    assert "nothing was changed" in errors
    assert (tmp_path / "last.safetensors").read_bytes() == before
    assert not list(tmp_path.glob(".*")), "half-written files are left behind"

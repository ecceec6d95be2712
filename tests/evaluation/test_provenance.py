"""What made a number: checked against the system's own ways of saying it."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch

from regard.evaluation import provenance
from regard.evaluation.provenance import command_line, machine, versions


def test_versions_are_those_of_the_packages() -> None:
    assert versions() == {
        "regard": version("regard"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def test_the_machine_is_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    about = machine()
    assert about["cores"] == len(os.sched_getaffinity(0)) >= 1
    assert about["threads"] == torch.get_num_threads()
    assert about["system"].split() == [platform.system(), platform.machine()]
    total = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    assert about["memory_gib"] == pytest.approx(int(total.split()[1]) / 2**20, abs=0.2)
    assert about["cpu"] and ":" not in about["cpu"]
    assert ("accelerator" in about) == torch.cuda.is_available()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a card")
    assert machine() == {**about, "accelerator": "a card"}


def test_systems_that_say_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert provenance._cores() == 1
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert provenance._cores() == 3
    monkeypatch.setattr(os, "sysconf_names", {"SC_PAGE_SIZE": 1})
    assert provenance._memory_bytes() == 0
    monkeypatch.setattr(Path, "exists", lambda self: False)
    monkeypatch.setattr(platform, "processor", lambda: "")
    assert provenance._cpu_model() == platform.machine()


def test_the_command_without_the_folder_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/home/somebody/bin/regard", "evaluate", "/data/x"])
    assert command_line() == "regard evaluate /data/x"

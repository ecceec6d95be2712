"""A short round of every fuzz target, and all that once failed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


@pytest.mark.skipif(os.name != "posix", reason="memory and time are limited by POSIX means")
def test_doors_answer_or_raise_an_error_of_ours() -> None:
    # In a process of its own: the checks of annotations in tests would refuse what users' Python lets in.
    command = [sys.executable, str(FOLDER / "run.py"), "--n", "25"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("0 of") >= 7

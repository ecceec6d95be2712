"""What tests of robots' pictures share."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def assert_a_picture_is_rendered(module: str, environment: str) -> None:
    """In a process of its own: MuJoCo chooses its renderer when it is imported, and one that fails complains at exit.

    Args:
        module: of the environment.
        environment: an expression that makes one, such as "Reacher()".
    """
    code = f"from {module} import *; f = {environment}.start([0], [0]).frame(); print(f.shape, f.std() > 5)"
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=os.environ | {"MUJOCO_GL": "egl"},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        pytest.skip(f"nothing renders here: {ran.stderr[-100:]}")
    assert ran.stdout.split() == ["(200,", "200,", "3)", "True"]

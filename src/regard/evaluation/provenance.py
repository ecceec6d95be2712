"""What made a number: the versions, the machine and the command, which every results file keeps beside it."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch


def versions() -> dict[str, Any]:
    """Of what computed the numbers."""
    from importlib.metadata import version

    return {
        "regard": version("regard"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def machine() -> dict[str, Any]:
    """The CPU, how much of it was used, and the accelerator if there is one."""
    about: dict[str, Any] = {
        "cpu": _cpu_model(),
        "cores": _cores(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(_memory_bytes() / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
    }
    return {**about, "accelerator": torch.cuda.get_device_name()} if torch.cuda.is_available() else about


def command_line() -> str:
    """What was typed, without the folder of the program, which is nobody else's business."""
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])


def _cores() -> int:
    # The cores this process may use, where the system can say: containers often give fewer than there are.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _memory_bytes() -> int:
    # 0 where the system does not say (Windows).
    names = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" not in names or "SC_PAGE_SIZE" not in names:
        return 0
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")

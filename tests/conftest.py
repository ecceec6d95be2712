"""Annotations are executed here and never in use: every type and shape written in the package is checked in tests."""

from __future__ import annotations

import os

# A worker a core, and a thread a worker: small tensors gain nothing from more, and threads that wait take from others.
# PyTorch reads it as it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import executed_annotations

executed_annotations.install("regard")


def pytest_runtest_setup() -> None:
    executed_annotations.begin_test()

"""Annotations are executed here and never in use: every type and shape written in the package is checked in tests."""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import Any, Self

from beartype import BeartypeConf, FrozenDict, beartype
from jaxtyping import install_import_hook

# A worker a core, and a thread a worker: small tensors gain nothing from more, and threads that wait take from others.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The hook wants the name of a checker, and decorates functions one by one, where beartype does not know what Self is.
checker = ModuleType("regard_checker")
checker.check = beartype(conf=BeartypeConf(is_pep484_tower=True, hint_overrides=FrozenDict({Self: Any})))  # type: ignore[attr-defined]
sys.modules[checker.__name__] = checker

install_import_hook("regard", f"{checker.__name__}.check")

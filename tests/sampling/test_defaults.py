"""Defaults and edges of the samplers, as their papers and docstrings give them."""

from __future__ import annotations

from typing import Any

DEFAULTS: dict[Any, dict[str, Any]] = {}

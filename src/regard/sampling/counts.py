"""How many: apart from the samplers, since recipes speak of it, and reading a recipe needs no PyTorch."""

from __future__ import annotations

Count = int | tuple[int, int]
"""A fixed number, or an inclusive range that each episode draws from."""

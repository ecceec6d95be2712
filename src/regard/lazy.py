"""Packages whose public names are imported when first used, so that a setting can be read without PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module


def lazy(package: str, home: Mapping[str, str]) -> Callable[[str], object]:
    """The `__getattr__` of a package.

    Args:
        package: its `__name__`.
        home: the module in which each public name is defined; ".loop" is inside the package.
    """

    def get(name: str) -> object:
        if name in home:
            return getattr(import_module(home[name], package), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get

"""Packages that only some domains need, imported when first used."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from regard.errors import MissingExtraError


def import_extra(module: str, extra: str) -> Any:
    """A module of an optional package.

    Args:
        module: such as "rdkit.Chem".
        extra: the extra of Regard that installs it, such as "molecules".

    Raises:
        MissingExtraError: it is not installed; the message names the command that installs it.
    """
    package = module.partition(".")[0]
    if find_spec(package) is None:
        raise MissingExtraError(
            f"this needs the package {package!r}, which is not installed: pip install 'regard[{extra}]'"
        )
    return import_module(module)

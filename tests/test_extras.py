"""An optional package that is missing is named together with the command that installs it."""

from __future__ import annotations

import json

import pytest

from regard.errors import MissingExtraError
from regard.extras import import_extra


def test_a_module_that_is_there_is_given() -> None:
    assert import_extra("json", "anything") is json


def test_a_missing_package_names_the_extra() -> None:
    with pytest.raises(MissingExtraError, match=r"'no_such_package'.*pip install 'regard\[robots\]'"):
        import_extra("no_such_package.part", "robots")

"""A browser, and what the pages have inside."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

from offline_pages import CHROMIUM
from regard.errors import DataError
from regard.export.runtime import browser_runtime


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    try:
        browser_runtime()
    except DataError as error:
        pytest.skip(f"onnxruntime-web cannot be had here: {error}")
    with import_module("playwright.sync_api").sync_playwright() as player:
        started = player.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()

"""Pages that are opened from disk, without a network, in Debian's Chromium."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (apt-get install chromium)")


class Opened:
    """A page from disk, offline, with what it asked for and complained of."""

    def __init__(self, browser: Any, path: Path, width: int = 1200, *, answered: bool = True) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, offline=True)
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.goto(path.as_uri())
        if answered:
            self.page.locator("body[data-answered]").wait_for(state="attached", timeout=60_000)

    def next_answer(self) -> None:
        """Wait until the latest change has been answered."""
        self.page.locator("body[data-waiting='no']").wait_for(state="attached", timeout=60_000)

    def close(self) -> None:
        self.context.close()
        assert {url.split(":")[0] for url in self.requests} <= {"file", "blob"}, "a request left the page"
        assert not self.complaints, self.complaints

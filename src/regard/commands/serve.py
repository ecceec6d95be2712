"""`regard serve`."""

from __future__ import annotations

import ipaddress
import logging
import os
import sys
from pathlib import Path

from regard.errors import ConfigError
from regard.extras import import_extra
from regard.serve.service import ServiceOptions, create_app

TOKEN = "REGARD_TOKEN"
"""The environment variable of the token: an argument would stand in the list of processes."""


def run_service(
    learner: str, host: str, port: int, folder: Path, *, regression: bool = False, max_handles: int = 1000
) -> None:
    """Serve until interrupted.

    Raises:
        ConfigError: an address that others reach, and no token.
        MissingExtraError: the extra `serve` is not installed.
    """
    token = os.environ.get(TOKEN) or None
    if token is None and not _is_loopback(host):
        raise ConfigError(
            f"--host {host} can be reached by others, and there is no token: set the environment variable {TOKEN}, "
            "which requests then carry as 'Authorization: Bearer ...', or keep to 127.0.0.1."
        )
    uvicorn = import_extra("uvicorn", "serve")
    sys.setswitchinterval(0.001)  # while a thread computes, requests are still taken and answers sent
    options = ServiceOptions(learner, folder, regression, token, max_handles=max_handles)
    app = create_app(options)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    # A connection that is closed after a short rest is closed in the midst of a slow client's next question.
    uvicorn.run(app, host=host, port=port, access_log=False, timeout_graceful_shutdown=10, timeout_keep_alive=75)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

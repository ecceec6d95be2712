"""What a policy would do in each of a file's observations, after a file of demonstrations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from regard.domains.acting.files import read_demonstrations
from regard.errors import DataError
from regard.estimators.policy import FewShotPolicy
from regard.files import write_whole


def act_on_files(checkpoint: Path | str, support: Path | str, query: Path | str) -> NDArray[np.float64]:
    """(N, A) an action for each observation.

    Args:
        checkpoint: a file, or the folder of a run of the domain "robots".
        support: demonstrations of one task, see `read_demonstrations`.
        query: observations, a row each: .npy, or .csv with or without a header.

    Raises:
        DataError: files that are missing, damaged or of another form.
        ConfigError, CheckpointError: no policy.
    """
    return FewShotPolicy(checkpoint).fit(read_demonstrations(support)).act(_observations(Path(query)))


def show_actions(actions: NDArray[np.float64], console: Console | None = None) -> None:
    """A table: observation by number, and its action."""
    table = Table("observation", *(f"act_{i}" for i in range(actions.shape[1])), box=None)
    for number, action in enumerate(actions):
        table.add_row(str(number), *(f"{value:.3f}" for value in action))
    (console or Console()).print(table)


def write_actions(path: Path, actions: NDArray[np.float64]) -> None:
    """As a JSON list of lists."""
    write_whole(path, json.dumps(actions.tolist(), indent=1).encode())


def _observations(path: Path) -> NDArray[np.float64]:
    try:
        if path.suffix == ".npy":
            rows = np.load(path, allow_pickle=False).astype(np.float64)
        else:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
            has_header = bool(lines) and any(c.isalpha() and c not in "eE" for c in lines[0])
            lines = lines[has_header:]
            rows = np.loadtxt(lines, delimiter=",", dtype=np.float64) if lines else np.zeros(0)
        if not rows.size:
            raise ValueError("it is empty")
        return np.atleast_2d(rows)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} holds no observations ({error}): expected .npy, or .csv with a row each.") from None

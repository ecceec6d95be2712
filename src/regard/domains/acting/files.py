"""Trajectories of a user's own: NumPy archives, CSV, and data sets of Minari and LeRobot.

.npz      what `Demonstrations.save` writes
.csv      one row per step: demonstration, [task,] then obs_0, obs_1, ... and act_0, act_1, ...; [noisy, trust]
minari    minari:NAME, of the package minari: each episode is a demonstration
lerobot   lerobot:NAME, of the package lerobot: its observation.state and action
"""

from __future__ import annotations

import hashlib
import json
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from regard.domains.acting.demonstrations import Demonstrations
from regard.domains.csv_rows import read_csv_rows
from regard.errors import DataError
from regard.extras import import_extra
from regard.files import write_whole
from regard.limits import TABLE_ROWS


def read_demonstrations(source: str | Path) -> Demonstrations:
    """Demonstrations of a file, or of a data set by its name.

    Raises:
        DataError: nothing there, another form, or steps that do not fit; says where.
        MissingExtraError: the package of the data set is not installed.
    """
    text = str(source)
    if text.startswith("minari:"):
        return _of_minari(text.removeprefix("minari:"))
    if text.startswith("lerobot:"):
        return _of_lerobot(text.removeprefix("lerobot:"))
    path = Path(source)
    if not path.is_file():
        raise DataError(
            f"{text!r} is no file: expected demonstrations as .npz, .csv or .csv.gz, or minari:NAME, lerobot:NAME."
        )
    return _of_csv(path) if path.name.lower().endswith((".csv", ".csv.gz")) else Demonstrations.load(path)


def write_demonstration_manifest(path: Path, demonstrations: Demonstrations) -> None:
    """What a set of demonstrations is: counts, sizes, tasks, and a digest of every number, as JSON."""
    content = hashlib.blake2b(digest_size=16)
    for array in (demonstrations.observations, demonstrations.actions, demonstrations.lengths, demonstrations.tasks):
        content.update(np.ascontiguousarray(array).tobytes())
    tasks, counts = np.unique(demonstrations.tasks, return_counts=True)
    document = {
        "format": "regard.demonstrations.1",
        "n_demonstrations": len(demonstrations),
        "n_steps": int(demonstrations.lengths.sum()),
        "n_features": demonstrations.observations.shape[1],
        "n_actions": demonstrations.actions.shape[1],
        "tasks": {str(task): int(count) for task, count in zip(tasks, counts, strict=True)},
        "families": {str(task): name for task, name in demonstrations.families.items()},
        "digest": content.hexdigest(),
    }
    write_whole(path, json.dumps(document, indent=1).encode())


def check_demonstration_manifest(path: Path, demonstrations: Demonstrations) -> None:
    """Raise unless these are the demonstrations that the manifest was written of.

    Raises:
        DataError: another file, or other demonstrations.
    """
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        write_demonstration_manifest(Path(folder) / "ours.json", demonstrations)
        ours = json.loads((Path(folder) / "ours.json").read_text())
    try:
        theirs = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is no manifest ({error}): expected what write_demonstration_manifest wrote.") from None
    wrong = [key for key in ours if ours[key] != theirs.get(key)]
    if wrong:
        raise DataError(f"{path} is of other demonstrations: {', '.join(wrong)} differ.")


def _of_csv(path: Path) -> Demonstrations:
    names, *lines = read_csv_rows(path, TABLE_ROWS) or [[]]
    rows = [dict(zip_longest(names, line[: len(names)], fillvalue="")) for line in lines]
    columns = {kind: [name for name in names if name.startswith(kind)] for kind in ("obs_", "act_")}
    if "demonstration" not in names or not all(columns.values()):
        raise DataError(
            f"{path} has the columns {names[:8]}: expected demonstration, obs_0, obs_1, ..., act_0, ..., and perhaps "
            "task and noisy."
        )
    demonstrations: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        demonstrations.setdefault(row["demonstration"], []).append(row)
    task_names = list(dict.fromkeys(row.get("task", "") for row in rows))
    trajectories: list[tuple[Any, Any]] = []
    tasks: list[int] = []
    noisy: list[bool] = []
    for name, steps in demonstrations.items():
        try:
            pair = [np.array([[float(row[c]) for c in columns[kind]] for row in steps]) for kind in columns]
        except (TypeError, ValueError) as error:
            raise DataError(f"{path}, demonstration {name}: {error}; expected a number in every cell.") from None
        trajectories.append((pair[0], pair[1]))
        tasks.append(task_names.index(steps[0].get("task", "")))
        noisy.append(steps[0].get("noisy", "0").strip().lower() in ("1", "true", "yes"))
    return Demonstrations.of(trajectories, tasks, noisy, dict(enumerate(task_names)))


def _of_minari(name: str) -> Demonstrations:
    data = import_extra("minari", "robots").load_dataset(name)
    # An episode has one observation more than actions: the one after the last.
    pairs = [(episode.observations[: len(episode.actions)], episode.actions) for episode in data.iterate_episodes()]
    return Demonstrations.of(pairs)


def _of_lerobot(name: str) -> Demonstrations:
    data = import_extra("lerobot.datasets.lerobot_dataset", "robots").LeRobotDataset(name).hf_dataset
    episode = np.asarray(data["episode_index"]).ravel()
    state, action = (np.stack([np.asarray(v) for v in data[key]]) for key in ("observation.state", "action"))
    task = np.asarray(data["task_index"]).ravel() if "task_index" in data.column_names else np.zeros(len(episode), int)
    numbers = np.unique(episode)
    return Demonstrations.of(
        [(state[episode == n], action[episode == n]) for n in numbers], [int(task[episode == n][0]) for n in numbers]
    )

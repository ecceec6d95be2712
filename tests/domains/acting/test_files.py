"""Trajectories of a user's own, from CSV, archives and the libraries of data sets; and the manifest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from regard.domains.acting import files
from regard.domains.acting.demonstrations import record
from regard.domains.acting.files import check_demonstration_manifest, read_demonstrations, write_demonstration_manifest
from regard.domains.robots.reach2d import Reach2D
from regard.errors import DataError

CSV = """demonstration,task,obs_0,obs_1,act_0,noisy
a,open,0,1,0.5,0
a,open,1,2,0.6,0
b,close,5,5,0.1,1
b,close,6,5,0.2,1
b,close,7,5,0.3,1
"""


def test_csv(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(CSV)
    read = read_demonstrations(tmp_path / "d.csv")
    assert (
        read.lengths.tolist() == [2, 3] and read.tasks.tolist() == [0, 1] and read.families == {0: "open", 1: "close"}
    )
    assert read.observations[2:, 0].tolist() == [5, 6, 7] and read.noisy.tolist() == [False, True]
    np.testing.assert_allclose(read.actions[:, 0], [0.5, 0.6, 0.1, 0.2, 0.3], rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x,y\n1,2\n", "expected demonstration, obs_0"),
        (CSV + "b,close,,5,0.3,1\n", "a number in every cell"),
        ("", "columns"),
    ],
)
def test_csv_of_another_form(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_demonstrations(tmp_path / "d.csv")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no file: expected demonstrations as"):
        read_demonstrations(tmp_path / "nothing.npz")


def test_a_manifest_is_of_these_demonstrations_and_no_others(tmp_path: Path) -> None:
    demonstrations = record(Reach2D(), [0, 1], 2)
    write_demonstration_manifest(tmp_path / "m.json", demonstrations)
    check_demonstration_manifest(tmp_path / "m.json", demonstrations)
    other = replace(demonstrations, actions=demonstrations.actions + 1e-3)
    with pytest.raises(DataError, match="of other demonstrations: digest differ"):
        check_demonstration_manifest(tmp_path / "m.json", other)
    (tmp_path / "m.json").write_text("{")
    with pytest.raises(DataError, match="is no manifest"):
        check_demonstration_manifest(tmp_path / "m.json", demonstrations)


def test_minari(monkeypatch: pytest.MonkeyPatch) -> None:
    episodes = [SimpleNamespace(observations=np.zeros((n + 1, 3)), actions=np.ones((n, 2))) for n in (4, 6)]
    data = SimpleNamespace(iterate_episodes=lambda: iter(episodes))
    monkeypatch.setattr(files, "import_extra", lambda *_: SimpleNamespace(load_dataset=lambda name: data))
    assert read_demonstrations("minari:pen/human-v2").lengths.tolist() == [4, 6]


def test_lerobot(monkeypatch: pytest.MonkeyPatch) -> None:
    class Table(dict[str, list[object]]):
        column_names = ("episode_index", "observation.state", "action", "task_index")

    table = Table(
        episode_index=[0, 0, 1, 1, 1],
        task_index=[2, 2, 3, 3, 3],
        **{"observation.state": [[float(i), 0.0] for i in range(5)], "action": [[float(-i)] for i in range(5)]},
    )
    module = SimpleNamespace(LeRobotDataset=lambda name: SimpleNamespace(hf_dataset=table))
    monkeypatch.setattr(files, "import_extra", lambda *_: module)
    read = read_demonstrations("lerobot:lerobot/pusht")
    assert read.lengths.tolist() == [2, 3] and read.tasks.tolist() == [2, 3] and read.actions[-1, 0] == -4

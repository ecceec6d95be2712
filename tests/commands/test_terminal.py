"""What a name holds is shown, and the terminal does not obey it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table
from typer.testing import CliRunner

from regard.cli import app, main
from regard.commands.terminal import cells, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("a\u202eb", "a\\u202eb"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("नमस्\u200dते 👩\u200d🔬 é 中", "नमस्\u200dते 👩\u200d🔬 é 中"),
    ],
)
def test_control_characters_are_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_lines_of_a_message_stay_lines() -> None:
    assert visible("one\ntwo\x07", keep="\n") == "one\ntwo\\x07"


def test_a_cell_is_neither_markup_nor_a_command() -> None:
    table = Table("name", box=None)
    table.add_row(*cells("[/b]\x1b[31mred"))
    out = io.StringIO()
    Console(file=out).print(table)
    assert "[/b]\\x1b[31mred" in out.getvalue()


def test_messages_of_the_command_show_names_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["regard", "train", "folder", "--set", f"data.folder={tmp_path}/x\u202ey"])
    with pytest.raises(SystemExit):
        main()
    printed = capsys.readouterr().err
    assert "x\\u202ey does not exist" in printed and "\u202e" not in printed


@pytest.mark.parametrize("key", ["train.steps", "train.learning_rate", "evaluation.0.n_way", "evaluation_episodes"])
def test_true_is_no_number(key: str) -> None:
    result = CliRunner().invoke(app, ["train", "glyphs", "--set", f"{key}=true", "--show"])
    assert result.exit_code and f"{key}: Value error, expected something else than true" in str(result.exception)


def test_true_is_still_true() -> None:
    result = CliRunner().invoke(app, ["train", "glyphs", "--set", "train.tensorboard=true", "--show"])
    assert result.exit_code == 0, result.exception


def test_a_rollout_is_of_a_robot_whatever_data_is_there(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["rollout", "characters", "--out", str(tmp_path / "out")])
    assert result.exit_code and "'images', which has no rollouts: expected a run such as" in str(result.exception)

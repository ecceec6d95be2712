from __future__ import annotations

import logging
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from regard.training import Bar, LogLines, Report, progress
from regard.training.logs import Logs, read_metrics
from regard.training.progress import as_line, automatic

COLUMNS = ("step", "loss", "seconds")


def report(step: int, **changes: object) -> Report:
    values = {"step": step, "steps": 10, "loss": 1.5, "metric": "accuracy", "validation": 0.875, "seconds_left": 75.2}
    return Report(**values | changes)  # type: ignore[arg-type]


def test_a_line_says_loss_validation_and_time_left() -> None:
    assert as_line(report(3)) == "step 3/10  loss 1.500  validation accuracy 87.5%  1:15 left"
    assert as_line(report(3, steps=None, validation=None, seconds_left=None)) == "step 3/?  loss 1.500"
    assert "validation loss 0.875" in as_line(report(3, metric="loss"))


def test_log_lines_come_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "regard.training")
    lines = LogLines(every=1000)
    lines.start(0, 10)
    for step in range(1, 11):
        lines.advance(report(step))
    assert [r.message for r in caplog.records] == [as_line(report(10))]


def test_the_next_line_comes_when_its_time_has_come(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "regard.training")
    now = [100.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    lines = LogLines()
    lines.start(0, 100)
    for step, now[0] in enumerate((114.9, 115.0, 129.9, 130.0, 130.1), 1):
        lines.advance(report(step, steps=100))
    assert [r.message[:6] for r in caplog.records] == ["step 2", "step 4"], "every 15 s"


def test_the_bar_shows_a_loss_that_follows_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    bar, shown = Bar("title"), []
    bar.start(3, 10)
    monkeypatch.setattr(bar._rich, "update", lambda task, **fields: shown.append(fields))
    for step, loss in ((4, 2.0), (5, 1.0), (6, 1.0)):
        bar.advance(report(step, loss=loss))
    bar.stop()
    assert [(f["completed"], f["total"]) for f in shown] == [(4, 10), (5, 10), (6, 10)]
    assert [f["report"].split("  ")[1] for f in shown] == ["loss 2.000", "loss 1.950", "loss 1.902"]
    assert (bar._rich.tasks[0].completed, bar._rich.tasks[0].total, bar._rich.tasks[0].description) == (3, 10, "title")


def test_a_bar_where_there_is_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert isinstance(automatic(), Bar)


def test_minutes_and_seconds_left() -> None:
    for seconds, text in ((0.4, "0:00 left"), (59.6, "1:00 left"), (60.0, "1:00 left"), (3661.0, "61:01 left")):
        assert as_line(report(3, seconds_left=seconds)).endswith(text)


def test_no_bar_without_a_terminal() -> None:
    assert isinstance(automatic(), LogLines)


def test_the_bar_draws(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Bar()
    bar.start(0, None)
    bar.advance(report(1, steps=None))
    bar.advance(report(2))
    bar.stop()
    assert "step 2/10" in capsys.readouterr().err


def test_rows_after_the_resumed_step_are_dropped(tmp_path: Path) -> None:
    with Logs(tmp_path, COLUMNS, 0, 0, tensorboard=False) as logs:
        for step in (2, 4, 6):
            logs.write({"step": step, "loss": 1 / 3, "seconds": None})
    # A kill in the middle of a row.
    with logs.path.open("a") as file:
        file.write("8,0.1")
    with Logs(tmp_path, COLUMNS, 4, 2, tensorboard=False) as logs:
        logs.write({"step": 6, "loss": 0.25, "seconds": 1.0})
    rows = read_metrics(logs.path)
    assert rows == [{"step": 2, "loss": 1 / 3}, {"step": 4, "loss": 1 / 3}, {"step": 6, "loss": 0.25, "seconds": 1.0}]


def test_lost_and_damaged_rows_are_said_and_the_rest_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "metrics.csv").write_text("step,loss,seconds\n2,0.5,\n4,zero,\n6,0.25\n8,1.0,2.0\n8,1.5,2.0\n")
    with Logs(tmp_path, COLUMNS, 8, 4, tensorboard=False):
        pass
    assert read_metrics(tmp_path / "metrics.csv") == [
        {"step": 2, "loss": 0.5},
        {"step": 8, "loss": 1.5, "seconds": 2.0},
    ]
    assert "has 2 of the 4 rows up to step 8" in caplog.text
    (tmp_path / "metrics.csv").write_bytes(b"\xff\x00")
    assert read_metrics(tmp_path / "metrics.csv") == []


def test_rows_are_on_the_disk_after_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(str(Path(f"/proc/self/fd/{handle}").readlink())))
    with Logs(tmp_path, COLUMNS, 0, 0, tensorboard=False) as logs:
        synced.clear()
        logs.write({"step": 1, "loss": 0.5, "seconds": 1.0})
        assert logs.path.read_text().endswith("1,0.5,1.0\n"), "a row waits in a buffer"
        logs.sync()
        assert synced == [str(logs.path.resolve())]


def test_a_resumed_run_says_from_where_and_a_new_one_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        LogLines().start(0, 10)
        assert not caplog.records
        LogLines().start(7, None)
    assert [record.message for record in caplog.records] == ["going on from step 7 of ?"]

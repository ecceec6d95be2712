"""What a person sees while a run goes on: a bar in a terminal, log lines elsewhere, nothing in a test."""

from __future__ import annotations

import logging
import sys
import time
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

logger = logging.getLogger("regard.training")


@dataclass(frozen=True)
class Report:
    """After a step.

    Args:
        step: steps done.
        steps: in all; None while they are being fitted to the time.
        loss: of this step.
        metric: what validation measures: "accuracy", "nll" or "loss".
        validation: its latest value.
        seconds_left: an estimate, None before there is one.
    """

    step: int
    steps: int | None
    loss: float
    metric: str
    validation: float | None
    seconds_left: float | None


@runtime_checkable
class Progress(Protocol):
    """Told of a run; called in the training thread, so it should be quick."""

    def start(self, step: int, steps: int | None) -> None:
        """Before the first step of this process; `step` is above 0 in a resumed run."""

    def advance(self, report: Report) -> None:
        """After every step."""

    def stop(self) -> None:
        """At the end, however it came about."""


class Silent:
    """Says nothing."""

    def start(self, step: int, steps: int | None) -> None: ...

    def advance(self, report: Report) -> None: ...

    def stop(self) -> None: ...


class LogLines:
    """One line of the logger "regard.training" now and then.

    Args:
        every: seconds from one to the next.
    """

    def __init__(self, every: float = 15.0) -> None:
        self.every, self._next = every, 0.0

    def start(self, step: int, steps: int | None) -> None:
        self._next = time.monotonic() + self.every
        if step:
            logger.info("going on from step %d of %s", step, steps or "?")

    def advance(self, report: Report) -> None:
        if time.monotonic() >= self._next or report.step == report.steps:
            self._next = time.monotonic() + self.every
            logger.info("%s", as_line(report))

    def stop(self) -> None: ...


class Bar:
    """A bar with loss, validation and time left, drawn by rich on standard error.

    Args:
        title: what stands before it.
    """

    def __init__(self, title: str = "training") -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self._rich = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[report]}"),
            console=Console(stderr=True),
            # Drawing costs time that training would have: twice a second is enough to see it move.
            refresh_per_second=2,
        )
        self._title = title
        self._task: Any = None
        self._loss: float | None = None

    def start(self, step: int, steps: int | None) -> None:
        self._task = self._rich.add_task(self._title, total=steps, completed=step, report="")
        self._rich.start()

    def advance(self, report: Report) -> None:
        # A single step's loss jumps; what is shown moves a twentieth of the way.
        self._loss = report.loss if self._loss is None else self._loss + (report.loss - self._loss) / 20
        shown = as_line(report, loss=self._loss)
        self._rich.update(self._task, completed=report.step, total=report.steps, report=shown)

    def stop(self) -> None:
        self._rich.stop()


def automatic(title: str = "training") -> Progress:
    """A bar where standard error is a terminal, log lines elsewhere."""
    return Bar(title) if sys.stderr.isatty() else LogLines()


def as_line(report: Report, loss: float | None = None) -> str:
    """The report in one line."""
    parts = [f"step {report.step}/{report.steps or '?'}", f"loss {report.loss if loss is None else loss:.3f}"]
    if report.validation is not None:
        number = f"{report.validation:.1%}" if report.metric == "accuracy" else f"{report.validation:.4g}"
        parts.append(f"validation {report.metric} {number}")
    if report.seconds_left is not None:
        minutes, seconds = divmod(round(report.seconds_left), 60)
        parts.append(f"{minutes}:{seconds:02d} left")
    return "  ".join(parts)

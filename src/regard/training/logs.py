"""The curves of a run: metrics.csv, and the same for TensorBoard.

A resumed run drops the rows after the step it resumes from, so no step is logged twice. Rows are on the disk before the
checkpoint that counts them, so a crash loses none; should some be gone all the same, a warning says how many.
"""

from __future__ import annotations

import csv
import io
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from regard.errors import StorageError
from regard.files import write_whole

METRICS = "metrics.csv"
_logger = logging.getLogger("regard.training")

Row = Mapping[str, float | int | None]


class Logs:
    """Appends rows; each is on its way to the disk before the next step.

    Args:
        folder: of the run; metrics.csv and TensorBoard's events go there.
        columns: of the table, "step" first.
        step: rows after this one are dropped; 0 starts from scratch.
        n_rows: rows up to this step, as the checkpoint counts them.
        tensorboard: whether to write events as well.
    """

    def __init__(self, folder: Path, columns: tuple[str, ...], step: int, n_rows: int, tensorboard: bool) -> None:
        self.path, self.columns = folder / METRICS, columns
        kept = [row for row in read_metrics(self.path) if row["step"] <= step] if step else []
        if len(kept) < n_rows:
            _logger.warning(
                "%s has %d of the %d rows up to step %d: it was cut off or changed, and the curves have a gap there; "
                "the weights are not concerned.",
                self.path,
                len(kept),
                n_rows,
                step,
            )
        write_whole(self.path, _as_csv(columns, kept).encode())
        self._file = self.path.open("a", newline="")
        self._writer = _event_writer(folder, step) if tensorboard else None

    def write(self, row: Row) -> None:
        """Append one row.

        Raises:
            StorageError: the disk is full.
        """
        try:
            csv.writer(self._file, lineterminator="\n").writerow(_cells(self.columns, row))
            self._file.flush()
        except OSError as error:
            raise StorageError(
                error.errno,
                f"could not write {self.path} ({error.strerror or error}): the run stops here and its last checkpoint "
                "is kept; free some space and start it again.",
            ) from error
        if self._writer is not None:
            for name in self.columns[1:]:
                if row.get(name) is not None:
                    self._writer.add_scalar(name, row[name], row["step"])

    def sync(self) -> None:
        """Have the rows on the disk."""
        os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()
        if self._writer is not None:
            self._writer.close()


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The rows of a metrics.csv, in order of steps; without empty cells, and without rows that are damaged."""
    if not path.exists():
        return []
    names, *lines = path.read_text(errors="replace").split("\n")[:-1] or [""]  # a last row without an end was cut off
    columns, rows = names.split(","), {}
    for line in lines:
        cells = line.split(",")
        if len(cells) == len(columns):
            try:
                row = {k: int(v) if k == "step" else float(v) for k, v in zip(columns, cells, strict=True) if v}
                rows[row["step"]] = row
            except (ValueError, KeyError):
                continue
    return [row for _, row in sorted(rows.items())]


def _as_csv(columns: tuple[str, ...], rows: list[dict[str, float]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(_cells(columns, row) for row in rows)
    return text.getvalue()


def _cells(columns: tuple[str, ...], row: Row) -> list[str]:
    # repr gives back the same float when it is read again.
    return ["" if row.get(name) is None else repr(row[name]) for name in columns]


def _event_writer(folder: Path, step: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter  # takes a while to import

    return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None)

"""How the learners were trained: loss and validation over steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.report.charts import Axis, points, smooth, thin
from regard.report.content import ReportContent
from regard.report.view.texts import Series, all_series


@dataclass(frozen=True)
class Line:
    series: Series
    faint: str
    bold: str
    end: tuple[float, float]
    value: str


@dataclass(frozen=True)
class Panel:
    title: str
    across: Axis
    up: Axis
    percent: bool
    lines: list[Line]


def panels(content: ReportContent) -> list[Panel]:
    """Loss and validation accuracy, side by side over the same steps."""
    series, curves = all_series(content), content.curves
    across = Axis.up_to(float(s) for c in curves for s in (*c.step, *c.validation_step))
    loss = [(series[c.name], np.asarray(c.step), np.asarray(c.loss, dtype=np.float64)) for c in curves]
    seen = [(series[c.name], np.asarray(c.validation_step), np.asarray(c.validation_accuracy)) for c in curves]
    smoothed = [float(value) for _, _, y in loss for value in smooth(y)]
    both = [
        _panel("Training loss", loss, across, Axis.up_to(smoothed), percent=False),
        _panel("Validation accuracy", seen, across, Axis.around(v for _, _, y in seen for v in y), percent=True),
    ]
    return [panel for panel in both if panel.lines]


def _panel(
    title: str, data: list[tuple[Series, NDArray[Any], NDArray[Any]]], across: Axis, up: Axis, *, percent: bool
) -> Panel:
    lines = [_line(s, x, y, across, up, percent) for s, x, y in data if np.isfinite(y).any()]
    return Panel(title, across, up, percent, lines)


def _line(series: Series, x: NDArray[Any], y: NDArray[Any], across: Axis, up: Axis, percent: bool) -> Line:
    """Accuracies as they are; losses smoothed, over the faint raw line."""
    kept, bold = thin(len(x)), y if percent else smooth(y)
    known = np.flatnonzero(np.isfinite(bold))[-1]
    last = float(bold[known])
    return Line(
        series=series,
        faint="" if percent else points(x[kept], np.minimum(y[kept], up.high), across, up),
        bold=points(x[kept], bold[kept], across, up),
        end=(across.at(float(x[known])), round(100 - up.at(last), 2)),
        value=f"{last:.1%}" if percent else f"{last:.3f}",
    )

"""`regard export`."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from regard.errors import ConfigError, did_you_mean
from regard.export.html_page import export_html
from regard.export.onnx_file import REDUCED_TOLERANCE, TOLERANCE, Exported, Precision, export_onnx


def export_learner(
    learner: str,
    path: Path | None,
    page: Path | None,
    *,
    precision: str | None = None,
    tokens: bool = False,
    regression: bool = False,
    ort: Path | None = None,
) -> str:
    """Write the file, the page, or both; returns what to say about them.

    Raises:
        ConfigError: nothing to write, a path that is no .onnx file, or an unknown precision.
        ExportError: the learner cannot be exported.
    """
    if path is None and page is None:
        raise ConfigError("nothing to write: expected a name such as model.onnx, or --html page.html.")
    if path is not None and path.suffix != ".onnx":
        raise ConfigError(f"{path}: expected a name that ends in .onnx; a page is written by --html {path}.")
    chosen: Precision | None = next((p for p in get_args(Precision) if p == precision), None)
    if precision is not None and chosen is None:
        raise ConfigError(f"--precision {precision}: {did_you_mean(precision, get_args(Precision))}")
    lines = []
    if path is not None:
        made = export_onnx(learner, path, regression=regression or None, precision=chosen or "float32", tokens=tokens)
        lines += [_written(made), f"Inputs {', '.join(made.inputs)}; outputs {', '.join(made.outputs)}."]
    if page is not None:
        lines += [
            _written(export_html(learner, page, regression=regression, precision=chosen, ort=ort)),
            f"Open {page} in a browser.",
        ]
    return "\n".join(lines)


def _written(made: Exported) -> str:
    size = f"{made.path}: {made.n_bytes / 1e6:.1f} MB"
    if made.worst <= TOLERANCE:
        return f"{size}; differs from PyTorch by at most {made.worst:.1e} on five tasks."
    return (
        f"{size}; its weights have fewer digits. Over five tasks of noise single answers differ from PyTorch's by up "
        f"to {made.worst:.2g}, on average by under {REDUCED_TOLERANCE:.2g}; docs/results/export.md says what it costs."
    )

"""The data-hunger curve: accuracy on the test classes against the number of training classes.

The classes of a smaller number are among those of a larger one, and training is the same everywhere: as wide as the
fewest classes allow, whatever their group. Texts are cut into words by what all training classes use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from typing import Any

from regard.evaluation import Result

_MARKS = "osD^vP*X<>hd"
HungerCurve = Mapping[int, Sequence[Result]]
"""Results by number of classes."""


def curve_lines(curve: HungerCurve) -> Iterator[str]:
    """A line a learner and setting, for the terminal; nothing where there is one number only."""
    if len(curve) < 2:
        return
    yield f"training classes: {', '.join(map(str, curve))}"
    for setting in _settings(curve):
        for name in _names(curve, setting):
            accuracies = [_of(curve, n, setting, name) for n in curve]
            told = ", ".join("-" if r is None else f"{100 * r.metrics['accuracy'].mean:.1f}" for r in accuracies)
            yield f"  {setting[0]}-way {setting[1]}-shot, {name}: {told}"
    yield ""


def curve_picture(curve: HungerCurve, baselines: Sequence[str]) -> bytes:
    """A PNG: a panel a setting, a line a learner; baselines are dashed and level."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    settings = _settings(curve)
    figure = Figure(figsize=(5.2 * len(settings), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(settings), squeeze=False)[0]
    for panel, setting in zip(panels, settings, strict=True):
        numbers = list(curve)
        for i, name in enumerate(_names(curve, setting)):
            accuracies = {n: r.metrics["accuracy"] for n in numbers if (r := _of(curve, n, setting, name)) is not None}
            level = name in baselines
            if level:  # the same however few classes there are
                accuracies = {n: next(iter(accuracies.values())) for n in numbers}
            x = list(accuracies)
            low, mean, high = ([100 * getattr(a, end) for a in accuracies.values()] for end in ("low", "mean", "high"))
            style, mark = ("--", "") if level else ("-", _MARKS[i % len(_MARKS)])
            (line,) = panel.plot(x, mean, style, marker=mark, ms=5, label=name)
            panel.fill_between(x, low, high, color=line.get_color(), alpha=0.18, lw=0)
        panel.set_xscale("log", base=2)
        panel.set_xticks(numbers, [f"{n:,}" for n in numbers])
        panel.minorticks_off()
        panel.set_xlabel("training classes")
        panel.set_title(f"{setting[0]}-way {setting[1]}-shot", fontsize=11)
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("accuracy on classes never seen, %")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 3), frameon=False)
    file = BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return file.getvalue()


def _settings(curve: HungerCurve) -> list[tuple[Any, Any]]:
    return list(dict.fromkeys((r.n_way, r.n_shot) for results in curve.values() for r in results))


def _names(curve: HungerCurve, setting: tuple[Any, Any]) -> list[str]:
    accuracies = (r.learner for results in curve.values() for r in results if (r.n_way, r.n_shot) == setting)
    return list(dict.fromkeys(accuracies))


def _of(curve: HungerCurve, n: int, setting: tuple[Any, Any], name: str) -> Result | None:
    return next((r for r in curve[n] if (r.n_way, r.n_shot) == setting and r.learner == name), None)

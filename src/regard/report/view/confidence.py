"""Confidence: what the temperature changes, and what the learner does with classes of which it has no example."""

from __future__ import annotations

from dataclasses import dataclass

from regard.evaluation.intervals import Interval
from regard.report.content import ConfidenceSection
from regard.report.view.texts import bounds

_NAMES = {"ece": "calibration error (ECE)", "brier": "Brier score", "nll": "negative log-likelihood"}


@dataclass(frozen=True)
class AnsweredShare:
    """Of queries of one kind, the share that got an answer, in percent; the rest was refused."""

    label: str
    answered: float
    text: str


@dataclass(frozen=True)
class BeforeAfter:
    """A measure before and after the temperature; lower is better."""

    name: str
    before: str
    before_interval: str
    after: str
    after_interval: str


@dataclass(frozen=True)
class ConfidenceView:
    temperature: str
    tendency: str
    measures: list[BeforeAfter]
    setting: str
    target: str
    bars: list[AnsweredShare]
    error: str
    error_interval: str
    auroc: str


def confidence(section: ConfidenceSection) -> ConfidenceView:
    """Texts and lengths."""
    report, fitted = section.report, section.confidence
    answered, refused = report.answered, report.refused
    # A share and its complement: it is the answers to queries of unknown classes that hurt.
    given = Interval(1 - refused.mean, 1 - refused.high, 1 - refused.low)
    t = fitted.temperature
    tendency = "overconfident" if t > 1.02 else "underconfident" if t < 0.98 else "well calibrated"
    measures = []
    for name, title in _NAMES.items():
        before, after = report.before[name], report.after[name]
        values = (f"{before.mean:.3f}", bounds(before, 1, 3), f"{after.mean:.3f}", bounds(after, 1, 3))
        measures.append(BeforeAfter(title, *values))
    return ConfidenceView(
        temperature=f"{t:.3g}",
        tendency=f"on validation episodes it was {tendency}",
        measures=measures,
        setting=f"{section.n_known} classes with an example and {section.n_unknown} without",
        target=f"{fitted.target_error:.0%}",
        bars=[
            AnsweredShare("queries of known classes", _length(answered), f"answered {_with_bounds(answered)}"),
            AnsweredShare("queries of unknown classes", _length(given), f"answered {_with_bounds(given)}"),
        ],
        error=f"{report.error.mean:.1%}",
        error_interval=bounds(report.error, 100, 1),
        auroc=f"{report.auroc:.3f}",
    )


def _length(share: Interval) -> float:
    return round(100 * min(max(share.mean, 0.0), 1.0), 1)


def _with_bounds(share: Interval) -> str:
    return f"{share.mean:.1%} {bounds(share, 100, 1)}"

"""How confident the learner may be: what the temperature mends, and what it does with classes it has no example of."""

from __future__ import annotations

from dataclasses import dataclass

from regard.evaluation.intervals import Interval
from regard.report.content import CalibrationSummary
from regard.report.view.texts import bounds

_NAMES = {"ece": "calibration error (ECE)", "brier": "Brier score", "nll": "negative log-likelihood"}


@dataclass(frozen=True)
class Bar:
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
class ConfidenceSection:
    temperature: str
    tendency: str
    before_after: list[BeforeAfter]
    setting: str
    target: str
    bars: list[Bar]
    error: str
    error_interval: str
    auroc: str


def confidence_section(calibration: CalibrationSummary) -> ConfidenceSection:
    """Texts and lengths."""
    report, confidence = calibration.report, calibration.confidence
    answered, refused = report.answered, report.refused
    # A share, its complement: both are shown, since it is the answers to strangers that hurt.
    given = Interval(1 - refused.mean, 1 - refused.high, 1 - refused.low)
    t = confidence.temperature
    return ConfidenceSection(
        temperature=f"{t:.3g}",
        tendency=_tendency(t),
        before_after=[_before_after(name, report.before[name], report.after[name]) for name in _NAMES],
        setting=f"{calibration.n_known} classes with an example and {calibration.n_unknown} without",
        target=f"{confidence.target_error:.0%}",
        bars=[
            Bar("questions it can know", _length(answered), f"answered {_as_text(answered)}"),
            Bar("questions it cannot know", _length(given), f"answered {_as_text(given)}"),
        ],
        error=f"{report.error.mean:.1%}",
        error_interval=bounds(report.error, 100, 1),
        auroc=f"{report.auroc:.3f}",
    )


def _tendency(temperature: float) -> str:
    if temperature > 1.02:
        return "on validation episodes it was overconfident"
    return f"on validation episodes it was {'underconfident' if temperature < 0.98 else 'calibrated'}"


def _before_after(name: str, before: Interval, after: Interval) -> BeforeAfter:
    values = (f"{before.mean:.3f}", bounds(before, 1, 3), f"{after.mean:.3f}", bounds(after, 1, 3))
    return BeforeAfter(_NAMES[name], *values)


def _length(share: Interval) -> float:
    return round(100 * min(max(share.mean, 0.0), 1.0), 1)


def _as_text(share: Interval) -> str:
    return f"{share.mean:.1%} {bounds(share, 100, 1)}"

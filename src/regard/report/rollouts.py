"""A page of rollouts in the plane: what was shown, as large as it was attended to, and what was done from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regard.report.page import environment

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ShownStep:
    """A step of a demonstration.

    Args:
        name: of it.
        place: where it was.
        attention: how much it counted, over the whole rollout.
        without: how far from the goal the rollout ends without it; None where that was not tried.
    """

    name: str
    place: tuple[float, float]
    attention: float
    without: float | None


@dataclass(frozen=True)
class ShownRollout:
    """What was done from one place.

    Args:
        path: (T + 1, 2) positions, from -1 to 1.
        distance: from the goal, at the end.
        arrived: whether that is near enough.
        steps: that were shown, the most attended first.
        without_attended, without_random: the distance at the end without the half attended to most, and a random half.
    """

    path: Floats
    distance: float
    arrived: bool
    steps: Sequence[ShownStep]
    without_attended: float
    without_random: float

    def points(self) -> str:
        """The path for an SVG, y downwards."""
        return in_svg(self.path)

    def dots(self) -> list[tuple[float, float, float]]:
        """x, y and radius of each shown step."""
        largest = max((step.attention for step in self.steps), default=1.0) or 1.0
        return [(step.place[0], -step.place[1], 0.012 + 0.07 * step.attention / largest) for step in self.steps]


def in_svg(path: NDArray[np.floating]) -> str:
    """Positions (T, 2) for an SVG, y downwards."""
    return " ".join(f"{x:.3f},{-y:.3f}" for x, y in path)


def render_rollouts(
    shown: Sequence[NDArray[np.floating]], rollouts: Sequence[ShownRollout], trust: str, believed: bool | None
) -> str:
    """The page as text, to be shown within another.

    Args:
        shown: (T, 2) positions of each demonstration.
        rollouts: in the order of the page.
        trust: a sentence that says how far to believe the page.
        believed: whether that is above chance; None where it cannot be said.
    """
    template = environment().get_template("rollouts.html.j2")
    return template.render(shown=[in_svg(path) for path in shown], rollouts=rollouts, trust=trust, believed=believed)

"""What a check is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from torch.distributions import Distribution

from regard.episode import Episode
from regard.errors import DataError
from regard.evaluation.evaluate import device_of
from regard.evaluation.intervals import Interval
from regard.learners.base import Learner
from regard.sampling.dataset import Dataset
from regard.sampling.episodes import EpisodeRows, EpisodeSampler

Verdict = Literal["passed", "failed", "does not apply"]

LEVEL = 0.999
"""Of intervals: a dozen checks, and hardly ever a false alarm."""

_SHOWN = 3


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Args:
        check: what ought to hold.
        verdict: "passed", "failed" or "does not apply".
        proof: the numbers, or the first items, or the reason.
    """

    check: str
    verdict: Verdict
    proof: str


@dataclass(frozen=True)
class LeakContext:
    """What a check looks at.

    Args:
        learner: in eval mode.
        sampler: of test episodes.
        parts: data set by part, "train" and "test" among them where known.
        n_episodes: how many episodes are asked.
        tolerance: largest difference of probabilities that is rounding.
    """

    learner: Learner
    sampler: EpisodeSampler
    parts: Mapping[str, Dataset] = field(default_factory=dict)
    n_episodes: int = 50
    tolerance: float = 1e-3

    def numbers(self) -> range:
        """The episodes that are asked."""
        return range(self.n_episodes)

    def rows(self) -> EpisodeRows:
        """Which rows these episodes are made of."""
        return self.sampler.rows(self.numbers())

    def episode(self, number: int) -> Episode:
        """One episode as a batch of one."""
        return self.sampler([number]).to(device_of(self.learner))

    def answer(self, episode: Episode) -> Tensor:
        """(B, Q, C) probabilities."""
        # Not inference mode: learners that adapt by gradient could not.
        with torch.no_grad():
            output = self.learner(episode)
        if isinstance(output, Distribution):
            raise DataError(
                f"{type(self.learner).__name__} answers with numbers: expected a classifier; the leaks of regression "
                "are not looked for."
            )
        return output.double().softmax(-1).cpu()


Check = Callable[[LeakContext], Finding]


def judged(check: str, faults: Sequence[str], otherwise: str) -> Finding:
    """Failed with the first faults, or passed with `otherwise`."""
    if not faults:
        return Finding(check, "passed", otherwise)
    more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    return Finding(check, "failed", "; ".join(faults[:_SHOWN]) + more)


def percent(interval: Interval) -> str:
    """For people: a share in percent."""
    return f"{100 * interval.mean:+.1f} ±{100 * interval.half_width:.1f}"

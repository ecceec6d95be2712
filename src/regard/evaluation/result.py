"""What an evaluation found: the numbers of the tables, and the raw values they were made from."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from regard.evaluation.intervals import Interval
from regard.evaluation.metrics import Calibration, Confusion
from regard.sampling.counts import Count


@dataclass(frozen=True)
class Result:
    """One learner on one data set and one kind of episode.

    Args:
        learner: a name for it.
        data: a name for what it was asked about.
        n_way: a number of classes, or the inclusive range that episodes drew from; 0 where targets are numbers.
        n_shot, n_query: support and query rows a class, or a task where there are no classes; likewise.
        episodes: how many.
        seed: of the sampler; episodes are numbers 0 .. episodes - 1 of that seed.
        transductive: whether the answer to a query depended on the other queries.
        metrics: name to mean and interval over episodes.
        seconds: wall time, encoding included.
        per_episode: name to (episodes,) raw values; empty where read from a file that left them out.
        calibration: the reliability curve over all queries.
        confusion: which classes were taken for which.
        adaptation_seconds: the median time that `adapt` took for one task by itself; None where it was not measured.
        digest: of the very rows and items asked; equal digests mean the same episodes. "" where unknown.
    """

    learner: str
    data: str
    n_way: Count
    n_shot: Count
    n_query: Count
    episodes: int
    seed: int
    transductive: bool
    metrics: dict[str, Interval]
    seconds: float
    per_episode: dict[str, NDArray[np.float64]] = field(default_factory=dict, repr=False)
    calibration: Calibration | None = field(default=None, repr=False)
    confusion: Confusion | None = field(default=None, repr=False)
    adaptation_seconds: float | None = None
    digest: str = ""

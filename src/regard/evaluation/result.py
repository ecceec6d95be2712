"""What an evaluation measured: the numbers of the tables, and the raw values they were made from."""

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
        data: a name for the data set and split.
        n_way: a number of classes, or the inclusive range that episodes drew from; 0 in regression.
        n_shot, n_query: support and query rows per class, or per task in regression; likewise.
        episodes: how many.
        seed: of the sampler; episodes are numbers 0 .. episodes - 1 of that seed.
        transductive: whether the prediction for a query depended on the other queries.
        metrics: name to mean and interval over episodes.
        seconds: wall time, encoding included.
        per_episode: name to (episodes,) raw values; empty if read from a file without them.
        calibration: the reliability curve over all queries.
        confusion: which classes were predicted for which.
        adaptation_seconds: the median time that `adapt` took for one task by itself; None if not measured.
        digest: of the rows and items evaluated on; equal digests mean the same episodes. "" if unknown.
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

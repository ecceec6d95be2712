"""Ask a learner many episodes and say how well it did, with an interval.

A learner that keeps its encoder fixed (an `EncodingLearner`) sees each item encoded once, however many episodes it
stands in: 1,000 20-way 1-shot episodes of 5 queries hold 120,000 images, and a held-out data set perhaps 2,000. The
answers are the same as when every episode is encoded anew, up to the rounding of differently cut batches. That needs
items that do not change from episode to episode (a sampler without a transform) and do not see each other
(`transductive` is false); otherwise, and for other learners, episodes are asked as they are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch

from regard.errors import ConfigError
from regard.evaluation.accumulator import ClassMetrics, TargetMetrics
from regard.evaluation.result import Count, Result
from regard.evaluation.runner import episode_runner
from regard.learners.base import Learner
from regard.nn.inference import device_of, eval_mode
from regard.sampling.source import EpisodeSource

Progress = Callable[[int, int], None]
"""Called with (episodes done, episodes in all)."""


def evaluate(
    learner: Learner,
    source: EpisodeSource,
    n_episodes: int = 1000,
    *,
    batch: int | None = None,
    cache: bool = True,
    name: str | None = None,
    data: str = "unnamed",
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> Result:
    """Ask episodes 0 .. n_episodes - 1 of the source: classes of its items, or numbers where it has no classes.

    Args:
        learner: put into eval mode for the time, and left as it came.
        source: its seed says which episodes these are.
        n_episodes: at least 2, which an interval needs.
        batch: episodes asked at once; changes the speed and no answer. Left out: 16 of cached vectors and of made-up
            episodes, else 1, since parts and feature maps fill the cache of a CPU. Always 1 for a transductive learner.
        cache: encode each item once where that is possible; False never does.
        name: of the learner in the result; its class's where left out.
        data: a name for the data set.
        device: where to compute; where the learner lives, if left out. The learner is not moved.
        progress: told after every batch.

    Raises:
        ConfigError: `n_episodes` or `batch` is too small.
        EpisodeError: the learner answers with a distribution of numbers instead of classes, or the other way round.
    """
    _check_counts(n_episodes, batch)
    started = time.perf_counter()
    place = device_of(learner) if device is None else torch.device(device)
    metrics = ClassMetrics() if source.n_way[1] else TargetMetrics()
    with eval_mode(learner):
        runner = episode_runner(learner, source, n_episodes, place, cache=cache)
        for part in _parts(n_episodes, 1 if learner.transductive else batch or runner.size):
            metrics.add(runner.run(part))
            if progress is not None:
                progress(part.stop, n_episodes)
    return Result(
        learner=name or type(learner).__name__,
        data=data,
        n_way=_count(source.n_way),
        n_shot=_count(source.n_shot),
        n_query=_count(source.n_query),
        episodes=n_episodes,
        seed=source.seed,
        transductive=learner.transductive,
        **metrics.summary(runner),
        digest=runner.digest(),
        seconds=time.perf_counter() - started,
    )


def _parts(n: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def _count(limits: Count) -> Count:
    return limits[0] if isinstance(limits, tuple) and limits[0] == limits[1] else limits


def _check_counts(n_episodes: int, batch: int | None) -> None:
    if n_episodes < 2:
        raise ConfigError(f"n_episodes is {n_episodes}: an interval needs at least 2; papers take 600 to 10,000.")
    if batch is not None and batch < 1:
        raise ConfigError(f"batch is {batch}: expected at least 1 episode at a time.")

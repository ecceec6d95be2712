"""Evaluate a learner on many episodes, with an interval.

A learner that keeps its encoder fixed (an `EncodingLearner`) sees each item encoded once, however many episodes it
occurs in: 1,000 20-way 1-shot episodes of 5 queries hold 120,000 images, and a held-out data set perhaps 2,000. The
predictions are the same as when every episode is encoded again, up to the rounding of differently cut batches; see
`regard.evaluation.runner` for when this is possible.

Episode i is a pure function of (seed, i), so processes share the work without talking to each other, and the result is
that of one process bit for bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch

from regard.errors import ConfigError
from regard.evaluation.accumulator import BatchScores, ClassMetrics, TargetMetrics
from regard.evaluation.processes import map_in_order
from regard.evaluation.result import Count, Result
from regard.evaluation.runner import EpisodeRunner, Predictions, episode_runner
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
    processes: int = 1,
    name: str | None = None,
    data: str = "unnamed",
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> Result:
    """Evaluate on episodes 0 .. n_episodes - 1 of the source, whose targets are classes or numbers.

    Args:
        learner: temporarily in eval mode, then restored.
        source: its seed says which episodes these are.
        n_episodes: at least 2, which an interval needs.
        batch: episodes per batch; changes the speed and, but for rounding, no number. Defaults to 16 for cached
            vectors and for generated episodes, else to 1, since maps of features fill the cache of a CPU. Always 1 for
            a transductive learner.
        cache: encode each item once where that is possible.
        processes: that share encoding and episodes, with the same result bit for bit. Each uses as many threads as
            this process. Starting them takes seconds: worth it for evaluations of minutes.
        name: of the learner in the result; defaults to its class's name.
        data: a name for the data set.
        device: where to compute; defaults to the learner's device. The learner is not moved.
        progress: called after every batch; with several processes, for all batches of a process at once.

    Raises:
        ConfigError: `n_episodes`, `batch` or `processes` is too small.
        EpisodeError: the learner predicts a distribution of numbers instead of classes, or the other way round.

    Examples:
        >>> import torch
        >>> from regard.learners import Prototypical
        >>> from regard.nn.flat import Flat
        >>> from regard.sampling import Dataset, EpisodeSampler
        >>> x = torch.eye(10).repeat_interleave(6, 0)  # items of a class are equal
        >>> source = EpisodeSampler(Dataset.of(x, torch.arange(10).repeat_interleave(6)), n_way=5, n_query=3)
        >>> evaluate(Prototypical(Flat()), source, 20).metrics["accuracy"].mean
        1.0
    """
    if n_episodes < 2:
        raise ConfigError(f"n_episodes is {n_episodes}: an interval needs at least 2; papers take 600 to 10,000.")
    if batch is not None and batch < 1:
        raise ConfigError(f"batch is {batch}: expected at least 1 episode at a time.")
    if processes < 1:
        raise ConfigError(f"processes is {processes}: expected at least 1.")
    started = time.perf_counter()
    device = device_of(learner) if device is None else torch.device(device)
    metrics = ClassMetrics() if source.n_way[1] else TargetMetrics()
    with eval_mode(learner):
        runner = episode_runner(learner, source, n_episodes, device, cache=cache, processes=processes)
        step = 1 if learner.transductive else batch or runner.size
        parts = [slice(start, min(start + step, n_episodes)) for start in range(0, n_episodes, step)]
        scores = map_in_order(partial(_score, metrics.score, runner), parts, processes)
        for part, batch_scores in zip(parts, scores, strict=True):
            metrics.add(batch_scores)
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


def _score(score: Callable[[Predictions], BatchScores], runner: EpisodeRunner, part: slice) -> BatchScores:
    return score(runner.run(part))


def _count(limits: Count) -> Count:
    return limits[0] if isinstance(limits, tuple) and limits[0] == limits[1] else limits

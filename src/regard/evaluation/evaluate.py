"""Ask a learner many episodes and say how well it did, with an interval.

A learner that keeps its encoder fixed (an `EncodingLearner`) sees each item encoded once, however many episodes it
stands in: 1,000 20-way 1-shot episodes of 5 queries hold 120,000 images, and a held-out data set perhaps 2,000. The
answers are the same as when every episode is encoded anew, up to the rounding of differently cut batches. That needs
items that do not change from episode to episode (a sampler without a transform) and do not see each other
(`transductive` is false); otherwise, and for other learners, episodes are asked as they are.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from regard.errors import ConfigError, EpisodeError
from regard.evaluation.encoded import encode_items
from regard.evaluation.intervals import mean_interval
from regard.evaluation.metrics import METRICS, Calibration, Confusion, ece_by_episode, episode_metrics
from regard.evaluation.result import Count, Result
from regard.learners.base import EncodingLearner, Learner, Output
from regard.sampling.dataset import Dataset
from regard.sampling.episodes import EpisodeRows, EpisodeSampler

Progress = Callable[[int, int], None]
"""Called with (episodes done, episodes in all)."""

_ROW_FIELDS = ("number", "support", "support_y", "query", "query_y")


def evaluate(
    learner: Learner,
    sampler: EpisodeSampler,
    n_episodes: int = 1000,
    *,
    batch: int | None = None,
    cache: bool = True,
    name: str | None = None,
    data: str = "unnamed",
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> Result:
    """Ask episodes 0 .. n_episodes - 1 of the sampler.

    Args:
        learner: put into eval mode for the time, and left as it came.
        sampler: its seed says which episodes these are.
        n_episodes: at least 2, which an interval needs.
        batch: episodes asked at once; changes the speed and no answer. Left out: 16 of cached vectors, else 1,
            since parts and feature maps fill the cache of a CPU. Always 1 for a transductive learner.
        cache: encode each item once where that is possible; False never does.
        name: of the learner in the result; its class's where left out.
        data: a name for the data set.
        device: where to compute; where the learner lives, if left out. The learner is not moved.
        progress: told after every batch.

    Raises:
        ConfigError: `n_episodes` or `batch` is too small.
        EpisodeError: the learner answers with a distribution of numbers instead of classes.
    """
    _check_counts(n_episodes, batch)
    started = time.perf_counter()
    place = device_of(learner) if device is None else torch.device(device)
    rows = sampler.rows(np.arange(n_episodes))
    tally = _Tally(sampler.dataset, rows)
    with evaluating(learner):
        ask, size = _asker(learner, sampler, rows, place, cache)
        for part in _parts(n_episodes, 1 if learner.transductive else batch or size):
            tally.add(part, _logits(ask(_select(rows, part)), learner))
            if progress is not None:
                progress(part.stop, n_episodes)
    return Result(
        learner=name or type(learner).__name__,
        data=data,
        n_way=_count(sampler.n_way),
        n_shot=_count(sampler.n_shot),
        n_query=sampler.n_query,
        episodes=n_episodes,
        seed=sampler.seed,
        transductive=learner.transductive,
        **tally.summary(),
        digest=episodes_digest(sampler, rows),
        seconds=time.perf_counter() - started,
    )


@contextmanager
def evaluating(learner: nn.Module) -> Iterator[None]:
    """Eval mode for the time; then each module's own mode again, so that a frozen part stays frozen in training."""
    before = [(module, module.training) for module in learner.modules()]
    learner.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


def device_of(learner: nn.Module) -> torch.device:
    """Where the learner's first parameter lives; the CPU where it has none."""
    parameter = next(learner.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device


def episodes_digest(sampler: EpisodeSampler, rows: EpisodeRows) -> str:
    """16 hex digits that tell these episodes from others: their rows, the labels, and the items of the first one."""
    digest = hashlib.sha256("\n".join(sampler.dataset.class_names).encode())
    first = sampler.gather(_select(rows, slice(0, 1)))
    items = [x.values() if isinstance(x, dict) else [x] for x in (first.support.x, first.query_x)]
    tensors = [tensor for part in items for tensor in part] + [getattr(rows, field) for field in _ROW_FIELDS]
    for tensor in tensors:
        digest.update(np.ascontiguousarray(tensor.numpy()).data)
    return digest.hexdigest()[:16]


# ---- how an episode is asked -----------------------------------------------------------------------------------------


def _asker(
    learner: Learner, sampler: EpisodeSampler, rows: EpisodeRows, device: torch.device, cache: bool
) -> tuple[Callable[[EpisodeRows], Output], int]:
    """How episodes are asked, and how many at once are quick on a CPU."""
    if cache and isinstance(learner, EncodingLearner) and sampler.transform is None and not learner.transductive:
        return _cached(learner, sampler.dataset, rows, device)

    def fresh(chosen: EpisodeRows) -> Output:
        # Sampled outside inference mode: what a transform keeps for later must be usable in training.
        episode = sampler.gather(chosen).to(device)
        with torch.inference_mode():
            return learner(episode)

    return fresh, 1


def _cached(
    learner: EncodingLearner, dataset: Dataset, rows: EpisodeRows, device: torch.device
) -> tuple[Callable[[EpisodeRows], Output], int]:
    items = encode_items(learner, dataset, rows, device)

    def gathered(chosen: EpisodeRows) -> Output:
        with torch.inference_mode():
            support, query_z = items.episode(chosen)
            return learner.predict_encoded(learner.adapt_encoded(support), query_z)

    return gathered, 16 if items.z.ndim == 2 else 1


def _parts(n: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def _select(rows: EpisodeRows, part: slice) -> EpisodeRows:
    return replace(rows, **{field: getattr(rows, field)[part] for field in _ROW_FIELDS})


def _logits(output: Output, learner: Learner) -> Tensor:
    if isinstance(output, Tensor):
        return output.cpu()
    raise EpisodeError(
        f"{type(learner).__name__} answered with a {type(output).__name__}: evaluate asks for classes, and expected "
        "logits (tasks, queries, classes)."
    )


# ---- what is counted -------------------------------------------------------------------------------------------------


class _Tally:
    """Gathers the logits of one batch after another into per-episode numbers."""

    def __init__(self, dataset: Dataset, rows: EpisodeRows) -> None:
        self._dataset, self._rows = dataset, rows
        self._metrics: list[dict[str, Tensor]] = []
        self._bins: list[Tensor] = []
        self._predicted: list[Tensor] = []

    def add(self, part: slice, logits: Tensor) -> None:
        y, weight = self._rows.query_y[part], (self._rows.query[part] >= 0).double()
        metrics, bins = episode_metrics(logits, y, weight)
        self._metrics.append(metrics)
        self._bins.append(bins)
        self._predicted.append(logits.argmax(-1))

    def summary(self) -> dict[str, Any]:
        bins = torch.cat(self._bins).numpy()
        values = {name: torch.cat([m[name] for m in self._metrics]).numpy() for name in self._metrics[0]}
        values["ece"] = ece_by_episode(bins)
        return {
            "metrics": {name: mean_interval(values[name]) for name in METRICS},
            "per_episode": {name: values[name] for name in METRICS},
            "calibration": Calibration.of(bins),
            "confusion": self._confusion(torch.cat(self._predicted)),
        }

    def _confusion(self, predicted: Tensor) -> Confusion:
        """Episode labels back to the classes of the data set, query by query."""
        rows, y = self._rows, self._dataset.y
        n_tasks = len(rows)
        of_label = torch.zeros(n_tasks, rows.n_classes, dtype=torch.int64)
        task, place = (rows.support >= 0).nonzero(as_tuple=True)
        of_label[task, rows.support_y[task, place]] = y[rows.support[task, place]]
        asked = rows.query >= 0
        answer = of_label.gather(1, predicted)[asked]
        return Confusion.of(self._dataset.class_names, y[rows.query[asked]].numpy(), answer.numpy())


def _count(limits: tuple[int, int]) -> Count:
    return limits[0] if limits[0] == limits[1] else limits


def _check_counts(n_episodes: int, batch: int | None) -> None:
    if n_episodes < 2:
        raise ConfigError(f"n_episodes is {n_episodes}: an interval needs at least 2; papers take 600 to 10,000.")
    if batch is not None and batch < 1:
        raise ConfigError(f"batch is {batch}: expected at least 1 episode at a time.")

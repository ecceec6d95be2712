"""How long a learner takes to adapt to one task: what a user waits for before the first answer."""

from __future__ import annotations

import statistics
import time

import torch

from regard.learners.base import Learner
from regard.nn.inference import device_of, eval_mode
from regard.sampling.source import EpisodeSource


def adaptation_seconds(learner: Learner, source: EpisodeSource, n_tasks: int = 9) -> float:
    """The median time of `adapt` over tasks 0 .. n_tasks - 1 of the source, each by itself, after one that warms up.

    Encoding the support is part of it, sampling the task is not. The state of torch's generator is restored.
    """
    device, seconds = device_of(learner), []
    with eval_mode(learner), torch.no_grad(), torch.random.fork_rng():
        for number in (0, *range(n_tasks)):
            support = source(range(number, number + 1)).support.to(device)
            started = time.perf_counter()
            learner.adapt(support)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])

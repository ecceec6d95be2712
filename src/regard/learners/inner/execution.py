"""The rule for execution="auto": how a batch of tasks is executed fastest.

On a CPU vmap makes of the convolutions of many tasks one grouped convolution. It costs one start for all tasks, and
works on the maps of all tasks at once, which soon leave the cache. So it is quicker where a task's maps are small. Of
Conv4 with batch statistics, one inner step, 16 tasks of 5-way 1-shot on 28x28, one core (torch 2.13), the loop's time
over vmap's, by thousands of numbers in the maps of a task:

    stride, 16 filters    42: 2.4    127: 1.8     339: 1.1
    stride, 32 filters    85: 1.8    254: 1.2     678: 0.7
    stride, 64 filters   170: 1.5    509: 1.0   1,360: 0.7
    pool, 16 filters     166: 1.7    498: 0.8   1,330: 0.6
    pool, 32 filters     332: 1.0    996: 0.6   2,660: 0.4
    pool, 64 filters     664: 0.8  2,000: 0.6   5,320: 0.3

(The machine was busy, so these are times of the thread, the least of three.) By 8 tasks and group norm: 85: 1.6,
254: 1.1; by 4 tasks at once vmap is the slower one from 254 on. By 5 inner steps, 32 filters, stride: 85: 2.1,
254: 1.7. More cores, and predictions, were not measured.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.pooling import _AvgPoolNd, _MaxPoolNd

from regard.episode import Episode

_SMALL_MAPS = 260_000
"""Numbers in the maps of a task up to which vmap is quicker."""

_MANY_TASKS = 8
"""Tasks at once from which vmap is quicker."""

_MANY_STEPS = 1000
"""Steps ahead from which compiling, which takes a minute, is worth it."""


def choose_execution(
    modules: Iterable[nn.Module],
    n_tasks: int,
    device: torch.device | str,
    *,
    chunk: int | None = None,
    training: bool = True,
    n_steps_ahead: int = 1,
    episode: Episode | None = None,
) -> Literal["loop", "vmap", "compiled"]:
    """The fastest execution, as far as modules and sizes tell.

    Args:
        modules: all modules of the learner.
        n_tasks: tasks per batch.
        device: where the learner is.
        chunk: tasks vmapped at once; defaults to all.
        training: whether it is being trained.
        n_steps_ahead: how many calls like this one there will be.
        episode: one as it is trained on; without it a task's maps are taken to be large.
    """
    if torch.device(device).type != "cpu":
        return "vmap"
    if n_tasks == 1:
        return "loop"
    modules = list(modules)
    if any(isinstance(module, _ConvNd) for module in modules):
        many = min(n_tasks, chunk or n_tasks) >= _MANY_TASKS
        return "vmap" if many and episode is not None and map_numbers(modules, episode) <= _SMALL_MAPS else "loop"
    return "compiled" if training and n_steps_ahead >= _MANY_STEPS else "vmap"


def map_numbers(modules: Iterable[nn.Module], episode: Episode) -> float:
    """About how many numbers the convolutions give for all rows of a task; infinite for items in dicts.

    Strides of convolutions and poolings are applied one after another, in the order of the modules. A network with
    branches has other maps than that, of the same order of magnitude.
    """
    x = episode.support.x
    item_size = float(prod(x.shape[2:])) if isinstance(x, Tensor) else float("inf")
    n_positions, n_numbers, n_axes = 0.0, 0.0, 0
    for module in modules:
        if isinstance(module, _ConvNd):
            n_positions = (n_positions or item_size / module.in_channels) / prod(module.stride)
            n_numbers, n_axes = n_numbers + n_positions * module.out_channels, len(module.stride)
        elif isinstance(module, _MaxPoolNd | _AvgPoolNd):
            stride: Any = module.stride
            n_positions /= stride**n_axes if isinstance(stride, int) else prod(stride)
    return n_numbers * (episode.support.y.shape[1] + episode.query_y.shape[1])

"""The gradient of a step, summed in the order of its tasks, so that W processes add the same numbers as one.

A sum of floats depends on its order. So the B tasks of a step are cut into chunks, the same however many processes
there are; each chunk's gradient is computed by itself, and chunk gradients are added one after another. With W
processes, process r computes chunks r, r + W, ..., and each adds all of them in order: on a CPU, W processes take, bit
for bit, the steps of one (running batch statistics excepted, which each process takes over its own chunks).

Small chunks suit convolutions on a CPU, where they fit the cache: Conv4 with 4 tasks a step, 5-way 1-shot 15-query,
takes 0.75 of the time of one pass over all. A small MLP takes 4.8 times as long. So "auto" cuts for convolutions on a
CPU only; elsewhere a process takes its share in one pass, and DDP averages (equal up to rounding).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule
from torch import Tensor, nn

from regard.learners.base import EncodingLearner, Learner
from regard.sampling.random import bits
from regard.training.batches import Batches, naming_episodes
from regard.training.config import TrainConfig

_RANDOM_STREAM = 64  # samplers use small numbers; this keeps a learner's dropout apart from them under one seed


def tasks_at_once(learner: Learner, config: TrainConfig, device: torch.device) -> int | None:
    """How many tasks are in a chunk; None for a process's whole share."""
    if config.tasks_at_once != "auto":
        return config.tasks_at_once
    if learner.transductive and isinstance(learner, EncodingLearner):
        return None  # its batch statistics are of all tasks of a pass
    convolves = any(isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d) for module in learner.modules())
    return 1 if convolves and device.type == "cpu" else None


class StepGradient:
    """Computes loss and gradient of one step.

    Args:
        fabric: processes and precision.
        module: the learner as Fabric wraps it.
        batches: the chunks of each step.
        config: the settings.
        last: the last checkpoint, for messages.
        planned: further arguments of the learner's `loss`.
    """

    def __init__(
        self,
        fabric: Fabric,
        module: _FabricModule,
        batches: Batches,
        config: TrainConfig,
        last: Path,
        planned: dict[str, int],
    ) -> None:
        self.fabric, self.module, self.batches, self.config, self.last = fabric, module, batches, config, last
        self.planned = planned
        self.gathers = fabric.world_size > 1 and batches.at_once is not None
        self._parameters = [p for p in module.parameters() if p.requires_grad]

    def __call__(self, step: int) -> Tensor:
        """Put the gradient of the step's mean loss into the parameters; returns that loss.

        With several processes that each take their whole share, the loss is that of this process's share.
        """
        rank, n_ranks = self.fabric.global_rank, self.fabric.world_size
        whole_share = self.batches.at_once is None
        n_tasks = self.config.tasks_per_step // (n_ranks if whole_share else 1)
        loss, gradient, present = torch.zeros((), device=self.fabric.device), None, None
        numbers = self.batches.chunks(step)
        words = bits(self.config.seed, _RANDOM_STREAM, np.array([step], dtype=np.int64), len(numbers) * n_ranks)[0]
        for turn, episode in enumerate(self.batches.take(step)):
            seed_all(int(words[turn * n_ranks + rank]) >> 1, self.fabric.device)
            # Fabric puts the precision around `forward` only; in one process a method like `loss` would go without.
            with (
                self.fabric.no_backward_sync(self.module, enabled=self.gathers),
                self.fabric.autocast(),
                naming_episodes(numbers[turn], self.last),
            ):
                chunk = self.module.loss(episode, **self.planned).sum() / n_tasks
                self.fabric.backward(chunk)
            if not self.gathers:
                loss = loss + chunk.detach()
                continue
            flags = chunk.new_tensor([float(p.grad is not None) for p in self._parameters])
            parts = [(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in self._parameters]
            self.module.zero_grad()
            flat = self.fabric.all_gather(torch.cat([chunk.detach().reshape(1), flags, *parts]))
            assert isinstance(flat, Tensor)
            for one in flat:
                chunk_loss, there, values = one.split((1, len(flags), one.numel() - 1 - len(flags)))
                loss = loss + chunk_loss[0]
                if gradient is None or present is None:
                    gradient, present = values, there
                else:
                    gradient, present = gradient + values, present + there
        if gradient is not None and present is not None:
            sizes = [p.numel() for p in self._parameters]
            for p, used, values in zip(self._parameters, present.tolist(), gradient.split(sizes), strict=True):
                # In the memory format of the parameter, as autograd lays it out: norms add in the order of memory.
                p.grad = torch.empty_like(p).copy_(values.view(p.shape)) if used else None
        return loss


def seed_all(number: int, device: torch.device) -> None:
    """Seed what learners draw in training."""
    if device.type == "cpu":
        # torch.manual_seed also notes the seed, with a stack trace, for each kind of device that is not there: a
        # millisecond and a little memory a step.
        torch.default_generator.manual_seed(number)
    else:
        torch.manual_seed(number)

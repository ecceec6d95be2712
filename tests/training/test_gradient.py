"""The gradient of a step, seen from one process at a time: what each rank draws, adds and divides by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from regard.training import gradient as g
from regard.training.gradient import StepGradient, seed_all


class Drawing(nn.Module):
    """The loss of task i is i times the weight; what it would drop is noted."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones((), dtype=torch.float64))
        self.drawn: list[float] = []

    def loss(self, tasks: Tensor) -> Tensor:
        self.drawn.append(float(torch.rand(())))
        return tasks * self.weight


class Chunks:
    """Chunks of six tasks as `Batches` cuts them."""

    def __init__(self, rank: int, n_ranks: int, at_once: int | None) -> None:
        self.rank, self.n_ranks, self.at_once = rank, n_ranks, at_once

    def chunks(self, step: int) -> list[np.ndarray]:
        first, last = 6 * step, 6 * step + 6
        if self.at_once is None:
            return [np.arange(first + self.rank, last, self.n_ranks)]
        starts = range(first + self.rank * self.at_once, last, self.n_ranks * self.at_once)
        return [np.arange(start, start + self.at_once) for start in starts]

    def take(self, step: int) -> list[Tensor]:
        return [torch.from_numpy(numbers).double() for numbers in self.chunks(step)]


def step_of(
    rank: int,
    n_ranks: int,
    at_once: int | None,
    *,
    step: int = 2,
    seed: int = 0,
    module: Drawing | None = None,
    gathers: bool = False,
) -> tuple[float, Drawing]:
    """The loss that one rank reports, without its neighbours, and its module."""
    module = module or Drawing()

    @contextmanager
    def sync(_: Any, enabled: bool) -> Iterator[None]:
        yield

    fabric = SimpleNamespace(
        global_rank=rank, world_size=n_ranks, device=torch.device("cpu"), autocast=nullcontext,
        no_backward_sync=sync, backward=lambda loss: loss.backward(), all_gather=lambda flat: flat[None],
    )  # fmt: skip
    made = object.__new__(StepGradient)
    config = SimpleNamespace(tasks_per_step=6, seed=seed)
    batches = Chunks(rank, n_ranks, at_once)
    vars(made).update(
        fabric=fabric, module=module, batches=batches, config=config, last=Path("last"), planned={}, gathers=gathers,
        _parameters=list(module.parameters()),
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        loss = made(step)
    return float(loss), module


@pytest.mark.parametrize("at_once", [None, 1, 2, 3])
def test_one_process_has_the_mean_loss_and_gradient_of_all_tasks_however_they_are_cut(at_once: int | None) -> None:
    loss, module = step_of(0, 1, at_once)
    assert loss == pytest.approx(np.arange(12, 18).mean())
    assert module.weight.grad is not None and float(module.weight.grad) == pytest.approx(loss)
    assert len(module.drawn) == (1 if at_once is None else 6 // at_once)


class Partly(Drawing):
    """Some tasks use a second parameter, and none a third."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.arange(6.0, dtype=torch.float64).view(2, 3))
        self.idle = nn.Parameter(torch.ones(2, dtype=torch.float64))

    def loss(self, tasks: Tensor) -> Tensor:
        loss = super().loss(tasks)
        return loss if int(tasks[0]) % 2 else loss + tasks * self.rows.square().sum()


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_what_is_gathered_is_the_gradient_of_one_process_parameter_by_parameter(at_once: int) -> None:
    loss, alone = step_of(0, 1, at_once, module=Partly())
    gathered_loss, gathered = step_of(0, 1, at_once, module=Partly(), gathers=True)
    assert gathered_loss == loss
    for (name, parameter), other in zip(alone.named_parameters(), gathered.parameters(), strict=True):
        if name == "idle":
            assert parameter.grad is None and other.grad is None, "the optimizer would move what no task used"
        else:
            assert parameter.grad is not None and other.grad is not None
            assert torch.equal(parameter.grad, other.grad) and bool((other.grad != 0).any())


def test_shares_of_two_processes_average_to_the_mean_of_all() -> None:
    losses = [step_of(rank, 2, None)[0] for rank in (0, 1)]
    assert np.mean(losses) == pytest.approx(np.arange(12, 18).mean())
    assert losses[0] != losses[1]


def test_no_two_ranks_or_chunks_or_steps_drop_the_same() -> None:
    shares = [step_of(rank, 3, None)[1].drawn for rank in range(3)]
    assert len({drawn for share in shares for drawn in share}) == 3, "ranks draw alike"
    chunks = step_of(0, 1, 1)[1].drawn
    assert len({*chunks}) == 6, "chunks draw alike"
    others = [step_of(0, 1, 1, step=3)[1].drawn, step_of(0, 1, 1, seed=1)[1].drawn]
    assert len({*chunks, *others[0], *others[1]}) == 18
    assert step_of(0, 1, 1)[1].drawn == chunks


@pytest.mark.parametrize("n_ranks", [2, 3])
def test_a_chunk_drops_the_same_whichever_process_it_is_on(n_ranks: int) -> None:
    whole = step_of(0, 1, 1)[1].drawn
    shared = [step_of(rank, n_ranks, 1)[1].drawn for rank in range(n_ranks)]
    assert [shared[i % n_ranks][i // n_ranks] for i in range(6)] == whole


def test_dropout_is_apart_from_the_streams_of_samplers() -> None:
    from regard.sampling.episodes import _SIZES
    from regard.sampling.functions import _N_STREAMS

    assert 3 * max(_SIZES + 1, _N_STREAMS) < g._RANDOM_STREAM


def test_a_seed_decides_what_is_drawn() -> None:
    with torch.random.fork_rng(devices=[]):
        seed_all(7, torch.device("cpu"))
        first = torch.rand(3)
        seed_all(7, torch.device("cpu"))
        assert torch.equal(torch.rand(3), first)
        torch.manual_seed(7)
        assert torch.equal(torch.rand(3), first)

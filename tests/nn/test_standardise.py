"""Standardise is the norm of its formula, of PyTorch, of any derivative, and under vmap."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import grad, vmap
from torch.nn import functional as F

from regard.nn.norm import GroupNorm, TransductiveNorm, norm_2d
from regard.nn.standardise import plain_standardise, standardise

Function = Callable[[Tensor, Tensor, Tensor], Tensor]
LAYOUTS = [torch.contiguous_format, torch.channels_last]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def arguments(layout: torch.memory_format) -> tuple[Tensor, Tensor, Tensor]:
    x = torch.randn(3, 4, 5, 5, dtype=torch.float64).contiguous(memory_format=layout)
    return x.requires_grad_(), *(torch.randn(4, dtype=torch.float64, requires_grad=True) for _ in range(2))


def derivatives(function: Function, given: tuple[Tensor, ...], n: int) -> list[Tensor]:
    """Values and n derivatives, each of something that depends on all of the one before."""
    found = [function(*given)]
    total = _mix(found[0])
    for _ in range(n):
        gradients = torch.autograd.grad(total, given, create_graph=True)
        found += gradients
        total = torch.stack([_mix(g) for g in gradients]).sum()
    return found


def _mix(t: Tensor) -> Tensor:
    return ((t + 0.3 * t**2).tanh() * torch.linspace(-1, 2, t.numel(), dtype=t.dtype).view(t.shape)).sum()


def _agree(found: list[Tensor], expected: list[Tensor], rtol: float = 1e-10) -> None:
    for a, b in zip(found, expected, strict=True):
        assert (a - b).norm() <= rtol * b.norm()


@pytest.mark.parametrize("layout", LAYOUTS, ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("groups", [None, 1, 2, 4])
def test_three_derivatives_are_those_of_the_formula(groups: int | None, layout: torch.memory_format) -> None:
    given = arguments(layout)
    found = derivatives(lambda x, a, b: standardise(x, a, b, groups=groups), given, 3)
    _agree(found, derivatives(lambda x, a, b: plain_standardise(x, a, b, groups=groups), given, 3))


@pytest.mark.parametrize("groups", [None, 1, 2, 4])
def test_two_derivatives_are_those_of_torch(groups: int | None) -> None:
    given = arguments(torch.contiguous_format)

    def theirs(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return F.batch_norm(x, None, None, a, b, True) if groups is None else F.group_norm(x, groups, a, b)

    _agree(derivatives(lambda x, a, b: standardise(x, a, b, groups=groups), given, 2), derivatives(theirs, given, 2))


def _adapted(function: Function) -> Function:
    def loss(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        return _mix(function(x, scale, shift))

    def task(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        moved = [t - 0.1 * g for t, g in zip((x, scale, shift), grad(loss, (0, 1, 2))(x, scale, shift), strict=True)]
        return loss(*moved)

    return task


@pytest.mark.parametrize("groups", [None, 2])
def test_vmap_is_a_loop_also_when_differentiated_from_outside(groups: int | None) -> None:
    batch = [
        torch.stack(t).detach().requires_grad_() for t in zip(*(arguments(LAYOUTS[1]) for _ in "abc"), strict=True)
    ]
    task = _adapted(lambda x, a, b: standardise(x, a, b, groups=groups))
    by_vmap = vmap(task)(*batch)
    _agree(list(torch.autograd.grad(by_vmap.sum(), batch)), _loop_gradients(groups, batch))
    _agree(list(vmap(grad(task, (0, 1, 2)))(*batch)), _loop_gradients(groups, batch))


def _loop_gradients(groups: int | None, batch: list[Tensor]) -> list[Tensor]:
    """Plain autograd, task by task, through the path that is not of torch.func."""
    total = []
    for given in zip(*batch, strict=True):
        loss = _mix(standardise(*given, groups=groups))
        slopes = torch.autograd.grad(loss, given, create_graph=True)
        total.append(_mix(standardise(*(t - 0.1 * g for t, g in zip(given, slopes, strict=True)), groups=groups)))
    return list(torch.autograd.grad(torch.stack(total).sum(), batch))


@pytest.mark.parametrize("policy", ["group", "instance"])
def test_group_norm_reads_checkpoints_of_torch(policy: str) -> None:
    ours = norm_2d(policy, 12)  # type: ignore[arg-type]
    assert isinstance(ours, GroupNorm)
    theirs = nn.GroupNorm(ours.num_groups, 12)
    nn.init.normal_(theirs.weight)
    nn.init.normal_(theirs.bias)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 12, 5, 5).contiguous(memory_format=torch.channels_last)
    assert torch.equal(ours(x), theirs(x))


def test_other_precision_than_the_weights() -> None:
    x = torch.randn(2, 8, 4, 4)
    for norm in (norm_2d("group", 8), TransductiveNorm(8)):
        assert (norm(x.bfloat16()).float() - norm(x)).abs().max() < 0.05

"""Muon, and the schedule by which a run can be made longer."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from regard.errors import ConfigError
from regard.training import TrainConfig
from regard.training.muon import Muon, orthogonal
from regard.training.optimization import learning_rate, make_optimizer, optimizer_tensors, restore_optimizer


@pytest.mark.parametrize("shape", [(40, 40), (40, 120), (120, 40)])
def test_orthogonal_keeps_directions_and_levels_their_sizes(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape, dtype=torch.float64)
    found = orthogonal(matrix)
    assert torch.linalg.svdvals(found).max() < 1.3
    # All but the very smallest, which five steps do not lift all the way.
    assert torch.linalg.svdvals(found)[:-2].min() > 0.3
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    inside = u.mT @ found @ v.mT
    assert (inside - torch.diag(inside.diagonal())).abs().max() < 1e-8


def test_what_is_no_wide_matrix_goes_as_adamw_goes() -> None:
    torch.manual_seed(0)
    one, other = nn.Linear(3, 4), nn.Linear(3, 4)
    other.load_state_dict(one.state_dict())
    ours = Muon(one.parameters(), lr=0.01, weight_decay=0.1)
    groups = [{"params": [other.weight]}, {"params": [other.bias], "weight_decay": 0.0}]
    theirs = torch.optim.AdamW(groups, lr=0.01, weight_decay=0.1, betas=(0.9, 0.99))
    for _ in range(5):
        x = torch.randn(6, 3)
        for net, optimizer in ((one, ours), (other, theirs)):
            net(x).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    torch.testing.assert_close(one.weight, other.weight)
    torch.testing.assert_close(one.bias, other.bias)


@pytest.mark.parametrize("shape", [(32, 40), (40, 32), (32, 31), (40, 40, 1)])
def test_wide_matrices_alone_are_made_orthogonal(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    p = nn.Parameter(torch.randn(shape, dtype=torch.float64))
    before, p.grad = p.detach().clone(), torch.randn(shape, dtype=torch.float64)
    Muon([p], lr=0.1, weight_decay=0.5).step()
    # The first momentum is the gradient itself, and Nesterov looks ahead by 0.95 of it.
    expected = before * (1 - 0.1 * 0.5) - 0.1 * 0.2 * math.sqrt(max(shape)) * orthogonal(1.95 * p.grad)
    assert torch.allclose(p, expected) == (len(shape) == 2 and min(shape) >= 32)


def test_matrices_of_one_shape_go_together_as_each_would_alone() -> None:
    torch.manual_seed(0)
    together = [nn.Parameter(torch.randn(40, 36, dtype=torch.float64)) for _ in range(3)]
    alone = [nn.Parameter(p.detach().clone()) for p in together]
    optimizers = [Muon(together, lr=0.1, weight_decay=0.1), *(Muon([p], lr=0.1, weight_decay=0.1) for p in alone)]
    for _ in range(3):
        for one, other in zip(together, alone, strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one, other)


def test_its_state_can_be_put_back() -> None:
    torch.manual_seed(0)
    config = TrainConfig(optimizer="muon", learning_rate=0.01)
    data, nets = torch.randn(3, 5, 40), []
    for stop in (3, 1):
        torch.manual_seed(1)
        net = nn.Sequential(nn.Linear(40, 40), nn.Linear(40, 2))
        optimizer = make_optimizer(net, config)
        for step in range(3):
            if step == stop:
                kept = {k: t.clone() for k, t in optimizer_tensors(net, optimizer).items()}
                optimizer = make_optimizer(net, config)
                restore_optimizer(net, optimizer, kept)
            net(data[step]).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        nets.append(net)
    assert torch.equal(nets[0][0].weight, nets[1][0].weight)


def test_a_trapezoid_stays_and_falls() -> None:
    config = TrainConfig(schedule="trapezoid", learning_rate=1.0, warmup_steps=4, decay_steps=9, steps=100)
    rates = [learning_rate(config, step, 100) for step in range(100)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert set(rates[5:90]) == {1.0}
    assert rates[90:] == pytest.approx([1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])


def test_a_run_may_be_made_longer_before_its_rate_falls() -> None:
    from regard.training.state import RunState

    config = TrainConfig(schedule="trapezoid", decay_steps=10, steps=100)
    assert config.identity() == config.model_copy(update={"steps": 50}).identity()
    assert TrainConfig(steps=50).identity() != TrainConfig(steps=60).identity()
    path = Path("last.safetensors")
    assert RunState(steps=80, step=70)._extended(config, path).steps == 100
    with pytest.raises(ConfigError, match=r"before the learning rate falls \(step 70\)"):
        RunState(steps=80, step=71)._extended(config, path)


def test_what_an_optimizer_holds_beside_tensors_of_the_parameters_shape_is_restored_too() -> None:
    """Such as sums of rows and columns, which Adafactor keeps, and counts of steps."""
    net = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(net.parameters())
    kept = {"exp_avg/weight": torch.ones(2, 3), "row_var/weight": torch.arange(2.0), "step/weight": torch.tensor(4.0)}
    restore_optimizer(net, optimizer, kept)
    held = optimizer.state[net.weight]
    assert {name: value.tolist() for name, value in held.items()} == {
        "exp_avg": [[1.0] * 3] * 2, "row_var": [0.0, 1.0], "step": 4.0,
    }  # fmt: skip

"""How many inner steps are taken: `inner_steps` in training, `test_steps` in eval mode, which default to them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from regard.episode import Episode, Support
from regard.learners import MAML


def episode() -> Episode:
    generator = torch.Generator().manual_seed(0)
    x, query = (torch.randn(1, n, 3, generator=generator, dtype=torch.float64) for n in (4, 5))
    return Episode(Support(x, torch.tensor([[0, 0, 1, 1]])), query, torch.zeros(1, 5, dtype=torch.int64))


def maml(**steps: int) -> MAML:
    torch.manual_seed(1)
    return MAML(nn.Linear(3, 2).double(), inner_lr=0.3, execution="loop", **steps)


def by_hand(n_steps: int) -> torch.Tensor:
    model, task = maml(inner_steps=1).model, episode()
    weight, bias = (p.detach().clone() for p in (model.weight, model.bias))
    for _ in range(n_steps):
        weight.requires_grad_(), bias.requires_grad_()
        loss = nn.functional.cross_entropy(task.support.x[0] @ weight.T + bias, task.support.y[0])  # type: ignore[index]
        gradient = torch.autograd.grad(loss, (weight, bias))
        weight, bias = ((p - 0.3 * g).detach() for p, g in zip((weight, bias), gradient, strict=True))
    return task.query_x[0] @ weight.T + bias  # type: ignore[index]


@pytest.mark.parametrize(
    ("steps", "in_training", "in_eval"),
    [
        ({"inner_steps": 1, "test_steps": 3}, 1, 3),
        ({"inner_steps": 2}, 2, 2),
        ({"inner_steps": 3, "test_steps": 1}, 3, 1),
    ],
)
def test_the_mode_decides_how_many_steps_are_taken(steps: dict[str, int], in_training: int, in_eval: int) -> None:
    learner = maml(**steps)
    assert torch.allclose(learner.train()(episode())[0], by_hand(in_training))
    assert torch.allclose(learner.eval()(episode())[0], by_hand(in_eval))

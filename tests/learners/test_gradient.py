"""Gradient learners: every execution gives the meta-gradient of a plain loop, written here as simply as it can be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from regard.episode import Episode
from regard.learners.base import Learner
from regard.learners.maml import MAML
from regard.nn.conv4 import Conv4
from regard.nn.headed import Headed
from regard.nn.mlp import MLP
from regard.nn.sequence import TokenLSTM, TokenTransformer
from regard.testing import random_episode

EXECUTIONS = {"loop": {}, "vmap": {}, "vmap-2": {"task_chunk": 2}}


def plain_meta_gradient(
    model: nn.Module, episode: Episode, *, lr: float, steps: int, first_order: bool = False
) -> tuple[Tensor, dict[str, Tensor]]:
    """Task by task, row by row of the textbook; `functional_call` and autograd, and nothing of the engine."""
    theta = dict(model.named_parameters())
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    losses = []
    for b in range(episode.n_tasks):
        task = episode.tasks(slice(b, b + 1))
        x = {k: v[0] for k, v in task.support.x.items()} if isinstance(task.support.x, dict) else task.support.x[0]
        q = {k: v[0] for k, v in task.query_x.items()} if isinstance(task.query_x, dict) else task.query_x[0]
        mass = task.support.membership().sum(1)[0] if not task.support.is_regression else None
        phi = dict(theta)
        for _ in range(steps):
            out = functional_call(model, {**phi, **{k: v.clone() for k, v in buffers.items()}}, (x,))
            loss = plain_loss(out, task.support.y[0], task.support.weight[0], mass)
            grads = torch.autograd.grad(loss, list(phi.values()), create_graph=not first_order)
            phi = {n: p - lr * g for (n, p), g in zip(phi.items(), grads, strict=True)}
        out = functional_call(model, {**phi, **{k: v.clone() for k, v in buffers.items()}}, (q,))
        losses.append(plain_loss(out, task.query_y[0], task.query_weight[0], mass))
    total = torch.stack(losses)
    grads = torch.autograd.grad(total.mean(), list(theta.values()))
    return total.detach(), dict(zip(theta, grads, strict=True))


def plain_loss(out: Tensor, y: Tensor, weight: Tensor, mass: Tensor | None) -> Tensor:
    keep = weight > 0
    if mass is None:
        each = (out[keep] - y[keep]).square().mean(-1)
    else:
        present = (mass > 0).nonzero()[:, 0]
        place = torch.full((len(mass),), -1).scatter(0, present, torch.arange(len(present)))
        each = F.cross_entropy(out[keep][:, present], place[y[keep]], reduction="none")
    return (each * weight[keep]).sum() / weight.sum()


def assert_same_meta_gradient(make: Callable[..., Learner], episode: Episode, **plain: Any) -> None:
    torch.manual_seed(0)
    learner = make().double()
    expected, gradients = plain_meta_gradient(learner.model, episode, **plain)  # type: ignore[arg-type]
    loss = learner.loss(episode)
    loss.mean().backward()
    torch.testing.assert_close(loss.detach(), expected, rtol=1e-10, atol=1e-12)
    size = max(g.abs().max() for g in gradients.values())
    for name, p in learner.model.named_parameters():  # type: ignore[union-attr]
        assert p.grad is not None, name
        gap = (p.grad - gradients[name]).abs().max() / size
        assert gap < 1e-10, f"{name}: {gap}"


def token_episode(seed: int) -> Episode:
    episode = random_episode(seed, (5,), n_query=3)
    generator = torch.Generator().manual_seed(seed)

    def items(rows: torch.Size) -> dict[str, Tensor]:
        ids = torch.randint(1, 9, (*rows, 5), generator=generator)
        length = torch.randint(2, 6, (*rows, 1), generator=generator)
        mask = (torch.arange(5) < length).double()
        return {"ids": ids * (mask > 0), "mask": mask}

    support = replace(episode.support, x=items(episode.support.y.shape))
    return replace(episode, support=support, query_x=items(episode.query_y.shape))


def conv(norm: str) -> Callable[[], nn.Module]:
    return lambda: Headed(Conv4(1, 4, norm=norm, image_size=8, n_halvings=2), 4)  # type: ignore[arg-type]


def spatial() -> nn.Module:
    from regard.nn.attention import MultiHeadAttention

    class Attends(nn.Module):
        """Attention among the places of a small map."""

        def __init__(self) -> None:
            super().__init__()
            self.body, self.attention = Conv4(1, 4, image_size=8, n_halvings=2, parts=True), MultiHeadAttention(4, 2)
            self.head = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            parts = self.body(x)
            return self.head((parts + self.attention(parts, parts)[0]).mean(1))

    return Attends()


def unpadded(seed: int, item: tuple[int, ...]) -> Episode:
    """Without rows of weight 0, which batch statistics would see."""
    episode = random_episode(seed, item, n_way=2, n_query=3)
    return replace(episode, support=replace(episode.support, weight=episode.support.weight + 0.5))


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[int], Episode]]] = {
    "MLP": (lambda: Headed(MLP(6, 5, (7,)), 4), random_episode),
    "Conv4-group": (conv("group"), lambda seed: random_episode(seed, (8, 8))),
    "Conv4-instance": (conv("instance"), lambda seed: random_episode(seed, (8, 8))),
    "Conv4-none": (conv("none"), lambda seed: random_episode(seed, (8, 8))),
    "Conv4-batch": (conv("batch"), lambda seed: unpadded(seed, (8, 8))),
    "Conv4-transductive": (conv("transductive"), lambda seed: unpadded(seed, (8, 8))),
    "TokenLSTM": (lambda: Headed(TokenLSTM(9, 4, 3), 4), token_episode),
    "TokenTransformer": (lambda: Headed(TokenTransformer(9, 4, n_heads=2, n_layers=1), 4), token_episode),
    "spatial-attention": (spatial, lambda seed: random_episode(seed, (8, 8))),
}


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("name", MODELS)
def test_maml_is_a_plain_loop(name: str, execution: str) -> None:
    make, episode = MODELS[name]
    options: dict[str, Any] = {"execution": execution.partition("-")[0], **EXECUTIONS[execution]}
    assert_same_meta_gradient(
        lambda: MAML(make(), inner_lr=0.3, inner_steps=2, **options),
        episode(0).to(dtype=torch.float64),
        lr=0.3,
        steps=2,
    )

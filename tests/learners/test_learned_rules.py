"""Learned rules of the inner loop: in every execution the meta-gradient is that of a plain loop, weight by weight."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from regard.episode import Episode
from regard.errors import ConfigError
from regard.learners.inner.loop import GradientLearner
from regard.learners.learned_optimizer import LearnedOptimizer, NetworkRule, log_and_sign
from regard.learners.lstm_meta_learner import LSTMMetaLearner, LSTMRule
from regard.nn.conv4 import Conv4
from regard.nn.headed import Headed
from regard.nn.mlp import MLP
from regard.recipes.components import build_learner
from regard.testing import random_episode

STEPS = 3
EXECUTIONS: dict[str, dict[str, Any]] = {
    "loop": {"execution": "loop"},
    "vmap": {"execution": "vmap"},
    "vmap-2": {"execution": "vmap", "task_chunk": 2},
}


@pytest.fixture(autouse=True)
def _double():  # type: ignore[no-untyped-def]
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def plain_features(x: Tensor) -> list[Tensor]:
    """One number at a time, as the paper writes it."""
    if x.detach().abs() >= torch.exp(torch.tensor(-10.0)):
        return [x.abs().log() / 10, x.sign()]
    return [-torch.ones(()), torch.exp(torch.tensor(10.0)) * x]


def plain_lstm(rule: LSTMRule) -> Callable[..., tuple[Tensor, Any]]:
    """The rule for one weight, its first layer by torch's own cell."""
    cell = nn.LSTMCell(4, rule.width)
    gates = rule.read.weight
    order = torch.cat([torch.arange(k * rule.width, (k + 1) * rule.width) for k in (0, 1, 3, 2)])  # theirs: i, f, g, o
    tensors = {
        "weight_ih": gates[order, :4],
        "weight_hh": gates[order, 4:],
        "bias_ih": rule.read.bias[order],
        "bias_hh": torch.zeros(4 * rule.width),
    }

    def step(k: int, w: Tensor, g: Tensor, loss: Tensor, memory: Any) -> tuple[Tensor, Any]:
        h, c, i, f = memory or (torch.zeros(rule.width), torch.zeros(rule.width), torch.zeros(()), torch.zeros(()))
        x = torch.stack([*plain_features(g), *plain_features(loss)])
        h, c = (t[0] for t in functional_call(cell, tensors, (x[None], (h[None], c[None]))))
        i = rule.input_gate(torch.cat([h, w[None], i[None]])).sigmoid()[0]
        f = rule.forget_gate(torch.cat([h, w[None], f[None]])).sigmoid()[0]
        return f * w - i * g, (h, c, i, f)

    return step


def plain_network(rule: NetworkRule) -> Callable[..., tuple[Tensor, Any]]:
    def step(k: int, w: Tensor, g: Tensor, loss: Tensor, memory: Any) -> tuple[Tensor, Any]:
        memory = memory or [torch.zeros(()) for _ in rule.decays]
        memory = [decay * mean + (1 - decay) * g for decay, mean in zip(rule.decays, memory, strict=True)]
        features = [f for number in (g, *memory) for f in plain_features(number)]
        m, d = rule.network(torch.stack([*features, torch.tensor(k / 10.0).tanh()]))
        return w - rule.rate * m.exp() * g - rule.step_size * d, memory

    return step


def plain_losses(learner: GradientLearner, episode: Episode, move: Callable[..., tuple[Tensor, Any]]) -> Tensor:
    """Task by task, row by row, weight by weight; nothing of the engine."""
    losses = []
    for b in range(episode.n_tasks):
        phi = dict(learner.model.named_parameters())
        memory: dict[tuple[str, int], Any] = {}
        for k in range(STEPS):
            loss = plain_loss(learner.model, phi, episode, b, query=False)
            grads = torch.autograd.grad(loss, list(phi.values()), create_graph=not learner.first_order)
            loss = loss.detach() if learner.first_order else loss
            moved = {}
            for (name, w), g in zip(phi.items(), grads, strict=True):
                each = []
                for n, (one, slope) in enumerate(zip(w.flatten(), g.flatten(), strict=True)):
                    one, memory[name, n] = move(k, one, slope, loss, memory.get((name, n)))
                    each.append(one)
                moved[name] = torch.stack(each).view(w.shape)
            phi = moved
        losses.append(plain_loss(learner.model, phi, episode, b, query=True))
    return torch.stack(losses)


def plain_loss(model: nn.Module, phi: dict[str, Tensor], episode: Episode, b: int, *, query: bool) -> Tensor:
    s = episode.support
    x, y, w = (episode.query_x, episode.query_y, episode.query_weight) if query else (s.x, s.y, s.weight)
    keep = w[b] > 0
    out = functional_call(model, phi, (x[b][keep],))  # type: ignore[index]
    if s.is_regression:
        each = (out - y[b][keep]).square().mean(-1)
    else:
        absent = s.membership()[b].sum(0) <= 0
        each = F.cross_entropy(out[:, : len(absent)].masked_fill(absent, -1e300), y[b][keep], reduction="none")
    return (each * w[b][keep]).sum() / w[b].sum()


RULES: dict[str, tuple[Callable[..., GradientLearner], Callable[[Any], Any]]] = {
    "lstm": (lambda model, **o: LSTMMetaLearner(model, width=3, inner_lr=0.3, keep=0.9, **o), plain_lstm),
    "network": (lambda model, **o: LearnedOptimizer(model, inner_lr=0.3, **o), plain_network),
}


@pytest.mark.parametrize("n_targets", [0, 2], ids=["classes", "targets"])
@pytest.mark.parametrize("first_order", [True, False], ids=["first", "second"])
@pytest.mark.parametrize("name", RULES)
def test_every_execution_is_a_plain_loop(name: str, first_order: bool, n_targets: int) -> None:
    make, plain = RULES[name]
    episode = random_episode(0, (3,), n_targets=n_targets)
    gradients: dict[str, Tensor] = {}
    for execution, options in EXECUTIONS.items():
        torch.manual_seed(0)
        learner = make(Headed(MLP(3, 3, ()), n_targets or 4), inner_steps=STEPS, first_order=first_order, **options)
        if not gradients:
            expected = plain_losses(learner, episode, plain(learner.rule))
            found = torch.autograd.grad(expected.mean(), list(learner.parameters()))
            gradients = dict(zip(dict(learner.named_parameters()), found, strict=True))
        losses = learner.loss(episode)
        losses.mean().backward()
        torch.testing.assert_close(losses.detach(), expected.detach(), rtol=1e-10, atol=1e-12)
        for key, p in learner.named_parameters():
            assert p.grad is not None, (execution, key)
            gap = (p.grad - gradients[key]).abs().max() / gradients[key].abs().max()
            assert gap < 1e-10, f"{execution}, {key}: {gap}"


@pytest.mark.parametrize("name", RULES)
def test_executions_agree_on_convolutions(name: str) -> None:
    episode = random_episode(1, (8, 8))
    results = []
    for options in EXECUTIONS.values():
        torch.manual_seed(0)
        model = Headed(Conv4(1, 3, image_size=8, n_halvings=2), 4)
        learner = RULES[name][0](model, inner_steps=2, first_order=False, **options)
        learner.loss(episode).mean().backward()
        results.append(torch.cat([p.grad.flatten() for p in learner.parameters()]))  # type: ignore[union-attr]
    for other in results[1:]:
        assert (other - results[0]).abs().max() / results[0].abs().max() < 1e-10


def test_features_are_finite_and_smooth_where_gradients_are_0_or_huge() -> None:
    x = torch.tensor([0.0, 1e-30, -1e-5, 1.0, -1e30], requires_grad=True)
    features = log_and_sign(x)
    assert bool((features.abs() <= 7).all())
    expected = torch.stack([torch.stack(plain_features(one)) for one in x])
    torch.testing.assert_close(features, expected)
    (slope,) = torch.autograd.grad(features.sum(), x)
    assert bool(slope.isfinite().all())


def test_both_start_as_gradient_descent() -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 4)
    w = {name: p.detach() for name, p in model.named_parameters()}
    g = {name: torch.randn_like(p) for name, p in w.items()}
    for learner, rate, keep in (
        (LSTMMetaLearner(model, inner_lr=0.2, keep=0.999), 0.2, 0.999),
        (LearnedOptimizer(model, inner_lr=0.2, step_size=1e-6), 0.2, 1.0),
    ):
        moved, _ = learner.rule(0, w, g, torch.ones(()), learner.rule.begin(w))
        for name in w:
            torch.testing.assert_close(moved[name], keep * w[name] - rate * g[name], rtol=0.1, atol=0.02)


def test_another_network_can_be_given_and_bad_numbers_are_refused() -> None:
    model = nn.Linear(3, 4)
    learner = LearnedOptimizer(model, network=nn.Linear(3, 2), decays=())
    assert bool(learner(random_episode(0, (3,))).isfinite().any())
    with pytest.raises(ConfigError, match="between 0 and 1"):
        LearnedOptimizer(model, decays=(1.5,))
    with pytest.raises(ConfigError, match="inner_lr is 2"):
        LSTMMetaLearner(model, inner_lr=2.0)


@pytest.mark.parametrize("name", ["LSTMMetaLearner", "LearnedOptimizer"])
def test_learned_rules_are_built_from_a_recipe(name: str) -> None:
    model = {"encoder": {"name": "MLP", "n_inputs": 3}, "n_outputs": 4}
    assert type(build_learner({"name": name, "model": model, "adapt_only": ["head.*"]})).__name__ == name

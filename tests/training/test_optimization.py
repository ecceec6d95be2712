"""Which optimizer the settings mean, what decays, the learning rate of each step, and its state by name."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW

from regard.errors import CheckpointError, ConfigError
from regard.training import TrainConfig
from regard.training.muon import Muon
from regard.training.optimization import learning_rate, make_optimizer, optimizer_tensors, restore_optimizer


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2, 3), nn.LayerNorm(3))


@pytest.mark.parametrize(("name", "kind"), [("adamw", AdamW), ("adam", Adam), ("sgd", SGD), ("muon", Muon)])
def test_each_name_is_its_optimizer(name: str, kind: type) -> None:
    config = TrainConfig(optimizer=name, learning_rate=0.25, weight_decay=0.125)  # type: ignore[arg-type]
    optimizer, made = make_optimizer(model := network(), config), {id(p): n for n, p in model.named_parameters()}
    assert type(optimizer) is kind and {group["lr"] for group in optimizer.param_groups} == {0.25}
    decay = {made[id(p)]: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decay == {
        "0.weight": 0.125, "0.bias": 0.0, "2.weight": 0.125, "2.bias": 0.0, "3.weight": 0.0, "3.bias": 0.0
    }  # fmt: skip
    if name == "sgd":
        assert {group["momentum"] for group in optimizer.param_groups} == {0.9}


def test_what_is_frozen_is_not_trained_and_no_group_is_empty() -> None:
    model = nn.Linear(2, 3)
    model.bias.requires_grad = False
    (group,) = make_optimizer(model, TrainConfig()).param_groups
    assert group["params"] == [model.weight]
    model.weight.requires_grad = False
    with pytest.raises(ConfigError, match="Linear has no parameter that wants a gradient"):
        make_optimizer(model, TrainConfig())


def test_the_rate_rises_over_the_warm_up_and_falls_to_nothing() -> None:
    config = TrainConfig(learning_rate=1.0, warmup_steps=3, steps=11)
    assert [learning_rate(config, s, 11) for s in range(4)] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert learning_rate(config, 7, 11) == pytest.approx(0.5)
    assert learning_rate(config, 10, 11) == pytest.approx(0.5 * (1 + torch.cos(torch.tensor(torch.pi * 7 / 8)).item()))
    assert learning_rate(config, 11, 11) == pytest.approx(0.0) == learning_rate(config, 15, 11)
    # As long as nobody knows how many steps there are, nothing falls.
    assert learning_rate(config, 500, None) == 1.0
    # No steps after the warm-up: still a number.
    assert learning_rate(config, 3, 3) == pytest.approx(1.0)
    assert learning_rate(config.model_copy(update={"schedule": "constant"}), 10, 11) == 1.0
    trapezoid = TrainConfig(learning_rate=1.0, warmup_steps=0, schedule="trapezoid", decay_steps=3, steps=10)
    assert [learning_rate(trapezoid, s, 10) for s in (0, 6, 7, 8, 9)] == pytest.approx([1, 1, 0.75, 0.5, 0.25])


def stepped(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """The model's optimizer after two steps."""
    optimizer = make_optimizer(model, config)
    for _ in range(2):
        sum(p.square().sum() for p in model.parameters()).backward()  # type: ignore[union-attr]
        optimizer.step()
    return optimizer


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_the_state_goes_by_names_and_comes_back(name: str) -> None:
    config = TrainConfig(optimizer=name)  # type: ignore[arg-type]
    before, after = network(), network()
    saved = optimizer_tensors(before, optimizer := stepped(before, config))
    kinds = {"adamw": {"exp_avg", "exp_avg_sq", "step"}, "sgd": {"momentum_buffer"}}[name]
    assert saved.keys() == {f"{kind}/{n}" for kind in kinds for n, _ in before.named_parameters()}
    fresh = make_optimizer(after, config)
    assert not optimizer_tensors(after, fresh)
    restore_optimizer(after, fresh, {key: value.clone() for key, value in saved.items()})
    for key, value in optimizer_tensors(after, fresh).items():
        assert torch.equal(value, saved[key])
    after.load_state_dict(before.state_dict())
    for model, each in ((before, optimizer), (after, fresh)):
        each.zero_grad()
        sum(p.sum() for p in model.parameters()).backward()  # type: ignore[union-attr]
        each.step()
    for one, other in zip(before.parameters(), after.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_state_of_another_learner_is_refused() -> None:
    model = nn.Linear(2, 3)
    model.bias.requires_grad = False
    optimizer, moment = make_optimizer(model, TrainConfig()), torch.zeros(3, 2)
    for name, value in (("other", moment), ("bias", torch.zeros(3))):
        tensors: dict[str, Tensor] = {f"exp_avg/{name}": value}
        with pytest.raises(CheckpointError, match=f"names '{name}', which the learner does not train"):
            restore_optimizer(model, optimizer, tensors)

"""Optimizer, learning rate as a function of the step, and the optimizer's state by parameter name."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from regard.errors import CheckpointError, ConfigError
from regard.training.config import TrainConfig
from regard.training.muon import Muon


def make_optimizer(learner: nn.Module, config: TrainConfig) -> Optimizer:
    """Over the parameters that want gradients; weight decay on those with at least two axes.

    Raises:
        ConfigError: there are none.
    """
    wanted = [p for p in learner.parameters() if p.requires_grad]
    if not wanted:
        raise ConfigError(
            f"{type(learner).__name__} has no parameter that wants a gradient: there is nothing to train; use it as "
            "it is, or unfreeze a part of it."
        )
    if config.optimizer == "muon":
        return Muon(wanted, lr=config.learning_rate, weight_decay=config.weight_decay)
    groups = [
        {"params": [p for p in wanted if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in wanted if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    # fused: one pass over each tensor instead of one for each term of the formula.
    if config.optimizer == "sgd":
        return SGD(groups, lr=config.learning_rate, momentum=0.9, fused=True)
    kind = AdamW if config.optimizer == "adamw" else Adam
    return kind(groups, lr=config.learning_rate, fused=True)


def learning_rate(config: TrainConfig, step: int, steps: int | None) -> float:
    """Of step 0, 1, ...; `steps` is None while the number of steps is still being fitted, and nothing falls yet."""
    rising = min(1.0, (step + 1) / (config.warmup_steps + 1))
    if config.schedule == "constant" or steps is None or step < config.warmup_steps:
        return config.learning_rate * rising
    if config.schedule == "trapezoid":
        return config.learning_rate * min(1.0, (steps - step) / (config.decay_steps + 1))
    done = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def optimizer_tensors(learner: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    """The state as "kind/parameter name" to tensor, such as "exp_avg/encoder.blocks.0.weight"."""
    return {
        f"{kind}/{name}": value
        for name, parameter in learner.named_parameters()
        for kind, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(learner: nn.Module, optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    """Undo `optimizer_tensors`.

    Raises:
        CheckpointError: the state names a parameter that the learner does not have.
    """
    number = {p: i for i, p in enumerate(p for group in optimizer.param_groups for p in group["params"])}
    parameters = dict(learner.named_parameters())
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        kind, _, name = key.partition("/")
        if name not in parameters or parameters[name] not in number:
            raise CheckpointError(
                f"the optimizer's state names {name!r}, which the learner does not train: expected the learner that "
                "was saved; start from scratch with resume=False or in another folder."
            )
        state.setdefault(number[parameters[name]], {})[kind] = _laid_out(value, parameters[name])
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _laid_out(value: Tensor, parameter: Tensor) -> Tensor:
    # Files hold rows in plain order; the fused kernels want the memory format of the parameter (channels last).
    return torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape and value.ndim else value

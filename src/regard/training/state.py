"""Where a run stands: all that it needs, besides tensors, to go on as if it had never stopped."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError
from torch import nn
from torch.optim import Optimizer

from regard.errors import CheckpointError, ConfigError, did_you_mean
from regard.training.checkpoint import Checkpoint, load_checkpoint
from regard.training.config import TrainConfig
from regard.training.optimization import restore_optimizer

_FITTED_SHARE = 0.95  # of the time left, since a shared machine is sometimes slower than it was


@dataclass
class RunState:
    """Changes from step to step, and stands in every checkpoint.

    Args:
        steps: in all; None while they are being fitted to the time.
        step: steps done.
        best: the best validation so far.
        best_step: when that was.
        stale: validations since then.
        latest: the last validation.
        loss_sum: over the steps since the last row of the logs.
        loss_count: how many those are.
        seconds: spent, over all the times the run was started.
        fitted_at: the step at which the number of steps was first fitted.
        fitted_seconds: spent until then.
        refit_at: the step at which it is fitted next, by the steps since `fitted_at`; None where it is no more.
        n_rows: of metrics.csv so far.
    """

    steps: int | None
    step: int = 0
    best: float | None = None
    best_step: int = 0
    stale: int = 0
    latest: float | None = None
    loss_sum: float = 0.0
    loss_count: int = 0
    seconds: float = 0.0
    fitted_at: int = 0
    fitted_seconds: float = 0.0
    refit_at: int | None = None
    n_rows: int = 0

    def steps_in_time(self, config: TrainConfig, seconds: float, each: float) -> int:
        """How many steps there are in all, after so many seconds and at so many for `each` step to come."""
        left = 60 * (config.max_minutes or 0.0) - seconds
        return self.step + max(1, int(_FITTED_SHARE * left / each))

    def later(self, step: int) -> int | None:
        """That step, unless half of the steps are over by then: so late the learning rate must not jump any more."""
        return step if step <= (self.steps or 0) // 2 else None

    def done(self, config: TrainConfig) -> bool:
        """Whether all steps are done, or patience is at its end."""
        return self.step == self.steps or self.out_of_patience(config)

    def out_of_patience(self, config: TrainConfig) -> bool:
        """Whether validation has not improved for too long."""
        return 0 < config.patience <= self.stale

    def add_loss(self, loss: float) -> None:
        """Count a step's loss into the next row."""
        self.loss_sum, self.loss_count = self.loss_sum + loss, self.loss_count + 1

    def take_loss(self) -> float:
        """The mean loss since the last row; starts the next."""
        mean = self.loss_sum / max(1, self.loss_count)
        self.loss_sum, self.loss_count = 0.0, 0
        return mean

    def to_json(self, config: TrainConfig) -> dict[str, Any]:
        """For a checkpoint's header."""
        return {"state": asdict(self), "config": config.model_dump(mode="json")}

    @classmethod
    def from_json(cls, content: Any) -> Self:
        """From a checkpoint's header, which somebody may have edited.

        Raises:
            ValueError: a value of another type, below 0, not finite, or more steps done than there are.
        """
        try:
            state = TypeAdapter(cls).validate_json(json.dumps(content), strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
        if unknown := content.keys() - asdict(state).keys():
            raise ValueError(f"{min(unknown)} is no part of it")
        for name in ("steps", "step", "best_step", "stale", "loss_count", "seconds", "fitted_seconds", "n_rows"):
            if not 0 <= (getattr(state, name) or 0) < math.inf:
                raise ValueError(f"{name} is {getattr(state, name)}")
        if state.steps is not None and state.step > state.steps:
            raise ValueError(f"step is {state.step} of {state.steps}")
        return state

    @classmethod
    def fresh(cls, config: TrainConfig) -> Self:
        """Before the first step."""
        return cls(steps=config.steps if config.max_minutes is None else None)

    @classmethod
    def resumed(
        cls, path: Path, learner: nn.Module, optimizer: Optimizer, config: TrainConfig, spec: dict[str, Any]
    ) -> Self:
        """Put a checkpoint's weights and optimizer state back, and say where the run stood.

        Raises:
            CheckpointError: the file is no checkpoint to go on from.
            ConfigError: it belongs to a run with other settings.
        """
        checkpoint = load_checkpoint(path)
        if checkpoint.training is None:
            raise CheckpointError(
                f"{path} is for use only, without the optimizer's state: expected last.safetensors of a run; start "
                "from scratch with resume=False or in another folder."
            )
        try:
            saved, state = dict(checkpoint.training["config"]), cls.from_json(checkpoint.training["state"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{path} does not say where its run stood ({type(error).__name__}: {error}): it is of another version "
                "or was edited; start from scratch with resume=False or in another folder."
            ) from error
        _check_same(checkpoint, saved, config, spec)
        checkpoint.load_into(learner)
        restore_optimizer(learner, optimizer, checkpoint.tensors("optimizer"))
        return state._extended(config, path)

    def _extended(self, config: TrainConfig, path: Path) -> Self:
        """With the number of steps that is asked for now, where another one would have led here too."""
        if not config.extensible or self.steps in (None, config.steps):
            return self
        turn = min(config.steps, self.steps or 0) - (config.decay_steps if config.schedule == "trapezoid" else 0)
        if self.step > max(turn, 0):
            raise ConfigError(
                f"{path} stands at step {self.step} of {self.steps} and train.steps is {config.steps}: expected a "
                f"change before the learning rate falls (step {turn}); go on from a checkpoint that is that old."
            )
        self.steps = config.steps
        return self


_NOT_TRAINING = ("train", "evaluation", "evaluation_episodes")
"""Of a recipe: the settings, which are compared by themselves, and how the finished learner is evaluated."""


def _differing(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Keys whose values differ; those of a recipe one by one, where both have one."""
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    old, new = before.get("recipe"), now.get("recipe")
    if "recipe" not in keys or not isinstance(old, dict) or not isinstance(new, dict):
        return keys
    inside = [f"recipe.{key}" for key in _differing(old, new) if key not in _NOT_TRAINING]
    return [key for key in keys if key != "recipe"] + inside


def _check_same(checkpoint: Checkpoint, saved: dict[str, Any], config: TrainConfig, spec: dict[str, Any]) -> None:
    unknown = saved.keys() - TrainConfig.model_fields.keys()
    if unknown:
        word = min(unknown)
        raise CheckpointError(
            f"{checkpoint.path} has the setting {word!r}: {did_you_mean(word, TrainConfig.model_fields)} "
            "It may be of another version."
        )
    try:
        before, now = TrainConfig(**saved).identity(), config.identity()
    except ValidationError as error:
        wrong = ", ".join(str(part["loc"][0]) for part in error.errors())
        raise CheckpointError(
            f"{checkpoint.path} has settings that cannot be ({wrong}): it is of another version or was edited."
        ) from error
    changed = [f"{name} was {before[name]!r} and is {now[name]!r}" for name in now if before[name] != now[name]]
    changed += [f"{key} is another" for key in _differing(checkpoint.spec, spec)]
    if changed:
        raise ConfigError(
            f"{checkpoint.path} belongs to a run with other settings: {'; '.join(changed)}. Use the old settings to go "
            "on with it, another folder for a new run, or resume=False to start from scratch in this one."
        )

"""The training loop: Lightning Fabric for devices, processes and precision, and one page for the rest.

Step t learns from the episodes t * B .. t * B + B - 1 and draws its random numbers from (seed, t); so where a run
stands is a number, the weights and the optimizer's state. Killed and resumed it is, bit for bit, the run that was never
killed, and W processes take the same steps as one; `gradient.py` says how exactly.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim import Optimizer

from regard.errors import ConfigError, DivergenceError
from regard.files import clear_temporary
from regard.learners.base import Learner, PlanningLearner
from regard.limits import PROCESSES_PER_CORE
from regard.training.batches import Batches, Source
from regard.training.checkpoint import save_checkpoint
from regard.training.config import TrainConfig
from regard.training.file_format import BEST, LAST
from regard.training.gradient import StepGradient, tasks_at_once
from regard.training.logs import METRICS, Logs
from regard.training.optimization import learning_rate, make_optimizer, optimizer_tensors
from regard.training.precision import resolve_precision
from regard.training.progress import Progress, Report, Silent, automatic
from regard.training.signals import StopSignals
from regard.training.state import RunState
from regard.training.validation import is_better, metric_of, validate

logger = logging.getLogger("regard.training")

_TIMED_STEPS = 20  # how many steps are timed before their number is fitted to the time
_UNTIMED_STEPS = 5  # of which the first ones prepare kernels and tell nothing


@dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    Args:
        step: steps done.
        steps: in all; None where it was interrupted before they were fitted to the time.
        metric: what validation measured.
        best: its best value; None without validation.
        best_step: when that was.
        last_checkpoint: to go on from.
        best_checkpoint: of the best validation; None without validation.
        interrupted: by Ctrl-C or SIGTERM; the same call goes on.
        stopped_early: patience was at its end.
        seconds: spent, over all the times the run was started.
    """

    step: int
    steps: int | None
    metric: str
    best: float | None
    best_step: int
    last_checkpoint: Path
    best_checkpoint: Path | None
    interrupted: bool
    stopped_early: bool
    seconds: float


def train(
    learner: Learner,
    sampler: Source,
    config: TrainConfig | None = None,
    *,
    validation_sampler: Source | None = None,
    folder: Path | str,
    spec: Mapping[str, Any] | None = None,
    resume: bool = True,
    progress: Progress | None = None,
    n_steps_ahead: int | None = None,
) -> TrainResult:
    """Train a learner, in place; it ends with its last weights, and the best are in `best_checkpoint`.

    Args:
        learner: what is trained.
        sampler: episode numbers to a batch, a pure function.
        config: the settings.
        validation_sampler: evaluated every `validate_every` steps; decides what is best and when to stop early.
        folder: for last.safetensors, best.safetensors, metrics.csv and TensorBoard's events.
        spec: JSON from which the learner can be rebuilt, for the checkpoints.
        resume: from the folder's last.safetensors if there is one; False starts from scratch.
        progress: called after every step; defaults to a bar or log lines.
        n_steps_ahead: how long the training is taken to be where learners plan for it (`PlanningLearner`); defaults to
            `config.steps`, and to 1 for a training that ends by time.

    Raises:
        ConfigError: nothing to train, tasks that do not divide among processes, or a folder with another run.
        CheckpointError: the folder's checkpoint is damaged or of another version.
        DivergenceError: the loss or its gradient stopped being a number; the last checkpoint is kept.
        StorageError: the disk is full; the last checkpoint is kept.

    Examples:
        >>> import tempfile, torch
        >>> from regard.learners import Prototypical
        >>> from regard.nn.mlp import MLP
        >>> from regard.sampling import Dataset, EpisodeSampler
        >>> data = Dataset.of(torch.randn(60, 8), torch.arange(10).repeat_interleave(6))
        >>> settings = TrainConfig(steps=3, tensorboard=False)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sampler = EpisodeSampler(data, n_query=3)
        ...     result = train(Prototypical(MLP(8)), sampler, settings, folder=folder, progress=Silent())
        >>> result.step
        3
    """
    config = config or TrainConfig()
    if n_steps_ahead is None:
        n_steps_ahead = config.steps if config.max_minutes is None else 1
    planned = {"n_steps_ahead": n_steps_ahead} if isinstance(learner, PlanningLearner) else {}
    fabric = _fabric(config)
    optimizer = make_optimizer(learner, config)
    module, wrapped = fabric.setup(learner, optimizer)
    module.mark_forward_method("loss")
    run = _Run(fabric, learner, optimizer, config, validation_sampler, Path(folder), dict(spec or {}))
    with ExitStack() as stack:
        state = run.begin(stack, resume, progress)
        stack.enter_context(torch.random.fork_rng(_cuda_devices(fabric)))
        at_once = tasks_at_once(learner, config, fabric.device)
        batches = stack.enter_context(
            Batches(sampler, config.tasks_per_step, fabric.global_rank, fabric.world_size, fabric.device, at_once)
        )
        gradient = StepGradient(fabric, module, batches, config, run.last, planned)
        while not state.done(config) and not run.interrupted:
            rate = run.prepare_step()
            loss = gradient(state.step)
            limit = config.grad_clip or float("inf")
            norm = fabric.clip_gradients(module, wrapped, max_norm=limit, error_if_nonfinite=False)
            run.agree(loss, norm, rate, gathered=gradient.gathers)
            wrapped.step()
            wrapped.zero_grad()
            run.finish_step(rate)
        return run.end()


class _Run:
    """What happens around a step: log, validate, save, report."""

    def __init__(
        self,
        fabric: Fabric,
        learner: Learner,
        optimizer: Optimizer,
        config: TrainConfig,
        validation: Source | None,
        folder: Path,
        spec: dict[str, Any],
    ) -> None:
        self.fabric, self.learner, self.optimizer, self.config = fabric, learner, optimizer, config
        self.validation, self.folder, self.spec = validation, folder, _plain(spec)
        self.metric = metric_of(validation, config)
        self.last, self.best = folder / LAST, folder / BEST
        self.writes = fabric.is_global_zero
        self.interrupted = False
        self.loss = self.norm = 0.0
        self.logs: Logs | None = None

    def begin(self, stack: ExitStack, resume: bool, progress: Progress | None) -> RunState:
        """Go on from the folder's checkpoint or write the first one; open the logs and the progress."""
        going_on = resume and self.last.exists()
        # Every process has to have looked before the first of them writes.
        self.fabric.barrier()
        self.state = (
            RunState.resumed(self.last, self.learner, self.optimizer, self.config, self.spec)
            if going_on
            else RunState.fresh(self.config)
        )
        self._resumed_at, self._first = self.state.seconds, self.state.step
        self._began = time.perf_counter() - self._resumed_at
        if self.writes:
            clear_temporary(self.folder, LAST, BEST, METRICS)  # of a run that was killed while it wrote
            if not going_on:
                self.best.unlink(missing_ok=True)
        if not going_on:
            # A full disk or a read-only folder is better found now than after the first hundred steps.
            self._save()
        self.logs = self._open_logs(stack) if self.writes else None
        self.progress = (progress or automatic()) if self.writes else Silent()
        stack.callback(self.progress.stop)
        self.progress.start(self.state.step, self.state.steps)
        self.signals = stack.enter_context(StopSignals())
        self._durations: list[float] = []
        self._step_began = time.perf_counter()
        return self.state

    def _open_logs(self, stack: ExitStack) -> Logs:
        columns = ("step", "loss", "learning_rate", "gradient_norm", f"validation_{self.metric}", "seconds")
        return stack.enter_context(
            Logs(self.folder, columns, self.state.step, self.state.n_rows, self.config.tensorboard)
        )

    def prepare_step(self) -> float:
        """Set the learning rate of this step, and return it."""
        rate = learning_rate(self.config, self.state.step, self.state.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.learner.train()
        return rate

    def agree(self, loss: Tensor, norm: Tensor | None, rate: float, *, gathered: bool) -> None:
        """Mean loss and wish to stop over all processes, which must do the same; before the weights are touched.

        Args:
            loss: of this process's tasks, or of all.
            norm: of the gradient, the same in all processes.
            rate: learning rate, for messages.
            gathered: the loss is of all tasks.
        """
        wish = loss.new_tensor(float(self.signals.asked))
        mean = self.fabric.all_reduce(torch.stack([loss, wish]), reduce_op="mean")
        assert isinstance(mean, Tensor)
        mean_loss, mean_wish = mean
        self.loss, self.norm = float(loss if gathered else mean_loss), 0.0 if norm is None else float(norm)
        self.interrupted = float(mean_wish) > 0
        if not (np.isfinite(self.loss) and np.isfinite(self.norm)):
            first = self.state.step * self.config.tasks_per_step
            what = "gradient" if np.isfinite(self.loss) else "loss"
            raise DivergenceError(
                f"the {what} of step {self.state.step} (episodes {first}..{first + self.config.tasks_per_step - 1}) is "
                f"{self.norm if what == 'gradient' else self.loss} at a learning rate of {rate:g}: expected a finite "
                f"number. The weights before it are in {self.last}; lower learning_rate, set grad_clip, or look at "
                "these episodes for values that are not finite."
            )

    def finish_step(self, rate: float) -> None:
        """Count the step; then log, validate and save where they are due."""
        state, config = self.state, self.config
        state.step += 1
        state.add_loss(self.loss)
        self._durations.append(time.perf_counter() - self._step_began)
        refitting = state.step == state.refit_at
        fitting = refitting or (state.steps is None and len(self._durations) == _TIMED_STEPS)
        ends = state.step == state.steps
        validated = self._validate() if fitting or ends or state.step % config.validate_every == 0 else None
        if refitting:
            self._refit_steps()
        elif fitting:
            self._fit_steps()
        if validated is not None or ends or state.step % config.log_every == 0:
            self._log(rate, validated)
        if validated is not None and state.best_step == state.step and self.writes:
            save_checkpoint(self.best, self.learner, spec=self.spec, step=state.step, metrics=self._metrics())
        if fitting or state.done(config) or self.interrupted or state.step % config.checkpoint_every == 0:
            self._save()
        self.progress.advance(self._report())
        self._step_began = time.perf_counter()

    def _validate(self) -> float | None:
        """Judged by one process and told to the others, so that all draw the same conclusion."""
        if self.validation is None:
            return None
        state = self.state
        value = validate(self.learner, self.validation, self.config) if self.writes else 0.0
        state.latest = value = float(self.fabric.broadcast(value))
        if is_better(self.metric, value, state.best):
            state.best, state.best_step, state.stale = value, state.step, 0
        else:
            state.stale += 1
        return value

    def _fit_steps(self) -> None:
        """As many steps as fit into the time left, validations and checkpoints counted."""
        config, state = self.config, self.state
        timed = self._durations[_UNTIMED_STEPS:]
        validation = time.perf_counter() - self._step_began - self._durations[-1]
        began = time.perf_counter()
        self._save()
        save = time.perf_counter() - began
        each = sum(timed) / len(timed) + validation / config.validate_every + save / config.checkpoint_every
        state.fitted_at, state.fitted_seconds = state.step, self._seconds()
        self._set_steps(each, validation + save)
        state.refit_at = state.later(max(state.step + _UNTIMED_STEPS, (state.steps or 0) // 8))

    def _refit_steps(self) -> None:
        """Again, by all that was timed since: the first steps may have met a busy machine."""
        self._set_steps((self._seconds() - self.state.fitted_seconds) / (self.state.step - self.state.fitted_at))
        self.state.refit_at = self.state.later(3 * self.state.step)

    def _set_steps(self, each: float, besides: float = 0.0) -> None:
        state = self.state
        state.steps = int(self.fabric.broadcast(state.steps_in_time(self.config, self._seconds() + besides, each)))

    def _log(self, rate: float, validated: float | None) -> None:
        self.state.n_rows += 1
        loss, values = self.state.take_loss(), (rate, self.norm, validated, round(self._seconds(), 3))
        if self.logs is not None:
            self.logs.write(dict(zip(self.logs.columns, (self.state.step, loss, *values), strict=True)))

    def _save(self) -> None:
        if not self.writes:
            return
        if self.logs is not None:
            self.logs.sync()  # the checkpoint counts the rows before it
        self.state.seconds = self._seconds()
        save_checkpoint(
            self.last,
            self.learner,
            spec=self.spec,
            step=self.state.step,
            metrics=self._metrics(),
            training=self.state.to_json(self.config),
            optimizer=optimizer_tensors(self.learner, self.optimizer),
        )

    def _metrics(self) -> dict[str, float]:
        return {} if self.state.latest is None else {f"validation_{self.metric}": self.state.latest}

    def _seconds(self) -> float:
        return time.perf_counter() - self._began

    def _report(self) -> Report:
        state, done = self.state, self.state.step - self._first
        left = None
        if state.steps is not None and done >= _UNTIMED_STEPS:
            left = (self._seconds() - self._resumed_at) * (state.steps - state.step) / done
        return Report(state.step, state.steps, self.loss, self.metric, state.latest, left)

    def end(self) -> TrainResult:
        """Say how it ended, and how to go on where it did not."""
        state = self.state
        if self.interrupted and not state.done(self.config) and self.writes:
            logger.warning(
                "interrupted after step %d of %s; the work is kept in %s, and the same command goes on from there",
                state.step,
                state.steps or "?",
                self.last,
            )
        return TrainResult(
            step=state.step,
            steps=state.steps,
            metric=self.metric,
            best=state.best,
            best_step=state.best_step,
            last_checkpoint=self.last,
            best_checkpoint=self.best if state.best is not None else None,
            interrupted=self.interrupted and not state.done(self.config),
            stopped_early=state.step != state.steps and state.out_of_patience(self.config),
            seconds=state.seconds,
        )


def _fabric(config: TrainConfig) -> Fabric:
    device = "cuda" if config.accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available() else "cpu"
    if device == "cpu" and config.accelerator in ("auto", "cpu"):
        # On a CPU every device is a process of its own, and a thousand would be started before anything failed.
        most = PROCESSES_PER_CORE * (os.cpu_count() or 1)
        if config.devices > most:
            raise ConfigError(
                f"train.devices is {config.devices}: expected at most {most} on this machine, {PROCESSES_PER_CORE} "
                f"processes for each of its {os.cpu_count()} cores."
            )
    try:
        fabric = Fabric(
            accelerator=config.accelerator,
            devices=config.devices,
            num_nodes=config.nodes,
            strategy=config.strategy,
            precision=resolve_precision(config.precision, device),
        )
    except Exception as error:
        # Lightning raises ValueError, RuntimeError, ImportError and its own, which all say that the setting cannot be.
        reason = str(error).splitlines()[0][:200]
        raise ConfigError(
            f"train.accelerator={config.accelerator!r}, train.devices={config.devices}, train.nodes="
            f"{config.nodes} and train.strategy={config.strategy!r} cannot be had here ({reason}): use auto, 1, "
            "1 and auto."
        ) from error
    fabric.launch()
    return fabric


def _cuda_devices(fabric: Fabric) -> list[torch.device]:
    return [fabric.device] if fabric.device.type == "cuda" else []


def _plain(spec: dict[str, Any]) -> dict[str, Any]:
    """As it will be read back (tuples become lists), or an error before any time was spent."""
    try:
        return json.loads(json.dumps(spec))
    except TypeError as error:
        raise ConfigError(f"spec must be JSON ({error}): give plain dicts, lists, strings and numbers.") from error

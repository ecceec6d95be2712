"""What a training would be like, found out by a few real steps of it: execution, parameters, memory, time.

A formula for memory would have to know every layer, kernel and allocator; three steps, a validation and a checkpoint
know. They are done in this process, in a folder that is thrown away, and the most memory this process has held since
it was started is what a training holds: memory is flat over steps. What it cannot foresee: a validation that keeps more
of the data set than a few episodes touch, and episodes larger than the first ones.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from regard.domains.data import Data
from regard.learners.base import Learner
from regard.learners.inner.loop import GradientLearner
from regard.recipes.config import Recipe
from regard.recipes.data import load_data
from regard.recipes.run import learner_spec, train_recipe, untrained
from regard.training.progress import Report

_STEPS = 3
_VALIDATION_EPISODES = 20


@dataclass(frozen=True)
class DryRun:
    """What was found.

    Args:
        learner: its name.
        n_parameters, n_trained: numbers in its parameters, and in those that training moves.
        execution: how inner loops are executed; None for learners without.
        adapts: how many numbers adapt to each task; None for learners without inner loops.
        seconds: of a step, the last of a few.
        peak_bytes: the most memory of the process.
        device_bytes: the most memory of the GPU; 0 without.
    """

    learner: str
    n_parameters: int
    n_trained: int
    execution: str | None
    adapts: int | None
    seconds: float
    peak_bytes: int
    device_bytes: int

    def lines(self) -> list[str]:
        """For people."""
        told = [
            f"learner     {self.learner}",
            f"parameters  {self.n_parameters:,}, of which trained {self.n_trained:,}",
        ]
        if self.execution is not None:
            told.append(f"adapted     {self.adapts:,} to each task")
            told.append(f"execution   {self.execution}")
        told.append(f"a step      {self.seconds:.3g} s")
        told.append(f"peak memory {self.peak_bytes / 2**20:,.0f} MiB")
        if self.device_bytes:
            told.append(f"on the GPU  {self.device_bytes / 2**20:,.0f} MiB")
        return told


def dry_run(recipe: Recipe) -> DryRun:
    """Do a few steps of a recipe and say what they were like; nothing is kept.

    Raises:
        RegardError: as training would, which is worth knowing before.
    """
    data = load_data(recipe.data)
    learner = untrained(recipe, learner_spec(recipe, data)).train()
    steps = recipe.train.steps if recipe.train.max_minutes is None else 1
    short = {
        "steps": _STEPS,
        "max_minutes": None,
        "validation_episodes": min(_VALIDATION_EPISODES, recipe.train.validation_episodes),
    }
    tried = recipe.model_copy(update={"train": recipe.train.model_copy(update=short)})
    watch = _Watch()
    execution = _execution(learner, recipe, data, steps)
    with tempfile.TemporaryDirectory() as folder:
        train_recipe(tried, Path(folder), data=data, progress=watch, n_steps_ahead=steps)
    return DryRun(
        learner=recipe.learner.name,
        n_parameters=sum(p.numel() for p in learner.parameters()),
        n_trained=sum(p.numel() for p in learner.parameters() if p.requires_grad),
        execution=execution,
        adapts=_adapts(learner),
        seconds=watch.seconds,
        peak_bytes=peak_bytes(),
        device_bytes=torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0,
    )


def peak_bytes() -> int:
    """The most memory this process has held, since it began or since `forget_peak`."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def forget_peak() -> bool:
    """Begin `peak_bytes` again at what is held now; False where the system cannot."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _execution(learner: Learner, recipe: Recipe, data: Data, n_steps_ahead: int) -> str | None:
    if not isinstance(learner, GradientLearner):
        return None
    device = "cuda" if torch.cuda.is_available() else "cpu"
    episode = data.training(recipe.episodes, recipe.train.seed)(range(1))
    chosen = learner.choose_execution(recipe.train.tasks_per_step, device, episode, n_steps_ahead)
    chunk = "" if learner.task_chunk is None else f", {learner.task_chunk} tasks at a time"
    return f"{chosen}{' (by rule)' if learner.execution == 'auto' else ''}{chunk}"


def _adapts(learner: Learner) -> int | None:
    if not isinstance(learner, GradientLearner):
        return None
    own = dict(learner.model.named_parameters())
    return sum(own[name].numel() for name in learner.adaptable)


class _Watch:
    """A progress that shows nothing, and times the steps."""

    seconds = 0.0

    def start(self, step: int, steps: int | None) -> None:
        self._began = time.perf_counter()

    def advance(self, report: Report) -> None:
        if report.step < _STEPS:  # the last one validates, too
            self.seconds = time.perf_counter() - self._began
        self._began = time.perf_counter()

    def stop(self) -> None:
        pass

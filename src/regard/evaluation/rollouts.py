"""Judged by what the robot does: success over rollouts, on the same tasks, demonstrations and placements for everybody.

A trial is one environment with B of its tasks and the demonstrations of each. A policy is adapted once to all of them
and then acts for B robots at a time, until each is done or the horizon is over. The unit of an interval is the task:
rollouts of one task share its demonstrations, and their mean is one value.

Action errors are not measured: small ones may add up and large ones may not matter.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Distribution
from torch.nn.utils.rnn import pad_sequence

from regard.domains.acting.demonstrations import Demonstrations
from regard.domains.acting.simulated import Trial
from regard.domains.acting.steps import StepReader
from regard.errors import ConfigError, EpisodeError
from regard.evaluation.intervals import Interval
from regard.evaluation.processes import map_in_order
from regard.evaluation.result import Result
from regard.files import write_whole
from regard.learners.base import Learner
from regard.learners.fine_tuned import FineTuned
from regard.numbers import NORMAL_95

Floats = NDArray[np.float64]
Act = Callable[[Floats], Floats]
"""Observations (B, D) of B robots to actions (B, A)."""


class RolloutPolicy(ABC):
    """Abstract: adapts to the demonstrations of B tasks, and acts."""

    name: str

    @abstractmethod
    def adapt(self, demonstrations: Sequence[Demonstrations]) -> Act:
        """Demonstrations of each task to a function that acts for all; called again for each rollout."""


@final
class LearnerPolicy(RolloutPolicy):
    """A learner: adapted once, read at every step. Its action is the predicted mean.

    Args:
        learner: of regression.
        reader: steps to rows.
        blind: the demonstrations are kept from it.
        name: for tables; that of the learner by default.
    """

    def __init__(self, learner: Learner, reader: StepReader, *, blind: bool = False, name: str | None = None) -> None:
        self.learner, self.reader, self.blind = learner.eval(), reader, blind
        self.name = name or type(learner).__name__

    def adapt(self, demonstrations: Sequence[Demonstrations]) -> Act:
        with torch.no_grad():
            support = self.reader.support(demonstrations)
            if self.blind:
                support = replace(support, weight=torch.zeros_like(support.weight))
            if isinstance(self.learner, FineTuned) and not self.blind:
                return self.acting(self.learner.adapt(support, self.reader.questions(demonstrations)))
            return self.acting(self.learner.adapt(support))

    def acting(self, state: object) -> Act:
        """As `adapt`, of a state of the learner."""

        def act(observation: Floats) -> Floats:
            with torch.inference_mode():
                output = self.learner.predict(state, self.reader(observation)[:, None])
            if not isinstance(output, Distribution):
                raise EpisodeError(f"{self.name} answered with classes: expected a learner of numbers, such as TNPD.")
            mean: Tensor = output.mean[:, 0]
            return mean.double().numpy()

        return act


@final
class Replay(RolloutPolicy):
    """The actions of the first demonstration, one after another, whatever is seen; the last one goes on."""

    name = "replay of a demonstration"

    def adapt(self, demonstrations: Sequence[Demonstrations]) -> Act:
        recorded = [each.actions[each.steps(0)] for each in demonstrations]
        step = -1

        def act(observation: Floats) -> Floats:
            nonlocal step
            step += 1
            return np.stack([actions[min(step, len(actions) - 1)] for actions in recorded]).astype(np.float64)

        return act


@final
class NearestState(RolloutPolicy):
    """The action of the demonstrated state that is nearest to what is seen."""

    name = "nearest state"

    def adapt(self, demonstrations: Sequence[Demonstrations]) -> Act:
        def act(observation: Floats) -> Floats:
            nearest = [
                each.actions[np.square(each.observations - seen).sum(1).argmin()]
                for each, seen in zip(demonstrations, observation, strict=True)
            ]
            return np.stack(nearest).astype(np.float64)

        return act


@final
class CloningFromScratch(RolloutPolicy):
    """Behavioural cloning: a network per task, trained on all steps of the task's own demonstrations.

    Args:
        n_steps: of Adam, on all steps at once.
        width: of its two hidden layers.
        seed: where the networks start.
    """

    name = "cloning from scratch"

    def __init__(self, n_steps: int = 400, width: int = 64, seed: int = 0) -> None:
        self.n_steps, self.width, self.seed = n_steps, width, seed

    def adapt(self, demonstrations: Sequence[Demonstrations]) -> Act:
        x, weight = _padded([each.observations for each in demonstrations])
        y, _ = _padded([each.actions for each in demonstrations])
        layers = self._start(len(demonstrations), x.shape[-1], y.shape[-1])
        adam = torch.optim.Adam(layers, 3e-3)
        with torch.enable_grad():
            for _ in range(self.n_steps):
                adam.zero_grad()
                error = (_network(layers, x) - y).square().mean(-1) * weight
                (error.sum(1) / weight.sum(1)).sum().backward()
                adam.step()

        def act(observation: Floats) -> Floats:
            seen = torch.as_tensor(observation, dtype=torch.float32)[:, None]
            with torch.inference_mode():
                return _network(layers, seen)[:, 0].double().numpy()

        return act

    def _start(self, n_tasks: int, n_inputs: int, n_outputs: int) -> list[Tensor]:
        """Weights (B, in, out) and biases (B, 1, out) of three layers, the same for every task."""
        generator, layers = torch.Generator().manual_seed(self.seed), []
        widths = (n_inputs, self.width, self.width, n_outputs)
        for wide, narrow in pairwise(widths):
            for shape in ((1, wide, narrow), (1, 1, narrow)):
                start = (2 * torch.rand(shape, generator=generator) - 1) / wide**0.5
                layers.append(start.expand(n_tasks, -1, -1).clone().requires_grad_())
        return layers


def _network(layers: Sequence[Tensor], x: Tensor) -> Tensor:
    """(B, N, in) to (B, N, out), each task by its own network."""
    for number in range(0, len(layers), 2):
        x = torch.baddbmm(layers[number + 1], x if number == 0 else x.tanh(), layers[number])
    return x


def _padded(arrays: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
    """(N_b, D) each to (B, N, D), and (B, N) 1 for what is there and 0 for padding."""
    rows = [torch.from_numpy(array) for array in arrays]
    weight = [torch.ones(len(row)) for row in rows]
    return pad_sequence(rows, batch_first=True), pad_sequence(weight, batch_first=True)


@final
class ExpertPolicy(RolloutPolicy):
    """The environment's own expert, who knows the goal: the most that can be had."""

    name = "expert"

    def adapt(self, demonstrations: Sequence[Demonstrations]) -> Act:
        raise ConfigError("the expert needs no demonstrations: it is asked by roll_out itself.")


def roll_out(policy: RolloutPolicy, trial: Trial) -> NDArray[np.bool_]:
    """(B, R) success of each rollout of each task.

    Args:
        policy: adapted once to the demonstrations of all tasks.
        trial: R placements.
    """
    environment, won = trial.environment(), []
    act = None if isinstance(policy, ExpertPolicy) else policy.adapt(trial.demonstrations)
    for placement in trial.placements:
        # Replay begins again; for others adapting again would give the same.
        act = policy.adapt(trial.demonstrations) if isinstance(policy, Replay) else act
        simulation = environment.start(trial.tasks, [placement] * len(trial.tasks))
        for _ in range(environment.horizon):
            active = ~simulation.success if environment.stops_at_success else np.ones(len(trial.tasks), dtype=bool)
            if not active.any():
                break
            simulation.step(simulation.expert() if act is None else act(simulation.observation), active)
        won.append(simulation.success)
    return np.stack(won, 1)


def evaluate_rollouts(
    policy: RolloutPolicy,
    trials: Sequence[Trial],
    *,
    data: str = "unnamed",
    seed: int = 0,
    processes: int = 1,
    keep: Path | None = None,
) -> Result:
    """Success over the trials, with its interval over tasks.

    Args:
        policy: of it the name stands in the result.
        trials: all tasks of all environments; another policy is compared on the same.
        data: a name for them.
        seed: of the tasks, for the record.
        processes: that share the trials.
        keep: a file to which the outcome of each trial is written as it comes, and from which a call that was stopped
            goes on; it must be of this policy and these trials.

    Raises:
        ConfigError: fewer than two tasks, or a file of other trials.
    """
    n_tasks = sum(len(trial.tasks) for trial in trials)
    if n_tasks < 2:
        raise ConfigError(f"there are {n_tasks} tasks: an interval needs at least 2.")
    began = time.perf_counter()
    stamps = [f"{policy.name}: {n} {trial.tasks} {trial.placements}" for n, trial in enumerate(trials)]
    done: dict[str, list[list[int]]] = _kept(keep, stamps)
    missing = [(stamp, trial) for stamp, trial in zip(stamps, trials, strict=True) if stamp not in done]
    outcomes = map_in_order(lambda item: (item[0], roll_out(policy, item[1])), missing, processes)
    for stamp, won in outcomes:
        done[stamp] = won.astype(int).tolist()
        if keep is not None:
            write_whole(keep, json.dumps(done).encode())
    won = [np.asarray(done[stamp], dtype=np.float64) for stamp in stamps]
    success = np.concatenate([outcome.mean(1) for outcome in won])
    shots = sorted({len(each) for trial in trials for each in trial.demonstrations})
    return Result(
        learner=policy.name,
        data=data,
        n_way=0,
        n_shot=shots[0] if len(shots) == 1 else (shots[0], shots[-1]),
        n_query=len(trials[0].placements),
        episodes=n_tasks,
        seed=seed,
        transductive=False,
        metrics={"success": success_interval(success)},
        seconds=time.perf_counter() - began,
        per_episode={"success": success},
    )


def success_interval(success: Floats) -> Interval:
    """Wilson's 95% interval of a share, by tasks (n,), each with its share of rollouts in 0..1.

    Where all succeed, the interval from the standard deviation would have no width. A task of several rollouts varies
    less than one of a single rollout, so for such the interval is on the wide side. Wilson 1927.
    """
    z, n, p = NORMAL_95, len(success), float(success.mean())
    centre, half = p + z**2 / (2 * n), z * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    low, high = ((centre + sign * half) / (1 + z**2 / n) for sign in (-1, 1))
    return Interval(p, min(max(low, 0.0), p), max(min(high, 1.0), p))


def _kept(keep: Path | None, stamps: Sequence[str]) -> dict[str, list[list[int]]]:
    if keep is None or not keep.exists():
        return {}
    done = json.loads(keep.read_text())
    if foreign := sorted(set(done) - set(stamps)):
        raise ConfigError(f"{keep} holds the outcome of other rollouts ({foreign[0]}): expected another file.")
    return done

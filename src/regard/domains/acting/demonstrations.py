"""Demonstrations as data: the steps of many, one after another, with what each was a demonstration of.

A step is (observation, action). The recorded action is the clean one: where noise was put on the executed action, so
that a policy sees how to come back, the label is still what the expert would have done there.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from regard.domains.acting.environment import Environment
from regard.errors import DataError
from regard.files import write_whole

_PARTS = ("observations", "actions", "lengths", "tasks", "noisy")


@dataclass(frozen=True)
class Demonstrations:
    """N demonstrations of L steps in all.

    Args:
        observations: (L, D).
        actions: (L, A), of the expert.
        lengths: (N,) steps of each, in the order in which they stand.
        tasks: (N,) what each is a demonstration of; two of one number show the same task.
        noisy: (N,) whether the executed actions had noise; such are asked about, and never shown.
        families: name of the environment of each task number, where it is known.

    Raises:
        DataError: says all that does not fit: lengths, shapes, numbers that are not finite.
    """

    observations: NDArray[np.float32]
    actions: NDArray[np.float32]
    lengths: NDArray[np.int64]
    tasks: NDArray[np.int64]
    noisy: NDArray[np.bool_]
    families: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        wrong: list[str] = []
        n_steps = int(self.lengths.sum())
        for name in ("observations", "actions"):
            array = getattr(self, name)
            if array.ndim != 2 or len(array) != n_steps:
                wrong.append(f"{name} are {array.shape}: expected ({n_steps}, numbers), as the lengths add up to that.")
            elif not np.isfinite(array).all():
                step = int(np.flatnonzero(~np.isfinite(array).all(1))[0])
                which = int(np.searchsorted(np.cumsum(self.lengths), step, side="right"))
                begin = step - int(self.lengths[:which].sum())
                wrong.append(f"{name} of demonstration {which}, step {begin}, are not finite: drop or mend that step.")
        if len(self.lengths) and self.lengths.min() < 2:
            which = int(self.lengths.argmin())
            wrong.append(f"demonstration {which} has {self.lengths[which]} step: expected at least 2.")
        if not len(self.lengths) == len(self.tasks) == len(self.noisy):
            wrong.append(
                f"there are {len(self.lengths)} lengths, {len(self.tasks)} tasks and {len(self.noisy)} marks of noise: "
                "expected one of each per demonstration."
            )
        if wrong:
            raise DataError("\n".join(wrong))

    def __len__(self) -> int:
        return len(self.lengths)

    @classmethod
    def of(
        cls,
        trajectories: Sequence[tuple[Any, Any]],
        tasks: Sequence[int] | None = None,
        noisy: Sequence[bool] | None = None,
        families: dict[int, str] | None = None,
    ) -> Self:
        """From (observations (T, D), actions (T, A)) of each, as arrays or lists.

        Args:
            trajectories: one per demonstration, of any length from 2.
            tasks: the task of each; all of one task by default.
            noisy: whether each was disturbed; none by default.
            families: name of the environment of each task.

        Raises:
            DataError: demonstrations whose observations or actions are not of one size, and as the class.
        """
        pairs = [(np.asarray(x, np.float32), np.asarray(y, np.float32)) for x, y in trajectories]
        if not pairs:
            raise DataError("there are no demonstrations: expected at least one.")
        width = (pairs[0][0].shape[-1:], pairs[0][1].shape[-1:])
        for number, (x, y) in enumerate(pairs):
            if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or (x.shape[1:], y.shape[1:]) != width:
                raise DataError(
                    f"demonstration {number} has observations {x.shape} and actions {y.shape}: expected as many steps "
                    f"of both, with {width[0]} and {width[1]} numbers each, as demonstration 0 has."
                )
        return cls(
            np.concatenate([x for x, _ in pairs]),
            np.concatenate([y for _, y in pairs]),
            np.array([len(x) for x, _ in pairs], dtype=np.int64),
            np.zeros(len(pairs), dtype=np.int64) if tasks is None else np.asarray(tasks, dtype=np.int64),
            np.zeros(len(pairs), dtype=bool) if noisy is None else np.asarray(noisy, dtype=bool),
            families or {},
        )

    @classmethod
    def joined(cls, sets: Sequence[Demonstrations]) -> Self:
        """Several as one; their tasks are numbered from 0, one set after another."""
        offset, tasks, families = 0, [], {}
        for each in sets:
            names, number = np.unique(each.tasks, return_inverse=True)
            tasks.append(number.reshape(-1).astype(np.int64) + offset)
            families |= {offset + i: each.families[t] for i, t in enumerate(names.tolist()) if t in each.families}
            offset += len(names)
        joined = {name: np.concatenate([getattr(each, name) for each in sets]) for name in _PARTS if name != "tasks"}
        return cls(**joined, tasks=np.concatenate(tasks), families=families)

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """(N,) the first step of each."""
        return np.cumsum(self.lengths) - self.lengths

    def steps(self, demonstration: int) -> slice:
        """Its steps."""
        start = int(self.starts[demonstration])
        return slice(start, start + int(self.lengths[demonstration]))

    def select(self, rows: Sequence[int] | NDArray[np.int64]) -> Demonstrations:
        """Some of the demonstrations, their tasks under their own numbers."""
        rows = np.asarray(rows, dtype=np.int64)
        index = np.concatenate([np.arange(s.start, s.stop) for s in map(self.steps, rows.tolist())])
        return replace(
            self,
            observations=self.observations[index],
            actions=self.actions[index],
            lengths=self.lengths[rows],
            tasks=self.tasks[rows],
            noisy=self.noisy[rows],
        )

    def of_task(self, task: int) -> Demonstrations:
        """Those of one task."""
        return self.select(np.flatnonzero(self.tasks == task))

    def first(self, n: int) -> Demonstrations:
        """The first n of each task."""
        seen: dict[int, int] = {}
        rows = []
        for row, task in enumerate(self.tasks.tolist()):
            seen[task] = seen.get(task, 0) + 1
            rows += [row] if seen[task] <= n else []
        return self.select(rows)

    def save(self, path: Path) -> None:
        """As .npz, whole or not at all."""
        import io

        buffer = io.BytesIO()
        names = [f"{number}={name}" for number, name in self.families.items()]
        np.savez_compressed(buffer, families=np.array(names), **{name: getattr(self, name) for name in _PARTS})
        write_whole(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> Self:
        """What `save` wrote.

        Raises:
            DataError: no such file, or another kind of file.
        """
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                arrays = {name: file[name] for name in _PARTS}
                pairs = [str(name).partition("=") for name in file["families"]]
        except (OSError, KeyError, ValueError, EOFError, NotImplementedError, BadZipFile, zlib.error) as error:
            raise DataError(f"{path} holds no demonstrations ({error}): expected the .npz of Demonstrations.") from None
        return cls(**arrays, families={int(number): name for number, _, name in pairs})


def record(
    environment: Environment,
    tasks: Sequence[int],
    n_clean: int,
    n_noisy: int = 0,
    *,
    noise: float = 0.2,
    n_tries: int = 8,
    n_extra_steps: int = 3,
    n_noisy_actions: int | None = None,
    n_detour_steps: int = 0,
    leave_out_failed: bool = False,
) -> Demonstrations:
    """The expert, recorded: of each task, `n_clean` demonstrations and `n_noisy` with disturbed actions.

    Args:
        environment: where.
        tasks: numbers of its tasks; the demonstrations have them.
        n_clean, n_noisy: of each task. Those in which the expert does not succeed are dropped, and tried again from
            another placement.
        noise: standard deviation of what is added to executed actions, which drifts slowly from step to step; with
            every further try it is less, and in the last two nothing.
        n_tries: tries per demonstration.
        n_extra_steps: that are kept after success.
        n_noisy_actions: the first so many actions are disturbed; all by default.
        n_detour_steps: disturbed demonstrations begin with up to so many steps in a random direction. Where the
            expert's own path gives away where it goes, a policy would learn to go on and not to read what was shown.
        leave_out_failed: leave out tasks at which the expert does not succeed often enough, as some goals are beyond
            it, unless those are all.

    Raises:
        DataError: the expert does not succeed.
    """
    wanted = [(task, number) for task in tasks for number in range(n_clean + n_noisy)]
    done: dict[tuple[int, int], tuple[Any, Any]] = {}
    for attempt in range(n_tries):
        missing = [w for w in wanted if w not in done]
        for start in range(0, len(missing), environment.n_side_by_side):
            some = missing[start : start + environment.n_side_by_side]
            disturbed = np.array([number >= n_clean for _, number in some])
            placements = [number + attempt * (n_clean + n_noisy) for _, number in some]
            rng = np.random.default_rng([attempt, *(n for pair in some for n in pair)])
            scale = (
                noise
                * max(1 - attempt / max(n_tries - 2, 1), 0)
                * disturbed[:, None]
                * (np.arange(environment.n_actions) < (n_noisy_actions or 99))
            )
            detour = np.where(disturbed, rng.integers(0, n_detour_steps + 1, len(some)), 0)
            found = _run(environment, [t for t, _ in some], placements, scale, detour, rng, n_extra_steps)
            done |= {which: pair for which, pair in zip(some, found, strict=True) if pair is not None}
    failed = sorted({task for task, number in wanted if (task, number) not in done})
    if failed and not (leave_out_failed and len(failed) < len(set(tasks))):
        raise DataError(
            f"{environment.name}: the expert did not succeed in {n_tries} tries at task {failed[0]}"
            f"{f' and {len(failed) - 1} others' if len(failed) > 1 else ''}: expected another seed, or less noise."
        )
    wanted = [(task, number) for task, number in wanted if task not in failed]
    return Demonstrations.of(
        [done[w] for w in wanted],
        [task for task, _ in wanted],
        [number >= n_clean for _, number in wanted],
        dict.fromkeys([task for task, _ in wanted], environment.name),
    )


def _run(
    environment: Environment,
    tasks: Sequence[int],
    placements: Sequence[int],
    scale: NDArray[np.float64],
    detour: NDArray[np.int64],
    rng: np.random.Generator,
    n_extra_steps: int,
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]] | None]:
    """One demonstration of each, None where the expert failed."""
    simulation = environment.start(tasks, placements)
    observations, actions, success = [], [], []
    drift = np.zeros_like(scale)
    direction = np.zeros_like(scale)
    if detour.any():
        direction = rng.normal(size=scale.shape) * (scale > 0)
        direction /= np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-9)
    for step in range(environment.horizon):
        active = np.ones(len(tasks), dtype=bool)
        if environment.stops_at_success and len(success) > n_extra_steps:
            active = ~success[-1 - n_extra_steps]
            if not active.any():
                break
        observations.append(simulation.observation)
        actions.append(simulation.expert())
        drift = 0.8 * drift + 0.6 * scale * rng.normal(size=scale.shape)
        simulation.step(np.where((step < detour)[:, None], direction, actions[-1] + drift), active)
        success.append(simulation.success)
    x, y, won = np.stack(observations, 1), np.stack(actions, 1), np.stack(success, 1)
    found: list[tuple[NDArray[np.float64], NDArray[np.float64]] | None] = []
    for b in range(len(tasks)):
        n_steps = x.shape[1]
        if (environment.stops_at_success or environment.shows_arrival_only) and won[b].any():
            n_steps = min(n_steps, int(won[b].argmax()) + 1 + n_extra_steps)
        found.append((x[b, :n_steps], y[b, :n_steps]) if won[b, -1] else None)
    return found

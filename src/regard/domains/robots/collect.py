"""Meta-World's demonstrations, recorded skill by skill: what is done is kept, and the same call goes on from there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np

from regard.domains.acting.demonstrations import Demonstrations, record
from regard.domains.acting.steps import StepReader
from regard.domains.registry import find_domain
from regard.domains.robots.data import RecordedData
from regard.domains.robots.metaworld import ML10_TEST, ML10_TRAIN, ML45_TEST, MetaWorld, skill_names
from regard.errors import ConfigError, DataError

N_FREE_GOALS, N_SEEN_GOALS = 60, 20
"""Training tasks of a skill whose goal has numbers of its own, and of one whose goal follows from the object."""

N_TESTED = 20
"""Tasks of a skill that are recorded at once where they are not trained on; fewer are the first of them."""

N_SHOWN = 5
"""Demonstrations that are recorded of a task that is not trained on; any smaller number is the first of them."""

FREE_GOALS = ("reach-v3", "push-v3", "pick-place-v3")
GOALS = (*FREE_GOALS, "peg-insert-side-v3", "basketball-v3")
"""Skills of ML10's training whose goal does not follow from what is seen."""


def collect_skills(
    folder: Path, skills: Sequence[str], tasks: Mapping[str, Sequence[int]], n_clean: int, n_noisy: int, seed: int
) -> Demonstrations:
    """The demonstrations of these skills, from the folder where they are there, else recorded.

    Args:
        folder: one .npz per skill, each written whole or not at all.
        skills: names of Meta-World.
        tasks: of each.
        n_clean, n_noisy: demonstrations of each task, as `record`.
        seed: of tasks and placements.

    Raises:
        DataError: a file that holds other demonstrations.
    """
    sets: list[Demonstrations] = []
    folder.mkdir(parents=True, exist_ok=True)
    for skill in skills:
        path = folder / f"{skill}-{tasks[skill][0]}-{len(tasks[skill])}x{n_clean}+{n_noisy}-seed{seed}.npz"
        if not path.exists():
            environment = MetaWorld(skill, seed)
            # Only the hand is disturbed: a gripper that lets go would be another demonstration.
            # A few goals are beyond the expert; of tasks that are tested on, each is wanted.
            some = n_noisy > 0
            record(environment, tasks[skill], n_clean, n_noisy, n_noisy_actions=3, leave_out_failed=some).save(path)
            environment.close()
        found = Demonstrations.load(path)
        if not 0 < len(found) <= len(tasks[skill]) * (n_clean + n_noisy):
            raise DataError(f"{path} holds {len(found)} demonstrations: expected another set; remove the file.")
        sets.append(found)
    return Demonstrations.joined(sets)


def training_tasks(skill: str) -> range:
    """The numbers of the tasks that are trained on."""
    return range(N_FREE_GOALS if skill in FREE_GOALS else N_SEEN_GOALS)


def metaworld_data(
    folder: str, suite: str, test: str, n_rows: int, shows_progress: bool, blind: bool, seed: int
) -> RecordedData:
    """See `regard.domains.robots.domain.metaworld`.

    Raises:
        ConfigError: no such suite or test.
    """
    new = {"ML10": ML10_TEST, "ML45": ML45_TEST}
    if suite not in new or test not in ("new", "goals"):
        raise ConfigError(f"suite is {suite!r} and test {test!r}: expected ML10 or ML45, and new or goals.")
    skills = ML10_TRAIN if suite == "ML10" else tuple(name for name in skill_names() if name not in ML45_TEST)
    place = Path(folder)
    recorded = collect_skills(place, skills, {skill: training_tasks(skill) for skill in skills}, 3, 2, seed)

    def shown(skill: str, tasks: Sequence[int], n_demonstrations: int) -> Demonstrations:
        block = range(tasks[0], tasks[0] + max(N_TESTED, len(tasks)))
        kept = collect_skills(place, [skill], {skill: block}, max(n_demonstrations, N_SHOWN), 0, seed)
        first = kept.first(n_demonstrations)
        numbered = replace(first, tasks=first.tasks + tasks[0])
        return numbered.select(np.flatnonzero(numbered.tasks < tasks[0] + len(tasks)))

    evaluated = new[suite] if test == "new" else GOALS
    return RecordedData(
        find_domain("robots"),
        f"metaworld {suite} {test}",
        recorded,
        {skill: partial(shared_environment, skill, seed) for skill in evaluated},
        StepReader(n_rows, shows_progress),
        blind,
        {"n_inputs": MetaWorld.n_features + 2},
        shown,
        n_side_by_side=10,
    )


@cache
def shared_environment(skill: str, seed: int) -> MetaWorld:
    """One per process: the simulators that it builds, 0.4 s each, serve one policy after another."""
    return MetaWorld(skill, seed)

"""Meta-World's demonstrations, recorded skill by skill: what is done is kept, and the same call goes on from there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from regard.domains.robots.demonstrations import Demonstrations, record
from regard.domains.robots.metaworld import MetaWorld
from regard.errors import DataError

N_FREE_GOALS, N_SEEN_GOALS = 60, 20
"""Training tasks of a skill whose goal has numbers of its own, and of one whose goal follows from the object."""

FREE_GOALS = ("reach-v3", "push-v3", "pick-place-v3")


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
            record(environment, tasks[skill], n_clean, n_noisy, n_noisy_actions=3).save(path)
            environment.close()
        found = Demonstrations.load(path)
        if len(found) != len(tasks[skill]) * (n_clean + n_noisy):
            raise DataError(f"{path} holds {len(found)} demonstrations: expected another set; remove the file.")
        sets.append(found)
    return Demonstrations.joined(sets)


def training_tasks(skill: str) -> range:
    """The numbers of the tasks that are trained on."""
    return range(N_FREE_GOALS if skill in FREE_GOALS else N_SEEN_GOALS)


def held_out_tasks(n_tasks: int = 20) -> range:
    """Numbers of tasks that are never trained on."""
    return range(1000, 1000 + n_tasks)

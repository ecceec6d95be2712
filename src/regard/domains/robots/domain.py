"""Robots: a skill from a few demonstrations, judged by what the robot then does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from regard.domains.base import Domain
from regard.domains.options import EpisodeOptions
from regard.sampling.counts import Count

if TYPE_CHECKING:
    from regard.domains.acting.steps import StepReader
    from regard.domains.robots.data import RecordedData


class DemonstrationOptions(EpisodeOptions):
    """Options of episodes made of demonstrations: no classes."""

    n_way: Count = Field(default=0, description="actions are numbers, and there are no classes")
    n_shot: Count = Field(default=1, description="demonstrations that are shown; a pair is a range")
    n_query: Count = Field(default=24, description="states of other demonstrations that are asked about")
    n_starts: int = Field(default=1, ge=1, description="rollouts of each task in an evaluation")

    @field_validator("n_way")
    @classmethod
    def _no_classes(cls, n_way: Count) -> Count:
        if n_way != 0:
            raise ValueError("actions are numbers, and there are no classes: expected 0, or leave it out")
        return n_way


@dataclass(frozen=True, repr=False)
class Robots(Domain):
    """The domain of robots."""

    name: ClassVar[str] = "robots"
    items: ClassVar[str] = "steps of demonstrations"
    encoders: ClassVar[tuple[str, ...]] = ("MLP", "SceneObjects", "Flat")
    own_encoders: ClassVar[Mapping[str, str]] = {"SceneObjects": "regard.domains.robots.encoder:SceneObjects"}
    evaluation_options: ClassVar[type[EpisodeOptions]] = DemonstrationOptions
    training_options: ClassVar[type[EpisodeOptions]] = DemonstrationOptions
    acts: ClassVar[bool] = True
    file_hint: ClassVar[tuple[str, str] | None] = ("DEMONSTRATIONS.npz or .csv", "OBSERVATIONS.npy or .csv")

    def data_sets(self) -> Mapping[str, Callable[..., RecordedData]]:
        return {
            "reach2d": reach2d,
            "choose2d": choose2d,
            "reacher": reacher,
            "metaworld": metaworld,
            "demonstrations": demonstrations,
        }

    def reader(self, content: Mapping[str, Any]) -> StepReader:
        from regard.domains.acting.steps import StepReader

        return StepReader.from_dict(content)


ROBOTS = Robots()


def reach2d(
    n_tasks: int = 1500, n_rows: int = 8, shows_progress: bool = True, blind: bool = False, seed: int = 0
) -> RecordedData:
    """A point that goes to a place: `n_tasks` training places, each with demonstrations of `n_rows` rows."""
    from regard.domains.robots.reach2d import Reach2D

    return _simulated("reach2d", lambda: Reach2D(seed), n_tasks, n_rows, shows_progress, blind)


def choose2d(
    n_tasks: int = 3000, n_rows: int = 8, shows_progress: bool = True, blind: bool = False, seed: int = 0
) -> RecordedData:
    """A point that goes to the object of a colour, among three."""
    from regard.domains.robots.reach2d import Choose2D

    return _simulated("choose2d", lambda: Choose2D(seed), n_tasks, n_rows, shows_progress, blind)


def reacher(
    n_tasks: int = 600, n_rows: int = 12, shows_progress: bool = True, blind: bool = False, seed: int = 0
) -> RecordedData:
    """MuJoCo's two-joint arm, whose fingertip is to be at a place."""
    from regard.domains.robots.reacher import Reacher

    return _simulated("reacher", lambda: Reacher(seed), n_tasks, n_rows, shows_progress, blind)


def metaworld(
    folder: str = "metaworld-demonstrations",
    suite: str = "ML10",
    test: str = "new",
    n_rows: int = 12,
    shows_progress: bool = True,
    blind: bool = False,
    seed: int = 0,
) -> RecordedData:
    """Skills of Meta-World. The expert's demonstrations are recorded into `folder` once, which takes minutes.

    Args:
        folder: for the recorded demonstrations; what is there already is used.
        suite: "ML10" or "ML45".
        test: "new" for the skills that the suite keeps for testing, "goals" for new goals of trained skills.
        n_rows: rows of a demonstration.
        shows_progress: see `StepReader`.
        blind: train without demonstrations.
        seed: of tasks and placements.
    """
    from regard.domains.robots.collect import metaworld_data

    return metaworld_data(folder, suite, test, n_rows, shows_progress, blind, seed)


def demonstrations(path: str = "", n_rows: int = 12, shows_progress: bool = True, blind: bool = False) -> RecordedData:
    """Demonstrations of one's own, see `read_demonstrations`: trained and evaluated on, without rollouts."""
    from regard.domains.acting.files import read_demonstrations
    from regard.domains.acting.steps import StepReader
    from regard.domains.robots.data import RecordedData

    read = read_demonstrations(path)
    reader = StepReader(n_rows, shows_progress).scaled_to(read.observations)
    encoder = {"n_inputs": read.observations.shape[1] + 2}
    return RecordedData(ROBOTS, "demonstrations", read, {}, reader, blind, encoder)


def _simulated(
    name: str, make: Callable[[], Any], n_tasks: int, n_rows: int, shows_progress: bool, blind: bool
) -> RecordedData:
    from regard.domains.acting.demonstrations import record
    from regard.domains.acting.steps import StepReader
    from regard.domains.robots.data import RecordedData

    environment = make()
    # A path soon shows to which object it leads, and the speed of an arm where it goes: who is asked about such states
    # alone learns to go on, and not to read what was shown.
    n_noisy, n_detour_steps = {"choose2d": (2, 12), "reacher": (2, 10)}.get(name, (1, 0))
    recorded = record(environment, range(n_tasks), 3, n_noisy, n_detour_steps=n_detour_steps)
    encoder: dict[str, Any] = {"n_inputs": environment.n_features + 2}
    if name == "choose2d":
        encoder = {"n_shared": 2, "n_objects": environment.n_objects, "n_object_features": 5}
    return RecordedData(ROBOTS, name, recorded, {name: make}, StepReader(n_rows, shows_progress), blind, encoder)

"""A page that shows what a policy did, beside the demonstrations it acted by.

Three pictures: the demonstrations, each shown step as large as it was attended to, with the rollout; the heat map
rollout step by demonstration step; and the same as a film.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from regard.domains.acting.simulated import SimulatedData
from regard.errors import ConfigError
from regard.evaluation.rollouts import LearnerPolicy
from regard.explain.demonstrations import attended_rollout
from regard.files import make_folder, write_whole
from regard.recipes.trained import TrainedLearner
from regard.report.film import draw_rollout, film_of_rollout, rollout_page


def show_rollout(
    checkpoint: Path | str, folder: Path, settings: Sequence[str] = (), *, n_demonstrations: int = 1, task: int = 0
) -> Path:
    """Write rollout.html, rollout.png and rollout.gif; returns the page.

    Args:
        checkpoint: a run of the domain "robots", of a learner that attends.
        folder: for the files.
        settings: as of `regard evaluate`.
        n_demonstrations: that are shown to the policy.
        task: number of the task among those of the test.

    Raises:
        ConfigError: data without a simulator, or a learner that does not attend.
    """
    trained = TrainedLearner.load(checkpoint, settings)
    if trained.domain.name != "robots":
        raise ConfigError(
            f"{trained.name} is a learner of the domain {trained.domain.name!r}, which has no rollouts: expected a run "
            "such as that of reach2d or reacher."
        )
    data = trained.data()
    if not isinstance(data, SimulatedData) or not data.has_simulator:
        raise ConfigError(f"{data.title} has no rollouts to show: expected a run such as that of reach2d or reacher.")
    trial = data.trials("test", n_demonstrations, task + 1, 1, 0)[-1]
    policy = LearnerPolicy(trained.learner, data.reader, name=trained.name)
    rollout = attended_rollout(policy, trial)
    place = trial.environment().place
    path = place(rollout.observations[-1])
    rows = data.reader.support(trial.demonstrations).x[-1][rollout.weight[-1] > 0].double().numpy()
    shown = place(rows[:, :-2])
    make_folder(folder, "--out")
    figure = draw_rollout(rollout, shown, path)
    write_whole(folder / "rollout.png", figure)
    write_whole(folder / "rollout.gif", film_of_rollout(rollout, shown, path))
    won = "succeeded" if rollout.success[-1] else "failed"
    title = f"{trained.name} on {data.title}, task {trial.tasks[-1]}: {won}"
    write_whole(folder / "rollout.html", rollout_page(title, figure, (folder / "rollout.gif").read_bytes()).encode())
    return folder / "rollout.html"

"""A goal that stands in the observation: then demonstrations are for show, and every policy does the task.

    without   a regression from states to actions over all training tasks, which is shown nothing
    learner   the same states of test tasks, after its demonstrations

Where the goal is hidden, the first leaves much unexplained of what the second explains. It is the rule for Meta-World
too: in 24 of its 50 skills the goal follows from the object that is seen.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.distributions import Distribution

from regard.errors import EpisodeError
from regard.evaluation.leaks.context import Finding
from regard.learners.base import Learner
from regard.nn.inference import eval_mode
from regard.sampling.source import EpisodeSource

_N_STATES = 20_000
_RATIO = 2.0


def goal_is_hidden(learner: Learner, train: EpisodeSource, test: EpisodeSource, n_episodes: int = 50) -> Finding:
    """Whether demonstrations say what the observation does not.

    Args:
        learner: of actions; temporarily in eval mode, then restored.
        train: episodes of tasks that it was trained on.
        test: episodes of other tasks.
        n_episodes: of each kind.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    known, new = train(range(20 * n_episodes)), test(range(n_episodes))
    if not isinstance(known.query_x, torch.Tensor) or not isinstance(new.query_x, torch.Tensor):
        raise EpisodeError("the states are a dict: expected vectors, as DemonstrationSource gives.")
    with eval_mode(learner), torch.no_grad():
        output = learner(new)
    if not isinstance(output, Distribution):
        raise EpisodeError("the learner answers with classes: expected one that predicts actions.")
    states, actions = (t.flatten(0, 1).double().numpy()[:_N_STATES] for t in (known.query_x, known.query_y))
    asked, wanted = (t.flatten(0, 1).double().numpy() for t in (new.query_x, new.query_y))
    guessed = [HistGradientBoostingRegressor(max_iter=60).fit(states, column).predict(asked) for column in actions.T]
    spread = np.square(wanted - wanted.mean(0)).sum()
    without = np.square(np.stack(guessed, 1) - wanted).sum() / spread
    with_demonstrations = np.square(output.mean.flatten(0, 1).double().numpy() - wanted).sum() / spread
    passed = bool(without > _RATIO * with_demonstrations)
    proof = (
        f"shown nothing, {100 * without:.0f}% of the actions' variance stays unexplained; after demonstrations "
        f"{100 * with_demonstrations:.0f}%"
    )
    if not passed:
        proof += ": the goal may stand in the observation, or the learner makes nothing of what it is shown"
    return Finding("the goal is not in the observation", "passed" if passed else "failed", proof)

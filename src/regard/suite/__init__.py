"""`regard compare RECIPE --suite`: the main learners are trained on the user's own data, and the best is recommended.

    candidates  which learners, all on one encoder that is fitted to the data
    run         equal training time for each, then the very same test episodes; what each costs
    jobs        the same training for several at a time, here or on a cluster
    verdict     ranks with ties reported as ties, and the recommendation in a sentence
    hunger      the same on fewer of the classes: accuracy against the number of training classes
    show        the table in the terminal, the page, the JSON

Validation episodes choose each learner's best checkpoint, and nothing is chosen by test episodes but the winner that is
reported: of ten learners the first is a little lucky, so its own accuracy is biased upwards, and the differences less.
"""

from __future__ import annotations

from regard.suite.candidates import Candidate, candidates_for
from regard.suite.jobs import Cost, Workers
from regard.suite.run import Suite, TrainedCandidate, run_suite
from regard.suite.show import publish, show_suite, write_suite
from regard.suite.verdict import Placed, Verdict, rank_candidates

__all__ = [
    "Candidate",
    "Cost",
    "Placed",
    "Suite",
    "TrainedCandidate",
    "Verdict",
    "Workers",
    "candidates_for",
    "publish",
    "rank_candidates",
    "run_suite",
    "show_suite",
    "write_suite",
]

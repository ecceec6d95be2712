"""`regard compare RECIPE --suite`: the main learners practise on the user's own data, and the best is named.

    entrants    who takes part, all on one encoder that is fitted to the data
    contest     equal time of practice for each, then the very same test episodes; what each costs
    verdict     ranks with ties told as ties, and the recommendation in a sentence
    hunger      the same on fewer of the classes: accuracy against how many there were to practise on
    show        the table in the terminal, the page, the JSON

Validation episodes choose each learner's best checkpoint, and nothing is chosen by test episodes but the winner that is
told: of ten learners the first is a little lucky, so its own accuracy is, and the differences less so.
"""

from __future__ import annotations

from regard.suite.contest import Cost, Entry, Suite, run_suite
from regard.suite.entrants import Entrant, entrants_for
from regard.suite.show import publish, show_suite, write_suite
from regard.suite.verdict import Placed, Verdict, judge

__all__ = [
    "Cost",
    "Entrant",
    "Entry",
    "Placed",
    "Suite",
    "Verdict",
    "entrants_for",
    "judge",
    "publish",
    "run_suite",
    "show_suite",
    "write_suite",
]

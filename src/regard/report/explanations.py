"""A page that explains answers: each query, the examples that spoke for and against it, and what would turn it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from regard.domains.base import Rendering
from regard.files import write_whole
from regard.report.page import environment


@dataclass(frozen=True)
class ExampleEffect:
    """One example and what it did to one answer.

    Args:
        name: of the example.
        label: its label.
        item: the example as people see it.
        drop: what removing it takes from the answer: a probability, or a number in regression.
        share: of the largest effect shown for the query, in 0..1.
        said: what removing it does, in words; by default `drop` is said.
    """

    name: str
    label: str
    item: Rendering
    drop: float
    share: float
    said: str = ""


@dataclass(frozen=True)
class ExplainedAnswer:
    """One query and its answer.

    Args:
        name: of the query.
        item: the query as people see it.
        answer: its label or number.
        probability: of the label; None in regression.
        effects: of examples, strongest first, whichever way they spoke.
        turns: sentences that say which one change turns the answer.
        probabilities: of every class, calibrated, most probable first; none in regression.
        answered: False where the query may be none of the classes.
        number, deviation: in regression, the answer as a number and its standard deviation, where there is one.
        note: what is said beside the answer instead of a probability.
        picture: drawn beside the query, above the effects; none by default.
    """

    name: str
    item: Rendering
    answer: str
    probability: float | None
    effects: Sequence[ExampleEffect]
    turns: Sequence[str]
    probabilities: Sequence[tuple[str, float]] = ()
    answered: bool = True
    number: float | None = None
    deviation: float | None = None
    note: str = ""
    picture: Rendering | None = None


_FOOT = (
    "The effect of an example is what its removal takes from the probability of the answer (from the number, in "
    "regression), computed by removing it."
)


def write_explanations(
    path: Path,
    learner: str,
    trust: str,
    believed: bool | None,
    answers: Sequence[ExplainedAnswer],
    foot: str = _FOOT,
) -> None:
    """One HTML document that asks nothing of the network; arguments after `path` as `render_explanations`.

    Raises:
        StorageError: the file cannot be written; an old one is untouched.
    """
    write_whole(path, render_explanations(learner, trust, believed, answers, foot=foot).encode())


def render_explanations(
    learner: str,
    trust: str,
    believed: bool | None,
    answers: Sequence[ExplainedAnswer],
    embedded: bool = False,
    foot: str = _FOOT,
) -> str:
    """The page as text.

    Args:
        learner: its name.
        trust: a sentence that says how far to believe the page.
        believed: whether that is above chance; None where it cannot be said.
        answers: in the order of the page.
        embedded: within another page, and so without a title of its own.
        foot: how effects were computed.
    """
    template = environment().get_template("explanations.html.j2")
    return template.render(
        learner=learner, trust=trust, believed=believed, answers=answers, embedded=embedded, foot=foot
    )

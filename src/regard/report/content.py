"""What a report shows, as plain values: the only thing that a command has to fill in.

Items come as renderings of their domain, see `regard.domains.Domain.render`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.domains.base import Rendering
from regard.errors import DataError
from regard.evaluation.compare import Comparison
from regard.evaluation.confidence import Confidence, ConfidenceReport
from regard.evaluation.result import Result


@dataclass(frozen=True, eq=False)
class TrainingCurve:
    """How one learner was trained.

    Args:
        name: of the learner, as in the results.
        step, loss: (N,) training loss.
        validation_step, validation_accuracy: (M,) accuracy in 0..1.
        seconds: wall time of the whole training.

    Raises:
        DataError: steps and values differ in length.
    """

    name: str
    step: NDArray[Any]
    loss: NDArray[Any]
    validation_step: NDArray[Any]
    validation_accuracy: NDArray[Any]
    seconds: float

    def __post_init__(self) -> None:
        what = f"curve {self.name!r}"
        _expect(what, "loss", self.loss, self.step.shape)
        _expect(what, "validation_accuracy", self.validation_accuracy, self.validation_step.shape)


@dataclass(frozen=True, eq=False)
class ConfusionMatrix:
    """Which class was mistaken for which, with an item of each class along the axes.

    Args:
        title: what these classes are, such as "Hebrew".
        matrix: (C, C) counts, a row per true class and a column per predicted one.
        pictures: C items, one per class.
        names: C names.

    Raises:
        DataError: matrix, pictures and names disagree about C.
    """

    title: str
    matrix: NDArray[Any]
    pictures: Sequence[Rendering]
    names: Sequence[str]

    def __post_init__(self) -> None:
        what, n_classes = f"confusion {self.title!r}", len(self.names)
        _expect(what, "matrix", self.matrix, (n_classes, n_classes))
        if len(self.pictures) != n_classes:
            raise DataError(f"{what}: {len(self.pictures)} pictures: expected {n_classes}, one per class.")


@dataclass(frozen=True, eq=False)
class AttentionExample:
    """One query: the item, the examples, and what the learner attended to.

    Args:
        query: the item, with where it mattered if that is known.
        support: S examples, likewise.
        support_label: (S,) index into `names`.
        names: of the C classes.
        weight: (S,) attention to each support row, at least 0.
        predicted: index into `names`.
        true: likewise; None where the query is of a class without examples.
        probability: of the predicted class.
        answered: False where the learner answered "none of these" instead.
        unknown_class: the name of the query's class where it has no examples.

    Raises:
        DataError: sizes disagree, an index has no name, or a weight is negative.
    """

    query: Rendering
    support: Sequence[Rendering]
    support_label: NDArray[Any]
    names: Sequence[str]
    weight: NDArray[Any]
    predicted: int
    true: int | None
    probability: float
    answered: bool = True
    unknown_class: str = ""

    def __post_init__(self) -> None:
        what, n_rows, labels = "attention example", len(self.support), np.asarray(self.support_label)
        _expect(what, "support_label", labels, (n_rows,))
        _expect(what, "weight", self.weight, (n_rows,))
        weight = np.asarray(self.weight, dtype=np.float64)
        if weight.size and not weight.min() >= -1e-6:  # so that NaN fails too; a hair below 0 is rounding
            raise DataError(f"{what}: weight has {weight.min():.3g}: expected at least 0.")
        used = [self.predicted, *([] if self.true is None else [self.true]), *labels.tolist()]
        if not 0 <= min(used) <= max(used) < len(self.names):
            raise DataError(
                f"{what} has labels {min(used)}..{max(used)} and {len(self.names)} names: expected a name for each "
                "label; give the names of the episode's classes in order."
            )


@dataclass(frozen=True)
class ConfidenceSection:
    """How far probabilities can be trusted, and when the learner answers "none of these".

    Args:
        confidence: what validation episodes set.
        report: what test episodes found.
        n_known: classes per episode with examples.
        n_unknown: further ones, without.
    """

    confidence: Confidence
    report: ConfidenceReport
    n_known: int
    n_unknown: int


@dataclass(frozen=True)
class TextTable:
    """A plain table.

    Args:
        title, intro: above it.
        headings: one per column, that of the rows' names first.
        rows: texts, as many as headings.

    Raises:
        DataError: a row of another length.
    """

    title: str
    intro: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.headings):
                raise DataError(
                    f"table {self.title!r}: row {row[0]!r} has {len(row)} cells: expected {len(self.headings)}, as "
                    "many as headings."
                )


@dataclass(frozen=True)
class Figure:
    """A picture drawn elsewhere: its title, what it shows, and the bytes of a PNG."""

    title: str
    caption: str
    png: bytes


@dataclass(frozen=True, eq=False)
class ReportContent:
    """Everything on the page, top to bottom.

    Args:
        title: of the page, a few words.
        sentence: what happened in plain words; what stands between two `**` is emphasised.
        results: one per learner and setting; a setting is a data set, a way and a shot.
        comparisons: paired differences of these results.
        learner: whom the page is about, shown first and in colour; the first result's by default.
        confidence: of the page's learner.
        examples: about a dozen.
        faithfulness: what deleting attended rows does, in one sentence.
        confusions: usually one.
        curves: of each trained learner.
        tables: plain ones, such as what each learner costs.
        figures: drawn elsewhere.
        facts: machine, versions, command, seeds, date: name to text.
        stages: name to seconds.
        caveats: what a reader must not conclude, one sentence each.
        kicker: the small line above the title.
    """

    title: str
    sentence: str
    results: Sequence[Result] = ()
    comparisons: Sequence[Comparison] = ()
    learner: str | None = None
    confidence: ConfidenceSection | None = None
    examples: Sequence[AttentionExample] = ()
    faithfulness: str | None = None
    confusions: Sequence[ConfusionMatrix] = ()
    curves: Sequence[TrainingCurve] = ()
    tables: Sequence[TextTable] = ()
    figures: Sequence[Figure] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    stages: Mapping[str, float] = field(default_factory=dict)
    caveats: Sequence[str] = ()
    kicker: str = "regard"


def _expect(what: str, name: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    if np.shape(array) != shape:
        raise DataError(f"{what}: {name} has shape {np.shape(array)}: expected {shape}, to agree with the rest of it.")

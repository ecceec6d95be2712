"""What a report shows, as plain arrays: the only thing that a recipe has to fill in.

Pictures are uint8, either (H, W) with ink 255 on 0, drawn dark on paper, or (H, W, 3) in colour, shown as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.errors import DataError
from regard.evaluation.compare import Comparison
from regard.evaluation.confidence import Confidence, ConfidenceReport
from regard.evaluation.result import Result


@dataclass(frozen=True, eq=False)
class Curve:
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
class ConfusionPicture:
    """Which class was taken for which, with a picture of each class along the axes.

    Args:
        title: what these classes are, such as "Hebrew".
        matrix: (C, C) counts, a row for what was true and a column for the answer.
        images: (C, H, W) or (C, H, W, 3) uint8, one example a class.
        names: C names.

    Raises:
        DataError: matrix, images and names disagree about C.
    """

    title: str
    matrix: NDArray[Any]
    images: NDArray[Any]
    names: Sequence[str]

    def __post_init__(self) -> None:
        what, n_classes = f"confusion {self.title!r}", len(self.names)
        _expect(what, "matrix", self.matrix, (n_classes, n_classes))
        _expect_picture(what, "images", self.images, (n_classes,))


@dataclass(frozen=True, eq=False)
class AttentionExample:
    """One query: the query, the examples, and where the learner attended.

    Args:
        query: (H, W) or (H, W, 3) uint8.
        support: (S, H, W) or (S, H, W, 3) uint8.
        support_label: (S,) index into `names`.
        names: of the C classes.
        weight: (S,) attention to each support row, at least 0.
        heat: (S, H, W) in 0..1, where on each support picture it attended; 1 is the strongest place of this query.
        query_heat: (H, W) in 0..1, or None.
        predicted: index into `names`.
        true: likewise; None where the query is of a class without examples.
        probability: of the predicted class.
        answered: False where the learner said "none of these" instead.
        stranger: the name of the query's class where it has no examples.

    Raises:
        DataError: shapes disagree, an index has no name, or weight or heat lie outside their range.
    """

    query: NDArray[Any]
    support: NDArray[Any]
    support_label: NDArray[Any]
    names: Sequence[str]
    weight: NDArray[Any]
    heat: NDArray[Any]
    query_heat: NDArray[Any] | None
    predicted: int
    true: int | None
    probability: float
    answered: bool = True
    stranger: str = ""

    def __post_init__(self) -> None:
        what, n_rows, labels = "look", len(self.support), np.asarray(self.support_label)
        _expect_picture(what, "query", self.query, ())
        _expect_picture(what, "support", self.support, (n_rows,))
        _expect(what, "support_label", labels, (n_rows,))
        _expect(what, "weight", self.weight, (n_rows,))
        _expect(what, "heat", self.heat, self.support.shape[:3])
        _expect_range(what, "weight", self.weight, np.inf)
        _expect_range(what, "heat", self.heat, 1.0)
        if self.query_heat is not None:
            _expect(what, "query_heat", self.query_heat, self.query.shape[:2])
            _expect_range(what, "query_heat", self.query_heat, 1.0)
        asked = [self.predicted, *([] if self.true is None else [self.true]), *labels.tolist()]
        if not 0 <= min(asked) <= max(asked) < len(self.names):
            raise DataError(
                f"look has labels {min(asked)}..{max(asked)} and {len(self.names)} names: expected a name for each "
                "label; give the names of the episode's classes in order."
            )


@dataclass(frozen=True)
class CalibrationSummary:
    """How confident the learner may be, and when it says "none of these".

    Args:
        confidence: what validation episodes set.
        report: what test episodes found.
        n_known: classes an episode with examples.
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
        headings: one a column, that of the rows' names first.
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
                    f"table {self.title!r}: row {row[0]!r} has {len(row)} cells: expected {len(self.headings)}, one a "
                    "heading."
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
        results: one a learner and setting; a setting is a data set, a way and a shot.
        comparisons: paired differences of these results.
        learner: whom the page is about, first and in colour; the first result's by default.
        calibration: of the page's learner.
        looks: about a dozen.
        faithfulness: what deleting attended rows does, in one sentence.
        confusions: usually one.
        curves: of each trained learner.
        tables: plain ones, such as what each learner costs.
        figures: drawn elsewhere.
        facts: machine, versions, command, seeds, date: name to text.
        stages: name to seconds.
        caveats: what a reader must not conclude, a sentence each.
        kicker: the small line above the title.
    """

    title: str
    sentence: str
    results: Sequence[Result] = ()
    comparisons: Sequence[Comparison] = ()
    learner: str | None = None
    calibration: CalibrationSummary | None = None
    looks: Sequence[AttentionExample] = ()
    faithfulness: str | None = None
    confusions: Sequence[ConfusionPicture] = ()
    curves: Sequence[Curve] = ()
    tables: Sequence[TextTable] = ()
    figures: Sequence[Figure] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    stages: Mapping[str, float] = field(default_factory=dict)
    caveats: Sequence[str] = ()
    kicker: str = "regard"


def _expect(what: str, name: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    if np.shape(array) != shape:
        raise DataError(f"{what}: {name} has shape {np.shape(array)}: expected {shape}, to agree with the rest of it.")


def _expect_picture(what: str, name: str, array: NDArray[Any], leading: tuple[int, ...]) -> None:
    rest = array.shape[len(leading) :]
    if (
        array.dtype != np.uint8
        or array.shape[: len(leading)] != leading
        or len(rest) not in (2, 3)
        or rest[2:] not in ((), (3,))
    ):
        axes = ", ".join([*map(str, leading), "H", "W"])
        raise DataError(f"{what}: {name} is {array.dtype} {array.shape}: expected uint8 ({axes}) or ({axes}, 3).")


def _expect_range(what: str, name: str, array: NDArray[Any], high: float) -> None:
    x = np.asarray(array)
    # Written so that NaN fails too; a hair over 1 is rounding.
    if x.size and not (x.min() >= -1e-6 and x.max() <= high + 1e-6):
        raise DataError(f"{what}: {name} lies in {x.min():.3g}..{x.max():.3g}: expected 0..{high:g}; rescale it.")

"""A learner that has adapted, as a function of queries alone: "take it with you". The examples are inside.

    query items  ->  probabilities (Q, C) and attention (Q, S)      or mean, deviation and attention for targets

Views of the task are inside too, so the file averages over them as the estimator does. Learners that adapt by gradient
descent can be exported this way: what a file cannot do has been done.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from regard.domains.views import Views
from regard.episode import Items, first_tensor, map_items
from regard.errors import ConfigError
from regard.evaluation.confidence import Confidence
from regard.export.graph import Queries
from regard.export.onnx_file import Exported, describe, write_checked
from regard.learners.base import AttendingLearner, Learner
from regard.learners.states import map_state
from regard.nn.encoder import Encoder
from regard.recipes.trained import TrainedLearner


class AdaptedFunction(nn.Module):
    """Queries to answers.

    Args:
        learner: in float32 and eval mode.
        state: what it knows, in float32.
        views: of the task.
        confidence: of its answers.
        n_classes: C; 0 for regression.
    """

    def __init__(self, learner: Learner, state: Any, views: Views, confidence: Confidence, n_classes: int) -> None:
        super().__init__()
        self.learner, self.state, self.views = learner, state, views
        self.confidence, self.n_classes = confidence, n_classes
        order = views.class_order(n_classes) if n_classes else torch.zeros(views.n, 0, dtype=torch.int64)
        self.register_buffer("order", order.clone())

    order: Tensor

    @property
    def outputs(self) -> list[str]:
        """Their names."""
        answers = ["probabilities"] if self.n_classes else ["mean", "deviation"]
        return [*answers, "attention"] if isinstance(self.learner, AttendingLearner) else answers

    def forward(self, query_x: Items) -> tuple[Tensor, ...]:
        """As the module says."""
        x = map_items(_single, self.views.queries(query_x))  # a view may be computed in double precision
        output = self.learner.predict(self.state, x)
        if isinstance(output, Tensor):
            probability = torch.softmax(output.float() / self.confidence.temperature, -1)
            each = self.order[:, None].expand(-1, probability.shape[1], -1)
            answers = [probability.gather(2, each).mean(0)]
        else:
            answers = [output.mean.mean(0), mixed_deviation(output.mean, output.stddev)]
        if isinstance(self.learner, AttendingLearner):
            answers.append(self.learner.attend(self.state, x)[0])
        return tuple(answers)


def _single(t: Tensor) -> Tensor:
    return t.float() if t.is_floating_point() else t


def mixed_deviation(mean: Tensor, deviation: Tensor) -> Tensor:
    """Of the even mixture of normal distributions (E, ...), over the first axis."""
    return (deviation.square() + (mean - mean.mean(0)).square()).mean(0).sqrt()


def export_adapted(
    trained: TrainedLearner, path: Path, state: Any, views: Views, items: Items, classes: Sequence[str]
) -> Exported:
    """Write a learner that has adapted.

    Args:
        trained: the learner.
        path: of the file.
        state: what it knows.
        views: of the task.
        items: (N, *item) of the kind that it is asked about; the examples will do.
        classes: names, kept in the file; none for regression.

    Raises:
        ExportError: it cannot be done, with the reason; no file is left.
        ConfigError: a path that is no .onnx file.
    """
    if path.suffix != ".onnx":
        raise ConfigError(f"{path}: expected a name that ends in .onnx, or in .html for a page.")
    learner = copy.deepcopy(trained.learner).float().eval().requires_grad_(False)
    for part in learner.modules():
        if isinstance(part, Encoder):
            part.fix_for_file()
    known = map_state(state, lambda t: _single(t).detach())
    function = AdaptedFunction(learner, known, views, trained.confidence, len(classes)).eval()
    n = len(first_tensor(items))

    def queries(number: int) -> Queries:
        index = torch.arange(2 + 3 * number) % n
        return Queries(map_items(lambda t: _single(t[index]), items))

    facts = {**describe(trained, regression=not classes), "classes": list(classes)}
    return write_checked(function, queries(1), queries, path, type(learner).__name__, facts, trained.domain)

"""A trained learner as one function of tensors, which is what leaves Python: adapt and predict in one go, one task.

(support items, support_y, weight, query items, classes)  ->  probabilities, attention, trust
(support items, support_y, weight, query items)           ->  mean, deviation, attention       for targets

support_x   (S, *item); dicts of tensors are several inputs, support_ids and so on
support_y   (S,) int64 class indices, or (S, T) targets
weight      (S,), 0 for a row that is not there
query_x     (Q, *item)
classes     (C,) int64: 0, 1, ... C - 1. Only its length is read: it says how many classes there are.
probabilities (Q, C), attention (Q, S), trust (Q,): the probability that the answer is right, where calibrated
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from regard.episode import Items, Support, map_items
from regard.evaluation.confidence import Confidence
from regard.learners.base import AttendingLearner, EncodingAttendingLearner, Learner, TokenAttendingLearner


@dataclass(frozen=True)
class TaskInputs:
    """Inputs of the exported function: items (N, *item) and the rest as above; `classes` is None for regression."""

    support_x: Items
    support_y: Tensor
    weight: Tensor
    query_x: Items
    classes: Tensor | None

    def arguments(self) -> tuple[Any, ...]:
        """In order; dicts keep their keys sorted."""
        given = (_sorted(self.support_x), self.support_y, self.weight, _sorted(self.query_x))
        return given if self.classes is None else (*given, self.classes)

    def named(self) -> dict[str, Tensor]:
        """Tensors by the names that the file gives them."""
        return dict(zip(self.names(), _flat(self.arguments()), strict=True))

    def names(self) -> list[str]:
        """Of the inputs, in order."""

        def of(prefix: str, x: Items) -> list[str]:
            return [f"{prefix}_{key}" for key in sorted(x)] if isinstance(x, dict) else [f"{prefix}_x"]

        names = [*of("support", self.support_x), "support_y", "weight", *of("query", self.query_x)]
        return names if self.classes is None else [*names, "classes"]


class TaskFunction(nn.Module):
    """A learner as a function of one task's tensors.

    Args:
        learner: in eval mode.
        confidence: of its answers.
        tokens: also say where each query looked on each support row, see `regard.learners.base.TokenAttendingLearner`.
        regression: targets are numbers.
    """

    def __init__(
        self, learner: Learner, confidence: Confidence, *, tokens: bool = False, regression: bool = False
    ) -> None:
        super().__init__()
        self.learner, self.confidence = learner, confidence
        self.regression = regression
        self.tokens = tokens and isinstance(learner, TokenAttendingLearner)

    @property
    def outputs(self) -> list[str]:
        """Their names."""
        answers = ["mean", "deviation"] if self.regression else ["probabilities"]
        attention = ["attention"] if isinstance(self.learner, AttendingLearner) else []
        trust = ["trust"] if self.confidence.threshold > 0 and not self.regression else []
        return [*answers, *attention, *(["looked", "votes"] if self.tokens else []), *trust]

    def forward(
        self, support_x: Items, support_y: Tensor, weight: Tensor, query_x: Items, classes: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """As the module says."""
        learner = self.learner
        n_classes = 0 if classes is None else classes.shape[0]
        support = Support(map_items(lambda t: t[None], support_x), support_y[None], weight[None], n_classes)
        queries = map_items(lambda t: t[None], query_x)
        state = learner.adapt(support)
        if isinstance(learner, EncodingAttendingLearner):  # queries are encoded once
            z = learner._encode_tasks(queries)
            output, attention = learner.predict_encoded(state, z), learner.attend_encoded(state, z)[0]
        else:
            output = learner.predict(state, queries)
            attention = learner.attend(state, queries)[0] if isinstance(learner, AttendingLearner) else None
        if not isinstance(output, Tensor):
            answers = [output.mean[0], output.stddev[0]]
        else:
            answers = [torch.softmax(output[0].float() / self.confidence.temperature, -1)]
        results = answers if attention is None else [*answers, attention]
        if self.tokens and isinstance(learner, TokenAttendingLearner) and isinstance(output, Tensor):
            # Averaged over the tokens of the query, as the heat maps of `regard.explain.saliency` are.
            results.append(learner.attend_tokens(state, queries)[0].mean(1))
            z = learner._encode_tasks(queries)[0]  # (Q, P, F); each token as a query of its own
            votes = learner.predict_encoded(state, z.flatten(0, 1)[None, :, None])
            assert isinstance(votes, Tensor)
            results.append(votes[0].unflatten(0, z.shape[:2]))
        if "trust" in self.outputs and isinstance(output, Tensor):
            bias, largest, logit = self.confidence.trust
            log_p = torch.log_softmax(output[0].float() / self.confidence.temperature, -1).amax(-1)
            results.append(torch.sigmoid(bias + largest * log_p + logit * output[0].amax(-1)))
        return tuple(results)


@dataclass(frozen=True)
class Sizes:
    """How large a task is that an export is checked on."""

    n_support: int
    n_classes: int
    n_queries: int


@dataclass(frozen=True)
class Queries:
    """Inputs of a function of queries alone: items (Q, *item)."""

    query_x: Items

    def arguments(self) -> tuple[Any, ...]:
        """In order; dicts keep their keys sorted."""
        return (_sorted(self.query_x),)

    def names(self) -> list[str]:
        """Of the inputs, in order."""
        x = self.query_x
        return [f"query_{key}" for key in sorted(x)] if isinstance(x, dict) else ["query_x"]

    def named(self) -> dict[str, Tensor]:
        """Tensors by the names that the file gives them."""
        return dict(zip(self.names(), _flat(self.arguments()), strict=True))


CHECKED = (Sizes(5, 5, 3), Sizes(7, 3, 5), Sizes(16, 2, 4), Sizes(2, 2, 2), Sizes(40, 20, 7))
"""Sizes of the tasks on which a file is compared with PyTorch."""


@dataclass
class TaskMaker:
    """Random tasks of any size.

    Args:
        items: n and a seed to n items, as the learner takes them.
        n_targets: T; 0 for classes.
        most_classes: that the learner tells apart.
        generator: of labels and weights.
    """

    items: Any
    n_targets: int = 0
    most_classes: int | None = None
    generator: torch.Generator = field(default_factory=lambda: torch.Generator().manual_seed(0))

    def __call__(self, sizes: Sizes, seed: int = 0, *, weighted: bool = True) -> TaskInputs:
        """A task: every class has a row; one row has weight 0 and others fractions, where `weighted`."""
        n_classes = min(sizes.n_classes, self.most_classes or sizes.n_classes)
        x = self.items(sizes.n_support + sizes.n_queries, seed)
        weight = torch.ones(sizes.n_support)
        if weighted and sizes.n_support > n_classes:
            weight = 0.5 + torch.rand(sizes.n_support, generator=self.generator)
            weight[-1] = 0
        n = sizes.n_support
        support_x, query_x = map_items(lambda t: t[:n], x), map_items(lambda t: t[n:], x)
        if self.n_targets:
            target = torch.randn(n, self.n_targets, generator=self.generator)
            return TaskInputs(support_x, target, weight, query_x, None)
        return TaskInputs(support_x, torch.arange(n) % n_classes, weight, query_x, torch.arange(n_classes))


def _sorted(x: Items) -> Items:
    return {key: x[key] for key in sorted(x)} if isinstance(x, dict) else x


def _flat(arguments: tuple[Any, ...]) -> list[Tensor]:
    return [t for a in arguments for t in (a.values() if isinstance(a, dict) else [a])]

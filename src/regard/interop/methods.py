"""A method of another library as a `Learner`, so that `evaluate`, `compare` and the doctor take it; and ours in theirs.

Their methods keep the task on the module and answer one task at a time: so a `ForeignLearner` adapts when asked, loops
over tasks, and claims nothing about weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.episode import Episode, Items, Support
from regard.errors import ConfigError, EpisodeError
from regard.interop.episodes import unstack
from regard.learners.base import Learner

Answer = Callable[[Tensor], Tensor]
"""(Q, *item) queries of one task to (Q, C) scores."""

Loss = Callable[[Tensor, Tensor], Tensor]


class ForeignLearner(Learner):
    """One task at a time through a method that keeps its task on the module.

    Args:
        module: what is trained; its parameters are this learner's.
        adapt_task: (S, *item) examples and (S,) classes 0..K-1 of one task to what answers its queries with at least K
            scores; a class without support is never among the K.
    """

    counts_weight = False
    relabels = False
    differentiates_twice = False
    vmaps = False
    solves_separable = False

    def __init__(self, module: nn.Module, adapt_task: Callable[[Tensor, Tensor], Answer]) -> None:
        super().__init__()
        self.module = module
        self._adapt_task = adapt_task

    def adapt(self, support: Support) -> Support:
        self._require(support)
        return support

    def predict(self, state: Support, query_x: Items) -> Tensor:
        if isinstance(query_x, dict):
            raise EpisodeError("items are a dict of tensors: expected one tensor, as other libraries have them.")
        no_query = torch.zeros(query_x.shape[:2], dtype=torch.int64, device=query_x.device)
        tasks = unstack(Episode(state, query_x, no_query))
        n_classes = state.n_classes
        rows: list[Tensor] = []
        for task in tasks:
            present, y = task.y.unique(return_inverse=True)
            if not len(present):  # a task of padding alone
                rows.append(task.query_x.new_zeros(len(task.query_x), n_classes, dtype=state.weight.dtype))
                continue
            # The method may take gradients while we evaluate: clones are ordinary tensors, those of inference are not.
            with torch.inference_mode(False):
                scores = self._adapt_task(task.x.clone(), y.clone())(task.query_x.clone())
            _require_width(scores, len(present))
            absent = scores.new_full((len(scores), n_classes), -torch.inf)
            rows.append(absent.index_copy(1, present, scores[:, : len(present)]))
        return torch.stack(rows)


def learner_from_easyfsl(classifier: Any, *, scores: str = "logits") -> ForeignLearner:
    """A `FewShotClassifier` of easyfsl, or anything with its two methods.

    Args:
        classifier: a module with `process_support_set(images, labels)` and a forward of query images to scores.
        scores: "logits", or "probabilities" where it was made with use_softmax=True.

    Raises:
        ConfigError: an object without these methods, or other scores.
    """
    _require_methods(classifier, "easyfsl's FewShotClassifier", "process_support_set", "forward")
    if scores not in ("logits", "probabilities"):
        raise ConfigError(f"scores is {scores!r}: expected 'logits' or 'probabilities'.")

    def adapt_task(x: Tensor, y: Tensor) -> Answer:
        classifier.process_support_set(x, y)
        return classifier if scores == "logits" else lambda query: classifier(query).log()

    return ForeignLearner(classifier, adapt_task)


def learner_from_learn2learn(algorithm: Any, *, inner_steps: int, loss: Loss = F.cross_entropy) -> ForeignLearner:
    """MAML, MetaSGD or GBML of learn2learn, or anything with `clone()` whose clones `adapt(loss)`.

    Args:
        algorithm: the wrapped model.
        inner_steps: inner steps; learn2learn leaves them to the loop, so there is no default.
        loss: of (S, W) outputs and (S,) classes.

    Raises:
        ConfigError: an object without these methods.
    """
    _require_methods(algorithm, "an algorithm of learn2learn", "clone", "adapt")

    def adapt_task(x: Tensor, y: Tensor) -> Answer:
        with torch.enable_grad():
            clone = algorithm.clone()
            for _ in range(inner_steps):
                clone.adapt(loss(_require_width(clone(x), int(y.max()) + 1), y))
        return clone

    return ForeignLearner(algorithm, adapt_task)


def learner_from_torchmeta(
    model: nn.Module, update: Callable[..., Any], *, inner_steps: int, inner_lr: float, loss: Loss = F.cross_entropy
) -> ForeignLearner:
    """A `MetaModule` of torchmeta with its `gradient_update_parameters`.

    Args:
        model: whose forward takes `params=`.
        update: (model, loss, params=, step_size=) to new parameters: torchmeta's own function.
        inner_steps: inner steps.
        inner_lr: of each.
        loss: of (S, W) outputs and (S,) classes.

    Raises:
        ConfigError: inner_steps below 1.
    """
    if inner_steps < 1:
        raise ConfigError(f"inner_steps is {inner_steps}: expected at least 1.")

    def adapt_task(x: Tensor, y: Tensor) -> Answer:
        params = None
        with torch.enable_grad():
            for _ in range(inner_steps):
                inner = loss(_require_width(model(x, params=params), int(y.max()) + 1), y)
                params = update(model, inner, params=params, step_size=inner_lr)
        return lambda query: model(query, params=params)

    return ForeignLearner(model, adapt_task)


class EasyfslClassifier(nn.Module):
    """A learner of Regard with the two methods of easyfsl's `FewShotClassifier`, for its loops and its `evaluate`.

    Args:
        learner: any that classifies.
    """

    def __init__(self, learner: Learner) -> None:
        super().__init__()
        self.learner = learner
        self._state: Any = None

    def process_support_set(self, support_images: Tensor, support_labels: Tensor) -> None:
        """Adapt to (S, *item) images and (S,) labels 0..C-1."""
        self._state = self.learner.adapt(Support(support_images[None], support_labels[None]).check())

    def forward(self, query_images: Tensor) -> Tensor:
        """(Q, *item) to (Q, C) logits.

        Raises:
            EpisodeError: nothing was given to `process_support_set`.
        """
        if self._state is None:
            raise EpisodeError("there is no support: expected process_support_set(images, labels) before any query.")
        output = self.learner.predict(self._state, query_images[None])
        if not isinstance(output, Tensor):
            raise EpisodeError("the learner answers by a distribution over targets: expected one that classifies.")
        return output[0]

    @staticmethod
    def is_transductive() -> bool:
        """As easyfsl asks."""
        return False


def _require_width(scores: Tensor, n_classes: int) -> Tensor:
    if scores.ndim != 2 or scores.shape[1] < n_classes:
        raise EpisodeError(
            f"the method gives scores {tuple(scores.shape)} for a task of {n_classes} classes: expected "
            f"({len(scores)}, {n_classes} or more); give its model as many outputs as the largest way."
        )
    return scores


def _require_methods(found: Any, what: str, *names: str) -> None:
    lacking = [name for name in names if not callable(getattr(found, name, None))]
    if lacking:
        raise ConfigError(f"{type(found).__name__} has no {' and no '.join(lacking)}: expected {what}.")

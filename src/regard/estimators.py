"""A trained learner with the manners of scikit-learn: `fit` adapts to a few labelled examples, in milliseconds.

    model = FewShotClassifier(learner)                  # a trained learner; 5 examples of each class are enough
    model.fit(examples, ["cat", "dog", ...])            # arrays (N, *item), or files with prepare=
    model.predict(queries)                              # array(["dog", ...])
    model.predict_proba(queries)                        # (N, n_classes), in the order of model.classes_
    model.attention(queries)                            # (N, n_examples): which examples carried the answer

Nothing is trained here, and the learner is not changed: many estimators may share one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from regard.episode import Items, Support, first_tensor, map_items
from regard.errors import ConfigError, EpisodeError
from regard.learners.base import AttendingLearner, Learner

Prepare = Callable[[Sequence[Any]], Items]


class FewShotClassifier(ClassifierMixin, BaseEstimator):
    """Classifies from a few examples with a trained learner.

    Args:
        learner: a trained `Learner` that classifies. It stays as it is, and where it is (device, dtype).
        prepare: a list of things (files, sentences) to items, such as `regard.recipes.images.folder.ImageReader(28)`.
            Without it, X is an array, a tensor or a dict of tensors whose rows are items.
        chunk_size: queries answered at once; it bounds the memory and, unless the learner is transductive (which is
            asked everything at once), changes nothing else.

    Attributes:
        classes_: (n_classes,) the labels, sorted.
        state_: what the learner knows after adapting.
        n_features_in_: number of columns, where X has two axes.

    Examples:
        >>> model = FewShotClassifier(learner).fit(examples, labels)  # doctest: +SKIP
        >>> model.predict(queries)  # doctest: +SKIP
    """

    def __init__(self, learner: Learner, prepare: Prepare | None = None, *, chunk_size: int = 256) -> None:
        self.learner = learner
        self.prepare = prepare
        self.chunk_size = chunk_size

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Adapt to the examples.

        Args:
            X: (N, *item) examples, or things that `prepare` reads.
            y: (N,) labels: numbers or strings, any set of them.
            sample_weight: (N,) how much each example counts; 0 leaves it out.

        Raises:
            EpisodeError: (a ValueError) sizes that disagree, missing labels, NaN, negative weights.
            ConfigError: (a ValueError) something else than a learner that classifies.
        """
        learner = self._learner()
        if self.chunk_size < 1:
            raise ConfigError(f"chunk_size is {self.chunk_size}: expected at least 1.")
        items = self._items(X)
        labels = _labels(y, len(first_tensor(items)))
        self.classes_, number = np.unique(labels, return_inverse=True)
        support = Support(
            map_items(lambda t: t[None], items),
            torch.from_numpy(number.astype(np.int64))[None].to(first_tensor(items).device),
            self._weight(sample_weight, len(labels))[None],
            len(self.classes_),
        )
        support.check()
        with _answering(learner):
            self.state_ = learner.adapt(support)
        self._item_shapes = _shapes(items)
        self._remember_columns(items)
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """(N,) the most probable label of each query; arguments and errors as `predict_proba`."""
        best = self.predict_proba(X).argmax(1)
        return np.asarray(self.classes_[best])

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """(N, n_classes) probabilities, columns as `classes_`.

        Raises:
            EpisodeError: items of another shape than those of `fit`, or NaN.
            sklearn.exceptions.NotFittedError: before `fit`.
        """
        learner = self._learner()
        logits = self._ask(X, lambda x: learner.predict(self.state_, x))
        return np.asarray(torch.softmax(logits.double(), -1).numpy())

    def attention(self, X: Any) -> NDArray[np.float64]:
        """(N, n_examples): how much of each answer each example of `fit` carried; rows sum to 1.

        Raises:
            ConfigError: the learner does not attend. Otherwise as `predict_proba`.
        """
        learner = self._learner()
        if not isinstance(learner, AttendingLearner):
            raise ConfigError(
                f"{type(learner).__name__} does not attend: choose a learner that `regard learners` marks so, such as "
                "Matching, or ask regard.explain which examples mattered, which works for every learner."
            )
        return np.asarray(self._ask(X, lambda x: learner.attend(self.state_, x)).double().numpy())

    def _learner(self) -> Learner:
        """The learner; the one place to change for names and checkpoints to be accepted, too."""
        if not isinstance(self.learner, Learner):
            raise ConfigError(
                f"learner is a {type(self.learner).__name__}: expected a trained regard Learner, such as "
                "regard.load(CHECKPOINT).learner."
            )
        if not self.learner.classifies:
            raise ConfigError(f"{type(self.learner).__name__} is for regression: expected a learner that classifies.")
        return self.learner

    def _like(self) -> Tensor:
        """A tensor on the device and of the dtype in which the learner computes."""
        floats = (p for p in self.learner.parameters() if p.is_floating_point())
        return next(floats, torch.empty(0))

    def _items(self, X: Any) -> Items:
        items = _to_items(X if self.prepare is None else self.prepare(list(X)))
        like = self._like()
        return map_items(lambda t: t.to(like.device, like.dtype if t.is_floating_point() else None), items)

    def _weight(self, sample_weight: Any, n_rows: int) -> Tensor:
        like = self._like()
        if sample_weight is None:
            return torch.ones(n_rows, device=like.device, dtype=like.dtype)
        weight = torch.as_tensor(np.asarray(sample_weight, dtype=np.float64))
        if weight.shape != (n_rows,):
            raise EpisodeError(f"sample_weight has shape {tuple(weight.shape)}: expected one a row, ({n_rows},).")
        return weight.to(like.device, like.dtype)

    def _ask(self, X: Any, answer: Callable[[Items], Any]) -> Tensor:
        """Answers to all queries, some at a time."""
        check_is_fitted(self)
        items = self._items(X)
        self._check_queries(items)
        n_rows = len(first_tensor(items))
        step = n_rows if self._learner().transductive else self.chunk_size
        with _answering(self.learner):
            parts = [
                answer(map_items(lambda t, at=at: t[None, at : at + step], items))[0].cpu()
                for at in range(0, n_rows, step)
            ]
        return torch.cat(parts)

    def _check_queries(self, items: Items) -> None:
        mistakes = []
        for name, shape in _shapes(items).items():
            if name not in self._item_shapes:
                mistakes.append(f"{name} was not there in fit, which saw {', '.join(self._item_shapes)}.")
            # Dicts hold sequences and graphs, whose sizes may differ from batch to batch.
            elif not isinstance(items, dict) and shape != self._item_shapes[name]:
                mistakes.append(_other_shape(shape, self._item_shapes[name]))
        mistakes += [f"{name} is missing, which fit saw." for name in self._item_shapes.keys() - _shapes(items).keys()]
        for name, tensor in _named(items).items():
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                mistakes.append(f"{name} has NaN or infinite values: expected numbers; impute or drop these rows.")
        if mistakes:
            raise EpisodeError("\n".join(mistakes))

    def _remember_columns(self, items: Items) -> None:
        if isinstance(items, Tensor) and items.ndim == 2:
            self.n_features_in_ = items.shape[1]
        elif hasattr(self, "n_features_in_"):
            del self.n_features_in_


@contextmanager
def _answering(learner: Learner) -> Iterator[None]:
    """No graph and no dropout, and the learner as it was afterwards."""
    modes = [(module, module.training) for module in learner.modules()]
    learner.eval()
    try:
        # Not inference mode: learners that adapt by gradients turn them on for themselves.
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def _named(items: Items) -> dict[str, Tensor]:
    return items if isinstance(items, dict) else {"X": items}


def _shapes(items: Items) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape[1:]) for name, tensor in _named(items).items()}


def _other_shape(shape: tuple[int, ...], fitted: tuple[int, ...]) -> str:
    if len(shape) == len(fitted) == 1:
        # scikit-learn's own words, which its users look for.
        return (
            f"X has {shape[0]} features, but FewShotClassifier is expecting {fitted[0]} features as input: give the "
            "columns of fit."
        )
    return f"X has items of shape {shape}: expected {fitted}, as in fit; resize or reshape them."


def _to_items(X: Any) -> Items:
    """Arrays, tensors, nested lists or a dict of them to tensors, with a look at their shapes."""
    if isinstance(X, dict):
        items: Items = {str(name): _to_tensor(value, str(name)) for name, value in X.items()}
        if len({len(tensor) for tensor in items.values()}) > 1:
            sizes = ", ".join(f"{name} {len(tensor)}" for name, tensor in items.items())
            raise EpisodeError(f"the tensors of X have different numbers of rows ({sizes}): expected the same.")
    else:
        items = _to_tensor(X, "X")
    if len(first_tensor(items)) == 0:
        raise EpisodeError("X is empty, 0 sample(s): expected at least 1 row.")
    return items


def _to_tensor(X: Any, name: str) -> Tensor:
    if hasattr(X, "toarray"):
        raise EpisodeError(f"{name} is sparse: expected a dense array; use {name}.toarray().")
    if isinstance(X, Tensor):
        tensor = X
    else:
        array = _to_array(X, name)
        if array.dtype == object or array.dtype.kind not in "biuf":
            raise EpisodeError(
                f"{name} holds {array.dtype} values: expected numbers; give FewShotClassifier a `prepare` that reads "
                "such things into arrays."
            )
        # uint16 and the like have little support in torch; a copy also unties us from the caller's memory.
        wide = array.dtype.kind == "u" and array.dtype != np.uint8
        tensor = torch.from_numpy(array.astype(np.int64) if wide else np.array(array, order="C"))
    if tensor.ndim < 2:
        raise EpisodeError(
            f"{name} has shape {tuple(tensor.shape)}: expected rows of items, (N, *item). Reshape your data: "
            f"{name}.reshape(-1, 1) for one number a row, {name}[None] for a single item."
        )
    return tensor


def _to_array(X: Any, name: str) -> NDArray[Any]:
    try:
        return np.asarray(X)
    except ValueError as error:
        raise EpisodeError(f"{name} is ragged ({error}): expected items of one shape; pad or resize them.") from error


def _labels(y: Any, n_rows: int) -> NDArray[Any]:
    labels = y.detach().cpu().numpy() if isinstance(y, Tensor) else np.asarray(y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (n_rows,):
        raise EpisodeError(f"y has shape {labels.shape} and X {n_rows} rows: expected one label a row, ({n_rows},).")
    missing = [i for i, label in enumerate(labels.tolist()) if label is None or label != label]
    if missing:
        raise EpisodeError(
            f"y has no label for {len(missing)} row(s), first row {missing[0]}: expected one a row; drop these rows."
        )
    if labels.dtype == object:
        kinds = sorted({type(label).__name__ for label in labels.tolist()})
        if len(kinds) > 1:
            raise EpisodeError(f"y mixes labels of type {' and '.join(kinds)}: expected one type; use all strings.")
    if labels.dtype.kind == "f" and not bool((labels == np.round(labels)).all()):
        raise EpisodeError(
            "y holds fractions, which is a continuous target: expected class labels, such as 0, 1 or 'a'."
        )
    return labels

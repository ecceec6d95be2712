"""`FewShotClassifier`: classes from a few examples."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from torch import Tensor

from regard.episode import first_tensor
from regard.errors import ConfigError, EpisodeError
from regard.estimators.base import FewShotEstimator, Pass
from regard.estimators.inputs import Prepare, join_items, to_labels, to_weight
from regard.learners.base import Learner, Output


@dataclass(frozen=True)
class ClassPredictions:
    """Everything that one pass over N queries gives.

    Args:
        label: (N,) the most probable label.
        probability: (N, n_classes), columns as `classes_`.
        answered: (N,) False where the query may be none of the classes, see `FewShotClassifier.answers`.
        attention: (N, n_examples) how much of each answer each example carried; None where the learner does not attend.
        blank: (N,) queries that hold nothing to go by, such as a page without ink; they are not answered.
    """

    label: NDArray[Any]
    probability: NDArray[np.float64]
    answered: NDArray[np.bool_]
    attention: NDArray[np.float64] | None
    blank: NDArray[np.bool_]


class FewShotClassifier(ClassifierMixin, FewShotEstimator):
    """Classifies from a few examples with a trained learner.

    Args:
        learner: the name of a model that ships ("tables"), the path of a checkpoint, or a trained `Learner` that
            classifies, which stays as it is, and where it is (device, dtype).
        prepare: a list of things (files, sentences) to items, such as `regard.domains.images.folder.ImageReader(28)`.
            Without it, X is what the learner was trained on: a table (array, data frame, rows of words and numbers,
            with missing cells), images, texts; or, where a learner is in hand, an array, a tensor or a dict of tensors
            whose rows are items.
        encoder: another pretrained body in place of that of a model such as "sentences": a short name, the path of a
            folder, or a name on the hub. The head is then the one that needs no training.
        label_weight: of texts, how much the name of each class counts as a further example of it; 0 leaves names out,
            1 suits names that say what the class is, and few examples. Attention has a column per name at its end.
        n_estimators: views of the task whose probabilities are averaged: of tables, columns in another order, classes
            under other indices, ranks instead of numbers; of grey drawings, each a little distorted. Each costs as
            much as the first. None takes as many as the model says: "characters" 8, all others 1.
        chunk_size: queries predicted at once; it bounds the memory and, unless the learner is transductive (which sees
            all queries at once), changes nothing else.

    Attributes:
        classes_: (n_classes,) the labels, sorted.
        state_: what the learner knows after adapting.
        reader_: how X becomes items.
        n_features_in_: number of columns, where X has two axes.
        feature_names_in_: their names, where X is a data frame.

    Examples:
        >>> from sklearn.datasets import load_wine
        >>> X, y = load_wine(return_X_y=True)
        >>> model = FewShotClassifier("tables").fit(X[::4], y[::4])
        >>> model.predict(X[1:4])
        array([0, 0, 0])
        >>> model.predict_proba(X[1:4]).shape
        (3, 3)
    """

    _regression = False

    def __init__(
        self,
        learner: Learner | str | Path = "tables",
        prepare: Prepare | None = None,
        *,
        encoder: str | None = None,
        label_weight: float = 0.0,
        n_estimators: int | None = None,
        chunk_size: int = 256,
    ) -> None:
        self.learner = learner
        self.prepare = prepare
        self.encoder = encoder
        self.label_weight = label_weight
        self.n_estimators = n_estimators
        self.chunk_size = chunk_size

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Adapt to the examples.

        Args:
            X: (N, *item) examples, or things that are read into items.
            y: (N,) labels: numbers or strings, any set of them.
            sample_weight: (N,) how much each example counts; 0 leaves it out.

        Raises:
            EpisodeError: (a ValueError) sizes that disagree, missing labels, NaN, negative weights; of molecules also
                examples of one class alone.
            ConfigError: (a ValueError) something else than a learner that classifies.
        """
        items = self._begin(X)
        labels = to_labels(y, len(first_tensor(items)))
        self.classes_, number = np.unique(labels, return_inverse=True)
        if self._trained.domain.needs_two_classes and len(self.classes_) == 1:
            raise EpisodeError(
                f"all examples are of one class, {self.classes_.tolist()[0]!r}: expected examples of two at least, "
                "such as active and inactive ones."
            )
        weight = to_weight(sample_weight, len(labels))
        if self.label_weight:  # one more example of each class: its name
            n_classes = len(self.classes_)
            names = self.reader_(self._trained.domain.name_examples([str(label) for label in self.classes_]))
            items, number = join_items(items, names), np.concatenate([number, np.arange(n_classes)])
            weight = np.concatenate([weight, np.full(n_classes, self.label_weight, dtype=np.float64)])
        self._adapt(items, number.astype(np.int64), weight, len(self.classes_))
        return self

    def _require_settings(self) -> None:
        super()._require_settings()
        weight = self.label_weight
        if isinstance(weight, bool) or not isinstance(weight, Real) or not 0 <= float(weight) < np.inf:
            raise ConfigError(f"label_weight is {weight!r:.60}: expected a number, at least 0.")

    def predict(self, X: Any) -> NDArray[Any]:
        """(N,) the most probable label of each query; arguments and errors as `predict_proba`."""
        best = self.predict_proba(X).argmax(1)
        return np.asarray(self.classes_[best])

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """(N, n_classes) probabilities, columns as `classes_`; calibrated where the learner's checkpoint says how.

        Raises:
            EpisodeError: items of another shape than those of `fit`, or NaN.
            sklearn.exceptions.NotFittedError: before `fit`.
        """
        return self._probability(self._pass(X).output)

    def answers(self, X: Any) -> NDArray[np.bool_]:
        """(N,) whether the answer to each query is to be relied on; where not, it may be none of the classes.

        By the threshold that `regard calibrate` wrote into the learner's checkpoint; all are, where it never ran. A
        query that is blank, such as a page without ink, is not answered.
        Arguments and errors as `predict_proba`.
        """
        return self._answered(self._pass(X))

    def predict_all(self, X: Any) -> ClassPredictions:
        """Label, probability, whether to rely on it, and attention, in one pass; arguments and errors as above."""
        return self.predictions_of(self._pass(X, attend=True))

    def predictions_of(self, found: Pass) -> ClassPredictions:
        """Label, probability and the rest from a pass that was made; see `regard.estimators.together`."""
        probability = self._probability(found.output)
        attention = None if found.attention is None else np.asarray(found.attention.double().numpy())
        label = np.asarray(self.classes_[probability.argmax(1)])
        return ClassPredictions(label, probability, self._answered(found), attention, found.blank)

    def _probability(self, logits: Tensor) -> NDArray[np.float64]:
        probability = self._trained.confidence.probabilities(logits)
        order = self._views.class_order(len(self.classes_))
        probability = probability.gather(2, order[:, None].expand_as(probability))
        return np.asarray(probability.mean(0).numpy())

    def _answered(self, found: Pass) -> NDArray[np.bool_]:
        confidence = self._trained.confidence
        trusted = confidence.trusts(found.output).mean(0) >= confidence.threshold
        return np.asarray(trusted.numpy()) & ~found.blank

    def _output(self, output: Output) -> Tensor:
        if not isinstance(output, Tensor):
            raise ConfigError(f"{type(self._learner).__name__} gave a distribution: expected logits of classes.")
        return output

    def _fitted(self) -> dict[str, Any]:
        return {"dtype": self.classes_.dtype.str, "classes": self.classes_.tolist()}

    def _restore(self, fitted: dict[str, Any]) -> int:
        classes, dtype = fitted["classes"], np.dtype(fitted["dtype"])
        if (
            dtype.kind not in "biufUO"
            or not isinstance(classes, list)
            or any(isinstance(c, list | dict) for c in classes)
        ):
            raise ValueError(f"labels of the type {dtype}")
        # Only as wide as the labels need: a type can ask for gigabytes per label.
        wide = dtype.kind == "U" and dtype.itemsize > 4 * max((len(str(label)) for label in classes), default=0)
        self.classes_ = np.array(classes, dtype=np.dtype("U") if wide else dtype)
        return len(self.classes_)

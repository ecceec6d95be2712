"""What the estimators share: the trained learner, reading X, and one pass over the queries."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from regard.domains.base import Domain, Reader
from regard.domains.registry import find_domain
from regard.domains.views import Views
from regard.episode import Episode, Items, Support, first_tensor, flatten_tasks, map_items, unflatten_tasks
from regard.errors import ConfigError, DataError, EpisodeError, RegardError, SizeWarning
from regard.estimators.inputs import (
    Prepare,
    Prepared,
    as_array,
    blank_rows,
    named,
    other_shape,
    require_count,
    shape_of,
    shapes,
    to_one_length,
)
from regard.explain.answers import Explanation, explain, renumbered
from regard.explain.saliency import SaliencyMaps, saliency_maps
from regard.learners.base import (
    AttendingLearner,
    EncodingAttendingLearner,
    Learner,
    Output,
    TokenAttendingLearner,
)
from regard.limits import N_VIEWS
from regard.recipes.trained import TrainedLearner

if TYPE_CHECKING:
    from regard.export.onnx_file import Exported

logger = logging.getLogger("regard.estimators")
_SILENT = 5.0
"""Seconds after which a long prediction says how far it is."""


class Fitted(NamedTuple):
    """What `fit` was given, as items: enough to adapt again.

    Args:
        items: (N, *item).
        target: (N,) int64 classes or (N, T) targets.
        weight: (N,).
    """

    items: Items
    target: NDArray[Any]
    weight: NDArray[np.float64]


@dataclass(frozen=True)
class Pass:
    """One pass over N queries in E views.

    Args:
        output: (E, N, ...) logits, or mean and deviation.
        attention: (N, S) over the examples, in the first view; None where it was not wanted or there is none.
        blank: (N,) queries that hold nothing to go by, such as a blank page.
    """

    output: Tensor
    attention: Tensor | None
    blank: NDArray[np.bool_]


class FewShotEstimator(BaseEstimator):
    """Abstract: `fit` adapts a trained learner, `_predict_items` is one pass over the queries.

    Subclasses hold `learner`, `prepare`, `encoder`, `n_estimators` and `chunk_size`, and say whether they regress.
    """

    learner: Learner | str | Path
    prepare: Prepare | None
    encoder: str | None
    n_estimators: int | None
    chunk_size: int
    classes_: NDArray[Any]  # of classifiers
    _regression: bool

    def attention(self, X: Any) -> NDArray[np.float64]:
        """(N, n_examples): how much of each answer each example of `fit` carried; rows sum to 1.

        Raises:
            ConfigError: the learner does not attend. Otherwise as `predict`.
        """
        check_is_fitted(self)
        if not isinstance(self._learner, AttendingLearner):
            raise ConfigError(
                f"{type(self._learner).__name__} does not attend: choose a learner that `regard learners` marks so, "
                "such as Matching, or use regard.explain, which says for every learner which examples mattered."
            )
        attention = self._pass(X, attend=True).attention
        assert attention is not None
        return np.asarray(attention.double().numpy())

    def explain(self, X: Any) -> Explanation:
        """Why each query was answered as it was: which examples of `fit` spoke for and against it, which one example,
        removed or relabelled, would turn it, and whether to believe that. `print` says it in words.

        Of several views of the task the first is explained, and without the temperature of `regard calibrate`.

        Raises:
            ConfigError: the learner is transductive. Otherwise as `predict`.
        """
        check_is_fitted(self)
        found = explain(self._learner, self._episode(X))
        if self._regression:
            return found
        return renumbered(found, self._views.class_order(len(self.classes_))[0].numpy(force=True), self.classes_)

    def saliency(self, X: Any) -> SaliencyMaps | None:
        """Where on each picture it looked, see `regard.explain.saliency_maps`: for one task of N queries.

        Returns:
            None where the learner does not attend to patches, or items are no pictures.

        Raises:
            As `predict`.
        """
        check_is_fitted(self)
        if not isinstance(self._learner, TokenAttendingLearner):
            return None
        episode = self._episode(X)
        x = first_tensor(episode.query_x)
        is_picture = not isinstance(episode.query_x, dict) and x.ndim in (4, 5)
        return saliency_maps(self._learner, episode) if is_picture else None

    def export(
        self, path: Path | str, *, queries: Any = None, columns: Sequence[str] = (), ort: Path | None = None
    ) -> Exported:
        """Take it with you: a file that knows the examples of `fit`, and needs no Python.

        Args:
            path: model.onnx, from query items to probabilities (columns as `classes_`) and attention; or page.html, of
                letters, photographs, sentences and tables, which works offline and begins with these examples.
            queries: what the page asks about as it opens, as in `predict`: all of a table, the first of pictures.
            columns: what a page calls the columns of a table; as in `fit` by default.
            ort: folder of onnxruntime-web, which a page has inside; fetched once by default.

        Raises:
            ExportError, ConfigError: the learner cannot be exported, or a page cannot hold the examples.
        """
        from regard.export.adapted import export_adapted
        from regard.export.html_page import export_html
        from regard.export.own_examples import OwnTask

        check_is_fitted(self)
        given, classes = self._given, [str(c) for c in getattr(self, "classes_", ())]
        if Path(path).suffix != ".html":
            return export_adapted(self._trained, Path(path), self.state_, self._views, given.items, classes)
        names = [str(name) for name in columns or getattr(self, "feature_names_in_", ())]
        asked = None if queries is None else self._queries(queries)
        own = OwnTask(self.reader_, given.items, self._targets(), given.weight, classes, names, asked)
        return export_html(self._trained, path, regression=self._regression, ort=ort, own=own)

    def _targets(self) -> NDArray[Any]:
        """Classes as indices, or numbers in the units of y, of the examples."""
        return self._given.target

    def _episode(self, X: Any) -> Episode:
        """The examples of `fit` and these queries, in the first view, as one task whose queries have no labels."""
        items = self.reader_(X)
        self._check_queries(items)
        n_classes = 0 if self._regression else int(self._given.target.max(initial=-1)) + 1
        like, given = self._like(), self._given
        order = self._views.class_order(n_classes)[0] if n_classes else None
        target = torch.from_numpy(given.target).to(like.device, None if n_classes else like.dtype)
        x, query_x = to_one_length(
            *(
                map_items(lambda t: t[:1], self._placed(views(each)))
                for views, each in ((self._views.support, given.items), (self._views.queries, items))
            )
        )
        support = Support(
            x,
            target[None] if order is None else order.to(like.device)[target][None],
            torch.from_numpy(given.weight).to(like.device, like.dtype)[None],
            n_classes,
        )
        n_queries = len(first_tensor(items))
        no_label = torch.zeros((1, n_queries) if n_classes else (1, n_queries, target.shape[-1]), dtype=target.dtype)
        return Episode(support, query_x, no_label.to(like.device))

    def _output(self, output: Output) -> Tensor:
        """(E, N, ...) what subclasses keep of the learner's output."""
        raise NotImplementedError

    def _fitted(self) -> dict[str, Any]:
        """What `fit` learned of y, as JSON."""
        raise NotImplementedError

    def _restore(self, fitted: dict[str, Any]) -> int:
        """Undo `_fitted`; returns the number of classes, 0 for regression."""
        raise NotImplementedError

    # ---- fit ---------------------------------------------------------------------------------------------------------

    def _begin(self, X: Any) -> Items:
        """Find the learner, learn to read such rows, and read them."""
        self._require_settings()
        body = None if self.encoder is None else str(self.encoder)
        trained = TrainedLearner.shared(self.learner, regression=self._regression, body=body)
        reader = trained.reader() if self.prepare is None else Prepared(self.prepare)
        self._use(trained, reader.fit(X))
        items = self.reader_(X)
        if len(first_tensor(items)) == 0:
            raise DataError("there are no examples: expected at least one row to learn from.")
        blank_rows(self.reader_, X, items, "examples")
        self._remember_columns(X, items)
        return items

    def _require_settings(self) -> None:
        """Say so where an argument of the constructor cannot be what it is; scikit-learn wants that in fit."""
        require_count(self.chunk_size, "chunk_size", sys.maxsize)
        if self.n_estimators is not None:
            require_count(self.n_estimators, "n_estimators", N_VIEWS)
        if self.prepare is not None and not callable(self.prepare):
            raise ConfigError(
                f"prepare is a {type(self.prepare).__name__}: expected a function of a list of things, or None."
            )

    def _use(self, trained: TrainedLearner, reader: Reader) -> None:
        """Predict with this learner, and read X by `reader`."""
        self._trained, self._learner, self.reader_ = trained, trained.learner, reader

    def _adapt(self, items: Items, target: NDArray[Any], weight: NDArray[np.float64], n_classes: int) -> None:
        """Adapt to (N, ...) items with int64 classes (N,) or float targets (N, T)."""
        self._given = Fitted(items, target, weight)
        self._item_shapes = shapes(items)
        domain = self._trained.domain
        if self._trained.spec and domain.in_double(items):
            self._learner = self._trained.in_double
        like = self._like()
        mass = torch.from_numpy(weight).to(like.device, like.dtype)
        y = torch.from_numpy(target).to(like.device, None if target.dtype == np.int64 else like.dtype)
        n_views = require_count(self.n_estimators or self._trained.n_views, "n_estimators", N_VIEWS)
        n_columns = sum(tensor[0].numel() for tensor in named(items).values()) // len(named(items))
        note = domain.size_warning(len(target), n_columns, n_views)
        if note is not None:
            warnings.warn(note, SizeWarning, stacklevel=3)
        self._views: Views = domain.views(n_views, self.reader_, items, torch.from_numpy(weight), n_classes)
        order = self._views.class_order(n_classes).to(y.device)
        targets = order[:, y] if n_classes else y.expand(self._views.n, *y.shape)
        x = self._placed(self._views.support(items))
        support = Support(x, targets, mass.expand(len(targets), -1), n_classes).check()
        with torch.no_grad():
            self.state_ = self._learner.adapt(support)

    def _remember_columns(self, X: Any, items: Items) -> None:
        plain = isinstance(items, Tensor) and items.ndim == 2
        if self.prepare is None and (self._trained.domain.has_columns or plain):
            try:
                validate_data(self, as_array(X), reset=True, skip_check_array=True)
            except TypeError as error:  # names of several types
                raise EpisodeError(f"{error} Give all columns names of one type.") from error
            return
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self, name):
                delattr(self, name)

    def _recall_columns(self, names: Sequence[str], n_columns: int | None) -> None:
        """As `_remember_columns`, from a file."""
        if n_columns is None:
            return
        self.n_features_in_ = int(n_columns)
        if names:
            if len(names) != self.n_features_in_:
                raise ValueError(f"{len(names)} names of {n_columns} columns")
            self.feature_names_in_ = np.array([str(name) for name in names], dtype=object)

    # ---- predict -----------------------------------------------------------------------------------------------------

    def _pass(self, X: Any, *, attend: bool = False) -> Pass:
        """Read, encode and predict all queries once, some at a time.

        Args:
            X: as in `predict`.
            attend: also say which examples each answer came from, where the learner attends.
        """
        items = self._queries(X)
        return self._answer(items, blank_rows(self.reader_, X, items, "queries"), attend)

    def _queries(self, X: Any) -> Items:
        """(N, *item); errors as `predict`."""
        check_is_fitted(self)
        if hasattr(self, "n_features_in_") and len(shape_of(X)) == 2:
            self._check_columns(X)
        items = self.reader_(X)
        self._check_queries(items)
        return items

    def _answer(self, items: Items, blank: NDArray[np.bool_], attend: bool) -> Pass:
        """Encode and predict queries that were read."""
        n_rows = len(first_tensor(items))
        step = n_rows if self._learner.transductive else self.chunk_size
        outputs, attentions = [], []
        # Not inference mode: learners that adapt by gradients turn them on for themselves.
        with torch.no_grad():
            began = told = time.monotonic()
            for start in range(0, n_rows, step):
                if start and time.monotonic() - told > _SILENT:
                    told = time.monotonic()
                    left = (told - began) * (n_rows - start) / start
                    logger.warning("%d of %d queries predicted, some %.0f s left", start, n_rows, left)
                chunk = map_items(lambda t, at=start: t[at : at + step], items)
                output, attention = self._predict_items(self.state_, self._placed(self._views.queries(chunk)), attend)
                outputs.append(self._output(output).cpu())
                if attention is not None:
                    attentions.append(attention[0].cpu())
        return Pass(torch.cat(outputs, 1), torch.cat(attentions) if attentions else None, blank)

    def _predict_items(self, state: Any, x: Items, attend: bool) -> tuple[Output, Tensor | None]:
        """Output and attention of (E, N, *item) queries; a learner with an encoder encodes each item once."""
        learner = self._learner
        if not attend or not isinstance(learner, AttendingLearner):
            return learner.predict(state, x), None
        if not isinstance(learner, EncodingAttendingLearner):
            return learner.predict(state, x), learner.attend(state, x)
        z = unflatten_tasks(learner.encode(flatten_tasks(x)), first_tensor(x).shape[0])
        return learner.predict_encoded(state, z), learner.attend_encoded(state, z)

    def _check_columns(self, X: Any) -> None:
        """Their number, and in a data frame their names, are those of `fit`."""
        try:
            validate_data(self, as_array(X), reset=False, skip_check_array=True)
        except ValueError as error:
            raise EpisodeError(f"{error} Give the columns of fit.") from error

    def _placed(self, items: Items) -> Items:
        """On the device and of the dtype in which the learner computes."""
        like = self._like()
        return map_items(lambda t: t.to(like.device, like.dtype if t.is_floating_point() else None), items)

    def _like(self) -> Tensor:
        """A tensor on the device and of the dtype in which the learner computes."""
        floats = (p for p in self._learner.parameters() if p.is_floating_point())
        return next(floats, torch.empty(0))

    def _check_queries(self, items: Items) -> None:
        if not len(first_tensor(items)):
            raise EpisodeError("there are no queries: expected at least one row to answer.")
        mistakes = []
        for name, shape in shapes(items).items():
            if name not in self._item_shapes:
                mistakes.append(f"{name} was not there in fit, which saw {', '.join(self._item_shapes)}.")
            # Dicts hold sequences and graphs, whose sizes may differ from batch to batch.
            elif (not isinstance(items, dict) or self._trained.domain.has_columns) and shape != self._item_shapes[name]:
                mistakes.append(other_shape(shape, self._item_shapes[name], type(self).__name__))
        mistakes += [f"{name} is missing, which fit saw." for name in self._item_shapes.keys() - shapes(items).keys()]
        for name, tensor in named(items).items():
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                mistakes.append(f"{name} has NaN or infinite values: expected numbers; impute or drop these rows.")
        if mistakes:
            raise EpisodeError("\n".join(mistakes))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        domain = self._domain()
        allows = domain is not None and domain.allows_missing
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = allows
        return tags

    def _domain(self) -> Domain | None:
        """Of the learner; None where it cannot be found, which `fit` says."""
        try:
            if isinstance(self.learner, Learner):
                return find_domain(self.learner.domain)
            return TrainedLearner.shared(self.learner, regression=self._regression).domain
        except RegardError:
            return None

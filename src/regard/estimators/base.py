"""What the estimators share: finding the learner, reading X, asking in chunks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from regard.domains.tables.reader import TableReader
from regard.episode import Items, Support, first_tensor, map_items
from regard.errors import ConfigError, EpisodeError, RegardError
from regard.estimators.finding import Found, find
from regard.estimators.inputs import named, other_shape, shapes, to_items
from regard.estimators.ways import AsItIs, TableViews, Views, Ways
from regard.learners.base import AttendingLearner, Learner
from regard.nn.inference import eval_mode
from regard.recipes.data import prepare as prepare_kind

_SMALL = 4096  # cells up to which double precision costs nothing noticeable, and the order of rows changes no digit

Prepare = Callable[[Sequence[Any]], Items]


class FewShotEstimator(BaseEstimator):
    """Abstract: `fit` adapts a trained learner, `_ask` answers.

    Subclasses hold `learner`, `prepare`, `n_estimators` and `chunk_size`, and say whether they regress.
    """

    learner: Learner | str | Path
    prepare: Prepare | None
    n_estimators: int | None
    chunk_size: int
    _numbers: bool

    def attention(self, X: Any) -> NDArray[np.float64]:
        """(N, n_examples): how much of each answer each example of `fit` carried; rows sum to 1.

        Raises:
            ConfigError: the learner does not attend. Otherwise as `predict`.
        """
        check_is_fitted(self)
        learner = self._learner
        if not isinstance(learner, AttendingLearner):
            raise ConfigError(
                f"{type(learner).__name__} does not attend: choose a learner that `regard learners` marks so, such as "
                "Matching, or ask regard.explain which examples mattered, which works for every learner."
            )
        return np.asarray(self._ask(X, lambda x: learner.attend(self.state_, x))[0].double().numpy())

    def _fitted(self) -> dict[str, Any]:
        """What `fit` learned of y, as JSON."""
        raise NotImplementedError

    def _restore(self, fitted: dict[str, Any]) -> int:
        """Undo `_fitted`; returns the number of classes, 0 for regression."""
        raise NotImplementedError

    # ---- fit ---------------------------------------------------------------------------------------------------------

    def _begin(self, X: Any) -> Items:
        """Find the learner, learn to read such rows, and read them."""
        if self.chunk_size < 1 or (self.n_estimators is not None and self.n_estimators < 1):
            raise ConfigError(
                f"chunk_size is {self.chunk_size} and n_estimators {self.n_estimators}: expected at least 1."
            )
        found = find(self.learner, numbers=self._numbers)
        if (self.n_estimators or 1) > 1 and not (found.reads_tables or found.reads_drawings):
            raise ConfigError(
                f"n_estimators is {self.n_estimators}: expected 1; there are other ways to ask for learners of tables "
                f"and of grey drawings only, and {type(found.learner).__name__} is of neither."
            )
        self._use(found, TableReader.learn(X) if found.reads_tables and self.prepare is None else None)
        items = self.reader_(X)
        self._remember_columns(X, items)
        return items

    def _use(self, found: Found, reader: TableReader | None) -> None:
        """Ask this learner, and read X by `reader`, by `prepare`, or as the learner's kind of items is read."""
        self._found, self._learner = found, found.learner
        prepare = self.prepare or (prepare_kind(found.items) if found.items.get("kind") and not reader else None)
        if reader is not None:
            self.reader_: Callable[[Any], Items] = reader
        elif prepare is not None:
            self.reader_ = _Prepared(prepare)
        else:
            self.reader_ = to_items

    def _adapt(self, items: Items, target: NDArray[Any], weight: NDArray[np.float64], n_classes: int) -> None:
        """Adapt to (N, ...) items with int64 classes (N,) or float targets (N, T)."""
        self._given = items, target, weight
        self._item_shapes = shapes(items)
        if self._found.reads_tables:
            self._scale_columns(items, weight)
            if self._found.spec and first_tensor(items).numel() <= _SMALL:
                self._learner = self._found.in_double
        like = self._like()
        mass = torch.from_numpy(weight).to(like.device, like.dtype)
        y = torch.from_numpy(target).to(like.device, None if target.dtype == np.int64 else like.dtype)
        self._ways = self._make_ways(items, weight, n_classes)
        targets = self._ways.names(n_classes).to(y.device)[:, y] if n_classes else y.expand(self._ways.n, *y.shape)
        x = self._placed(self._ways.support(self._scaled(items)))
        support = Support(x, targets, mass.expand(len(targets), -1), n_classes).check()
        # Not inference mode: learners that adapt by gradients turn them on for themselves.
        with eval_mode(self._learner), torch.no_grad():
            self.state_ = self._learner.adapt(support)

    def _make_ways(self, items: Items, weight: NDArray[np.float64], n_classes: int) -> Ways:
        n = self.n_estimators or self._found.n_estimators
        if n == 1:
            return AsItIs()
        if self._found.reads_tables:
            return TableViews(n, self._scaled(items), torch.from_numpy(weight), n_classes)  # type: ignore[arg-type]
        return Views(n)

    def _scale_columns(self, items: Any, weight: NDArray[np.float64]) -> None:
        """A unit for each column in double precision: what is left of 1e9 + 0.1 in single precision is 1e9."""
        mass = torch.from_numpy(weight)[:, None] * ~items["missing"]
        total = mass.sum(0).clamp_min(torch.finfo(torch.float64).tiny)
        self._centre = (mass * items["x"]).sum(0) / total
        spread = ((mass * (items["x"] - self._centre).square()).sum(0) / total).sqrt()
        # Rounding leaves a constant column a little spread, which must not be blown up.
        self._spread = torch.where(spread > 1e-12 * (1 + self._centre.abs()), spread, 1.0)

    def _remember_columns(self, X: Any, items: Items) -> None:
        if isinstance(self.reader_, TableReader) or (
            isinstance(items, Tensor) and items.ndim == 2 and self.prepare is None
        ):
            validate_data(self, _as_array(X), reset=True, skip_check_array=True)
            return
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self, name):
                delattr(self, name)

    def _recall_columns(self, names: Sequence[str]) -> None:
        """As `_remember_columns`, from a file."""
        if names:
            self.feature_names_in_ = np.array(names, dtype=object)
        if isinstance(self.reader_, TableReader):
            self.n_features_in_ = len(self.reader_.categories)

    # ---- asking ------------------------------------------------------------------------------------------------------

    def _ask(self, X: Any, answer: Callable[[Items], Tensor]) -> Tensor:
        """(E, N, ...) answers to all queries, E ways to ask, some queries at a time."""
        check_is_fitted(self)
        if hasattr(self, "n_features_in_") and len(_shape(X)) == 2:
            self._check_columns(X)
        items = self.reader_(X)
        self._check_queries(items)
        items = self._scaled(items)
        n_rows = len(first_tensor(items))
        step = n_rows if self._learner.transductive else self.chunk_size
        with eval_mode(self._learner), torch.no_grad():
            parts = [
                answer(self._placed(self._ways.queries(map_items(lambda t, at=at: t[at : at + step], items)))).cpu()  # type: ignore[misc]
                for at in range(0, n_rows, step)
            ]
        return torch.cat(parts, 1)

    def _check_columns(self, X: Any) -> None:
        """Their number, and in a data frame their names, are those of `fit`."""
        try:
            validate_data(self, _as_array(X), reset=False, skip_check_array=True)
        except ValueError as error:
            raise EpisodeError(f"{error} Give the columns of fit.") from error

    def _placed(self, items: Items) -> Items:
        """On the device and of the dtype in which the learner computes."""
        like = self._like()
        return map_items(lambda t: t.to(like.device, like.dtype if t.is_floating_point() else None), items)

    def _scaled(self, items: Items) -> Items:
        """Cells of tables in units of their columns; other items as they are."""
        if not self._found.reads_tables or not isinstance(items, dict):
            return items
        return {**items, "x": (items["x"] - self._centre) / self._spread}

    def _like(self) -> Tensor:
        """A tensor on the device and of the dtype in which the learner computes."""
        floats = (p for p in self._learner.parameters() if p.is_floating_point())
        return next(floats, torch.empty(0))

    def _check_queries(self, items: Items) -> None:
        mistakes = []
        for name, shape in shapes(items).items():
            if name not in self._item_shapes:
                mistakes.append(f"{name} was not there in fit, which saw {', '.join(self._item_shapes)}.")
            # Dicts hold sequences and graphs, whose sizes may differ from batch to batch.
            elif not isinstance(items, dict) and shape != self._item_shapes[name]:
                mistakes.append(other_shape(shape, self._item_shapes[name], type(self).__name__))
        mistakes += [f"{name} is missing, which fit saw." for name in self._item_shapes.keys() - shapes(items).keys()]
        for name, tensor in named(items).items():
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                mistakes.append(f"{name} has NaN or infinite values: expected numbers; impute or drop these rows.")
        if mistakes:
            raise EpisodeError("\n".join(mistakes))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        try:
            tables = find(self.learner, numbers=self._numbers).reads_tables
        except RegardError:
            tables = False
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = tables
        return tags


@dataclass(frozen=True)
class _Prepared:
    """Things read by a function, which may be pickled if the function may."""

    prepare: Prepare

    def __call__(self, things: Any) -> Items:
        return to_items(self.prepare(list(things)))


def _as_array(X: Any) -> Any:
    return X if hasattr(X, "shape") else np.asarray(X)


def _shape(X: Any) -> tuple[int, ...]:
    """The shape, as far as there is one."""
    try:
        return tuple(_as_array(X).shape)
    except ValueError:  # ragged, which the reader explains
        return ()

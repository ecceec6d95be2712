"""`FewShotRegressor`: numbers from a few examples, with their standard deviations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.utils import Tags
from torch import Tensor
from torch.distributions import Distribution

from regard.episode import first_tensor
from regard.errors import ConfigError
from regard.estimators.base import FewShotEstimator, Pass
from regard.estimators.inputs import Prepare, to_numbers, to_weight
from regard.evaluation.intervals import Interval
from regard.explain.answers import Explanation
from regard.learners.base import Learner, Output


class FewShotRegressor(RegressorMixin, FewShotEstimator):
    """Regression from a few examples with a trained learner.

    Args:
        learner, prepare, encoder, n_estimators, chunk_size: as for `FewShotClassifier`, with a learner for regression.

    Attributes:
        state_: what the learner knows after adapting.
        reader_: how X becomes items.
        n_features_in_: number of columns, where X has two axes.
        feature_names_in_: their names, where X is a data frame.

    Examples:
        >>> import numpy as np
        >>> x = np.linspace(-1, 1, 20)[:, None]
        >>> model = FewShotRegressor("tables").fit(x, 3 * x[:, 0])
        >>> mean, deviation = model.predict([[0.5]], return_std=True)
        >>> bool(abs(mean[0] - 1.5) < 0.5), deviation.shape
        (True, (1,))
    """

    _regression = True

    def __init__(
        self,
        learner: Learner | str | Path = "tables",
        prepare: Prepare | None = None,
        *,
        encoder: str | None = None,
        n_estimators: int | None = None,
        chunk_size: int = 256,
    ) -> None:
        self.learner = learner
        self.prepare = prepare
        self.encoder = encoder
        self.n_estimators = n_estimators
        self.chunk_size = chunk_size

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Adapt to the examples.

        Args:
            X: (N, *item) examples, or things that are read into items.
            y: (N,) or (N, T) numbers.
            sample_weight: (N,) how much each example counts; 0 leaves it out.

        Raises:
            EpisodeError: (a ValueError) sizes that disagree, NaN, negative weights.
            ConfigError: (a ValueError) something else than a learner for regression.
        """
        items = self._begin(X)
        n_rows = len(first_tensor(items))
        target = to_numbers(y, n_rows)
        weight = to_weight(sample_weight, n_rows)
        self._flat = np.asarray(y).ndim == 1
        # In double precision, as the columns.
        self._offset = np.average(target, 0, weight)
        if self._trained.learner.keeps_units:
            self._offset = np.zeros_like(self._offset)
        if self._learner.reads_zero:
            self._offset = np.zeros_like(self._offset)
        size = float(np.abs(target - self._offset).max())
        # Squares of such numbers are beyond what floats hold; a power of two changes no digit.
        self._unit = float(2.0 ** np.clip(np.frexp(size)[1], -1000, 1000)) if size and not 1e-30 < size < 1e30 else 1.0
        self._adapt(items, (target - self._offset) / self._unit, weight, 0)
        return self

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """(N,) or (N, T) expected values, as y in `fit`; with `return_std` also their standard deviations.

        Raises:
            EpisodeError: items of another shape than those of `fit`, or NaN.
            ConfigError: deviations asked of a learner that predicts none.
            sklearn.exceptions.NotFittedError: before `fit`.
        """
        mean, deviation = self.predictions_of(self._pass(X))
        if return_std and bool(np.isnan(deviation).any()):
            raise ConfigError(f"{type(self._learner).__name__} predicts no deviation: leave return_std out.")
        return (mean, deviation) if return_std else mean

    def explain(self, X: Any) -> Explanation:
        """As `FewShotClassifier.explain`, in the units of y: how each answer changes without each example.

        Raises:
            ConfigError: the learner is transductive. Otherwise as `predict`.
        """
        found, unit = super().explain(X), self._unit
        trust = found.trust
        return replace(
            found,
            probability=found.probability * unit + self._offset.sum(),
            drop=found.drop * unit,
            contribution=found.contribution if found.kind == "attention" else found.contribution * unit,
            trust=None if trust is None else Interval(trust.mean * unit, trust.low * unit, trust.high * unit),
        )

    def predictions_of(self, found: Pass) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Values and deviations, NaN where there are none, from a pass; see `regard.estimators.together`."""
        output = found.output.double()
        mean = output[..., 0].mean(0)
        square = (output[..., 1].square() + output[..., 0].square()).mean(0)
        deviation = (square - mean.square()).clamp_min(0).sqrt()
        answers = [mean.numpy() * self._unit + self._offset, deviation.numpy() * self._unit]
        value, spread = (a[:, 0] if self._flat else a for a in answers)
        return value, spread

    def _fitted(self) -> dict[str, Any]:
        return {"flat": self._flat, "offset": self._offset.tolist(), "unit": self._unit}

    def _restore(self, fitted: dict[str, Any]) -> int:
        self._flat, self._offset = bool(fitted["flat"]), np.array(fitted["offset"], dtype=np.float64)
        self._unit = float(fitted["unit"])
        return 0

    def _targets(self) -> NDArray[Any]:
        return self._given.target * self._unit + self._offset

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _output(self, output: Output) -> Tensor:
        """(E, N, T, 2) mean and deviation; NaN for the deviation of a learner that only predicts a number."""
        if isinstance(output, Distribution):
            return torch.stack([output.mean, output.stddev], -1)
        return torch.stack([output, torch.full_like(output, torch.nan)], -1)

"""Demonstrations as rows: a support of steps of K demonstrations, and queries that are states.

    support    x = [ features, progress t/T, 1 ]    y = the action there       K times n rows
    query      x = [ features, 0, 0 ]

The n rows of a demonstration are spread evenly over it, first and last step always among them; a shorter one has fewer,
and padding of weight 0. Progress is known of what was shown and of nothing else. Learners that compare support and
query by one encoder must not see it, as the two sides would never be alike: `shows_progress=False` writes 0 for both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from regard.domains.acting.demonstrations import Demonstrations
from regard.domains.base import Reader
from regard.episode import Support
from regard.errors import ConfigError, DataError


@dataclass(frozen=True)
class StepReader(Reader):
    """Steps to rows.

    Args:
        n_rows: rows of a demonstration.
        shows_progress: whether support rows say how far on they are, and that they are shown.
        centre, scale: what is taken from each feature, and what it is divided by; none by default.
    """

    n_rows: int = 12
    shows_progress: bool = True
    centre: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    n_questions: ClassVar[int] = 48

    def __post_init__(self) -> None:
        if self.n_rows < 2:
            raise ConfigError(f"n_rows is {self.n_rows}: expected at least 2, the first and the last step.")

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """What `to_dict` gave."""
        try:
            lists = {key: tuple(float(v) for v in content.get(key, ())) for key in ("centre", "scale")}
            return cls(int(content.get("n_rows", 12)), bool(content.get("shows_progress", True)), **lists)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"the reader of steps is {dict(content)!r:.200}: {error}.") from None

    def to_dict(self) -> dict[str, Any]:
        lists = {"centre": list(self.centre), "scale": list(self.scale)} if self.centre else {}
        return {"n_rows": self.n_rows, "shows_progress": self.shows_progress, **lists}

    def scaled_to(self, observations: NDArray[np.floating]) -> StepReader:
        """With mean and deviation of these features; what hardly moves is left in its own unit."""
        deviation = observations.std(0)
        deviation = np.where(deviation < 1e-6, 1.0, deviation)
        mean = tuple(float(v) for v in observations.mean(0))
        return StepReader(self.n_rows, self.shows_progress, mean, tuple(float(v) for v in deviation))

    def __call__(self, things: Any) -> Tensor:
        """Observations (N, D), or (B, N, D), to query rows with D + 2 numbers.

        Raises:
            DataError: another number of features, or numbers that are not finite.
        """
        x = self._features(things)
        return torch.cat([x, x.new_zeros(*x.shape[:-1], 2)], -1)

    def support(self, sets: Sequence[Demonstrations], trust: Sequence[ArrayLike] | None = None) -> Support[Tensor]:
        """The support of B tasks: x (B, S, D + 2), y (B, S, A), weight 0 for padding.

        Args:
            sets: the demonstrations of each task; all of one size of observations and actions.
            trust: of each task, a weight for each demonstration; ones by default.

        Raises:
            DataError: sizes that differ, or weights of another number.
        """
        widths = {(s.observations.shape[1], s.actions.shape[1]) for s in sets}
        if len(widths) != 1:
            raise DataError(f"demonstrations have {sorted(widths)} features and actions: expected one size of each.")
        largest = max(len(s) for s in sets) * self.n_rows
        rows = [self.rows(s) for s in sets]
        weights = [weight for _, _, weight in rows]
        for task, factor in enumerate(trust or ()):
            factor = torch.as_tensor(np.asarray(factor), dtype=weights[task].dtype)
            if factor.shape != (len(sets[task]),) or bool((factor < 0).any()):
                raise DataError(
                    f"trust of task {task} has shape {tuple(factor.shape)}: expected {len(sets[task])} weights of at "
                    "least 0, one per demonstration."
                )
            weights[task] = weights[task] * factor[:, None]

        def padded(tensors: list[Tensor]) -> Tensor:
            flat = [t.flatten(0, 1) for t in tensors]
            return torch.stack([torch.cat([t, t.new_zeros(largest - len(t), *t.shape[1:])]) for t in flat])

        return Support(padded([x for x, _, _ in rows]), padded([y for _, y, _ in rows]), padded(weights), 0)

    def questions(self, sets: Sequence[Demonstrations], trust: Sequence[ArrayLike] | None = None) -> Support[Tensor]:
        """More steps of the same demonstrations, as queries are written: what fine-tuning asks about.

        In the layout of `support`, with `n_questions` rows for each demonstration.
        """
        return replace(self, n_rows=self.n_questions, shows_progress=False).support(sets, trust)

    def rows(self, demonstrations: Demonstrations) -> tuple[Tensor, Tensor, Tensor]:
        """x (N, n, D + 2), y (N, n, A) and weight (N, n) of each demonstration."""
        place = np.arange(self.n_rows)[None]
        last = demonstrations.lengths[:, None] - 1
        n_kept = np.minimum(last + 1, self.n_rows)
        step = np.round(place * last / np.maximum(n_kept - 1, 1)).astype(np.int64)
        weight = place < n_kept
        step = np.where(weight, np.minimum(step, last), 0)
        index = demonstrations.starts[:, None] + step
        x = self._features(demonstrations.observations[index])
        extra = np.stack([step / last, np.ones_like(step)], -1) * self.shows_progress
        y = torch.from_numpy(demonstrations.actions[index]).to(x.dtype)
        return torch.cat([x, torch.from_numpy(extra).to(x.dtype)], -1), y, torch.from_numpy(weight).to(x.dtype)

    def _features(self, observations: Any) -> Tensor:
        x = np.asarray(observations, dtype=np.float64)
        if self.centre:
            if x.shape[-1] != len(self.centre):
                raise DataError(
                    f"observations have {x.shape[-1]} numbers: expected {len(self.centre)}, as in training."
                )
            x = (x - np.asarray(self.centre)) / np.asarray(self.scale)
        if not np.isfinite(x).all():
            raise DataError("an observation has numbers that are not finite: drop or mend it.")
        return torch.from_numpy(x).to(torch.get_default_dtype())

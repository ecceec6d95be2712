"""Functions as tasks: a few points of each are known, others are asked.

    Sinusoids      y = a sin(x - p)                               Finn et al. 2017, arXiv:1703.03400
    Oscillations   y_t = 2 r cos(w) y_(t-1) - r^2 y_(t-2) + e_t   the first steps are known, the next are asked

Gaussian processes stand in `gaussian_processes.py`. Targets are (B, rows, 1), and every number of episode i comes from
(seed, i), a whole batch at once. Where episodes differ in their numbers of rows, the rest of the batch's largest is
padding of weight 0.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.episode import Episode, Support
from regard.errors import ConfigError, DataError
from regard.sampling.counts import Count
from regard.sampling.random import normal, uniform
from regard.sampling.source import EpisodeSource, Numbers, count_range

_SIZES, _X, _PARAMETERS, _NOISE, _N_STREAMS = range(5)

Floats = NDArray[np.float64]
Limits = tuple[float, float]
"""(low, high) of a uniform draw."""


class FunctionSampler(EpisodeSource):
    """Episodes of functions of one number; a subclass draws the points of them.

    Args:
        n_shot: support rows; a pair draws from an inclusive range.
        n_query: query rows, likewise.
        n_points: most rows of one episode, support and query together; the sum of both by default.
        block: episodes whose number divided by this is the same draw the same numbers of rows, so that a batch of
            just these needs no padding.
        seed: the run's seed.
        stream: keeps apart episodes of one seed that must not be the same, such as training and test.

    Raises:
        DataError: counts below 1, or no room for the fewest queries beside the most support rows.
    """

    n_way = (0, 0)

    def __init__(
        self,
        n_shot: Count,
        n_query: Count,
        *,
        n_points: int | None = None,
        block: int = 1,
        seed: int = 0,
        stream: int = 0,
    ) -> None:
        self.n_shot, self.query_range = count_range(n_shot, "n_shot"), count_range(n_query, "n_query")
        self.n_query = n_query
        self.block, self.seed, self.stream = count_range(block, "block")[0], seed, stream
        need = self.n_shot[1] + self.query_range[0]
        self.n_points = self.n_shot[1] + self.query_range[1] if n_points is None else n_points
        if self.n_points < need:
            raise DataError(
                f"n_points is {self.n_points}: expected at least the most support rows and the fewest queries, {need}."
            )

    @abstractmethod
    def points(self, number: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """(B,) episode numbers to x and y, (B, n_points) each; support rows are the first of them."""

    def __call__(self, episodes: Numbers) -> Episode:
        number = np.asarray(episodes, dtype=np.int64)
        x, y = self.points(number)
        n_support, n_query = self.sizes(number)
        support = _rows(x, y, np.zeros_like(n_support), n_support)
        query_x, query_y, query_weight = _rows(x, y, n_support, n_query)
        return Episode(Support(*support, 0), query_x, query_y, query_weight, 0)

    def sizes(self, number: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(B,) numbers of support and of query rows."""
        noise = uniform(self.seed, self._of(_SIZES), number // self.block, 2)
        n_support = _between(noise[:, 0], self.n_shot[0], np.array(self.n_shot[1]))
        low, high = self.query_range
        return n_support, _between(noise[:, 1], low, np.minimum(high, self.n_points - n_support))

    def _of(self, purpose: int) -> int:
        return self.stream * _N_STREAMS + purpose

    def _parameters(self, number: NDArray[np.int64], *limits: Limits) -> list[Floats]:
        """One (B,) draw within each of the limits."""
        noise = uniform(self.seed, self._of(_PARAMETERS), number, len(limits)).astype(np.float64)
        return [low + (high - low) * noise[:, j] for j, (low, high) in enumerate(limits)]

    def _uniform_points(self, number: NDArray[np.int64], limits: Limits) -> Floats:
        """(B, n_points) places to look at."""
        low, high = limits
        return low + (high - low) * uniform(self.seed, self._of(_X), number, self.n_points).astype(np.float64)

    def _normal(self, number: NDArray[np.int64], n: int) -> Floats:
        return normal(self.seed, self._of(_NOISE), number, n)


@dataclass(frozen=True)
class Waves:
    """What sinusoids are made of: (B,) each, y = amplitude * sin(x - phase)."""

    amplitude: Floats
    phase: Floats

    def __call__(self, x: Floats) -> Floats:
        """(B, N) to (B, N)."""
        return self.amplitude[:, None] * np.sin(x - self.phase[:, None])


@final
class Sinusoids(FunctionSampler):
    """Sinusoids of random amplitude and phase; the defaults are the protocol of MAML.

    Args:
        n_shot: support rows.
        n_query: query rows; the paper trains and tests with as many as n_shot.
        amplitude, phase, x: limits of uniform draws.
        noise: standard deviation of what is added to y, in support and query.
        seed, stream: as `FunctionSampler`.

    Raises:
        ConfigError: negative noise, or limits that run backwards.

    Examples:
        >>> episode = Sinusoids(n_shot=10, n_query=5)([0, 1])
        >>> tuple(episode.support.x.shape), tuple(episode.support.y.shape)
        ((2, 10, 1), (2, 10, 1))
    """

    def __init__(
        self,
        n_shot: Count = 10,
        n_query: Count = 10,
        *,
        amplitude: Limits = (0.1, 5.0),
        phase: Limits = (0.0, float(np.pi)),
        x: Limits = (-5.0, 5.0),
        noise: float = 0.0,
        seed: int = 0,
        stream: int = 0,
    ) -> None:
        super().__init__(n_shot, n_query, seed=seed, stream=stream)
        check_limits(amplitude=amplitude, phase=phase, x=x, noise=(0.0, noise))
        self.amplitude, self.phase, self.x, self.noise = amplitude, phase, x, noise

    def waves(self, episodes: Numbers) -> Waves:
        """The functions themselves."""
        number = np.asarray(episodes, dtype=np.int64)
        return Waves(*self._parameters(number, self.amplitude, self.phase))

    def points(self, number: NDArray[np.int64]) -> tuple[Floats, Floats]:
        x = self._uniform_points(number, self.x)
        y = self.waves(number)(x)
        return x, y + self.noise * self._normal(number, self.n_points) if self.noise else y


@final
class Oscillations(FunctionSampler):
    """Noisy damped oscillations in equal steps: what comes next? For learners that read the support in order.

    x counts steps, in units of `n_points`, from 0; the support is the first steps and the queries are the next. No
    paper's protocol: it is the simplest family in which the order of rows tells something.

    Args:
        n_shot, n_query: known and asked steps.
        frequency: limits of w, radians a step.
        radius: limits of r, what a step leaves of the amplitude.
        noise: standard deviation of e.
        seed, stream: as `FunctionSampler`.

    Raises:
        ConfigError: negative noise, or limits that run backwards.
    """

    def __init__(
        self,
        n_shot: Count = 20,
        n_query: Count = 5,
        *,
        frequency: Limits = (0.2, 1.2),
        radius: Limits = (0.95, 1.0),
        noise: float = 0.05,
        seed: int = 0,
        stream: int = 0,
    ) -> None:
        super().__init__(n_shot, n_query, seed=seed, stream=stream)
        check_limits(frequency=frequency, radius=radius, noise=(0.0, noise))
        self.frequency, self.radius, self.noise = frequency, radius, noise

    def points(self, number: NDArray[np.int64]) -> tuple[Floats, Floats]:
        frequency, radius = self._parameters(number, self.frequency, self.radius)
        last, before = 2 * radius * np.cos(frequency), -(radius**2)
        e = self._normal(number, self.n_points + 2)
        # The two steps before the first one start it off, at amplitudes of about one.
        y = [e[:, 0], e[:, 1]]
        for t in range(2, self.n_points + 2):
            y.append(last * y[-1] + before * y[-2] + self.noise * e[:, t])
        x = np.broadcast_to(np.arange(self.n_points) / self.n_points, (len(number), self.n_points))
        return x, np.stack(y[2:], 1)


def check_limits(**limits: Limits) -> None:
    """Raise unless each pair is finite and in order.

    Raises:
        ConfigError: all that are not.
    """
    wrong = [f"{k} is {v!r}" for k, v in limits.items() if not (np.isfinite(v).all() and v[0] <= v[1])]
    if wrong:
        raise ConfigError(f"{'; '.join(wrong)}: expected finite numbers (low, high), low not above high.")


def _between(noise: NDArray[np.float32], low: int, high: NDArray[np.int64]) -> NDArray[np.int64]:
    return low + np.floor(noise * (high - low + 1)).astype(np.int64)


def _rows(x: Floats, y: Floats, start: NDArray[np.int64], n: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor]:
    """x (B, R, 1), y (B, R, 1) and weight (B, R) of rows start .. start + n - 1 of each task, R the largest n."""
    column = np.arange(n.max(initial=0))
    place = np.minimum(start[:, None] + column, x.shape[1] - 1)
    weight = column < n[:, None]
    dtype = torch.get_default_dtype()
    taken = (np.where(weight, np.take_along_axis(v, place, 1), 0.0) for v in (x, y))
    x_BR, y_BR = (torch.from_numpy(v).to(dtype)[..., None] for v in taken)
    return x_BR, y_BR, torch.from_numpy(weight).to(dtype)

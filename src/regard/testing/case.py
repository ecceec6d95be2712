"""What a law looks at: a learner, an episode, and ways to change an episode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.distributions import Distribution

from regard.episode import Episode, Items, Support, map_items
from regard.errors import RegardError
from regard.learners.base import Learner, Output

MakeLearner = Callable[[], Learner]


MakeEpisode = Callable[[int], Episode]


ABSENT = -1e6
"""Stands for minus infinity where two predictions are subtracted."""


@dataclass
class Case:
    """What a law looks at.

    Args:
        make_learner: a new learner, its parameters drawn from torch's global generator.
        make_episode: seed to episode; some tasks with fewer classes, rows of weight 0 and unbalanced shots test most.
        tolerance: largest difference that is rounding, relative to 1 + size.
    """

    make_learner: MakeLearner
    make_episode: MakeEpisode
    tolerance: float = 1e-10
    learner: Learner = field(init=False)
    episode: Episode = field(init=False)

    def __post_init__(self) -> None:
        self.learner = self.new_learner(0)
        self.episode = self.new_episode(0)

    def new_learner(self, seed: int) -> Learner:
        """A learner in float64, ready to predict."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.make_learner().double().eval()

    def new_episode(self, seed: int) -> Episode:
        """An episode in float64."""
        return self.make_episode(seed).to(dtype=torch.float64)

    def differ(self, got: Output, expected: Output, what: str) -> Iterator[str]:
        """A sentence if two predictions are not the same."""
        yield from far(numbers(got), numbers(expected), self.tolerance, what)


Law = Callable[[Case], Iterator[str]]


def random_episode(
    seed: int,
    item: tuple[int, ...] = (6,),
    *,
    n_tasks: int = 3,
    n_way: int = 3,
    n_shot: int = 3,
    n_query: int = 4,
    n_targets: int = 0,
) -> Episode:
    """Noise with labels: unbalanced shots, fractional weights, padding, and a task with one class fewer.

    Args:
        seed: another seed, another episode of the same shape.
        item: shape of one item.
        n_tasks, n_way, n_shot, n_query: sizes.
        n_targets: T, for regression; 0 is classification.

    Examples:
        >>> episode = random_episode(0, item=(6,), n_tasks=2)
        >>> tuple(episode.support.x.shape)
        (2, 9, 6)
        >>> random_episode(0, n_targets=1).support.is_regression
        True
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    y = torch.arange(n_way).repeat_interleave(n_shot).repeat(n_tasks, 1)
    weight = torch.rand(y.shape, generator=generator, dtype=torch.float64) + 0.5
    if n_shot > 1:
        weight[:, n_shot - 1] = 0
    query_y = torch.randint(n_way, (n_tasks, n_query), generator=generator)
    query_weight = torch.ones(query_y.shape, dtype=torch.float64)
    if n_way > 2:
        weight[-1, y[-1] == n_way - 1] = 0
        query_weight[-1, query_y[-1] == n_way - 1] = 0
        query_y[-1].clamp_(max=n_way - 2)
    query_weight[0, -1] = 0
    x, query_x = normal(*y.shape, *item), normal(*query_y.shape, *item)
    if n_targets:
        target, query_target = normal(*y.shape, n_targets), normal(*query_y.shape, n_targets)
        return Episode(Support(x, target, weight, 0), query_x, query_target, query_weight)
    return Episode(Support(x, y, weight, n_way), query_x, query_y, query_weight)


def varied(case: Case) -> Case:
    """The same learner asked of another size: more tasks, classes, rows and queries, and weights from 0.04 to 18.

    Made of two of the case's own episodes, so that items may be of any kind. Where the learner says that there are too
    many classes for it, classes are shared.
    """
    shared = bool(case.episode.support.is_regression)

    def make_episode(seed: int) -> Episode:
        first, second = (case.make_episode(seed + offset) for offset in (10, 20))
        n_classes = first.n_classes
        offset = 0 if shared else n_classes
        rows = [Support(e.query_x, e.query_y, e.query_weight, n_classes) for e in (first, second)]
        supports = [first.support, second.support]
        joined = [join_rows(pair[0], shifted(pair[1], offset)) for pair in (supports, rows)]
        generator = torch.Generator().manual_seed(seed)
        factor = torch.rand(joined[0].weight.shape, generator=generator, dtype=torch.float64) * 5 - 2.5
        support = replace(joined[0], weight=joined[0].weight * factor.exp(), n_classes=n_classes + offset)
        made = Episode(support, joined[1].x, joined[1].y, joined[1].weight, n_classes + offset)
        # One task more, so that no number of tasks is the only one ever tried.
        index = torch.tensor([*range(made.n_tasks), 0])
        return made.tasks(index)

    other = Case(case.make_learner, make_episode, case.tolerance)
    try:
        with torch.no_grad():
            other.learner.loss(other.episode)
    except RegardError:
        shared = True
        other = Case(case.make_learner, make_episode, case.tolerance)
    return other


def shifted(support: Support, offset: int) -> Support:
    """The same rows under later class numbers."""
    return replace(support, y=support.y + offset, n_classes=support.n_classes + offset) if offset else support


def numbers(output: Output) -> Tensor:
    """A prediction as finite numbers: log-probabilities (B, Q, C), or mean and deviation (B, Q, T, 2)."""
    if isinstance(output, Distribution):
        return torch.stack([output.mean, output.stddev], -1)
    # Logits are a prediction up to a constant; NaN stays NaN.
    log_p = torch.log_softmax(output, -1)
    return torch.where(log_p == -torch.inf, ABSENT, log_p)


def far(got: Tensor, expected: Tensor, tolerance: float, what: str) -> Iterator[str]:
    if got.shape != expected.shape:
        yield f"{what}: shapes {tuple(got.shape)} and {tuple(expected.shape)}"
        return
    gap = ((got - expected).abs() / (1 + expected.abs())).max().item() if got.numel() else 0.0
    if not gap <= tolerance:
        yield f"{what}: differ by {gap:.3g}, and {tolerance:.0e} would be rounding"


def answer(learner: Learner, support: Support, query_x: Items) -> Output:
    return learner.predict(learner.adapt(support), query_x)


def answer_after(case: Case, support: Support) -> Output:
    """What the learner answers to the case's queries after another support set."""
    return case.learner(replace(case.episode, support=support))


def poisoned(support: Support, value: float) -> Support:
    """Rows that must not matter: NaN or infinity in items and targets, labels of no class, and weight 0."""
    x = map_items(lambda t: torch.full_like(t, value) if t.is_floating_point() else t, support.x)
    y = torch.full_like(support.y, value if support.is_regression else -100)
    return Support(x, y, torch.zeros_like(support.weight), support.n_classes)


def take_rows(support: Support, index: Tensor) -> Support:
    x = map_items(lambda t: t[:, index], support.x)
    return Support(x, support.y[:, index], support.weight[:, index], support.n_classes)


def join_rows(a: Support, b: Support) -> Support:
    pair = [s.x if isinstance(s.x, dict) else {"": s.x} for s in (a, b)]
    joined = {key: torch.cat([pair[0][key], pair[1][key]], 1) for key in pair[0]}
    x = joined if isinstance(a.x, dict) else joined[""]
    return Support(x, torch.cat([a.y, b.y], 1), torch.cat([a.weight, b.weight], 1), b.n_classes)


def without_weight(support: Support) -> Support:
    """Rows that must not matter: of other content, thrice the size, and weight 0."""
    x = map_items(lambda t: 3 * t if t.is_floating_point() else t, support.x)
    return replace(support, x=x, weight=torch.zeros_like(support.weight))


def stripped(episode: Episode, b: int) -> Episode:
    """Task b without padding, and with no more classes than it has."""
    task = episode.tasks(slice(b, b + 1))
    support = take_rows(task.support, (task.support.weight[0] > 0).nonzero()[:, 0])
    asked = (task.query_weight[0] > 0).nonzero()[:, 0]
    n_classes = 0 if support.is_regression else int(support.y.max()) + 1
    query_x = map_items(lambda t: t[:, asked], task.query_x)
    return Episode(support, query_x, task.query_y[:, asked], task.query_weight[:, asked], n_classes)

"""An explanation for every answer: which examples spoke for it and against it, which one example would turn it, and how
far to believe that.

    contribution    attention, where it rebuilds the prediction; else weight times influence (see `influence`)
    drop            p(c) - p(c | without that example), exactly: the example gets weight 0
    turned by       the example whose removal, or whose relabelling, makes another class the answer
    trust           drop of the example named first minus drop of a random other of its class, over the queries

Counterfactual explanations: Wachter et al. 2018 (arXiv:1711.00399); here the change is one example of the support,
which can be carried out exactly, so nothing is approximated or searched in the space of items.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.episode import Episode
from regard.errors import EpisodeError
from regard.evaluation.intervals import Interval, paired_interval
from regard.explain.influence import influence
from regard.explain.reweighting import Reweighting
from regard.learners.base import AttendingLearner, Learner
from regard.nn.inference import eval_mode
from regard.numbers import readable

_RELABELLED = 32
"""Examples of the largest drop whose labels are tried: each costs C - 1 predictions."""

_PRINTED = 10
"""Queries that `str` tells of."""


@dataclass(frozen=True)
class Counterfactual:
    """One change of one example that makes another class the answer.

    Args:
        example: its row.
        label: the class that it would have to be; None where it is removed.
        answer: the class that becomes the answer.
        probability: of that class then.
    """

    example: int
    label: int | None
    answer: int
    probability: float


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why one task's queries were answered as they were.

    Args:
        kind: what `contribution` is.
        predicted: (Q,) class; 0 in regression.
        probability: (Q,) of it; in regression the predicted mean, summed over targets.
        contribution: (Q, S) how much each example spoke for the answer; negative ones spoke against it.
        drop: (Q, S) what removing each example takes from `probability`; in regression, how the mean changes.
        removed: per query, the example of the largest effect whose removal turns the answer; None where none does.
        relabelled: likewise, by another label.
        trust: drop of the example that contributed most minus that of a random other of its class, over the queries; in
            regression the size of the change, against any other example. None for a single query, or one example
            per class.
        is_regression: whether the answers are numbers.
        classes: what the classes are called, for `str`; None: by their numbers.
    """

    kind: Literal["attention", "influence"]
    predicted: NDArray[np.int64]
    probability: NDArray[np.float64]
    contribution: NDArray[np.float64]
    drop: NDArray[np.float64]
    removed: list[Counterfactual | None]
    relabelled: list[Counterfactual | None]
    trust: Interval | None
    is_regression: bool = False
    classes: tuple[str, ...] | None = None

    @property
    def believed(self) -> bool | None:
        """Whether examples are named better than by chance, 0 outside the interval; None where it cannot be said."""
        return None if self.trust is None else bool(self.trust.low > 0)

    @property
    def trust_sentence(self) -> str:
        """How far to believe the examples that are named, of this learner on these data."""
        what = self.kind
        if self.trust is None:
            return (
                f"Whether the examples that {what} names are those that mattered was not measured: that takes two "
                "queries and two examples per class. The effects are exact for each example alone."
            )
        numbers = self.trust.mean, self.trust.low, self.trust.high
        if self.is_regression:
            difference, low, high = (readable(v, 2, signed=True) for v in numbers)
            measured = (
                f"removing the example that {what} names first changes the answer by {difference} [{low}, {high}] more "
                "than removing another"
            )
        else:
            difference, low, high = (f"{100 * v:+.1f}" for v in numbers)
            measured = (
                f"removing the example that {what} names first takes {difference} points [{low}, {high}] more from the "
                "answer than removing another of its class"
            )
        if self.believed:
            return f"The examples named here are the ones that mattered: {measured}."
        return f"Do not believe which example is named first here: {measured}, {beside_chance(self.trust, 'queries')}."

    def __str__(self) -> str:
        """Each answer in words: the three examples of the largest effect, and the one change that turns it."""
        lines = []
        for query in range(min(len(self.predicted), _PRINTED)):
            drop = self.drop[query]
            order = np.argsort(-np.abs(drop), kind="stable")[:3].tolist()
            if self.is_regression:
                answer = readable(self.probability[query])
                effects = [f"{readable(-drop[row], 2, signed=True)} without example {row}" for row in order]
            else:
                answer = f"{self._name(int(self.predicted[query]))}, {100 * self.probability[query]:.0f}%"
                effects = [f"{-100 * drop[row]:+.1f} points without example {row}" for row in order]
            lines.append(f"query {query}: {answer}; {', '.join(effects)}")
            for turn in (self.removed[query], self.relabelled[query]):
                if turn is not None:
                    change = "removed" if turn.label is None else f"labelled {self._name(turn.label)}"
                    turned = f"{self._name(turn.answer)}, {100 * turn.probability:.0f}%"
                    lines.append(f"    {turned}, were example {turn.example} {change}")
        if len(self.predicted) > _PRINTED:
            lines.append(f"and {len(self.predicted) - _PRINTED:,} more queries")
        return "\n".join([*lines, self.trust_sentence])

    def _name(self, label: int) -> str:
        return f"class {label}" if self.classes is None else self.classes[label]


def beside_chance(trust: Interval, what: str) -> str:
    """What a difference from random that is not clear of 0 says: by few measurements it may still be one."""
    if trust.mean > 0:
        return f"which so few {what} cannot tell from chance"
    return "which is no better than chance"


def explain(learner: Learner, episode: Episode, *, seed: int = 0) -> Explanation:
    """Explain every query of one task.

    Args:
        learner: temporarily in eval mode, then restored.
        episode: one task, whose query labels are not read.
        seed: of the random examples that trust is measured against.

    Raises:
        ConfigError: the learner is transductive.
        EpisodeError: several tasks.

    Examples:
        >>> from regard.episode import Episode, Support
        >>> from regard.learners import Matching
        >>> from regard.nn.flat import Flat
        >>> x, y = torch.tensor([[[1.0, 0.0], [0.9, 0.4], [0.0, 1.0]]]), torch.tensor([[0, 0, 1]])
        >>> found = explain(Matching(Flat()), Episode(Support(x, y), torch.tensor([[[0.8, 0.5]]]), y[:, :1]))
        >>> int(found.predicted[0]), int(found.contribution[0].argmax())
        (0, 1)
    """
    if episode.n_tasks != 1:
        raise EpisodeError(
            f"the episode has {episode.n_tasks} tasks: expected one; explain episode.tasks(slice(0, 1))."
        )
    found = influence(learner, episode)
    rebuilds = isinstance(learner, AttendingLearner) and learner.rebuilds and found.attention is not None
    contribution = found.attention if rebuilds and found.attention is not None else found.contribution
    is_regression = episode.support.is_regression
    with eval_mode(learner), torch.no_grad():
        reweighting = Reweighting.of(learner, episode)
        without = _leave_one_out(reweighting, episode)
        rows = torch.arange(episode.support.n_rows)
        if is_regression:
            drop = found.probability[0][:, None] - without.sum(-1)
            removed: list[Counterfactual | None] = [None] * len(drop)
            relabelled = list(removed)
            # Any example may stand for the one named first, and a change of the number counts either way.
            alike = torch.zeros_like(rows)
            trust = _trust(contribution[0].abs(), drop.abs(), alike, episode, seed)
        else:
            predicted = found.predicted[0]
            of_answer = without.gather(-1, predicted[:, None, None].expand(-1, len(rows), 1))[..., 0]
            drop = found.probability[0][:, None] - of_answer
            removed = _turns(without, predicted, drop)
            relabelled = _relabel(reweighting, episode, predicted, drop)
            trust = _trust(contribution[0], drop, episode.support.y[0], episode, seed)
    return Explanation(
        kind="attention" if rebuilds else "influence",
        predicted=found.predicted[0].numpy(force=True),
        probability=found.probability[0].double().numpy(force=True),
        contribution=contribution[0].detach().double().numpy(force=True),
        drop=drop.double().numpy(force=True),
        removed=removed,
        relabelled=relabelled,
        trust=trust,
        is_regression=is_regression,
    )


def renumbered(explanation: Explanation, order: NDArray[np.int64], classes: NDArray[Any]) -> Explanation:
    """The same in the user's class numbers, which are called `classes`; the learner saw class c as order[c]."""
    back = np.argsort(order)

    def turn(found: Counterfactual | None) -> Counterfactual | None:
        if found is None:
            return None
        label = None if found.label is None else int(back[found.label])
        return replace(found, label=label, answer=int(back[found.answer]))

    return replace(
        explanation,
        predicted=back[explanation.predicted],
        removed=[turn(found) for found in explanation.removed],
        relabelled=[turn(found) for found in explanation.relabelled],
        classes=tuple(str(name) for name in classes),
    )


def _leave_one_out(reweighting: Reweighting, episode: Episode) -> Tensor:
    """(Q, S, C) probabilities, or (Q, S, T) means, without each example."""
    weight = reweighting.support.weight
    gone = torch.eye(weight.shape[1], dtype=torch.bool, device=weight.device)
    without = reweighting.predict_each(weight.masked_fill(gone, 0.0), title="without each example").transpose(0, 1)
    return without if episode.support.is_regression else without.exp()


def _turns(without: Tensor, predicted: Tensor, drop: Tensor) -> list[Counterfactual | None]:
    turns: list[Counterfactual | None] = []
    for query, answer in enumerate(predicted.tolist()):
        best = without[query].argmax(-1)
        turning = (best != answer).nonzero()[:, 0]
        if not len(turning):
            turns.append(None)
            continue
        row = int(turning[drop[query, turning].argmax()])
        turns.append(Counterfactual(row, None, int(best[row]), float(without[query, row].max())))
    return turns


def _relabel(
    reweighting: Reweighting, episode: Episode, predicted: Tensor, drop: Tensor
) -> list[Counterfactual | None]:
    """The example of the largest drop which, under another label, turns the answer."""
    support, n_query = reweighting.support, len(predicted)
    candidates = drop.abs().amax(0).argsort(descending=True)[:_RELABELLED].tolist()
    own, weighs = support.y[0].tolist(), (support.weight[0] > 0).tolist()
    changes = [(row, c) for row in candidates if weighs[row] for c in range(episode.n_classes) if c != own[row]]
    found: list[Counterfactual | None] = [None] * n_query
    if not changes:
        return found
    y = support.y.repeat(len(changes), 1)
    for number, (row, label) in enumerate(changes):
        y[number, row] = label
    weight = support.weight.expand(len(changes), -1)
    probability = reweighting.predict_each(weight, y, title="with other labels").exp()  # (N, Q, C)
    top, answer = probability.max(-1)
    best = torch.full((n_query,), -torch.inf)
    for number, (row, label) in enumerate(changes):
        for query in (answer[number] != predicted).nonzero()[:, 0].tolist():
            if float(drop[query, row]) > float(best[query]):
                best[query] = drop[query, row]
                found[query] = Counterfactual(row, label, int(answer[number, query]), float(top[number, query]))
    return found


def _trust(contribution: Tensor, drop: Tensor, y: Tensor, episode: Episode, seed: int) -> Interval | None:
    """The example named first against another of its class y (S,), paired over the queries."""
    real = episode.support.weight[0] > 0
    generator = torch.Generator().manual_seed(seed)
    top_drops: list[float] = []
    other_drops: list[float] = []
    for query in range(len(drop)):
        top = int(contribution[query].masked_fill(~real, -torch.inf).argmax())
        others = (real & (y == y[top])).nonzero()[:, 0]
        others = others[others != top]
        if len(others):
            other = int(others[torch.randint(len(others), (), generator=generator)])
            top_drops.append(float(drop[query, top]))
            other_drops.append(float(drop[query, other]))
    if len(top_drops) < 2:
        return None
    return paired_interval(np.array(top_drops), np.array(other_drops))

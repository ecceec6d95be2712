"""Whether to believe an explanation: delete what it says mattered, and see whether the prediction changes.

    drop(row) = p(c) - p(c | that row has weight 0)              c: the class predicted with all rows

For each query the top row by attention (or by influence) is deleted, and, for comparison, a random other row: of the
same class where there is one, else of any. An explanation that points at what the learner uses has the larger drop; the
paired difference over episodes, with its interval, says whether it does. The deletion curve goes on: p(c) after the
first k rows in the order of the explanation, and after k rows in random order.

With one example per class, deleting the top row deletes its class, and p(c) falls to 0 whatever else is true: use two
shots or more. In regression the change of the predicted mean takes the place of the drop, in either direction,

    drop(row) = sum over targets of |mean - mean without that row| / deviation of the task's targets

rows are ranked by the size of their contribution, and the curves begin at 0 and fall by that change.

Deletion curves: Samek et al. 2017 (arXiv:1509.06321); that attention need not be explanation: Jain and Wallace 2019
(arXiv:1902.10186). Differs from both: rows of a support set are deleted, exactly, by weight 0, so no blank or blurred
input has to stand for absence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.episode import Episode
from regard.errors import ConfigError, EpisodeError, did_you_mean
from regard.evaluation.intervals import Interval, mean_interval, paired_interval
from regard.explain.influence import influence
from regard.explain.reweighting import Reweighting
from regard.learners.base import AttendingLearner, Learner, task_mean
from regard.nn.inference import eval_mode
from regard.sampling.random import uniform

By = Literal["attention", "influence"]
Scores = Callable[[Learner, Episode], Tensor]
"""An explanation of one's own: (B, Q, S), the largest of the row that mattered most to each query."""

_OTHER, _ORDER = range(2)


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """What deleting rows did to the probability of the predicted class, or to the predicted number.

    Args:
        by: what the rows were ranked by; "scores" for an explanation of one's own.
        top: drop when the top row goes.
        random: drop when a random other row goes.
        difference: top - random, paired; above zero, the explanation is better than chance.
        top_curve, random_curve: (K + 1,) mean probability after 0 .. K deletions in either order; in regression 0 less
            the change.
        per_episode: "top" and "random" to (E,) values.
    """

    by: By | Literal["scores"]
    top: Interval
    random: Interval
    difference: Interval
    top_curve: NDArray[np.float64]
    random_curve: NDArray[np.float64]
    per_episode: dict[str, NDArray[np.float64]]


def faithfulness(
    learner: Learner,
    episodes: Iterable[Episode],
    *,
    by: By | Scores = "attention",
    n_deleted: int = 5,
    seed: int = 0,
) -> Faithfulness:
    """Delete rows and measure the drop of the predicted probability, or the change of the predicted number.

    Args:
        learner: temporarily in eval mode, then restored.
        episodes: in batches of any size, of classes or of numbers; two tasks or more in all. Fewer shots than rows to
            delete are fine: classes then die out.
        by: "attention" for an AttendingLearner, "influence" for any, or a function of learner and episode that ranks
            rows in another way, such as gradients of the input.
        n_deleted: K, the length of the deletion curve.
        seed: random seed of the random rows; the same seed gives the same result, however the episodes are batched.

    Raises:
        ConfigError: `by` is unknown, the learner does not attend, or it is transductive.
        EpisodeError: no episodes, or a task with fewer than two real rows.

    Examples:
        >>> from regard.learners import Matching
        >>> from regard.nn.mlp import MLP
        >>> from regard.sampling import Dataset, EpisodeSampler
        >>> x = torch.eye(6).repeat_interleave(6, 0) + 0.1 * torch.randn(36, 6)
        >>> source = EpisodeSampler(Dataset.of(x, torch.arange(6).repeat_interleave(6)), n_way=3, n_shot=2, n_query=2)
        >>> found = faithfulness(Matching(MLP(6)), source.batches(8, 4), n_deleted=2)
        >>> len(found.top_curve), -1 <= found.difference.mean <= 1
        (3, True)
    """
    if not callable(by) and by not in get_args(By):
        raise ConfigError(f"by is {by!r}: {did_you_mean(by, get_args(By))}")
    if by == "attention" and not isinstance(learner, AttendingLearner):
        raise ConfigError(f"{type(learner).__name__} does not attend: choose by='influence', which every learner has.")
    if n_deleted < 1:
        raise ConfigError(f"n_deleted is {n_deleted}: expected at least 1 row to delete.")
    batches: list[dict[str, Tensor]] = []
    done = 0
    with eval_mode(learner):
        for episode in episodes:
            number = np.arange(done, done + episode.n_tasks)
            batches.append(_delete(learner, episode, by, n_deleted, seed, number))
            done += episode.n_tasks
    if not batches:
        raise EpisodeError("faithfulness got no episodes: expected two tasks or more, such as sampler.batches(100, 4).")
    values = {name: torch.cat([b[name] for b in batches]).double().numpy(force=True) for name in batches[0]}
    top, random = values["top"], values["random"]
    return Faithfulness(
        by="scores" if callable(by) else by,
        top=mean_interval(top),
        random=mean_interval(random),
        difference=paired_interval(top, random),
        top_curve=values["top_curve"].mean(0),
        random_curve=values["random_curve"].mean(0),
        per_episode={"top": top, "random": random},
    )


def _delete(
    learner: Learner, episode: Episode, by: By | Scores, n_deleted: int, seed: int, number: NDArray[np.int64]
) -> dict[str, Tensor]:
    """(B,) drops and (B, K + 1) curves of one batch of episodes."""
    is_regression = episode.support.is_regression
    rows = (episode.support.weight > 0).sum(1)
    if int(rows.min()) < 2:
        raise EpisodeError(
            f"a task has {int(rows.min())} support row(s): expected 2 or more, one to delete and one to compare."
        )
    n_query, n_rows = episode.query_y.shape[1], episode.support.n_rows
    noise = [
        torch.from_numpy(uniform(seed, stream, number, n_query * n_rows)).unflatten(1, (n_query, n_rows))
        for stream in (_OTHER, _ORDER)
    ]
    other, order = (part.to(episode.query_y.device) for part in noise)
    explained = influence(learner, episode)
    score = explained.contribution
    if callable(by):
        score = by(learner, episode)
        if score.shape != explained.contribution.shape:
            raise ConfigError(
                f"by gave scores of shape {tuple(score.shape)}: expected (tasks, queries, rows), "
                f"{tuple(explained.contribution.shape)}."
            )
    elif by == "attention" and explained.attention is not None:
        score = explained.attention
    reweighting = Reweighting.of(learner, episode)
    with torch.no_grad():
        kept = _Kept.of(reweighting, episode, explained.predicted)
        score = score.abs() if is_regression else score
        real = (reweighting.weights(n_query) > 0).expand(score.shape)
        top = score.masked_fill(~real, -torch.inf).argmax(-1, keepdim=True)
        # The random row is a real one, not the top one, of its class where there is one.
        y = torch.zeros_like(other) if is_regression else episode.support.y[:, None].expand_as(other)
        same = y == y.gather(-1, top)
        allowed = real.scatter(-1, top, False)
        # Noise lies in (0, 1), so a row of the same class always beats the others.
        return {
            "top": kept.drop(top),
            "random": kept.drop((other + same).masked_fill(~allowed, -torch.inf).argmax(-1, keepdim=True)),
            "top_curve": kept.curve(score, real, n_deleted),
            "random_curve": kept.curve(order, real, n_deleted),
        }


@dataclass(frozen=True)
class _Kept:
    """How much of each answer is left under other weights.

    `value` is of log-probabilities (B, Q, C) or of means (B, Q, T); `before` is (B, Q), with all rows.
    """

    reweighting: Reweighting
    episode: Episode
    value: Callable[[Tensor], Tensor]
    before: Tensor

    @classmethod
    def of(cls, reweighting: Reweighting, episode: Episode, predicted: Tensor) -> _Kept:
        """The probability of the class predicted (B, Q); of numbers, minus how far they are from those of all rows."""
        support = episode.support
        outputs = reweighting.predict(reweighting.weights(predicted.shape[1]))

        def probability(output: Tensor) -> Tensor:
            return output.exp().gather(-1, predicted[..., None])[..., 0]

        def nearness(output: Tensor) -> Tensor:
            return -((output - outputs).abs() / unit[:, None]).sum(-1)

        if not support.is_regression:
            return cls(reweighting, episode, probability, probability(outputs))
        share = (support.weight / support.weight.sum(1, keepdim=True))[..., None]
        square = (share * (support.y - (share * support.y).sum(1, keepdim=True)).square()).sum(1)
        unit = torch.where(square > 0, square, 1.0).sqrt()  # (B, T)
        return cls(reweighting, episode, nearness, torch.zeros_like(outputs[..., 0]))

    def without(self, deleted: Tensor) -> Tensor:
        """(B, Q): with the rows (B, Q, S) deleted."""
        weight = self.reweighting.weights(deleted.shape[1]).masked_fill(deleted, 0.0)
        return self.value(self.reweighting.predict(weight))

    def mean(self, value: Tensor) -> Tensor:
        """(B, Q) to (B,), without padding."""
        return task_mean(value, self.episode.query_weight)

    def drop(self, row: Tensor) -> Tensor:
        """(B,): the drop when row (B, Q, 1) is deleted."""
        deleted = torch.zeros((*row.shape[:2], self.episode.support.n_rows), dtype=torch.bool, device=row.device)
        return self.mean(self.before - self.without(deleted.scatter(-1, row, True)))

    def curve(self, score: Tensor, real: Tensor, n_deleted: int) -> Tensor:
        """(B, K + 1): after 0 .. K deletions, highest score first. The last row of a task always stays."""
        order = torch.argsort(score.masked_fill(~real, -torch.inf), dim=-1, descending=True, stable=True)
        rank = order.argsort(dim=-1)
        last = real.sum(-1, keepdim=True) - 1
        steps = [self.without(rank < last.clamp_max(k)) for k in range(1, n_deleted + 1)]
        return torch.stack([self.mean(p) for p in (self.before, *steps)], -1)

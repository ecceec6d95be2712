"""Leaks that show in the predictions: a learner that knows without evidence, or that looks at other queries.

Predictions that should be equal may differ by rounding, and much where a learner divides by small numbers, as batch
statistics do. So a difference is a fault only where a copy of the learner shows it in float64 too.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from regard.episode import Episode, Items, map_items
from regard.evaluation.evaluate import device_of
from regard.evaluation.intervals import paired_interval
from regard.evaluation.leaks.context import LEVEL, Finding, LeakContext, judged, percent, probabilities
from regard.learners.base import Learner

_ROUNDING = 1e-6  # of a share
_FEW = 8  # episodes


def nothing_is_known_without_evidence(context: LeakContext) -> Finding:
    """With the same item for every support row, whatever its label, accuracy is chance; targets: the mean's error."""
    check = "chance level before there is evidence"
    achieved, chance = [], []
    for number in context.numbers():
        episode = context.episode(number)
        support = episode.support
        blank = map_items(lambda t: t[:, :1].expand_as(t), support.x)
        p = context.answer(replace(episode, support=replace(support, x=blank)))
        weight = episode.query_weight.double().cpu()
        if support.is_regression:
            error, error_of_mean = _errors(p, episode)
            achieved.append(-error)
            chance.append(-error_of_mean)
            continue
        # Ties are shared: a learner that cannot tell predicts evenly, and argmax would say class 0.
        best = p >= p.amax(-1, keepdim=True) - context.tolerance / 10
        right = best.gather(-1, episode.query_y.cpu()[..., None])[..., 0] / best.sum(-1)
        achieved.append(float((right * weight).sum() / weight.sum()))
        chance.append(1.0 / int((support.membership().sum(1) > 0).sum()))
    interval = paired_interval(achieved, chance, level=LEVEL)
    if context.episode(0).support.is_regression:
        usual = float(np.mean(np.abs(chance)))
        above = [f"error {interval} below that of the support's mean"] if interval.low > 0.02 * usual else []
        return judged(check, above, f"error {interval} below that of the support's mean, {usual:.3g}")
    above = [f"{percent(interval)} points above chance without any evidence"] if interval.low > _ROUNDING else []
    return judged(check, above, f"{percent(interval)} points from chance ({100 * np.mean(chance):.1f})")


def _errors(mean: Tensor, episode: Episode) -> tuple[float, float]:
    """Mean absolute error of the predictions, and of the support's mean target for every query."""
    weight = episode.query_weight.double().cpu()[..., None]
    share = episode.support.weight.double().cpu()[..., None]
    y, support_y = episode.query_y.double().cpu(), episode.support.y.double().cpu()
    centre = (support_y * share).sum(1, keepdim=True) / share.sum(1, keepdim=True)
    total = weight.sum() * y.shape[-1]
    return float(((mean - y).abs() * weight).sum() / total), float(((centre - y).abs() * weight).sum() / total)


def classes_can_be_renamed(context: LeakContext) -> Finding:
    """Renamed classes are predicted under their new names; a learner that does not promise it loses no accuracy."""
    check = "classes can be renamed"
    if context.episode(0).support.is_regression:
        return Finding(check, "does not apply", "targets are numbers")

    def gap(learner: Learner, episode: Episode) -> float:
        renamed, name = _renamed(episode)
        return float((probabilities(learner, renamed)[..., name] - probabilities(learner, episode)).abs().max())

    if context.learner.relabels:
        return _agree(context, check, gap)
    before, after = [], []
    for number in context.numbers():
        episode = context.episode(number)
        renamed, _ = _renamed(episode)
        before.append(_accuracy(context.answer(episode), episode))
        after.append(_accuracy(context.answer(renamed), renamed))
    moved = paired_interval(before, after, level=LEVEL)
    lost = [] if moved.covers(0.0) else [f"accuracy changes by {percent(moved)} points"]
    return judged(check, lost, f"accuracy changes by {percent(moved)} points; the learner does not claim more")


def weight_0_is_absence(context: LeakContext) -> Finding:
    """Support rows of weight 0 change nothing, whatever they hold: here queries under wrong labels."""
    check = "support rows of weight 0 are absent"

    def padded(episode: Episode, weight: float) -> Episode:
        support = episode.support
        n = min(4, episode.query_y.shape[1])
        x = _side_by_side(support.x, map_items(lambda t: t[:, :n], episode.query_x))
        y = support.y.roll(1, 1)[:, :1].expand(-1, n, *support.y.shape[2:])
        added = torch.full_like(support.weight[:, :1], weight).expand(-1, n)
        more = replace(support, x=x, y=torch.cat([support.y, y], 1), weight=torch.cat([support.weight, added], 1))
        return replace(episode, support=more)

    def gap(learner: Learner, episode: Episode) -> float:
        return float((probabilities(learner, padded(episode, 0.0)) - probabilities(learner, episode)).abs().max())

    if not context.learner.transductive:
        return _agree(context, check, gap)
    # Batch statistics see rows of weight 0 as well; but a learner that takes no notice of the weight is at fault.
    numbers = context.numbers()[:_FEW]
    plain, none, one = ([_padded_answer(context, n, padded, w) for n in numbers] for w in (None, 0.0, 1.0))
    by_weight = max(float((a - b).abs().max()) for a, b in zip(none, one, strict=True))
    by_rows = max(float((a - b).abs().max()) for a, b in zip(plain, one, strict=True))
    ignored = by_weight <= 1e-6 and by_rows > context.tolerance
    told = f"rows of weight 1 move probabilities by {by_rows:.2g}, and by {by_weight:.2g} against weight 0"
    return judged(check, [told] if ignored else [], told)


def _padded_answer(
    context: LeakContext, number: int, padded: Callable[[Episode, float], Episode], weight: float | None
) -> Tensor:
    episode = context.episode(number)
    return context.answer(episode if weight is None else padded(episode, weight))


def _side_by_side(a: Items, b: Items) -> Items:
    if isinstance(a, dict) and isinstance(b, dict):
        return {key: torch.cat([a[key], b[key]], 1) for key in a}
    assert isinstance(a, Tensor) and isinstance(b, Tensor)
    return torch.cat([a, b], 1)


def queries_can_be_shuffled(context: LeakContext) -> Finding:
    """The order of the queries does not matter."""

    def shuffled(episode: Episode) -> tuple[Episode, Tensor]:
        order = torch.randperm(episode.query_y.shape[1], generator=torch.Generator().manual_seed(0))
        return _queries(episode, order), order

    # Batch statistics, too, do not know an order: this holds for transductive learners as well.
    return _told(context, "queries can be shuffled", shuffled, transductive_may=False)


def queries_can_be_removed(context: LeakContext) -> Finding:
    """A query alone gets the prediction that it got among the others."""

    def alone(episode: Episode) -> tuple[Episode, Tensor]:
        first = (episode.query_weight[0] > 0).nonzero()[:1, 0].cpu()
        return _queries(episode, first), first

    return _told(context, "queries can be removed", alone)


def no_statistics_of_other_queries(context: LeakContext) -> Finding:
    """A query gets the same prediction whatever the other queries are: no batch statistics flow between them."""

    def among_copies(episode: Episode) -> tuple[Episode, Tensor]:
        # The others become copies of the first one: their statistics change as much as they can.
        n_queries = episode.query_y.shape[1]
        return _queries(episode, torch.zeros(n_queries, dtype=torch.int64)), torch.zeros(n_queries, dtype=torch.int64)

    return _told(context, "no batch statistics of other queries", among_copies)


def the_same_episode_gives_the_same_prediction(context: LeakContext) -> Finding:
    """The same episode twice gets the same bits."""
    check = "the same episode twice, the same prediction"
    gaps = [
        float((context.answer(context.episode(n)) - context.answer(context.episode(n))).abs().max())
        for n in context.numbers()
    ]
    worst = f"probabilities differ by at most {max(gaps):.2g}"
    return judged(check, [] if max(gaps) == 0 else [worst], f"{context.n_episodes} episodes, the same bits")


def a_batch_of_one_is_a_batch_of_many(context: LeakContext) -> Finding:
    """An episode gets the same predictions alone and beside others."""
    check = "a batch of one equals a batch of many"
    if context.learner.transductive:
        return Finding(check, "does not apply", "the learner says it is transductive; it gets one task at a time")

    def gap(learner: Learner, batch: Episode) -> float:
        together = probabilities(learner, batch)
        alone = [probabilities(learner, batch.tasks(slice(i, i + 1)))[0] for i in range(batch.n_tasks)]
        return max(float((together[i] - p).abs().max()) for i, p in enumerate(alone))

    starts = range(0, context.n_episodes, 8)
    batches = [range(start, min(start + 8, context.n_episodes)) for start in starts]
    return _agree(context, check, gap, [lambda n=n: context.sampler(n).to(device_of(context.learner)) for n in batches])


def _told(
    context: LeakContext,
    check: str,
    change: Callable[[Episode], tuple[Episode, Tensor]],
    transductive_may: bool = True,
) -> Finding:
    """Compare predictions before and after a change of the queries; `change` also says which query each one was."""

    def gap(learner: Learner, episode: Episode) -> float:
        changed, place = change(episode)
        return float((probabilities(learner, changed) - probabilities(learner, episode)[:, place]).abs().max())

    if transductive_may and context.learner.transductive:
        moved = max(gap(context.learner, context.episode(number)) for number in context.numbers())
        reason = f"the learner says it is transductive, and its results do; probabilities differ by at most {moved:.2g}"
        return Finding(check, "does not apply", reason)
    return _agree(context, check, gap)


def _agree(
    context: LeakContext,
    check: str,
    gap: Callable[[Learner, Episode], float],
    episodes: Sequence[Callable[[], Episode]] | None = None,
) -> Finding:
    """Judge the largest difference of predictions that should be equal, in float64 where it is more than rounding."""
    if episodes is None:
        episodes = [lambda n=n: context.episode(n) for n in context.numbers()]
    gaps = [gap(context.learner, episode()) for episode in episodes]
    scale = 1.0 if context.episode(0).n_classes else float(context.episode(0).support.y.abs().mean()) + 1e-12
    moved = f"{'probabilities' if context.episode(0).n_classes else 'means'} differ by at most {max(gaps):.2g}"
    large = [i for i, difference in enumerate(gaps) if difference > context.tolerance * scale]
    if not large:
        return judged(check, [], moved)
    exact = _float64(context.learner)
    worst = sorted(large, key=lambda i: -gaps[i])[:_FEW]
    try:
        again = [gap(exact, _in_float64(episodes[i]())) for i in worst]
    except (RuntimeError, TypeError, ValueError):
        return judged(check, [moved], moved)
    # Decisions between near ties may jump by any rounding, so most of them count.
    stays = [new > 1e-6 * scale and new > gaps[i] / 100 for i, new in zip(worst, again, strict=True)]
    told = f"{moved}, in float64 {max(again):.2g}"
    return judged(check, [told] if any(stays) else [], told)


def _float64(learner: Learner) -> Learner:
    exact = copy.deepcopy(learner).double()
    return exact.eval()


def _in_float64(episode: Episode) -> Episode:
    return episode.to(dtype=torch.float64)


def _queries(episode: Episode, index: Tensor) -> Episode:
    """The same task with the queries at `index`."""
    place = index.to(episode.query_y.device)
    x: Items = map_items(lambda t: t[:, place], episode.query_x)
    return replace(episode, query_x=x, query_y=episode.query_y[:, place], query_weight=episode.query_weight[:, place])


def _renamed(episode: Episode) -> tuple[Episode, Tensor]:
    """The task with its classes named in another order, and the new name of each old one."""
    # Only names that the task uses are exchanged, so that fewer classes than columns stay the first columns.
    n_present = int((episode.support.membership().sum(1) > 0).sum())
    name = torch.arange(episode.n_classes)
    name[:n_present] = name[:n_present].roll(1)
    there = name.to(episode.query_y.device)
    support = replace(episode.support, y=there[episode.support.y])
    return replace(episode, support=support, query_y=there[episode.query_y]), name


def _accuracy(p: Tensor, episode: Episode) -> float:
    weight = episode.query_weight.double().cpu()
    return float(((p.argmax(-1) == episode.query_y.cpu()) * weight).sum() / weight.sum())

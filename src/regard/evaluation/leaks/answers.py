"""Leaks that show in the answers: a learner that knows without evidence, or that peeks at other queries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from regard.episode import Episode, Items, map_items
from regard.evaluation.evaluate import device_of
from regard.evaluation.intervals import paired_interval
from regard.evaluation.leaks.context import LEVEL, Finding, LeakContext, judged, percent

_ROUNDING = 1e-6  # of a share


def nothing_is_known_without_evidence(context: LeakContext) -> Finding:
    """With the same item for every support row, whatever its label, accuracy is chance."""
    check = "chance level before there is evidence"
    correct, chance = [], []
    for number in context.numbers():
        episode = context.episode(number)
        support = episode.support
        blank = map_items(lambda t: t[:, :1].expand_as(t), support.x)  # type: ignore[type-var]
        p = context.answer(replace(episode, support=replace(support, x=blank)))
        # Ties are shared: a learner that cannot tell answers evenly, and argmax would say class 0.
        best = p >= p.amax(-1, keepdim=True) - context.tolerance / 10
        right = best.gather(-1, episode.query_y.cpu()[..., None])[..., 0] / best.sum(-1)
        weight = episode.query_weight.double().cpu()
        correct.append(float((right * weight).sum() / weight.sum()))
        chance.append(1.0 / int((support.membership().sum(1) > 0).sum()))
    interval = paired_interval(correct, chance, level=LEVEL)
    above = [f"{percent(interval)} points above chance without any evidence"] if interval.low > _ROUNDING else []
    return judged(check, above, f"{percent(interval)} points from chance ({100 * np.mean(chance):.1f})")


def classes_can_be_renamed(context: LeakContext) -> Finding:
    """Renamed classes are predicted under their new names; a learner that cannot promise it loses no accuracy by it."""
    check = "classes can be renamed"
    gaps, before, after = [], [], []
    for number in context.numbers():
        episode = context.episode(number)
        renamed, name = _renamed(episode)
        p, q = context.answer(episode), context.answer(renamed)
        gaps.append(float((q[..., name] - p).abs().max()))
        before.append(_accuracy(p, episode))
        after.append(_accuracy(q, renamed))
    worst = f"probabilities differ by at most {max(gaps):.2g}"
    if context.learner.relabels:
        return judged(check, [] if max(gaps) <= context.tolerance else [worst], worst)
    moved = paired_interval(before, after, level=LEVEL)
    lost = [] if moved.covers(0.0) else [f"accuracy changes by {percent(moved)} points"]
    return judged(check, lost, f"accuracy changes by {percent(moved)} points; the learner does not claim more")


def queries_can_be_shuffled(context: LeakContext) -> Finding:
    """The order of the queries does not matter."""

    def shuffled(episode: Episode) -> tuple[Episode, Tensor]:
        order = torch.randperm(episode.query_y.shape[1], generator=torch.Generator().manual_seed(0))
        return _queries(episode, order), order

    # Batch statistics, too, do not know an order: this holds for transductive learners as well.
    return _told(context, "queries can be shuffled", shuffled, transductive_may=False)


def queries_can_be_removed(context: LeakContext) -> Finding:
    """A query alone gets the answer that it got among the others."""

    def alone(episode: Episode) -> tuple[Episode, Tensor]:
        first = (episode.query_weight[0] > 0).nonzero()[:1, 0].cpu()
        return _queries(episode, first), first

    return _told(context, "queries can be removed", alone)


def other_queries_lend_no_statistics(context: LeakContext) -> Finding:
    """A query gets the same answer whatever the other queries are: no batch statistics flow between them."""

    def among_copies(episode: Episode) -> tuple[Episode, Tensor]:
        # The others become copies of the first one: their statistics change as much as they can.
        n_queries = episode.query_y.shape[1]
        return _queries(episode, torch.zeros(n_queries, dtype=torch.int64)), torch.zeros(n_queries, dtype=torch.int64)

    return _told(context, "other queries lend no batch statistics", among_copies)


def the_same_episode_gives_the_same_answer(context: LeakContext) -> Finding:
    """Asked twice, the learner answers with the same bits."""
    check = "the same episode twice, the same answer"
    gaps = [
        float((context.answer(context.episode(n)) - context.answer(context.episode(n))).abs().max())
        for n in context.numbers()
    ]
    worst = f"probabilities differ by at most {max(gaps):.2g}"
    return judged(check, [] if max(gaps) == 0 else [worst], f"{context.n_episodes} episodes, the same bits")


def a_batch_of_one_is_a_batch_of_many(context: LeakContext) -> Finding:
    """An episode gets the same answers alone and beside others."""
    check = "a batch of one equals a batch of many"
    if context.learner.transductive:
        return Finding(check, "does not apply", "the learner says it is transductive; it is asked one task at a time")
    gaps = []
    for start in range(0, context.n_episodes, 8):
        numbers = range(start, min(start + 8, context.n_episodes))
        together = context.answer(context.sampler(numbers).to(device_of(context.learner)))
        gaps += [
            float((together[i] - context.answer(context.episode(n))[0]).abs().max()) for i, n in enumerate(numbers)
        ]
    worst = f"probabilities differ by at most {max(gaps):.2g}"
    return judged(check, [] if max(gaps) <= context.tolerance else [worst], worst)


def _told(
    context: LeakContext,
    check: str,
    change: Callable[[Episode], tuple[Episode, Tensor]],
    transductive_may: bool = True,
) -> Finding:
    """Compare answers before and after a change of the queries; `change` also says which old query each new one is."""
    gaps = []
    for number in context.numbers():
        episode = context.episode(number)
        changed, place = change(episode)
        gaps.append(float((context.answer(changed) - context.answer(episode)[:, place]).abs().max()))
    moved = f"probabilities differ by at most {max(gaps):.2g}"
    if transductive_may and context.learner.transductive:
        return Finding(check, "does not apply", f"the learner says it is transductive, and its results do; {moved}")
    return judged(check, [] if max(gaps) <= context.tolerance else [moved], moved)


def _queries(episode: Episode, index: Tensor) -> Episode:
    """The same task with the queries at `index`."""
    place = index.to(episode.query_y.device)
    x: Items = map_items(lambda t: t[:, place], episode.query_x)  # type: ignore[type-var]
    return replace(episode, query_x=x, query_y=episode.query_y[:, place], query_weight=episode.query_weight[:, place])


def _renamed(episode: Episode) -> tuple[Episode, Tensor]:
    """The task with its classes named in another order, and the new name of each old one."""
    # Only names that the task uses are exchanged, so that fewer classes than columns stay the first columns.
    n_present = int((episode.support.membership().sum(1) > 0).sum())
    name = torch.arange(episode.n_classes or 0)
    name[:n_present] = name[:n_present].roll(1)
    there = name.to(episode.query_y.device)
    support = replace(episode.support, y=there[episode.support.y])
    return replace(episode, support=support, query_y=there[episode.query_y]), name


def _accuracy(p: Tensor, episode: Episode) -> float:
    weight = episode.query_weight.double().cpu()
    return float(((p.argmax(-1) == episode.query_y.cpu()) * weight).sum() / weight.sum())

"""The laws of what a learner answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from regard.episode import Episode, Items, Support, first_tensor, flatten_tasks, map_items, unflatten_tasks
from regard.errors import EpisodeError
from regard.learners.base import AttendingLearner, EncodingLearner, Learner
from regard.learners.states import join_states
from regard.testing.case import (
    Case,
    answer,
    answer_after,
    far,
    join_rows,
    numbers,
    poisoned,
    stripped,
    take_rows,
    without_weight,
)


def answers_have_the_right_shape(case: Case) -> Iterator[str]:
    """(B, Q, C) logits, finite for the classes of the task and minus infinity for others; or (B, Q, T); a loss (B,)."""
    episode, output = case.episode, case.learner(case.episode)
    support = episode.support
    width = support.y.shape[-1] if support.is_regression else support.n_classes
    expected = (*episode.query_y.shape[:2], width)
    got = tuple(numbers(output).shape[:3])
    if got != expected:
        yield f"the prediction is {got}, expected {expected}"
    elif isinstance(output, Tensor):
        present = support.membership().sum(1)[:, None].expand(expected) > 0
        if not bool(output[present].isfinite().all()):
            yield "a class of the task has a logit that is not finite"
        if bool((output[~present] != -torch.inf).any()):
            yield "a class that is not in the task has a logit above minus infinity"
    elif not bool(numbers(output).isfinite().all()):
        yield "a predicted mean or deviation is not finite"
    loss = case.learner.loss(episode)
    if loss.shape != (episode.n_tasks,) or not bool(loss.isfinite().all()):
        yield f"the loss is {tuple(loss.shape)}, {loss.tolist()}: expected finite numbers ({episode.n_tasks},)"


def forward_is_adapt_then_predict(case: Case) -> Iterator[str]:
    """`learner(episode)` is `predict(adapt(support), query_x)`."""
    if not case.learner.transductive:
        two_steps = answer(case.learner, case.episode.support, case.episode.query_x)
        yield from case.differ(case.learner(case.episode), two_steps, "in one call and in two")


def support_order_does_not_matter(case: Case) -> Iterator[str]:
    """Shuffled support rows give the same answer, where `ignores_order`."""
    if case.learner.ignores_order:
        support = case.episode.support
        order = torch.randperm(support.n_rows, generator=torch.Generator().manual_seed(1))
        shuffled = take_rows(support, order)
        yield from case.differ(answer_after(case, shuffled), case.learner(case.episode), "support rows shuffled")


def weight_zero_is_absence(case: Case) -> Iterator[str]:
    """Rows of weight 0, whatever they hold and wherever they stand, and rows that are not there give one answer."""
    support, expected = case.episode.support, case.learner(case.episode)
    foreign = without_weight(case.new_episode(1).support)
    padded = join_rows(join_rows(foreign, support), foreign)
    order = torch.argsort(torch.rand(padded.n_rows, generator=torch.Generator().manual_seed(2)))
    # The real rows keep their order among themselves, for learners that read in order.
    real = (order >= foreign.n_rows) & (order < foreign.n_rows + support.n_rows)
    order[real] = order[real].sort().values
    for what, rows in (("before and after", padded), ("in between", take_rows(padded, order))):
        yield from case.differ(answer_after(case, rows), expected, f"rows of weight 0 {what}")
        loss = case.learner.loss(replace(case.episode, support=rows))
        yield from far(loss, case.learner.loss(case.episode), case.tolerance, f"loss with rows of weight 0 {what}")
    yield from _poison_is_not_felt(case)


def _poison_is_not_felt(case: Case) -> Iterator[str]:
    """Support rows and queries of weight 0 that hold NaN, infinity and labels of no class; forward and gradient."""
    episode, parameters = case.episode, [p for p in case.learner.parameters() if p.requires_grad]

    def loss_and_gradients(of: Episode) -> list[Tensor]:
        loss = case.learner.loss(of)
        if not parameters or not loss.requires_grad:
            return [loss]
        gradients = torch.autograd.grad(loss.sum(), parameters, allow_unused=True)
        return [loss, *(g for g in gradients if g is not None)]

    expected, gradients = numbers(case.learner(episode)), loss_and_gradients(episode)
    for value in (float("nan"), float("inf")):
        asked = Support(episode.query_x, episode.query_y, episode.query_weight, episode.n_classes)
        bad = poisoned(case.new_episode(1).support, value)
        rows, queries = join_rows(episode.support, bad), join_rows(asked, bad)
        padded = Episode(rows, queries.x, queries.y, queries.weight, episode.n_classes)
        got = numbers(answer_after(case, rows))
        yield from far(got, expected, case.tolerance, f"rows of weight 0 that hold {value}")
        if case.learner.transductive:
            continue
        for a, b in zip(loss_and_gradients(padded), gradients, strict=True):
            yield from far(a, b, case.tolerance, f"loss or gradient with rows of weight 0 that hold {value}")


def weight_two_is_twice(case: Case) -> Iterator[str]:
    """Rows of doubled weight and the same rows twice give one answer, where `counts_weight`."""
    if case.learner.counts_weight:
        support = case.episode.support
        rows = torch.arange(0, support.n_rows, 2)  # every other row: doubling all would change no average
        doubled = support.weight.clone()
        doubled[:, rows] *= 2
        twice = take_rows(support, torch.cat([torch.arange(support.n_rows), rows]))
        heavy = answer_after(case, replace(support, weight=doubled))
        yield from case.differ(heavy, answer_after(case, twice), "rows of doubled weight and twice")


def a_batch_is_a_loop(case: Case) -> Iterator[str]:
    """Each task by itself, without its padding and with its own number of classes, gives what the batch gave."""
    together, losses = numbers(case.learner(case.episode)), case.learner.loss(case.episode)
    if case.learner.transductive:
        return
    for b in range(case.episode.n_tasks):
        alone = stripped(case.episode, b)
        got = numbers(case.learner(alone))
        asked = case.episode.query_weight[b] > 0
        expected = together[b : b + 1, asked]
        if not alone.support.is_regression:
            expected = expected[..., : alone.n_classes]
        yield from far(got, expected, case.tolerance, f"task {b} alone")
        yield from far(case.learner.loss(alone), losses[b : b + 1], case.tolerance, f"loss of task {b} alone")


def joined_states_answer_alike(case: Case) -> Iterator[str]:
    """States of single tasks, joined, answer as the batch; a learner whose states cannot be joined may say so."""
    if case.learner.transductive:
        return
    episode = case.episode
    alone = [case.learner.adapt(episode.tasks(slice(b, b + 1)).support) for b in range(episode.n_tasks)]
    try:
        state = join_states(alone)
    except EpisodeError:
        return
    expected = answer(case.learner, episode.support, episode.query_x)
    got = case.learner.predict(state, episode.query_x)
    yield from far(numbers(got), numbers(expected), case.tolerance, "states of single tasks, joined,")


def queries_do_not_see_each_other(case: Case) -> Iterator[str]:
    """One query at a time gives what all at once gave, unless the learner says it is `transductive`."""
    if case.learner.transductive:
        return
    state, query_x = case.learner.adapt(case.episode.support), case.episode.query_x
    together = numbers(case.learner.predict(state, query_x))
    for q in range(together.shape[1]):
        one = map_items(lambda t, q=q: t[:, q : q + 1], query_x)
        alone = numbers(case.learner.predict(state, one))
        yield from far(alone, together[:, q : q + 1], case.tolerance, f"query {q} alone")


def adapting_leaves_no_trace(case: Case) -> Iterator[str]:
    """Adapting to one support set changes no later answer, no attribute and no entry of the state dict."""
    learner, other = case.learner, case.new_episode(1)
    before, stored = _attributes(learner), {k: v.clone() for k, v in learner.state_dict().items()}
    state = learner.adapt(case.episode.support)
    first = numbers(learner.predict(state, case.episode.query_x))
    learner.predict(learner.adapt(other.support), other.query_x)
    learner.loss(other)
    yield from far(numbers(learner.predict(state, case.episode.query_x)), first, 0.0, "the first state, asked later")
    yield from far(numbers(answer(learner, case.episode.support, case.episode.query_x)), first, 0.0, "adapted again")
    after = _attributes(learner)
    changed = sorted(k for k in before.keys() | after.keys() if not _same(before.get(k), after.get(k)))
    if changed:
        yield f"adapt or predict changed the attributes {', '.join(changed)}"
    different = [k for k, v in learner.state_dict().items() if k not in stored or not torch.equal(stored[k], v)]
    if different:
        yield f"adapt or predict changed the state dict at {', '.join(different)}"


def relabelling_relabels(case: Case) -> Iterator[str]:
    """Classes named otherwise are predicted under their other names, where `relabels`."""
    support = case.episode.support
    if support.is_regression or not case.learner.relabels:
        return
    name = torch.arange(support.n_classes).roll(1)
    got = numbers(answer_after(case, replace(support, y=name[support.y])))[..., name]
    yield from far(got, numbers(case.learner(case.episode)), case.tolerance, "classes renamed")


def saved_is_loaded(case: Case) -> Iterator[str]:
    """A fresh learner that loads the state dict predicts the very same numbers."""
    other = case.new_learner(5)
    other.load_state_dict(case.learner.state_dict())
    yield from far(numbers(other(case.episode)), numbers(case.learner(case.episode)), 0.0, "saved and loaded")


def attention_is_a_distribution(case: Case) -> Iterator[str]:
    """`attend` is at least 0, sums to 1 and is exactly 0 on padding; where it `rebuilds`, it gives the prediction."""
    learner, support = case.learner, case.episode.support
    if not isinstance(learner, AttendingLearner):
        return
    state = learner.adapt(support)
    p = learner.attend(state, case.episode.query_x)
    expected = (*case.episode.query_y.shape[:2], support.n_rows)
    if tuple(p.shape) != expected:
        yield f"attention is {tuple(p.shape)}, expected {expected}"
        return
    if not bool((p >= 0).all()):
        yield f"attention falls to {p.min().item():.3g}, expected at least 0"
    yield from far(p.sum(-1), torch.ones_like(p[..., 0]), case.tolerance, "attention summed over rows and 1")
    on_padding = (p * (support.weight == 0)[:, None]).abs().max().item()
    if on_padding > 0:
        yield f"attention of {on_padding:.3g} rests on a row of weight 0"
    if learner.rebuilds:
        output = learner.predict(state, case.episode.query_x)
        if isinstance(output, Distribution):
            yield from far(p @ support.y, output.mean, case.tolerance, "targets averaged by attention and the mean")
        else:
            rebuilt, whole = p @ support.one_hot(), output.softmax(-1)
            yield from far(rebuilt, whole, case.tolerance, "attention summed by class and the probability")


def an_empty_support_is_survived(case: Case) -> Iterator[str]:
    """A task without examples gives finite numbers and leaves its batch alone; a batch without rows says so."""
    support, expected = case.episode.support, numbers(case.learner(case.episode))
    weight = support.weight.clone()
    weight[0] = 0
    got = numbers(answer_after(case, replace(support, weight=weight)))
    if not bool(got[0].isfinite().all()):
        yield "a task whose rows all have weight 0 gives NaN or infinity"
    if not case.learner.transductive:
        yield from far(got[1:], expected[1:], case.tolerance, "tasks beside an empty one")
    try:
        nothing = numbers(answer_after(case, take_rows(support, torch.arange(0))))
    except EpisodeError:
        return
    if not bool(nothing.isfinite().all()):
        yield "a support set of no rows gives NaN or infinity, and no EpisodeError"


def encoded_is_fresh(case: Case) -> Iterator[str]:
    """Items encoded once, each by itself, give what a fresh episode gives, for an `EncodingLearner`."""
    learner = case.learner
    if not isinstance(learner, EncodingLearner) or learner.transductive:
        return
    support = case.episode.support
    rows = replace(support, x=_encode_singly(learner, support.x))
    state = learner.adapt_encoded(rows)
    output = learner.predict_encoded(state, _encode_singly(learner, case.episode.query_x))
    yield from case.differ(output, learner(case.episode), "items encoded before")


def the_wrong_targets_are_refused(case: Case) -> Iterator[str]:
    """Numbers given to a classifier, or classes to a regressor, raise an EpisodeError, in `adapt` and in `forward`."""
    learner, support = case.learner, case.episode.support
    if learner.classifies and learner.regresses:
        return
    rows = support.y.shape[:2]
    y = torch.zeros(rows, dtype=torch.int64) if support.is_regression else torch.zeros(*rows, 1, dtype=torch.float64)
    wrong = Support(support.x, y, support.weight)
    query_y = y.new_zeros(*case.episode.query_y.shape[:2], *y.shape[2:])
    episode = Episode(wrong, case.episode.query_x, query_y, case.episode.query_weight)
    for what, attempt in (("adapt", lambda: learner.adapt(wrong)), ("forward", lambda: learner(episode))):
        try:
            attempt()
        except EpisodeError:
            continue
        except Exception as error:
            yield f"{what} raised {type(error).__name__} ({error}), expected an EpisodeError"
        else:
            yield f"{what} took {y.dtype} targets of shape {tuple(y.shape)} without a word, expected an EpisodeError"


def _encode_singly(learner: EncodingLearner, x: Items) -> Tensor:
    flat = flatten_tasks(x)
    n_items = first_tensor(flat).shape[0]
    one = [learner.encode(map_items(lambda t, i=i: t[i : i + 1], flat)) for i in range(n_items)]
    return unflatten_tasks(torch.cat(one), first_tensor(x).shape[0])


def _attributes(learner: Learner) -> dict[str, tuple[object, object]]:
    """Every attribute of every module, with a mark of its content; the object is kept, so that no id is used twice."""
    return {
        f"{path}.{key}".lstrip("."): (value, _mark(value))
        for path, module in learner.named_modules()
        for key, value in vars(module).items()
    }


def _mark(value: Any) -> object:
    if isinstance(value, Tensor):
        return value._version
    if isinstance(value, dict):
        return [(key, id(v), _mark(v)) for key, v in value.items()]
    if isinstance(value, list | tuple | set):
        return [(id(v), _mark(v)) for v in value]
    return value if isinstance(value, int | float | str | bool) else id(value)


def _same(a: tuple[object, object] | None, b: tuple[object, object] | None) -> bool:
    if a is None or b is None:
        return False
    plain = isinstance(a[0], int | float | str | bool)
    return a[1] == b[1] and (plain or a[0] is b[0])

"""The laws of how a learner is used: in training, without gradients, in float32, in threads, and that it learns."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from regard.episode import Episode, Items, Support, map_items
from regard.learners.base import AttendingLearner, Learner
from regard.testing.answers import (
    a_batch_is_a_loop,
    queries_do_not_see_each_other,
    relabelling_relabels,
    support_order_does_not_matter,
    weight_zero_is_absence,
)
from regard.testing.case import Case, answer, far, numbers, take_rows


def training_mode_keeps_the_laws(case: Case) -> Iterator[str]:
    """What is padding, another task, another query or another order in prediction is so in training too.

    A learner that draws random numbers in training is not held to this: two draws differ for a good reason.
    """
    learner = case.learner.train()
    seeds = []
    for seed in (0, 1):
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            seeds.append((numbers(learner(case.episode)), learner.loss(case.episode)))
    (first, first_loss), (second, second_loss) = seeds
    if learner.transductive or not (torch.equal(first, second) and torch.equal(first_loss, second_loss)):
        return
    for law in (
        weight_zero_is_absence,
        a_batch_is_a_loop,
        queries_do_not_see_each_other,
        support_order_does_not_matter,
        relabelling_relabels,
    ):
        for sentence in law(case):
            yield f"in training mode, {law.__name__}: {sentence}"


def gradients_change_no_answer(case: Case) -> Iterator[str]:
    """With gradients recorded, under `no_grad` and under `inference_mode`: one answer and one loss."""
    with torch.enable_grad():
        expected, loss = numbers(case.learner(case.episode)).detach(), case.learner.loss(case.episode).detach()
    for what, mode in (("no_grad", torch.no_grad()), ("inference_mode", torch.inference_mode())):
        with mode:
            yield from far(numbers(case.learner(case.episode)), expected, case.tolerance, f"under {what}")
            yield from far(case.learner.loss(case.episode), loss, case.tolerance, f"the loss under {what}")


def float32_is_near_float64(case: Case) -> Iterator[str]:
    """In float32 the answer is that of float64, to a percent."""
    with torch.no_grad():
        expected, loss = numbers(case.learner(case.episode)), case.learner.loss(case.episode)
        learner, episode = case.new_learner(0).float(), case.episode.to(dtype=torch.float32)
        torch.set_default_dtype(torch.float32)
        try:
            got, got_loss = numbers(learner(episode)), learner.loss(episode)
        finally:
            torch.set_default_dtype(torch.float64)
    # Probabilities, as a log-probability of almost nothing has few digits.
    got = got.double()
    if not case.episode.support.is_regression:
        got, expected = got.exp(), expected.exp()
    yield from far(got, expected, 1e-2, "in float32")
    yield from far(
        got_loss.double().clamp(max=20), loss.clamp(max=20), 1e-2, "the loss in float32"
    )  # the log of no probability at all is another number in each dtype


def random_numbers_are_left_alone(case: Case) -> Iterator[str]:
    """In eval mode torch's and NumPy's global generators are neither seeded nor drawn from; Python's is not seeded."""
    ours = random.getstate()  # checkers of annotations draw from it, so only a seed shows
    ours_numpy = np.random.get_state()  # noqa: NPY002
    np.random.seed(12345)  # noqa: NPY002  # a state that no learner leaves behind by seeding twice alike
    numpy_state = repr(np.random.get_state())  # noqa: NPY002
    after = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(12345)
        torch_state = torch.get_rng_state()
        for seed in (1, 2):
            random.seed(seed)
            answer(case.learner, case.episode.support, case.episode.query_x)
            case.learner(case.episode)
            after.append(random.getstate())
        random.setstate(ours)
        if not torch.equal(torch_state, torch.get_rng_state()):
            yield "adapt or predict changed the state of torch's global generator: take a torch.Generator instead"
    changed = numpy_state != repr(np.random.get_state())  # noqa: NPY002
    np.random.set_state(ours_numpy)  # noqa: NPY002
    if changed:
        yield "adapt or predict changed the state of NumPy's global generator: take a numpy.random.Generator instead"
    if after[0] == after[1]:
        yield "adapt or predict seeded Python's global generator: take a random.Random instead"


def a_state_is_its_own(case: Case) -> Iterator[str]:
    """A state does not change with the tensors it was made from, and nobody's tensors are written to."""
    episode = case.episode.map(torch.clone)
    state = case.learner.adapt(episode.support)
    first = numbers(case.learner.predict(state, episode.query_x))
    case.learner(episode)
    case.learner.loss(episode)
    pairs = zip(_tensors(episode), _tensors(case.episode), strict=True)
    if any(not torch.equal(ours, given) for ours, given in pairs):
        yield "a tensor of the episode was written to"
    for t in _tensors(episode.support):
        t.copy_(t.flip(1)) if t.is_floating_point() else t.zero_()
    yield from far(
        numbers(case.learner.predict(state, case.episode.query_x)), first, 0.0, "the support overwritten after adapt"
    )


def threads_agree(case: Case) -> Iterator[str]:
    """Eight threads on one learner get what one after the other gets."""
    episodes = [case.new_episode(seed) for seed in range(4)]

    def predict(episode: Episode) -> Tensor:
        with torch.no_grad():
            return numbers(answer(case.learner, episode.support, episode.query_x))

    expected = [predict(episode) for episode in episodes]
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(predict, episodes * 4))
    for a, b in zip(got, expected * 4, strict=True):
        yield from far(a, b, case.tolerance, "in eight threads and one after the other")


def absent_queries_are_not_scored(case: Case) -> Iterator[str]:
    """A query of weight 0 adds nothing to the loss, whatever it holds; a fractional weight counts as such."""
    episode, n_query = case.episode, case.episode.query_y.shape[1]
    if case.learner.transductive:
        return
    # Each query by itself is one task of a batch: n_query copies of every task, of which each scores another query.
    copies = episode.tasks(torch.arange(episode.n_tasks).repeat_interleave(n_query))
    scored = torch.eye(n_query, dtype=torch.bool).repeat(episode.n_tasks, 1)
    single = replace(copies, query_weight=torch.where(scored, copies.query_weight, 0.0))
    if episode.support.is_regression:
        labels = torch.where(scored[..., None], copies.query_y, copies.query_y.roll(1, 1))
    else:
        labels = torch.where(scored, copies.query_y, 0)
    got, expected = case.learner.loss(replace(single, query_y=labels)), case.learner.loss(single)
    yield from far(got, expected, case.tolerance, "the loss of one query, the labels beside it changed")
    if case.learner.counts_weight:
        fraction = torch.linspace(0.7, 0.3, n_query) * episode.query_weight  # the first, doubled, is above 1
        index = torch.tensor([*range(n_query), 0])
        doubled = fraction.clone()
        doubled[:, 0] *= 2
        twice = Episode(
            episode.support,
            map_items(lambda t: t[:, index], episode.query_x),
            episode.query_y[:, index],
            fraction[:, index],
            episode.n_classes,
        )
        heavy = case.learner.loss(replace(episode, query_weight=doubled))
        yield from far(heavy, case.learner.loss(twice), case.tolerance, "the loss, a query of doubled weight and twice")


def attention_is_felt(case: Case) -> Iterator[str]:
    """Without the row it attends to most, an answer changes more than without the one it attends to least.

    For learners whose attention does not rebuild the answer; summed over queries and four episodes.
    """
    learner = case.learner
    if not isinstance(learner, AttendingLearner) or learner.rebuilds:
        return
    change = {"most": 0.0, "least": 0.0}
    with torch.no_grad():
        for seed in range(4):
            episode = case.new_episode(seed)
            support = episode.support
            p = learner.attend(learner.adapt(support), episode.query_x)
            present = (support.weight > 0)[:, None]
            chosen = {
                "most": torch.where(present, p, -1.0).argmax(-1),
                "least": torch.where(present, p, 2.0).argmin(-1),
            }
            whole = _probabilities(learner(episode))
            tasks = torch.arange(episode.n_tasks)
            for which, rows in chosen.items():
                for q in range(rows.shape[1]):
                    weight = support.weight.clone()
                    weight[tasks, rows[:, q]] = 0
                    without = learner(replace(episode, support=replace(support, weight=weight)))
                    change[which] += (_probabilities(without) - whole)[:, q].abs().sum().item()
    if not change["most"] > change["least"]:
        yield (
            f"without the most attended row answers change by {change['most']:.3g} in all, without the least attended "
            f"one by {change['least']:.3g}: the attention is not what the answer rests on"
        )


def attention_is_of_its_query_and_rows(case: Case) -> Iterator[str]:
    """Attention differs between queries whose answers differ, sees one query at a time, and follows its rows.

    For an `AttendingLearner`: the same rows for every query, another query's rows, and rows picked by where they stand
    look like attention and explain nothing.
    """
    learner = case.learner
    if not isinstance(learner, AttendingLearner):
        return
    apart = answers_apart = 0.0
    with torch.no_grad():
        for seed in range(4):
            episode = case.new_episode(seed)
            p = learner.attend(learner.adapt(episode.support), episode.query_x)
            answers = _probabilities(learner(episode))
            apart = max(apart, (p - p[:, :1]).abs().max().item())
            answers_apart = max(answers_apart, (answers - answers[:, :1]).abs().max().item())
        support, query_x = case.episode.support, case.episode.query_x
        state = learner.adapt(support)
        p = learner.attend(state, query_x)
        if not learner.transductive:
            alone = [
                learner.attend(state, map_items(lambda t, q=q: t[:, q : q + 1], query_x)) for q in range(p.shape[1])
            ]
            yield from far(torch.cat(alone, 1), p, case.tolerance, "attention of one query at a time")
        if learner.ignores_order:
            order = torch.randperm(support.n_rows, generator=torch.Generator().manual_seed(1))
            shuffled = learner.attend(learner.adapt(take_rows(support, order)), query_x)
            yield from far(shuffled, p[..., order], case.tolerance, "attention, support rows shuffled")
    if learner.attends_by_query and answers_apart > 1e-6 and not apart > 1e-9:
        yield (
            f"in four episodes every query attends to the same rows alike, and answers differ by {answers_apart:.3g}: "
            "if that is meant, set attends_by_query = False"
        )


def separable_tasks_are_solved(case: Case) -> Iterator[str]:
    """Queries that are copies of support items are predicted right, after a short training where that is needed."""
    learner = case.new_learner(0).train()
    parameters = [p for p in learner.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(parameters, 1e-2) if parameters else None
    skill = 0.0
    # Numbers are harder to hit than classes: a quarter of the way counts.
    enough = 0.25 if case.episode.support.is_regression else 0.5
    for step in range(161):
        if step in (10, 20, 40, 80, 160) or optimiser is None:
            skill = _skill(learner.eval(), case)
            learner.train()
            if skill >= enough:
                yield from _right_labels_cost_less(learner.eval(), case)
                return
        if optimiser is None or not learner.solves_separable:
            break
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(step)
            optimiser.zero_grad()
            learner.loss(_copies(case.new_episode(100 + step), step)).mean().backward()
            optimiser.step()
    if learner.solves_separable:
        yield (
            f"queries that are copies of support items: skill {skill:.2f} after training, expected at least {enough} "
            "(0 is chance, 1 is all right)"
        )


def _right_labels_cost_less(learner: Learner, case: Case) -> Iterator[str]:
    right = wrong = 0.0
    with torch.no_grad():
        for seed in range(1000, 1004):
            episode = _copies(case.new_episode(seed), seed)
            right += learner.loss(episode).sum().item()
            wrong += learner.loss(replace(episode, query_y=episode.query_y.roll(1, 1))).sum().item()
    # A tenth of leeway: some losses are of training classes, which noise has none of.
    if not right < wrong + 0.1 * abs(wrong):
        yield f"the loss of right labels is {right:.3g} and of wrong ones {wrong:.3g}: training goes the wrong way"


def _copies(episode: Episode, seed: int) -> Episode:
    """The same support with weight 1 (and its classes in place), asked about its own items."""
    support = episode.support
    if support.is_regression:
        keep = (support.weight > 0).all(0).nonzero()[:, 0][:4]
    else:
        first: dict[int, int] = {}  # row by class: one of each
        for row, label in enumerate(support.y[0].tolist()):
            first.setdefault(label, row)
        keep = torch.tensor(list(first.values()))
    rows = take_rows(support, keep.repeat(3))
    rows = replace(rows, weight=torch.ones_like(rows.weight))
    order = torch.randperm(len(keep), generator=torch.Generator().manual_seed(seed))
    asked = take_rows(rows, order)
    return Episode(rows, asked.x, asked.y, n_classes=support.n_classes)


def _skill(learner: Learner, case: Case) -> float:
    """0 for chance, 1 for all right, of copies of support items in eight new episodes."""
    gained, most = 0.0, 0.0
    with torch.no_grad():
        for seed in range(1000, 1008):
            episode = _copies(case.new_episode(seed), seed)
            output = learner(episode)
            if isinstance(output, Distribution):
                mean = episode.support.y.mean(1, keepdim=True)
                most += (episode.query_y - mean).square().sum().item()
                gained += ((episode.query_y - mean).square() - (episode.query_y - output.mean).square()).sum().item()
            else:
                chance = 1 / episode.query_y.shape[1]
                right = (output.argmax(-1) == episode.query_y).double()
                gained, most = gained + (right - chance).sum().item(), most + (1 - chance) * right.numel()
    return gained / most


def _probabilities(output: Tensor | Distribution) -> Tensor:
    return output.mean if isinstance(output, Distribution) else output.softmax(-1)


def _tensors(value: Episode | Support) -> list[Tensor]:
    items: list[Items | Tensor] = (
        [value.x, value.y, value.weight]
        if isinstance(value, Support)
        else [value.support.x, value.support.y, value.support.weight, value.query_x, value.query_y, value.query_weight]
    )
    return [t for x in items for t in (x.values() if isinstance(x, dict) else [x])]

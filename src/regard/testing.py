"""The laws every learner keeps, for anybody's learner.

    from regard.testing import check_learner
    check_learner(lambda: MyLearner(MyEncoder()), my_episode)

A law is a function of a `Case` that yields one sentence, with numbers, for each way it is broken; `LAWS` lists all.
A learner is held to what it claims (`ignores_order`, `counts_weight`, `relabels`, `regresses`, `rebuilds`,
`differentiates_twice`, `vmaps`, and its types), and to everything that needs no claim. All is done in float64, where
two ways of computing one thing agree to ten digits or differ for a reason.

Left out on purpose: whether the learner learns anything. That is what `regard.evaluation` is for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.func import functional_call, stack_module_state, vmap

from regard.episode import Episode, Items, Support, first_tensor, flatten_tasks, map_items, unflatten_tasks
from regard.errors import EpisodeError, LawError
from regard.learners.base import AttendingLearner, EncodingLearner, Learner, Output
from regard.learners.inner_loop import GradientLearner

MakeLearner = Callable[[], Learner]
MakeEpisode = Callable[[int], Episode]

_ABSENT = -1e6
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
        yield from _far(numbers(got), numbers(expected), self.tolerance, what)


Law = Callable[[Case], Iterator[str]]


def check_learner(
    make_learner: MakeLearner, make_episode: MakeEpisode, *, laws: Sequence[Law] | None = None, tolerance: float = 1e-10
) -> None:
    """Hold a learner to the laws.

    Args:
        make_learner: a new learner at each call, its parameters drawn from torch's global generator.
        make_episode: seed to episode; see `random_episode` for one made of noise.
        laws: some of `LAWS`; all where left out.
        tolerance: largest difference that counts as rounding; iterative solvers need more than the default.

    Raises:
        LawError: names every broken law, and says how it is broken.
    """
    broken: dict[str, list[str]] = {}
    with _float64():
        name = type(make_learner()).__name__
        for law in LAWS if laws is None else laws:
            # A case of its own: what one law did to a learner that keeps state is not to be blamed on the next.
            case = Case(make_learner, make_episode, tolerance)
            if sentences := _sentences(law, case):
                broken[law.__name__] = sentences
    if broken:
        listed = [f"\n  {law}: {sentence}" for law, sentences in broken.items() for sentence in sentences]
        raise LawError(f"{name} breaks {len(broken)} law(s) it claims to keep:{''.join(listed)}")


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


def numbers(output: Output) -> Tensor:
    """A prediction as finite numbers: log-probabilities (B, Q, C), or mean and deviation (B, Q, T, 2)."""
    if isinstance(output, Distribution):
        return torch.stack([output.mean, output.stddev], -1)
    # Logits are a prediction up to a constant; NaN stays NaN.
    log_p = torch.log_softmax(output, -1)
    return torch.where(log_p == -torch.inf, _ABSENT, log_p)


# ---- the laws --------------------------------------------------------------------------------------------------------


def answers_have_the_right_shape(case: Case) -> Iterator[str]:
    """(B, Q, C) logits, finite for the classes of the task and minus infinity for others; or (B, Q, T); a loss (B,)."""
    episode, output = case.episode, case.learner(case.episode)
    support = episode.support
    width = support.y.shape[-1] if support.is_regression else support.n_classes or 0
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
        two_steps = _predict(case.learner, case.episode.support, case.episode.query_x)
        yield from case.differ(case.learner(case.episode), two_steps, "in one call and in two")


def support_order_does_not_matter(case: Case) -> Iterator[str]:
    """Shuffled support rows give the same answer, where `ignores_order`."""
    if case.learner.ignores_order:
        support = case.episode.support
        order = torch.randperm(support.n_rows, generator=torch.Generator().manual_seed(1))
        shuffled = _take_rows(support, order)
        yield from case.differ(_with(case, shuffled), case.learner(case.episode), "support rows shuffled")


def weight_zero_is_absence(case: Case) -> Iterator[str]:
    """Rows of weight 0, whatever they hold and wherever they stand, and rows that are not there give one answer."""
    support, expected = case.episode.support, case.learner(case.episode)
    foreign = _without_weight(case.new_episode(1).support)
    padded = _join_rows(_join_rows(foreign, support), foreign)
    order = torch.argsort(torch.rand(padded.n_rows, generator=torch.Generator().manual_seed(2)))
    # The real rows keep their order among themselves, for learners that read in order.
    real = (order >= foreign.n_rows) & (order < foreign.n_rows + support.n_rows)
    order[real] = order[real].sort().values
    for what, rows in (("before and after", padded), ("in between", _take_rows(padded, order))):
        yield from case.differ(_with(case, rows), expected, f"rows of weight 0 {what}")
        loss = case.learner.loss(replace(case.episode, support=rows))
        yield from _far(loss, case.learner.loss(case.episode), case.tolerance, f"loss with rows of weight 0 {what}")


def weight_two_is_twice(case: Case) -> Iterator[str]:
    """A row of doubled weight and the row twice give one answer, where `counts_weight`."""
    if case.learner.counts_weight:
        support = case.episode.support
        row = int(torch.arange(support.n_rows)[(support.weight > 0).all(0)][0])
        doubled = support.weight.clone()
        doubled[:, row] *= 2
        twice = _take_rows(support, torch.tensor([*range(support.n_rows), row]))
        heavy = _with(case, replace(support, weight=doubled))
        yield from case.differ(heavy, _with(case, twice), f"row {row} of doubled weight and twice")


def a_batch_is_a_loop(case: Case) -> Iterator[str]:
    """Each task by itself, without its padding and with its own number of classes, gives what the batch gave."""
    together, losses = numbers(case.learner(case.episode)), case.learner.loss(case.episode)
    if case.learner.transductive:
        return
    for b in range(case.episode.n_tasks):
        alone = _stripped(case.episode, b)
        got = numbers(case.learner(alone))
        asked = case.episode.query_weight[b] > 0
        expected = together[b : b + 1, asked]
        if not alone.support.is_regression:
            expected = expected[..., : alone.n_classes]
        yield from _far(got, expected, case.tolerance, f"task {b} alone")
        yield from _far(case.learner.loss(alone), losses[b : b + 1], case.tolerance, f"loss of task {b} alone")


def queries_do_not_see_each_other(case: Case) -> Iterator[str]:
    """One query at a time gives what all at once gave, unless the learner says it is `transductive`."""
    if case.learner.transductive:
        return
    state, query_x = case.learner.adapt(case.episode.support), case.episode.query_x
    together = numbers(case.learner.predict(state, query_x))
    for q in range(together.shape[1]):
        one = map_items(lambda t, q=q: t[:, q : q + 1], query_x)  # type: ignore[misc]
        alone = numbers(case.learner.predict(state, one))
        yield from _far(alone, together[:, q : q + 1], case.tolerance, f"query {q} alone")


def adapting_leaves_no_trace(case: Case) -> Iterator[str]:
    """Adapting to one support set changes no later answer, no attribute and no entry of the state dict."""
    learner, other = case.learner, case.new_episode(1)
    before, stored = _attributes(learner), {k: v.clone() for k, v in learner.state_dict().items()}
    state = learner.adapt(case.episode.support)
    first = numbers(learner.predict(state, case.episode.query_x))
    learner.predict(learner.adapt(other.support), other.query_x)
    learner.loss(other)
    yield from _far(numbers(learner.predict(state, case.episode.query_x)), first, 0.0, "the first state, asked later")
    yield from _far(numbers(_predict(learner, case.episode.support, case.episode.query_x)), first, 0.0, "adapted again")
    after = _attributes(learner)
    changed = sorted(k for k in before.keys() | after.keys() if not _same(before.get(k), after.get(k)))
    if changed:
        yield f"adapt or predict changed the attributes {', '.join(changed)}"
    different = [k for k, v in learner.state_dict().items() if k not in stored or not torch.equal(stored[k], v)]
    if different:
        yield f"adapt or predict changed the state dict at {', '.join(different)}"


def a_gradient_reaches_every_parameter(case: Case) -> Iterator[str]:
    """The loss of a few episodes moves every parameter that wants to be moved, by finite amounts."""
    learner = case.new_learner(0).train()
    wanted = {name: p for name, p in learner.named_parameters() if p.requires_grad}
    if not wanted:
        return
    for seed in range(4):
        learner.loss(case.new_episode(seed)).sum().backward()
    idle = [n for n, p in wanted.items() if p.grad is None or not bool(p.grad.any())]
    wild = [n for n, p in wanted.items() if p.grad is not None and not bool(p.grad.isfinite().all())]
    if idle:
        yield f"no gradient in four episodes: {', '.join(idle)}"
    if wild:
        yield f"a gradient that is not finite: {', '.join(wild)}"


def the_weight_gradient_is_finite(case: Case) -> Iterator[str]:
    """The derivative of the answer by the support weights is finite, also at weight 0, and not all zero."""
    support = case.episode.support
    weight = support.weight.clone().requires_grad_()
    answer = numbers(_with(case, replace(support, weight=weight)))
    answer = torch.where(answer > _ABSENT / 2, answer, 0.0)
    signs = torch.randn(answer.shape, generator=torch.Generator().manual_seed(3), dtype=answer.dtype)
    (gradient,) = (
        torch.autograd.grad((answer * signs).sum(), weight, allow_unused=True) if answer.requires_grad else (None,)
    )
    if gradient is None or not bool(gradient.any()):
        yield "the answer has no derivative by the support weights"
    elif not bool(gradient.isfinite().all()):
        yield f"{int((~gradient.isfinite()).sum())} of {gradient.numel()} derivatives by support weights are not finite"


def second_derivatives_are_right(case: Case) -> Iterator[str]:
    """A double backward agrees with the difference of two gradients, where `differentiates_twice`."""
    learner = case.new_learner(0)
    parameters = [p for p in learner.parameters() if p.requires_grad]
    if not parameters or not learner.differentiates_twice:
        return
    # Three episodes, as the difference may step over a kink, such as that of ReLU; a wrong formula is wrong in all.
    gaps = [_curvature_gap(learner, parameters, case.new_episode(seed)) for seed in range(3)]
    if any(gap != gap for gap in gaps):
        yield "a double backward gives NaN"
    elif not min(gaps) < 1e-4:
        yield f"double backward and the difference of gradients differ by {min(gaps):.3g} of their size"


def vmap_is_a_loop(case: Case) -> Iterator[str]:
    """`torch.func.vmap` over parameters, and over support weights, gives what a loop gives, where `vmaps`."""
    learner, episode = case.learner, case.episode
    if not learner.vmaps:
        return
    others = [case.new_learner(seed) for seed in (0, 1)]
    if next(learner.parameters(), None) is not None:
        parameters, buffers = stack_module_state(others)  # type: ignore[arg-type]
        both = vmap(lambda p, b: numbers(functional_call(learner, (p, b), (episode,))))(parameters, buffers)
        each = torch.stack([numbers(other(episode)) for other in others])
        yield from _far(both, each, case.tolerance, "vmap over parameters")
    weights = torch.stack([episode.support.weight, episode.support.weight * 2])
    both = vmap(lambda w: numbers(_with(case, replace(episode.support, weight=w))))(weights)
    each = torch.stack([numbers(_with(case, replace(episode.support, weight=w))) for w in weights])
    yield from _far(both, each, case.tolerance, "vmap over support weights")


def executions_agree(case: Case) -> Iterator[str]:
    """A loop over tasks and vmap in chunks give one loss and one meta-gradient, for a `GradientLearner`."""
    if not isinstance(case.learner, GradientLearner):
        return
    looped, vmapped = _loss_and_gradient(case, "loop", None), _loss_and_gradient(case, "vmap", 2)
    for (name, by_loop), by_vmap in zip(looped.items(), vmapped.values(), strict=True):
        yield from _far(by_vmap, by_loop, case.tolerance, f"{name} by vmap and by a loop")


def relabelling_relabels(case: Case) -> Iterator[str]:
    """Classes named otherwise are predicted under their other names, where `relabels`."""
    support = case.episode.support
    if support.is_regression or not case.learner.relabels:
        return
    name = torch.arange(support.n_classes or 0).roll(1)
    got = numbers(_with(case, replace(support, y=name[support.y])))[..., name]
    yield from _far(got, numbers(case.learner(case.episode)), case.tolerance, "classes renamed")


def saved_is_loaded(case: Case) -> Iterator[str]:
    """A fresh learner that loads the state dict predicts the very same numbers."""
    other = case.new_learner(5)
    other.load_state_dict(case.learner.state_dict())
    yield from _far(numbers(other(case.episode)), numbers(case.learner(case.episode)), 0.0, "saved and loaded")


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
    yield from _far(p.sum(-1), torch.ones_like(p[..., 0]), case.tolerance, "attention summed over rows and 1")
    on_padding = (p * (support.weight == 0)[:, None]).abs().max().item()
    if on_padding > 0:
        yield f"attention of {on_padding:.3g} rests on a row of weight 0"
    if learner.rebuilds:
        output = learner.predict(state, case.episode.query_x)
        if isinstance(output, Distribution):
            yield from _far(p @ support.y, output.mean, case.tolerance, "targets averaged by attention and the mean")
        else:
            rebuilt, whole = p @ support.one_hot(), output.softmax(-1)
            yield from _far(rebuilt, whole, case.tolerance, "attention summed by class and the probability")


def an_empty_support_is_survived(case: Case) -> Iterator[str]:
    """A task without examples gives finite numbers and leaves its batch alone; a batch without rows says so."""
    support, expected = case.episode.support, numbers(case.learner(case.episode))
    weight = support.weight.clone()
    weight[0] = 0
    got = numbers(_with(case, replace(support, weight=weight)))
    if not bool(got[0].isfinite().all()):
        yield "a task whose rows all have weight 0 gives NaN or infinity"
    if not case.learner.transductive:
        yield from _far(got[1:], expected[1:], case.tolerance, "tasks beside an empty one")
    try:
        nothing = numbers(_with(case, _take_rows(support, torch.arange(0))))
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
    wrong = replace(support, y=y, n_classes=None)
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


LAWS: tuple[Law, ...] = (
    answers_have_the_right_shape,
    forward_is_adapt_then_predict,
    support_order_does_not_matter,
    weight_zero_is_absence,
    weight_two_is_twice,
    a_batch_is_a_loop,
    queries_do_not_see_each_other,
    adapting_leaves_no_trace,
    a_gradient_reaches_every_parameter,
    the_weight_gradient_is_finite,
    second_derivatives_are_right,
    vmap_is_a_loop,
    executions_agree,
    relabelling_relabels,
    saved_is_loaded,
    attention_is_a_distribution,
    an_empty_support_is_survived,
    encoded_is_fresh,
    the_wrong_targets_are_refused,
)
"""All laws, in the order in which they are checked."""


# ---- what the laws are made of ---------------------------------------------------------------------------------------


def _sentences(law: Law, case: Case) -> list[str]:
    try:
        return list(law(case))
    except Exception as error:
        return [f"raised {type(error).__name__}: {error}"]


@contextmanager
def _float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _loss_and_gradient(case: Case, execution: Literal["loop", "vmap"], chunk: int | None) -> dict[str, Tensor]:
    learner = case.new_learner(0)
    assert isinstance(learner, GradientLearner)
    learner.execution, learner.task_chunk = execution, chunk
    wanted = {name: p for name, p in learner.named_parameters() if p.requires_grad}
    loss = learner.loss(case.episode)
    gradients = torch.autograd.grad(loss.mean(), list(wanted.values()), allow_unused=True)
    found = {
        f"the meta-gradient of {n}": p if g is None else g for (n, p), g in zip(wanted.items(), gradients, strict=True)
    }
    return {"the loss": loss.detach(), **found}


def _curvature_gap(learner: Learner, parameters: Sequence[Tensor], episode: Episode) -> float:
    """How far the Hessian times a random direction, by double backward, is from a difference of gradients."""
    generator = torch.Generator().manual_seed(4)
    direction = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]

    def gradient(of: Tensor, create_graph: bool = False) -> Tensor:
        if not of.requires_grad:  # the gradient of a loss that is linear in its parameters
            return torch.zeros(sum(p.numel() for p in parameters))
        found = torch.autograd.grad(of, parameters, create_graph=create_graph, allow_unused=True)
        full = [torch.zeros_like(p) if g is None else g for g, p in zip(found, parameters, strict=True)]
        return torch.cat([g.flatten() for g in full])

    along = torch.cat([d.flatten() for d in direction])
    found = gradient(gradient(learner.loss(episode).sum(), create_graph=True) @ along)
    step, sides = 1e-6, []
    for sign in (1, -1):
        with _moved(parameters, direction, sign * step):
            sides.append(gradient(learner.loss(episode).sum()))
    expected = (sides[0] - sides[1]) / (2 * step)
    return (found - expected).norm().item() / max(expected.norm().item(), 1e-3)


@contextmanager
def _moved(parameters: Sequence[Tensor], direction: Sequence[Tensor], step: float) -> Iterator[None]:
    before = [p.detach().clone() for p in parameters]
    with torch.no_grad():
        for p, d in zip(parameters, direction, strict=True):
            p.add_(d, alpha=step)
    yield
    with torch.no_grad():
        for p, b in zip(parameters, before, strict=True):
            p.copy_(b)


def _far(got: Tensor, expected: Tensor, tolerance: float, what: str) -> Iterator[str]:
    if got.shape != expected.shape:
        yield f"{what}: shapes {tuple(got.shape)} and {tuple(expected.shape)}"
        return
    gap = ((got - expected).abs() / (1 + expected.abs())).max().item() if got.numel() else 0.0
    if not gap <= tolerance:
        yield f"{what}: differ by {gap:.3g}, and {tolerance:.0e} would be rounding"


def _predict(learner: Learner, support: Support, query_x: Items) -> Output:
    return learner.predict(learner.adapt(support), query_x)


def _with(case: Case, support: Support) -> Output:
    """What the learner answers to the case's queries after another support set."""
    return case.learner(replace(case.episode, support=support))


def _take_rows(support: Support, index: Tensor) -> Support:
    x = map_items(lambda t: t[:, index], support.x)  # type: ignore[type-var]
    return Support(x, support.y[:, index], support.weight[:, index], support.n_classes)


def _join_rows(a: Support, b: Support) -> Support:
    pair = [s.x if isinstance(s.x, dict) else {"": s.x} for s in (a, b)]
    joined = {key: torch.cat([pair[0][key], pair[1][key]], 1) for key in pair[0]}
    x = joined if isinstance(a.x, dict) else joined[""]
    return Support(x, torch.cat([a.y, b.y], 1), torch.cat([a.weight, b.weight], 1), b.n_classes)


def _without_weight(support: Support) -> Support:
    """Rows that must not matter: of other content, thrice the size, and weight 0."""
    x = map_items(lambda t: 3 * t if t.is_floating_point() else t, support.x)  # type: ignore[type-var]
    return replace(support, x=x, weight=torch.zeros_like(support.weight))


def _stripped(episode: Episode, b: int) -> Episode:
    """Task b without padding, and with no more classes than it has."""
    task = episode.tasks(slice(b, b + 1))
    support = _take_rows(task.support, (task.support.weight[0] > 0).nonzero()[:, 0])
    asked = (task.query_weight[0] > 0).nonzero()[:, 0]
    n_classes = 0 if support.is_regression else int(support.y.max()) + 1
    query_x = map_items(lambda t: t[:, asked], task.query_x)  # type: ignore[type-var]
    return Episode(support, query_x, task.query_y[:, asked], task.query_weight[:, asked], n_classes)


def _encode_singly(learner: EncodingLearner, x: Items) -> Tensor:
    flat = flatten_tasks(x)  # type: ignore[type-var]
    n_items = first_tensor(flat).shape[0]
    one = [learner.encode(map_items(lambda t, i=i: t[i : i + 1], flat)) for i in range(n_items)]  # type: ignore[misc]
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

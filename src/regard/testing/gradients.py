"""The laws of what can be differentiated, and of what may be done in another order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap

from regard.episode import Episode
from regard.learners.base import Learner
from regard.learners.inner.loop import GradientLearner
from regard.testing.case import (
    ABSENT,
    Case,
    answer_after,
    far,
    numbers,
)


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
    answer = numbers(answer_after(case, replace(support, weight=weight)))
    answer = torch.where(answer > ABSENT / 2, answer, 0.0)
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
        parameters, buffers = stack_module_state(others)
        both = vmap(lambda p, b: numbers(functional_call(learner, (p, b), (episode,))))(parameters, buffers)
        each = torch.stack([numbers(other(episode)) for other in others])
        yield from far(both, each, case.tolerance, "vmap over parameters")
    weights = torch.stack([episode.support.weight, episode.support.weight * 2])
    both = vmap(lambda w: numbers(answer_after(case, replace(episode.support, weight=w))))(weights)
    each = torch.stack([numbers(answer_after(case, replace(episode.support, weight=w))) for w in weights])
    yield from far(both, each, case.tolerance, "vmap over support weights")


def executions_agree(case: Case) -> Iterator[str]:
    """A loop over tasks and vmap in chunks give one loss and one meta-gradient, for a `GradientLearner`."""
    if not isinstance(case.learner, GradientLearner):
        return
    looped, vmapped = _loss_and_gradient(case, "loop", None), _loss_and_gradient(case, "vmap", 2)
    for (name, by_loop), by_vmap in zip(looped.items(), vmapped.values(), strict=True):
        yield from far(by_vmap, by_loop, case.tolerance, f"{name} by vmap and by a loop")


def the_model_is_left_whole(case: Case) -> Iterator[str]:
    """After a loss, its gradient, a prediction, and an error in the midst of each, the learner has its own tensors.

    The very same parameters and buffers stand at the same places in the same order; in eval mode with the same values.
    """
    learner = case.new_learner(0)
    for training in (False, True):
        learner.train(training)
        before = _contents(learner)
        values = [t.detach().clone() for _, t in before]
        loss = learner.loss(case.episode)
        if loss.requires_grad:
            loss.sum().backward()
        learner(case.episode)
        yield from _moved_tensors(before, _contents(learner), "after a loss and a prediction")
        if not training and not all(torch.equal(t, v) for (_, t), v in zip(before, values, strict=True)):
            yield "a loss in eval mode changed parameters or buffers"
        for name, use in (("loss", learner.loss), ("prediction", learner)):
            for fails_at in (1, 3):
                _fail(learner, case.episode, use, fails_at)
                yield from _moved_tensors(before, _contents(learner), f"after an error in its {name}")


class _PlantedError(Exception):
    """Raised in the midst of a forward pass."""


def _fail(learner: Learner, episode: Episode, use: Callable[[Episode], object], fails_at: int) -> None:
    """Use the learner, whose modules raise at one of their calls."""
    n_calls = 0

    def count(*_: object) -> None:
        nonlocal n_calls
        n_calls += 1
        if n_calls >= fails_at:
            raise _PlantedError

    inner = [module for module in learner.modules() if next(module.children(), None) is None and module is not learner]
    hooks = [module.register_forward_pre_hook(count) for module in inner]
    try:
        use(episode)
    except Exception as error:
        # A learner may say what happened in its own words.
        if not isinstance(error, _PlantedError) and not isinstance(error.__context__, _PlantedError):
            raise
    finally:
        for hook in hooks:
            hook.remove()


def _contents(learner: Learner) -> list[tuple[str, Tensor]]:
    """All parameters and buffers by all their names, in order."""
    return [*learner.named_parameters(remove_duplicate=False), *learner.named_buffers(remove_duplicate=False)]


def _moved_tensors(
    before: Sequence[tuple[str, Tensor]], after: Sequence[tuple[str, Tensor]], when: str
) -> Iterator[str]:
    if [name for name, _ in before] != [name for name, _ in after]:
        lost = {name for name, _ in before} ^ {name for name, _ in after}
        yield f"{when}, names of parameters or buffers come and go or change their order: {', '.join(sorted(lost))}"
    elif replaced := [name for (name, a), (_, b) in zip(before, after, strict=True) if a is not b]:
        yield f"{when}, other tensors stand in the place of {', '.join(replaced)}"


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

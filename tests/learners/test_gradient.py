"""Gradient learners: every execution gives the meta-gradient of a plain loop, written here as simply as it can be."""

from __future__ import annotations

import gc
import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from regard.episode import Episode, Support
from regard.errors import ConfigError, DivergenceError, EpisodeError
from regard.learners.anil import ANIL
from regard.learners.base import Learner
from regard.learners.inner import meta_gradient
from regard.learners.inner.execution import map_numbers
from regard.learners.inner.tasks import Rows
from regard.learners.maml import MAML
from regard.learners.meta_sgd import MetaSGD
from regard.learners.proto_maml import ProtoMAML
from regard.learners.prototypical import Prototypical
from regard.learners.reptile import Reptile
from regard.nn.conv4 import Conv4
from regard.nn.headed import Headed
from regard.nn.members import module_tensors
from regard.nn.mlp import MLP
from regard.nn.sequence import TokenLSTM, TokenTransformer
from regard.testing import random_episode
from regard.training import TrainConfig, train

EXECUTIONS = {"loop": {}, "vmap": {}, "vmap-2": {"task_chunk": 2}}


def plain_meta_gradient(
    model: nn.Module, episode: Episode, *, lr: float, steps: int, first_order: bool = False
) -> tuple[Tensor, dict[str, Tensor]]:
    """Task by task, row by row of the textbook; `functional_call` and autograd, and nothing of the engine."""
    theta = dict(model.named_parameters())
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    losses = []
    for b in range(episode.n_tasks):
        task = episode.tasks(slice(b, b + 1))
        x = {k: v[0] for k, v in task.support.x.items()} if isinstance(task.support.x, dict) else task.support.x[0]
        q = {k: v[0] for k, v in task.query_x.items()} if isinstance(task.query_x, dict) else task.query_x[0]
        mass = task.support.membership().sum(1)[0] if not task.support.is_regression else None
        phi = dict(theta)
        for _ in range(steps):
            out = functional_call(model, {**phi, **{k: v.clone() for k, v in buffers.items()}}, (x,))
            loss = plain_loss(out, task.support.y[0], task.support.weight[0], mass)
            grads = torch.autograd.grad(loss, list(phi.values()), create_graph=not first_order)
            phi = {n: p - lr * g for (n, p), g in zip(phi.items(), grads, strict=True)}
        out = functional_call(model, {**phi, **{k: v.clone() for k, v in buffers.items()}}, (q,))
        losses.append(plain_loss(out, task.query_y[0], task.query_weight[0], mass))
    total = torch.stack(losses)
    grads = torch.autograd.grad(total.mean(), list(theta.values()))
    return total.detach(), dict(zip(theta, grads, strict=True))


def plain_loss(out: Tensor, y: Tensor, weight: Tensor, mass: Tensor | None) -> Tensor:
    keep = weight > 0
    if mass is None:
        each = (out[keep] - y[keep]).square().mean(-1)
    else:
        present = (mass > 0).nonzero()[:, 0]
        place = torch.full((len(mass),), -1).scatter(0, present, torch.arange(len(present)))
        each = F.cross_entropy(out[keep][:, present], place[y[keep]], reduction="none")
    return (each * weight[keep]).sum() / weight.sum()


def assert_same_meta_gradient(make: Callable[..., Learner], episode: Episode, **plain: Any) -> None:
    torch.manual_seed(0)
    learner = make().double()
    expected, gradients = plain_meta_gradient(learner.model, episode, **plain)  # type: ignore[arg-type]
    loss = learner.loss(episode)
    loss.mean().backward()
    torch.testing.assert_close(loss.detach(), expected, rtol=1e-10, atol=1e-12)
    size = max(g.abs().max() for g in gradients.values())
    for name, p in learner.model.named_parameters():  # type: ignore[union-attr]
        assert p.grad is not None, name
        gap = (p.grad - gradients[name]).abs().max() / size
        assert gap < 1e-10, f"{name}: {gap}"


def token_episode(seed: int) -> Episode:
    episode = random_episode(seed, (5,), n_query=3)
    generator = torch.Generator().manual_seed(seed)

    def items(rows: torch.Size) -> dict[str, Tensor]:
        ids = torch.randint(1, 9, (*rows, 5), generator=generator)
        length = torch.randint(2, 6, (*rows, 1), generator=generator)
        mask = (torch.arange(5) < length).double()
        return {"ids": ids * (mask > 0), "mask": mask}

    support = replace(episode.support, x=items(episode.support.y.shape))
    return replace(episode, support=support, query_x=items(episode.query_y.shape))


def conv(norm: str) -> Callable[[], nn.Module]:
    return lambda: Headed(Conv4(1, 4, norm=norm, image_size=8, n_halvings=2), 4)  # type: ignore[arg-type]


def spatial() -> nn.Module:
    from regard.nn.attention import MultiHeadAttention

    class Attends(nn.Module):
        """Attention among the places of a small map."""

        def __init__(self) -> None:
            super().__init__()
            self.body, self.attention = Conv4(1, 4, image_size=8, n_halvings=2, parts=True), MultiHeadAttention(4, 2)
            self.head = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            parts = self.body(x)
            return self.head((parts + self.attention(parts, parts)[0]).mean(1))

    return Attends()


def unpadded(seed: int, item: tuple[int, ...]) -> Episode:
    """Without rows of weight 0, which batch statistics would see."""
    episode = random_episode(seed, item, n_way=2, n_query=3)
    return replace(episode, support=replace(episode.support, weight=episode.support.weight + 0.5))


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[int], Episode]]] = {
    "MLP": (lambda: Headed(MLP(6, 5, (7,)), 4), random_episode),
    "Conv4-group": (conv("group"), lambda seed: random_episode(seed, (8, 8))),
    "Conv4-instance": (conv("instance"), lambda seed: random_episode(seed, (8, 8))),
    "Conv4-none": (conv("none"), lambda seed: random_episode(seed, (8, 8))),
    "Conv4-batch": (conv("batch"), lambda seed: unpadded(seed, (8, 8))),
    "Conv4-transductive": (conv("transductive"), lambda seed: unpadded(seed, (8, 8))),
    "TokenLSTM": (lambda: Headed(TokenLSTM(9, 4, 3), 4), token_episode),
    "TokenTransformer": (lambda: Headed(TokenTransformer(9, 4, n_heads=2, n_layers=1), 4), token_episode),
    "spatial-attention": (spatial, lambda seed: random_episode(seed, (8, 8))),
}


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("name", MODELS)
def test_maml_is_a_plain_loop(name: str, execution: str) -> None:
    make, episode = MODELS[name]
    options: dict[str, Any] = {"execution": execution.partition("-")[0], **EXECUTIONS[execution]}
    assert_same_meta_gradient(
        lambda: MAML(make(), inner_lr=0.3, inner_steps=2, **options),
        episode(0).to(dtype=torch.float64),
        lr=0.3,
        steps=2,
    )


def gradients_of(learner: Learner, episode: Episode, seed: int = 0) -> tuple[Tensor, dict[str, Tensor]]:
    loss = learner.loss(episode)
    loss.mean().backward()
    return loss.detach(), {name: p.grad for name, p in learner.named_parameters() if p.grad is not None}


LEARNERS: dict[str, Callable[[dict[str, Any]], Learner]] = {
    "FOMAML": lambda o: MAML(Headed(MLP(6, 5, ()), 4), inner_steps=3, first_order=True, **o),
    "MAML-rates": lambda o: MAML(Headed(MLP(6, 5, ()), 4), inner_steps=2, rates="tensor", **o),
    "MAML-some": lambda o: MAML(Headed(MLP(6, 5, ()), 4), inner_steps=2, adapt_only=("head.*", "*.bias"), **o),
    "MetaSGD": lambda o: MetaSGD(Headed(MLP(6, 5, ()), 4), inner_steps=2, **o),
    "Reptile": lambda o: Reptile(Headed(MLP(6, 5, ()), 4), inner_lr=0.01, batch_size=None, **o),
    "ProtoMAML": lambda o: ProtoMAML(MLP(6, 5, (4,)), inner_lr=0.1, inner_steps=2, **o),
    "ProtoMAML-conv": lambda o: ProtoMAML(
        Conv4(1, 4, image_size=8, n_halvings=2, norm="batch"), inner_lr=0.1, first_order=True, **o
    ),
    "ANIL": lambda o: ANIL(MLP(6, 5, (4,)), 4, inner_steps=2, **{k: v for k, v in o.items() if k == "execution"}),
}


@pytest.mark.parametrize("targets", [0, 4])
@pytest.mark.parametrize("name", LEARNERS)
def test_executions_agree(name: str, targets: int) -> None:
    item = (8, 8) if "conv" in name else (6,)
    if targets and "Proto" in name:
        return
    episode = (unpadded(0, item) if "conv" in name else random_episode(0, item, n_targets=targets)).to(
        dtype=torch.float64
    )
    both = []
    for options in ({"execution": "loop"}, {"execution": "vmap", "task_chunk": 2}):
        torch.manual_seed(0)
        learner = LEARNERS[name](options).double()
        loss, gradients = gradients_of(learner, episode)
        both.append((loss, gradients))
    (loss, gradients), (other_loss, other_gradients) = both
    torch.testing.assert_close(loss, other_loss, rtol=1e-12, atol=1e-12)
    assert gradients.keys() == other_gradients.keys()
    for key, gradient in gradients.items():
        torch.testing.assert_close(gradient, other_gradients[key], rtol=1e-10, atol=1e-12, msg=key)


def episode64(seed: int = 0, **sizes: Any) -> Episode:
    return random_episode(seed, **sizes).to(dtype=torch.float64)


def test_first_order_is_a_plain_loop() -> None:
    assert_same_meta_gradient(
        lambda: MAML(MODELS["MLP"][0](), inner_lr=0.3, inner_steps=3, first_order=True),
        episode64(),
        lr=0.3,
        steps=3,
        first_order=True,
    )


def test_anil_is_maml_that_adapts_the_head_alone() -> None:
    episode = episode64()
    torch.manual_seed(0)
    encoder = MLP(6, 5, (4,)).double()
    anil = ANIL(encoder, 4, inner_lr=0.3, inner_steps=3).double()
    model = Headed(MLP(6, 5, (4,)), 4).double()
    model.encoder.load_state_dict(encoder.state_dict())
    model.head.load_state_dict(anil.head.model.state_dict())
    maml = MAML(model, inner_lr=0.3, inner_steps=3, adapt_only="head.*")
    loss, gradients = gradients_of(anil, episode)
    expected, expected_gradients = gradients_of(maml, episode)
    torch.testing.assert_close(loss, expected)
    for ours, theirs in zip(gradients.values(), expected_gradients.values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_proto_maml_before_its_first_step_is_prototypical() -> None:
    episode = episode64()
    encoder = MLP(6, 5, (4,)).double()
    maml = ProtoMAML(encoder, inner_lr=1e-12, inner_steps=1)
    ours, theirs = maml(episode), Prototypical(encoder)(episode)
    assert isinstance(ours, Tensor) and isinstance(theirs, Tensor)
    torch.testing.assert_close(ours.softmax(-1), theirs.softmax(-1))


def test_proto_maml_takes_any_number_of_ways() -> None:
    maml = ProtoMAML(MLP(6, 5)).double()
    for n_way in (2, 7):
        assert maml(episode64(n_way=n_way)).shape[-1] == n_way  # type: ignore[union-attr]


def test_meta_sgd_with_equal_rates_is_maml() -> None:
    episode, model = episode64(), MODELS["MLP"][0]().double()
    sgd = MetaSGD(model, inner_lr=(0.2, 0.2), inner_steps=2).double()
    for ours, theirs in zip(
        sgd.adapt(episode.support).weights.values(),
        MAML(model, inner_lr=0.2, inner_steps=2).adapt(episode.support).weights.values(),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_reptile_walks_as_torch_adam_does() -> None:
    episode, model = episode64(n_tasks=1, n_way=2), nn.Linear(6, 2).double()
    learner = Reptile(model, inner_lr=0.01, inner_steps=4, test_steps=4, batch_size=None).train()
    _, gradients = gradients_of(learner, episode)
    other = nn.Linear(6, 2).double()
    other.load_state_dict(model.state_dict())
    optimizer = torch.optim.Adam(other.parameters(), 0.01, betas=(0.0, 0.999))
    support = episode.support
    x = torch.cat([support.x[0], episode.query_x[0]])  # type: ignore[index]
    y, w = torch.cat([support.y[0], episode.query_y[0]]), torch.cat([support.weight[0], episode.query_weight[0]])
    for _ in range(4):
        optimizer.zero_grad()
        ((F.cross_entropy(other(x), y, reduction="none") * w).sum() / w.sum()).backward()
        optimizer.step()
    for name, theta in model.named_parameters():
        phi = dict(other.named_parameters())[name]
        torch.testing.assert_close(gradients[f"model.{name}"], (theta - phi).detach())


def test_reptile_draws_batches_of_real_rows() -> None:
    learner = Reptile(nn.Linear(6, 3), batch_size=4).train()
    support = episode64().support
    rows = learner.batch(0, Rows(support.x[0], support.y[0], support.weight[0]))  # type: ignore[index]
    assert rows.weight.shape == (4,) and bool((rows.weight > 0).all())


def test_a_row_of_weight_0_changes_no_bit() -> None:
    episode = random_episode(0)
    learner = MAML(MODELS["MLP"][0](), inner_steps=2)
    support = episode.to(dtype=torch.float32).support
    assert isinstance(support.x, Tensor)
    other = replace(support, x=torch.where(support.weight[..., None] > 0, support.x, 100.0))
    for execution in ("loop", "vmap"):
        learner.execution = execution  # type: ignore[assignment]
        with torch.no_grad():
            first, second = learner.adapt(support), learner.adapt(other)
        for name, weight in first.weights.items():
            assert torch.equal(weight, second.weights[name])


def test_differentiating_twice_gives_the_plain_hessian() -> None:
    episode, learner = episode64(), MAML(nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3)).double())
    parameters = list(learner.parameters())

    def hessian_row(loss: Tensor) -> list[Tensor]:
        first = torch.autograd.grad(loss, parameters, create_graph=True)
        return list(torch.autograd.grad(first[0].square().sum(), parameters))

    through = hessian_row(learner.loss(episode).mean())
    weight = episode.support.weight.clone().requires_grad_()
    plain = hessian_row(learner.loss(replace(episode, support=replace(episode.support, weight=weight))).mean())
    for ours, theirs in zip(through, plain, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_running_averages_move_once_a_batch_and_only_in_training() -> None:
    episode = unpadded(0, (8, 8)).to(dtype=torch.float64)
    after = []
    for execution in ("loop", "vmap"):
        torch.manual_seed(0)
        learner = MAML(conv("batch")(), inner_steps=2, execution=execution).double()  # type: ignore[arg-type]
        before = {name: b.clone() for name, b in learner.named_buffers()}
        learner.eval().loss(episode)
        assert all(torch.equal(b, before[name]) for name, b in learner.named_buffers())
        learner.train()(episode)
        assert all(torch.equal(b, before[name]) for name, b in learner.named_buffers())
        learner.loss(episode)
        moved = dict(learner.named_buffers())
        assert all(not torch.equal(b, before[name]) for name, b in moved.items())
        assert moved["model.encoder.blocks.1.num_batches_tracked"] == 1
        after.append({name: b.clone() for name, b in moved.items()})
    for name, buffer in after[0].items():
        torch.testing.assert_close(buffer, after[1][name])


def test_what_cannot_be_says_so() -> None:
    with pytest.raises(ConfigError, match=r"'heads\.\*', which matches no parameter.*head\.weight"):
        MAML(Headed(MLP(6, 5), 4), adapt_only="heads.*")
    with pytest.raises(EpisodeError, match=r"5 classes came to a model of 3 outputs.*ProtoMAML"):
        MAML(nn.Linear(6, 3).double())(episode64(n_way=5))
    with pytest.raises(EpisodeError, match="expected one output for each target"):
        MAML(nn.Linear(6, 3).double()).loss(episode64(n_targets=2))
    with pytest.raises(ConfigError, match="inner_steps"):
        MAML(nn.Linear(6, 3), inner_steps=0)


@pytest.mark.parametrize("execution", ["loop", "vmap"])
def test_divergence_names_task_step_and_rate(execution: str) -> None:
    episode = episode64(n_targets=2, n_tasks=3)
    assert isinstance(episode.support.x, Tensor)
    x = episode.support.x.clone()
    x[1] *= 1e30
    episode = replace(episode, support=replace(episode.support, x=x))
    learner = MAML(nn.Linear(6, 2).double(), inner_steps=8, inner_lr=0.5, execution=execution)  # type: ignore[arg-type]
    for attempt in (learner.loss, learner):
        with pytest.raises(
            DivergenceError, match=r"task 1 .*inner step \d of 8, with a learning rate of 0.5"
        ) as caught:
            attempt(episode)
        assert caught.value.task == 1


def test_compiled_is_a_plain_loop() -> None:
    assert_same_meta_gradient(
        lambda: MAML(nn.Linear(6, 3), inner_lr=0.3, execution="compiled"), episode64(n_tasks=2), lr=0.3, steps=1
    )


def test_what_is_compiled_notices_every_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names, shapes, what is frozen, modes and rates are baked into the trace: each change makes a new one."""
    traces: list[object] = []

    def traced(graph: Callable[..., Any], *_: object, **__: object) -> Callable[..., Any]:
        traces.append(graph)
        return graph

    monkeypatch.setattr("torch._inductor.compile", traced)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 3), nn.Dropout(1.0), nn.Linear(3, 3)).double()
    model[1].eval()
    compiled = MAML(model, inner_lr=0.3, execution="compiled")
    looped = MAML(model, inner_lr=0.3, execution="loop")
    episode = episode64(n_tasks=2)

    def same(rate: float, n_traces: int) -> None:
        found = []
        for learner in (compiled, looped):
            learner.zero_grad()
            learner.rule.rate = rate
            loss = learner.loss(episode)
            loss.sum().backward()
            found.append((loss.detach(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}))
        torch.testing.assert_close(*found)
        assert len(traces) == n_traces

    same(0.3, 1)
    same(0.3, 1)
    same(0.2, 2)
    model[2].bias.requires_grad_(False)  # the last one: tensors, shapes and order stay as they were
    same(0.2, 3)
    model[2].bias = nn.Parameter(torch.ones(3).double())  # as in the first two
    same(0.2, 3)
    model[1].train()
    same(0.2, 4)
    model[0].register_buffer("scale", torch.ones(1).double())
    same(0.2, 5)


def test_without_a_compiler_it_goes_on_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no working C++ compiler")

    monkeypatch.setattr("torch._inductor.compile", broken)
    assert_same_meta_gradient(
        lambda: MAML(nn.Linear(6, 3), inner_lr=0.3, execution="compiled"), episode64(n_tasks=2), lr=0.3, steps=1
    )
    assert "no working C++ compiler" in caplog.text and "vmap" in caplog.text


def test_the_execution_is_chosen_by_rule() -> None:
    dense, conv4 = MAML(MODELS["MLP"][0]()), MAML(conv("group")())
    assert [dense.choose_execution(n) for n in (1, 4)] == ["loop", "vmap"]
    assert conv4.choose_execution(4) == "loop"
    assert conv4.choose_execution(4, "cuda") == "vmap"
    assert dense.train().choose_execution(4, n_steps_ahead=1000) == "compiled"
    assert dense.eval().choose_execution(4, n_steps_ahead=1000) == "vmap"
    assert MAML(conv("group")(), execution="vmap").choose_execution(4) == "vmap"


def images(n_query: int) -> Episode:
    y = torch.arange(5).expand(8, 5)
    query_y = y.repeat_interleave(n_query, 1)
    return Episode(Support(torch.rand(8, 5, 28, 28), y), torch.rand(8, 5 * n_query, 28, 28), query_y)


def test_convolutions_are_vmapped_where_the_maps_of_a_task_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = images(1), images(15)

    def maml(n_filters: int, halve_by: Any, **options: Any) -> MAML:
        return MAML(Headed(Conv4(1, n_filters, halve_by=halve_by), 5), **options)

    narrow = maml(32, "stride")
    assert [narrow.choose_execution(n, "cpu", small) for n in (1, 7, 8)] == ["loop", "loop", "vmap"]
    assert narrow.choose_execution(8, "cpu", large) == narrow.choose_execution(8) == "loop"
    assert maml(32, "stride", task_chunk=4).choose_execution(8, "cpu", small) == "loop"
    assert maml(32, "pool").choose_execution(8, "cpu", small) == "loop"
    in_a_dict = replace(small, support=replace(small.support, x={"a": small.support.x}))
    assert narrow.choose_execution(8, "cpu", in_a_dict) == "loop"

    looped: list[int] = []

    def one_by_one(learner: Any, parameters: Any, tasks: Any, plan: Any) -> Any:
        looped.append(tasks.support.y.shape[0])
        return by_loop(learner, parameters, tasks, plan)

    by_loop = meta_gradient._loop
    monkeypatch.setattr(meta_gradient, "_loop", one_by_one)
    maml(4, "stride").loss(small)
    assert looped == [2]  # two tasks, which vmap is compared with once
    maml(64, "pool").loss(small)
    assert looped == [2, 8]


@pytest.mark.parametrize("halve_by", ["stride", "pool"])
def test_the_maps_of_a_task_are_about_as_large_as_reckoned(halve_by: Any) -> None:
    encoder, episode, seen = Conv4(1, 4, halve_by=halve_by), images(1), []
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda *given: seen.append(given[2].numel()))
    encoder(episode.support.x[0])
    encoder(episode.query_x[0])
    assert map_numbers(encoder.modules(), episode) == pytest.approx(sum(seen), rel=0.03)


def test_vmap_inside_the_gradient_is_wrong_for_batch_norm_and_the_engine_does_not_do_that() -> None:
    """If torch mends it, this test fails, and the rule that keeps vmap inside grad from batch norm may go."""
    torch.manual_seed(0)
    model = conv("batch")().double()
    episode = unpadded(0, (8, 8)).to(dtype=torch.float64)
    learner = MAML(model, inner_lr=0.3, inner_steps=2)
    _, gradients = plain_meta_gradient(model, episode, lr=0.3, steps=2)
    tasks = learner._tasks(episode, module_tensors(learner))
    losses = vmap(lambda task: learner.task_loss(task, episode.n_classes)[0])(tasks)
    wrong = torch.autograd.grad(losses.mean(), list(model.parameters()))
    size = max(g.abs().max() for g in gradients.values())
    gap = max((w - g).abs().max() for w, g in zip(wrong, gradients.values(), strict=True)) / size
    assert gap > 1e-4
    assert not learner._may_differentiate_vmap()


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
@pytest.mark.parametrize("execution", ["loop", "vmap"])
def test_memory_after_200_steps_is_that_after_20(execution: str) -> None:
    """Without the garbage collector, which would hide a cycle. What one step keeps alive is about 1 MB."""
    learner = MAML(MLP(6, 3, (128, 128)), inner_lr=0.01, execution=execution).train()  # type: ignore[arg-type]
    optimizer = torch.optim.Adam(learner.parameters(), 1e-4)
    episode = random_episode(0, n_tasks=2).to(dtype=torch.float32)

    def steps(n: int) -> None:
        for _ in range(n):
            optimizer.zero_grad()
            learner.loss(episode).mean().backward()
            optimizer.step()

    gc.collect()
    gc.disable()
    try:
        steps(20)
        before = _resident()
        steps(180)
        assert _resident() - before < 4 * 2**20
    finally:
        gc.enable()


def _peak(learner: Learner, episode: Episode) -> int:
    """Bytes that tensors took at the most, from the allocator's own record."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        learner.loss(episode).mean().backward()
    held = peak = 0
    events = [e for e in record.profiler.kineto_results.events() if e.name() == "[memory]"]  # type: ignore[union-attr]
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def test_chunks_bound_the_memory() -> None:
    """The gradients of all tasks are kept in any case, so activations, which chunks bound, are made the larger part."""
    episode = random_episode(0, (300,), n_tasks=12, n_query=60).to(dtype=torch.float32)
    options: dict[str, dict[str, Any]] = {
        "loop": {"execution": "loop"},
        "vmap-2": {"execution": "vmap", "task_chunk": 2},
        "vmap": {"execution": "vmap"},
    }
    peak = {}
    for name, option in options.items():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(300, 4), *[nn.Tanh() for _ in range(3)], nn.Linear(4, 600), nn.Linear(600, 3))
        peak[name] = _peak(MAML(model, inner_steps=2, **option), episode)
    assert peak["vmap-2"] < 0.5 * peak["vmap"], peak
    assert peak["loop"] < 0.5 * peak["vmap"], peak


def test_training_names_the_episode_that_diverged_and_keeps_the_weights_before_it(tmp_path: Path) -> None:
    def source(numbers: np.ndarray) -> Episode:
        episode = random_episode(0, n_tasks=2, n_targets=2).to(dtype=torch.float32)
        x = episode.support.x * (1e25 if 5 in numbers else 1)  # type: ignore[operator]
        x[0] = episode.support.x[0]  # type: ignore[index]
        return replace(episode, support=replace(episode.support, x=x))

    learner = MAML(nn.Linear(6, 2), inner_lr=0.1, inner_steps=3)
    config = TrainConfig(steps=10, tasks_per_step=2, tensorboard=False, accelerator="cpu")
    with pytest.raises(DivergenceError, match=r"in episode 5: task 1 .* inner step \d of 3.*last\.safetensors"):
        train(learner, source, config, folder=tmp_path)
    assert (tmp_path / "last.safetensors").exists()

"""Models of users' own inside MAML: every one gets the meta-gradient of a textbook loop, or an error in plain words."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from copy import deepcopy
from threading import Thread
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from regard.episode import Episode, Support
from regard.errors import ConfigError
from regard.learners.anil import ANIL
from regard.learners.inner import fallback
from regard.learners.maml import MAML
from regard.learners.proto_maml import ProtoMAML
from regard.learners.reptile import Reptile
from regard.nn.encoder import Encoder

N_FEATURES, N_STEPS, RATE = 6, 2, 0.1


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def episode(*item: int) -> Episode:
    generator = torch.Generator().manual_seed(0)

    def rows(n: int) -> tuple[Tensor, Tensor]:
        return torch.randn(3, n, *item, generator=generator), torch.arange(n).remainder(3).expand(3, n).clone()

    (x, y), (query_x, query_y) = rows(6), rows(5)
    return Episode(Support(x, y, torch.ones(y.shape), 3), query_x, query_y, torch.ones(query_y.shape), 3)


class Calls(nn.Module):
    """A model from a function of its layers and x."""

    def __init__(self, function: Callable[[Any, Tensor], Any], **layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


def recurrent(kind: type[nn.RNNBase]) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        body = kind(N_FEATURES, 5, batch_first=True)
        return Calls(lambda m, x: m.head(m.body(x)[0][:, -1]), body=body, head=nn.Linear(5, 3))

    return make


class OldSquare(torch.autograd.Function):
    """Written in the old way, which no transform can take."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        return 2 * ctx.saved_tensors[0] * slopes[0]


class KeepsATensor(nn.Module):
    """Changes in place a tensor that is no buffer, which vmap cannot keep apart for each task."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.largest = nn.Linear(N_FEATURES, 3), torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        self.largest += x.detach().abs().max()
        return self.head(x)


LOOPED: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "LSTM": (recurrent(nn.LSTM), (4, N_FEATURES)),
    "GRU": (recurrent(nn.GRU), (4, N_FEATURES)),
    "RNN": (recurrent(nn.RNN), (4, N_FEATURES)),
    "cumulative batch norm": (
        lambda: nn.Sequential(nn.Linear(N_FEATURES, 5), nn.BatchNorm1d(5, momentum=None), nn.Linear(5, 3)),
        (N_FEATURES,),
    ),
    "spectral norm": (
        lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(N_FEATURES, 3)),
        (N_FEATURES,),
    ),
    "item": (lambda: Calls(lambda m, x: m.head(x) * x.abs().max().item(), head=nn.Linear(N_FEATURES, 3)), (6,)),
    "choice": (lambda: Calls(lambda m, x: m.head(x if x.sum() > 0 else -x), head=nn.Linear(N_FEATURES, 3)), (6,)),
    "old function": (lambda: Calls(lambda m, x: OldSquare.apply(m.head(x)), head=nn.Linear(N_FEATURES, 3)), (6,)),
    "tensor kept": (KeepsATensor, (N_FEATURES,)),
}


def attends(model: Any, x: Tensor) -> Tensor:
    q, k, v = model.body(x).chunk(3, -1)
    return model.head(F.scaled_dot_product_attention(q, k, v).mean(1))


ATTENDING: dict[str, Callable[[], nn.Module]] = {
    "encoder layer": lambda: Calls(
        lambda m, x: m.head(m.body(x).mean(1)),
        body=nn.TransformerEncoderLayer(N_FEATURES, 2, 8, 0.0, batch_first=True),
        head=nn.Linear(N_FEATURES, 3),
    ),
    "attention without weights": lambda: Calls(
        lambda m, x: m.head(m.body(x, x, x, need_weights=False)[0].mean(1)),
        body=nn.MultiheadAttention(N_FEATURES, 2, batch_first=True),
        head=nn.Linear(N_FEATURES, 3),
    ),
    "attention function": lambda: Calls(attends, body=nn.Linear(N_FEATURES, 18), head=nn.Linear(N_FEATURES, 3)),
}


def assert_textbook(make: Callable[[], nn.Module], tasks: Episode, **options: Any) -> MAML:
    """Losses and meta-gradients are those of gradient descent written out, task by task."""
    torch.manual_seed(0)
    model = make()
    reference = deepcopy(model)
    theta, losses = dict(reference.named_parameters()), []
    assert isinstance(tasks.support.x, Tensor) and isinstance(tasks.query_x, Tensor)
    with sdpa_kernel(SDPBackend.MATH):
        for b in range(tasks.n_tasks):
            phi = theta
            for _ in range(N_STEPS):
                own = {name: buffer.clone() for name, buffer in deepcopy(dict(model.named_buffers())).items()}
                loss = F.cross_entropy(functional_call(reference, phi | own, (tasks.support.x[b],)), tasks.support.y[b])
                slopes = torch.autograd.grad(loss, list(phi.values()), create_graph=True)
                phi = {name: p - RATE * slope for (name, p), slope in zip(phi.items(), slopes, strict=True)}
            own = {name: buffer.clone() for name, buffer in deepcopy(dict(model.named_buffers())).items()}
            losses.append(F.cross_entropy(functional_call(reference, phi | own, (tasks.query_x[b],)), tasks.query_y[b]))
    expected = torch.autograd.grad(torch.stack(losses).mean(), list(theta.values()))
    learner = MAML(model, inner_lr=RATE, inner_steps=N_STEPS, **options).train()
    before = list(model.named_parameters())
    loss = learner.loss(tasks)
    loss.mean().backward()
    torch.testing.assert_close(loss.detach(), torch.stack(losses).detach(), rtol=1e-9, atol=1e-10)
    for (name, p), (same, q), slope in zip(before, model.named_parameters(), expected, strict=True):
        assert name == same and p is q
        torch.testing.assert_close(p.grad, slope, rtol=1e-8, atol=1e-10)
    return learner


@pytest.mark.parametrize("kind", LOOPED)
def test_a_model_that_cannot_be_vmapped_is_looped_over_and_that_is_said_once(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    make, item = LOOPED[kind]
    tasks = episode(*item)
    with caplog.at_level(logging.WARNING):
        learner = assert_textbook(make, tasks)
        learner.loss(tasks)
        learner.eval()(tasks)
    assert [r for r in caplog.messages if "cannot be vmapped" in r] == caplog.messages and len(caplog.messages) == 1


def test_vmap_asked_for_by_name_says_what_to_do_where_it_cannot_be() -> None:
    make, item = LOOPED["choice"]
    with pytest.raises(ConfigError, match=r"execution is 'vmap'.*cannot be vmapped.*execution='loop'"):
        MAML(make(), execution="vmap").loss(episode(*item))


def test_vmap_that_gives_another_answer_is_not_trusted(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing raises here: the model counts its calls, so two tasks at once see another count than one by one."""

    class Grows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head, self.n_calls = nn.Linear(N_FEATURES, 3), 0

        def forward(self, x: Tensor) -> Tensor:
            self.n_calls += 1
            return self.head(x) * self.n_calls

    MAML(Grows()).loss(episode(N_FEATURES))
    assert "another answer than a loop" in caplog.text


def test_a_branch_that_vmap_meets_later_is_looped_over_in_that_call(caplog: pytest.LogCaptureFixture) -> None:
    def choose(model: Any, x: Tensor) -> Tensor:
        return model.head(x) * (x.abs().max().item() if x.shape[0] == 5 else 1.0)

    def tasks(n_rows: int) -> Episode:
        full = episode(N_FEATURES)
        assert isinstance(full.query_x, Tensor)
        return Episode(
            full.support, full.query_x[:, :n_rows], full.query_y[:, :n_rows], full.query_weight[:, :n_rows], 3
        )

    torch.manual_seed(0)
    model = Calls(choose, head=nn.Linear(N_FEATURES, 3))
    learner, looped = MAML(model), MAML(model, execution="loop")
    learner.loss(tasks(4))
    assert not caplog.messages
    torch.testing.assert_close(learner.loss(tasks(5)), looped.loss(tasks(5)))
    assert len(caplog.messages) == 1


def test_a_fault_of_the_model_itself_is_raised_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        MAML(Calls(lambda m, x: m.head(x) / (1 // 0), head=nn.Linear(N_FEATURES, 3))).loss(episode(N_FEATURES))


def test_trying_takes_no_random_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a run that goes on after an interruption, and tries again, draws what it would have drawn."""
    states = []
    for tried in (True, False):
        torch.manual_seed(0)
        learner = MAML(nn.Sequential(nn.Linear(N_FEATURES, 8), nn.Dropout(), nn.Linear(8, 3))).train()
        if not tried:
            monkeypatch.setattr(fallback, "_vmap_works", lambda *_: True)
        states.append((learner.loss(episode(N_FEATURES)).detach(), torch.get_rng_state()))
    assert torch.equal(states[0][0], states[1][0]) and torch.equal(states[0][1], states[1][1])


@pytest.mark.parametrize("execution", ["auto", "loop", "vmap"])
@pytest.mark.parametrize("kind", ATTENDING)
def test_fused_attention_is_differentiated_twice(kind: str, execution: str) -> None:
    learner = assert_textbook(ATTENDING[kind], episode(4, N_FEATURES), execution=execution)
    trained = learner.eval()(episode(4, N_FEATURES))
    learner.execution = "loop"
    torch.testing.assert_close(trained, learner(episode(4, N_FEATURES)))
    assert torch.backends.cuda.flash_sdp_enabled() and torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize("execution", ["loop", "vmap"])
def test_a_layer_under_several_names_is_one_layer(execution: str) -> None:
    def stack(model: Any, x: Tensor) -> Tensor:
        for layer in model.layers:
            x = layer(x).tanh()
        return model.head(x)

    def shared() -> nn.Module:
        layer = nn.Linear(N_FEATURES, N_FEATURES)
        return Calls(stack, layers=nn.ModuleList([layer] * 3), head=nn.Linear(N_FEATURES, 3), alias=layer)

    def sequence() -> nn.Module:
        layer, act = nn.Linear(N_FEATURES, N_FEATURES), nn.PReLU()
        return nn.Sequential(layer, act, layer, act, nn.Linear(N_FEATURES, 3))

    class Once(nn.Module):
        def __init__(self, model: Any) -> None:
            super().__init__()
            self.layer, self.head, self.act = model[0], model[4], model[1]

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.act(self.layer(self.act(self.layer(x)))))

    tasks = episode(N_FEATURES)
    torch.manual_seed(0)
    two = sequence()
    one = Once(deepcopy(two))
    for model in (two, one):
        MAML(model, inner_lr=RATE, inner_steps=N_STEPS, execution=execution).loss(tasks).mean().backward()  # type: ignore[arg-type]
    for ours, theirs in ((two[0], one.layer), (two[1], one.act), (two[4], one.head)):  # type: ignore[index]
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(p.grad, q.grad)
    model = shared()
    before = list(model.named_parameters(remove_duplicate=False))
    learner = MAML(model, execution=execution, first_order=True)  # type: ignore[arg-type]
    learner.loss(tasks).mean().backward()
    after = list(model.named_parameters(remove_duplicate=False))
    assert all(n == m and p is q and q.grad is not None for (n, p), (m, q) in zip(before, after, strict=True))


@pytest.mark.parametrize("execution", ["loop", "vmap"])
@pytest.mark.parametrize("rebinds", [False, True])
def test_a_counter_in_a_buffer_moves_once_a_batch_and_only_in_training(execution: Any, rebinds: bool) -> None:
    class Counts(nn.Module):
        n: Tensor
        scale: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(N_FEATURES, 3)
            self.register_buffer("n", torch.zeros(()))
            self.register_buffer("scale", torch.ones(N_FEATURES))

        def forward(self, x: Tensor) -> Tensor:
            if rebinds:
                self.n = self.n + 1
            else:
                self.n += 1
            return self.head(x * self.scale)

    model = Counts()
    kept, learner = (model.n, model.scale), MAML(model, inner_steps=3, execution=execution)
    learner.eval().loss(episode(N_FEATURES))
    learner.train()(episode(N_FEATURES))
    assert model.n == 0
    learner.loss(episode(N_FEATURES))
    assert model.n == 1 and model.n is kept[0] and model.scale is kept[1]


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("execution", ["auto", "loop", "vmap"])
def test_checkpointing_would_be_silently_wrong_and_is_refused(execution: Any, reentrant: bool) -> None:
    layers = {"first": nn.Linear(N_FEATURES, 5), "body": nn.Sequential(nn.Linear(5, 5), nn.Tanh())}
    model = Calls(lambda m, x: checkpoint(m.body, m.first(x), use_reentrant=reentrant), **layers)
    with pytest.raises(ConfigError, match="checkpoints its activations"):
        MAML(model, execution=execution).loss(episode(N_FEATURES)).sum().backward()


def test_saved_tensors_kept_elsewhere_are_no_checkpoint() -> None:
    learner = MAML(nn.Linear(N_FEATURES, 3), execution="loop")
    expected = learner.loss(episode(N_FEATURES))
    with torch.autograd.graph.save_on_cpu():
        torch.testing.assert_close(learner.loss(episode(N_FEATURES)), expected)


@pytest.mark.parametrize("execution", ["auto", "loop", "vmap"])
@pytest.mark.parametrize(
    ("wrap", "came"),
    [
        (lambda z: (z, z), "a tuple of 2"),
        (lambda z: {"logits": z}, "a dict of 'logits'"),
        (lambda z: z[:, None], r"a tensor of shape \(\d+, 1, 3\)"),
        (lambda z: z[:, 0], r"a tensor of shape \(\d+,\)"),
        (lambda z: None, "an object of type NoneType"),
    ],
)
def test_a_model_that_gives_no_rows_hears_what_to_give(
    wrap: Callable[[Tensor], Any], came: str, execution: Any
) -> None:
    model = Calls(lambda m, x: wrap(m.head(x)), head=nn.Linear(N_FEATURES, 3))
    for use in (MAML(model, execution=execution).loss, MAML(model, execution=execution), Reptile(model).train().loss):
        with pytest.raises(ConfigError, match=rf"Calls gives {came} .*expected one tensor \(N, out\)"):
            use(episode(N_FEATURES))
    with pytest.raises(ConfigError, match=rf"Calls gives {came}"):
        ProtoMAML(model).loss(episode(N_FEATURES))


def test_a_model_that_gives_another_number_of_rows_is_refused() -> None:
    with pytest.raises(ConfigError, match="gives 12 rows for 6 items"):
        MAML(Calls(lambda m, x: m.head(x).repeat(2, 1), head=nn.Linear(N_FEATURES, 3))).loss(episode(N_FEATURES))


def test_threads_share_a_learner() -> None:
    """The model is called with each task's weights in its place: without a lock threads would see each other's."""
    torch.manual_seed(0)
    learner = MAML(nn.Sequential(nn.Linear(N_FEATURES, 32), nn.Tanh(), nn.Linear(32, 3)), execution="loop").eval()
    tasks = [Episode(*_shifted(episode(N_FEATURES), shift)) for shift in range(4)]
    expected = [learner(task) for task in tasks]
    wrong: list[int] = []

    def work(i: int) -> None:
        for _ in range(10):
            with torch.no_grad():
                if not torch.allclose(learner(tasks[i]), expected[i]):
                    wrong.append(i)

    threads = [Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def _shifted(tasks: Episode, shift: int) -> tuple[Any, ...]:
    support = tasks.support
    assert isinstance(support.x, Tensor)
    return Support(support.x + shift, support.y, support.weight, 3), tasks.query_x, tasks.query_y, tasks.query_weight, 3


def test_anil_takes_the_options_of_its_head() -> None:
    class Same(Encoder):
        n_features, parts = N_FEATURES, False

        def forward(self, x: Any) -> Tensor:
            return x

    learner = ANIL(Same(), 3, execution="loop", task_chunk=2, test_steps=4)
    assert (learner.head.execution, learner.head.task_chunk, learner.head.test_steps) == ("loop", 2, 4)
    with pytest.raises(TypeError, match="test_step"):
        ANIL(Same(), 3, test_step=4)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]

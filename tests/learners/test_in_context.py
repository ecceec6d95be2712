"""What is particular to each in-context and memory learner, against a second way of computing it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Kernel, Matern
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, Normal
from torch.nn import functional as F

from encoders import Same
from regard.episode import Episode, Support
from regard.errors import ConfigError, EpisodeError
from regard.learners.anp import AttentiveNeuralProcess
from regard.learners.base import Learner
from regard.learners.cnp import CNP
from regard.learners.columns import beside, column_predictions, columns, sign_logits, unknown
from regard.learners.deep_kernel import DeepKernel
from regard.learners.fast_weights import FastWeights, write_by_delta
from regard.learners.mann import MANN
from regard.learners.snail import SNAIL
from regard.learners.tnp import TNPD
from regard.nn.attention import MultiHeadAttention
from regard.nn.context import ContextTransformer
from regard.nn.fourier import Fourier
from regard.nn.rotary import Rotary
from regard.testing import numbers, random_episode


@pytest.fixture(autouse=True)
def _double() -> object:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(before)


def plain(n_targets: int = 1) -> Episode:
    """Three tasks of nine rows and four queries, each of weight 1."""
    episode = random_episode(0, n_targets=n_targets)
    support = replace(episode.support, weight=torch.ones_like(episode.support.weight))
    return replace(episode, support=support, query_weight=torch.ones_like(episode.query_weight))


def tensors(episode: Episode) -> tuple[Tensor, Tensor, Tensor]:
    """Support x (3, 9, 6), y (3, 9, T) and query x (3, 4, 6)."""
    assert isinstance(episode.support.x, Tensor) and isinstance(episode.query_x, Tensor)
    return episode.support.x, episode.support.y, episode.query_x


# ---- the Transformer of two calls ------------------------------------------------------------------------------------


def torch_encoder(ours: ContextTransformer, d: int, n_heads: int, d_feed: int) -> nn.TransformerEncoder:
    """torch's own layers with our weights."""
    layer = nn.TransformerEncoderLayer(d, n_heads, d_feed, 0.0, "gelu", batch_first=True, norm_first=True)
    theirs = nn.TransformerEncoder(layer, len(ours.layers), nn.LayerNorm(d), enable_nested_tensor=False)
    with torch.no_grad():
        for mine, other in zip(ours.layers, theirs.layers, strict=True):
            a, b = mine.attention, other.self_attn
            b.in_proj_weight.copy_(torch.cat([a.query.weight, a.key.weight, a.value.weight]))
            b.in_proj_bias.copy_(torch.cat([a.query.bias, torch.zeros(d), a.value.bias]))
            for mine_part, their_part in (
                (a.out, b.out_proj),
                (mine.feed[0], other.linear1),
                (mine.feed[2], other.linear2),
                (mine.attention_norm, other.norm1),
                (mine.feed_norm, other.norm2),
                (ours.norm, theirs.norm),
            ):
                their_part.load_state_dict(mine_part.state_dict())
    return theirs


def test_two_calls_equal_one_masked_square() -> None:
    ours = ContextTransformer(8, n_layers=3, n_heads=2, d_feed=12)
    theirs = torch_encoder(ours, 8, 2, 12)
    context, query = torch.randn(2, 5, 8), torch.randn(2, 4, 8)
    weight = torch.ones(2, 5)
    weight[1, 3:] = 0
    hidden = torch.zeros(2, 9, 9, dtype=torch.bool)
    hidden[:, :, 5:] = ~torch.eye(9, dtype=torch.bool)[:, 5:]  # a query is seen by itself alone ...
    hidden[:, :, :5] |= (weight == 0)[:, None]
    # ... and torch gives it a weight there, which ours does not: it sees the context only.
    hidden[:, 5:, 5:] = True
    square = theirs(torch.cat([context, query], 1), mask=hidden.repeat_interleave(2, 0))
    torch.testing.assert_close(ours.read(ours.encode(context, weight), query), square[:, 5:])


def test_the_last_layer_makes_nothing_of_the_context_but_keys_and_values() -> None:
    ours = ContextTransformer(8, n_layers=2, n_heads=2)
    runs: list[str] = []
    for number, layer in enumerate(ours.layers):
        layer.register_forward_hook(lambda *_, number=number: runs.append(str(number)))
    context = ours.encode(torch.randn(1, 5, 8), torch.ones(1, 5))
    assert runs == ["0"] and set(context.key) == {"0", "1"}


# ---- places that turn ------------------------------------------------------------------------------------------------


def rotations(rotary: Rotary, place: Tensor) -> Tensor:
    """(S, D) places to (H, S, E, E) matrices, one number at a time."""
    angle = torch.einsum("sd,dhe->hse", place, rotary.wave)
    half = angle.shape[-1]
    matrix = torch.zeros(*angle.shape[:2], 2 * half, 2 * half)
    for j in range(half):
        matrix[..., j, j] = matrix[..., j + half, j + half] = angle[..., j].cos()
        matrix[..., j + half, j], matrix[..., j, j + half] = angle[..., j].sin(), -angle[..., j].sin()
    return matrix


def test_a_turn_is_a_rotation_of_pairs_and_back_undoes_it() -> None:
    rotary, place, x = Rotary(3, n_heads=2, width=6), torch.randn(5, 3), torch.randn(2, 5, 6)
    turn = rotary(place)
    torch.testing.assert_close(turn.there(x), (rotations(rotary, place) @ x[..., None])[..., 0])
    torch.testing.assert_close(turn.back(turn.there(x)), x)


def test_turned_attention_reads_differences_of_places() -> None:
    attention, rotary = MultiHeadAttention(8, 2), Rotary(1, n_heads=2, width=4)
    here, there, query, context = torch.randn(3, 1), torch.randn(5, 1), torch.randn(3, 8), torch.randn(5, 8)
    key, value = attention.keys_values(context, turn=rotary(there))
    found, _ = attention.read(query, key, value, turn=rotary(here))
    k, v = attention.keys_values(context)
    q = attention.query(query).unflatten(-1, (2, 4)).transpose(0, 1)
    between = (there[None, :] - here[:, None]).flatten(0, 1)  # of each query and row, what R takes
    r = rotations(rotary, between).unflatten(1, (3, 5))
    p = torch.softmax(torch.einsum("hqe,hqsef,hsf->hqs", q, r, k) / 2, -1)
    read = torch.einsum("hqs,hqsef,hsf->hqe", p, r, v)
    torch.testing.assert_close(found, attention.out(read.transpose(0, 1).flatten(-2)))


def test_wavelengths_of_a_head_are_a_geometric_series() -> None:
    rotary = Rotary(2, n_heads=1, width=6, longest=8.0, shortest=0.5)
    torch.testing.assert_close(2 * torch.pi / rotary.wave.norm(dim=0), torch.tensor([[8.0, 2.0, 0.5]]))


@pytest.mark.parametrize("made", [lambda: Rotary(1, 2, 5), lambda: Rotary(1, 2, 4, longest=0.1)])
def test_rotary_says_what_is_wrong(made: Callable[[], Rotary]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        made()


@pytest.mark.parametrize("name", ["TNPD", "AttentiveNeuralProcess"])
def test_an_answer_moves_with_the_function(name: str) -> None:
    learner, episode = PLACED[name](), plain()
    x, _, query_x = tensors(episode)
    moved = replace(episode, support=replace(episode.support, x=x + 3.0), query_x=query_x + 3.0)
    torch.testing.assert_close(numbers(learner(moved)), numbers(learner(episode)))
    assert not torch.allclose(numbers(learner(replace(episode, query_x=query_x + 3.0))), numbers(learner(episode)))


PLACED: dict[str, Callable[[], Learner]] = {
    "TNPD": lambda: TNPD(n_inputs=6, d_model=8, n_layers=2, places="rotary"),
    "AttentiveNeuralProcess": lambda: AttentiveNeuralProcess(n_inputs=6, d_model=8, n_heads=2, places="rotary"),
}


# ---- columns ---------------------------------------------------------------------------------------------------------


def test_columns_are_signs_of_classes_or_the_targets() -> None:
    support = Support(torch.zeros(1, 3, 2), torch.tensor([[0, 2, 1]]))
    expected = torch.tensor([[[1.0, -1, -1], [-1, -1, 1], [-1, 1, -1]]])
    torch.testing.assert_close(columns(support, torch.float64), expected)
    torch.testing.assert_close(columns(plain(2).support, torch.float64), plain(2).support.y.mT)


def test_sigma_has_its_floor() -> None:
    output = torch.tensor([[[[3.0, -1e3]]]])
    normal = column_predictions(output, torch.zeros(1, 0), 0.1)
    assert isinstance(normal, Normal)
    torch.testing.assert_close((normal.mean.item(), normal.stddev.item()), (3.0, 0.1))


def test_a_class_is_as_likely_as_plus_one_under_its_normal() -> None:
    mean, variance = torch.tensor([[[0.3, -0.2]]]), torch.tensor([[[0.5, 2.0]]])
    plus, minus = (Normal(mean, variance.sqrt()).log_prob(torch.tensor(sign)).exp() for sign in (1.0, -1.0))
    torch.testing.assert_close(sign_logits(mean, variance).exp(), plus / (plus + minus))


@pytest.mark.parametrize("name", ["CNP", "AttentiveNeuralProcess", "TNPD", "SNAIL", "FastWeights", "MANN"])
def test_two_targets_are_two_tasks(name: str) -> None:
    made = {
        "CNP": lambda: CNP(n_inputs=6),
        "AttentiveNeuralProcess": lambda: AttentiveNeuralProcess(n_inputs=6, d_model=8),
        "TNPD": lambda: TNPD(n_inputs=6, d_model=8, n_layers=2),
        "SNAIL": lambda: SNAIL(n_inputs=6, n_filters=4),
        "FastWeights": lambda: FastWeights(n_inputs=6),
        "MANN": lambda: MANN(n_inputs=6, n_slots=5),
    }
    learner, episode = made[name](), plain(2)
    one = replace(episode, support=replace(episode.support, y=episode.support.y[..., 1:]))
    both = numbers(learner(episode))
    torch.testing.assert_close(numbers(learner(replace(one, query_y=episode.query_y[..., 1:]))), both[:, :, 1:])


JOINT: dict[str, Callable[[int], Learner]] = {
    "CNP": lambda n: CNP(n_inputs=6, n_targets=n),
    "AttentiveNeuralProcess": lambda n: AttentiveNeuralProcess(n_inputs=6, d_model=8, n_targets=n),
    "TNPD": lambda n: TNPD(n_inputs=6, d_model=8, n_layers=2, n_targets=n),
    "SNAIL": lambda n: SNAIL(n_inputs=6, n_filters=4, n_targets=n),
    "FastWeights": lambda n: FastWeights(n_inputs=6, n_targets=n),
    "MANN": lambda n: MANN(n_inputs=6, n_slots=5, n_targets=n),
}


@pytest.mark.parametrize("name", JOINT)
def test_one_joint_target_is_one_column(name: str) -> None:
    by_column, joint, episode = JOINT[name](0), JOINT[name](1), plain(1)
    joint.load_state_dict(by_column.state_dict())
    torch.testing.assert_close(numbers(joint(episode)), numbers(by_column(episode)))


@pytest.mark.parametrize("name", JOINT)
def test_joint_targets_inform_each_other(name: str) -> None:
    learner, episode = JOINT[name](2), plain(2)
    y = episode.support.y.clone()
    y[..., 1] += 1
    changed = learner(replace(episode, support=replace(episode.support, y=y))).mean
    assert ((changed - learner(episode).mean)[..., 0].abs() > 1e-9).any()
    with pytest.raises(EpisodeError, match=r"has 3 targets .*: expected 2"):
        learner(plain(3))


# ---- neural processes ------------------------------------------------------------------------------------------------


def test_cnp_equals_a_loop() -> None:
    episode = plain()
    x, y, query = tensors(episode)
    learner = CNP(n_inputs=6, d_model=8)
    normal = learner(episode)
    for b in range(3):
        said = [learner.embed(torch.cat([x[b, s], y[b, s], torch.ones(1)])) for s in range(9)]
        mean, raw = learner.decode(torch.cat([query[b, 2], torch.stack(said).mean(0)]))
        torch.testing.assert_close(normal.mean[b, 2, 0], mean)
        torch.testing.assert_close(normal.stddev[b, 2, 0], 0.1 + 0.9 * F.softplus(raw))


def test_attentive_process_equals_torch_attention() -> None:
    episode = plain()
    x, _, query = tensors(episode)
    learner = AttentiveNeuralProcess(n_inputs=6, d_model=8, n_heads=2, n_layers=0)
    ours, theirs = learner.attention, nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key.weight, ours.value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, torch.zeros(8), ours.value.bias]))
        theirs.out_proj.load_state_dict(ours.out.state_dict())
    said = learner.embed(beside(x, columns(episode.support, x.dtype)))[:, 0]
    read, _ = theirs(learner.place(query), learner.place(x), said)
    mean = learner.decode(torch.cat([query, read], -1))[..., 0]
    torch.testing.assert_close(learner(episode).mean[..., 0], mean)


def test_tnpd_equals_one_masked_square() -> None:
    episode = plain()
    x, _, query = tensors(episode)
    learner = TNPD(n_inputs=6, d_model=8, n_layers=2, n_heads=2, d_feed=12)
    theirs = torch_encoder(learner.transformer, 8, 2, 12)
    token = torch.cat([beside(x, columns(episode.support, x.dtype))[:, 0], unknown(query, 1)[:, 0]], 1)
    hidden = (torch.arange(13) >= 9).expand(13, 13)
    output = learner.head(theirs(learner.token(token), mask=hidden)[:, 9:])
    torch.testing.assert_close(learner(episode).mean[..., 0], output[..., 0])


def test_one_part_is_a_vector_and_equal_parts_are_one() -> None:
    x, query = torch.randn(2, 5, 6), torch.randn(2, 3, 6)
    support = Support(x, torch.randn(2, 5, 2))
    vectors = TNPD(n_inputs=6, d_model=8, n_layers=2, n_targets=2)
    parts = TNPD(Same(6, parts=True), d_model=8, n_layers=2, n_targets=2)
    parts.load_state_dict({**parts.state_dict(), **vectors.state_dict()})
    expected = vectors.predict(vectors.adapt(support), query)
    for n_parts in (1, 3):
        rows = replace(support, x=x[:, :, None].expand(-1, -1, n_parts, -1))
        state, asked = parts.adapt(rows), query[:, :, None].expand(-1, -1, n_parts, -1)
        torch.testing.assert_close(parts.predict(state, asked).mean, expected.mean)
        torch.testing.assert_close(parts.attend(state, asked), vectors.attend(vectors.adapt(support), query))


# ---- sequences and memories ------------------------------------------------------------------------------------------


def test_snail_equals_the_whole_sequence() -> None:
    episode = plain()
    x, _, query = tensors(episode)
    learner = SNAIL(n_inputs=6, n_filters=3, n_dilations=4, widths=((3, 2), (4, 3), (2, 2)))
    rows = beside(x, columns(episode.support, x.dtype))
    for q in range(4):
        whole = torch.cat([rows, unknown(query[:, q : q + 1], 1)], 2)
        for layer in learner.layers:
            whole = layer.rows(whole, *([] if hasattr(layer, "taps") else [torch.ones(3, 10)]))[0]
        torch.testing.assert_close(learner(episode).mean[:, q], learner.head(whole)[:, :, -1, 0])


@pytest.mark.parametrize("dilation", [1, 2, 4])
def test_snail_convolution_is_torchs(dilation: int) -> None:
    from regard.learners.snail import _Convolution

    ours, x = _Convolution(3, 2, dilation), torch.randn(1, 1, 7, 3)
    theirs = nn.Conv1d(3, 4, 2, dilation=dilation)
    with torch.no_grad():
        theirs.weight.copy_(torch.stack([ours.taps.weight[:, 3:], ours.taps.weight[:, :3]], -1))
        theirs.bias.copy_(ours.taps.bias)  # type: ignore[union-attr]
    content, gate = theirs(F.pad(x[0, 0].T, (dilation, 0))).T.chunk(2, -1)
    torch.testing.assert_close(ours.rows(x)[0][0, 0, :, 3:], content.tanh() * gate.sigmoid())


def test_the_delta_rule_equals_its_steps() -> None:
    key, value, strength = torch.randn(2, 1, 5, 3), torch.randn(2, 4, 5, 2), torch.rand(2, 1, 5)
    matrix = torch.zeros(2, 4, 3, 2)
    for s in range(5):
        k, v, b = key[:, :, s], value[:, :, s], strength[:, :, s, None]
        stood = (k[..., None, :] @ matrix).squeeze(-2)
        matrix = matrix + k[..., :, None] * (b * (v - stood))[..., None, :]
    torch.testing.assert_close(write_by_delta(key, value, strength), matrix)


def test_the_delta_rule_counts_a_row_twice_in_a_row() -> None:
    episode = plain()
    x, y, _ = tensors(episode)
    learner = FastWeights(n_inputs=6)
    heavy = torch.ones(3, 9)
    heavy[:, 4] = 2
    index = torch.tensor([0, 1, 2, 3, 4, 4, 5, 6, 7, 8])
    twice = learner(replace(episode, support=Support(x[:, index], y[:, index])))
    torch.testing.assert_close(learner(replace(episode, support=Support(x, y, heavy))).mean, twice.mean)


def test_the_hebbian_rule_is_attention_without_its_exponential() -> None:
    episode = plain()
    x, _, query = tensors(episode)
    learner = FastWeights(n_inputs=6, rule="hebbian", n_heads=1, d_key=4, d_value=3)
    p = learner._keys(query)[:, 0, 0] @ learner._keys(x)[:, 0, 0].mT
    read = p / p.sum(-1, keepdim=True) @ learner.value(beside(x, columns(episode.support, x.dtype)))[:, 0]
    mean = learner.decode(torch.cat([query, read], -1))[..., 0]
    torch.testing.assert_close(learner(episode).mean[..., 0], mean)


def test_mann_equals_a_loop_over_lists() -> None:
    episode = plain()
    x, y, query = tensors(episode)
    learner = MANN(n_inputs=6, n_slots=4, d_slot=3, d_hidden=5).requires_grad_(False)
    scale, gate = learner.log_scale.exp(), learner.gate.sigmoid()
    slots = [torch.zeros(3) for _ in range(4)]
    usage, read = [0.0, 1e-3 / 3, 2e-3 / 3, 1e-3], torch.zeros(4)
    hidden, cell, content = torch.zeros(5), torch.zeros(5), torch.zeros(3)

    def look(key: Tensor) -> tuple[Tensor, Tensor]:
        cosine = torch.stack([F.cosine_similarity(key, slot, dim=0) for slot in slots])
        p = torch.softmax(scale * cosine, 0)
        return p, sum((p[i] * slots[i] for i in range(4)), torch.zeros(3))

    for s in range(9):
        row = torch.cat([x[1, s], y[1, s], torch.ones(1)])
        hidden, cell = learner.controller(row, torch.cat([hidden, content]), cell)
        key = learner.key(hidden).tanh()
        least = min(range(4), key=lambda i: float(usage[i]))
        slots[least] = torch.zeros(3)
        write = [gate * read[i] + (1 - gate) * (i == least) for i in range(4)]
        slots = [slots[i] + write[i] * key for i in range(4)]
        read, content = look(key)
        usage = [0.95 * usage[i] + read[i] + write[i] for i in range(4)]  # type: ignore[misc]
    question = torch.cat([query[1, 2], torch.zeros(2)])
    hidden, _ = learner.controller(question, torch.cat([hidden, content]), cell)
    _, content = look(learner.key(hidden).tanh())
    mean = learner.head(torch.cat([hidden, content]))[0]
    torch.testing.assert_close(learner(episode).mean[1, 2, 0], mean)


# ---- deep kernels ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "kernel"), [("rbf", RBF(1.5)), ("matern", Matern(1.5, nu=2.5))])
def test_deep_kernel_equals_scikit_learn(name: str, kernel: Kernel) -> None:
    episode = plain()
    x, y, query = tensors(episode)
    learner = DeepKernel(kernel=name, length=1.5, amplitude=0.7, noise=0.05, min_noise=0.0)  # type: ignore[arg-type]
    normal = learner(episode)
    for b in range(3):
        theirs = GaussianProcessRegressor(ConstantKernel(0.7) * kernel, alpha=0.05, optimizer=None)
        theirs.fit(x[b].numpy(), y[b, :, 0].numpy())
        mean, deviation = theirs.predict(query[b].numpy(), return_std=True)
        torch.testing.assert_close(normal.mean[b, :, 0].detach(), torch.from_numpy(mean))
        torch.testing.assert_close(normal.variance[b, :, 0].detach(), torch.from_numpy(deviation) ** 2 + 0.05)
        likelihood = theirs.log_marginal_likelihood(theirs.kernel_.theta)
        assert learner.log_marginal(episode.support)[b, 0].item() == pytest.approx(likelihood, rel=1e-9)


def test_the_marginal_likelihood_counts_weights() -> None:
    x, y, _ = tensors(plain())
    learner = DeepKernel(noise=0.3)
    weight = torch.tensor([1.0, 2, 0, 1, 3, 1, 0, 1, 1]).expand(3, 9)
    index = torch.arange(9).repeat_interleave(weight[0].long())
    each = x[:, index]
    covariance = learner.covariance(each, each) + learner.noise * torch.eye(len(index))
    expected = MultivariateNormal(torch.zeros(len(index)), covariance).log_prob(y[:, index, 0])
    torch.testing.assert_close(learner.log_marginal(Support(x, y, weight))[:, 0], expected)


def test_deep_kernel_trains_on_support_and_queries_together() -> None:
    episode = plain(2)
    learner = DeepKernel()
    x, y, query = tensors(episode)
    rows = Support(torch.cat([x, query], 1), torch.cat([y, episode.query_y], 1))
    torch.testing.assert_close(learner.loss(episode), -learner.log_marginal(rows).mean(1) / 13)


def test_deep_kernel_survives_equal_rows_in_single_precision() -> None:
    torch.set_default_dtype(torch.float32)
    support = Support(torch.ones(1, 40, 2), torch.ones(1, 40, 1))
    learner = DeepKernel(noise=1e-4)
    normal = learner.predict(learner.adapt(support), torch.ones(1, 1, 2))
    assert isinstance(normal, Normal)
    assert normal.mean.item() == pytest.approx(1, abs=1e-3)
    assert normal.stddev.item() == pytest.approx(2e-4**0.5, rel=0.1)


# ---- what is refused, and waves --------------------------------------------------------------------------------------


def test_unknown_names_get_a_hint() -> None:
    # Undecorated: in tests the annotations are executed, and would be first to object.
    with pytest.raises(ConfigError, match="did you mean 'matern'"):
        inspect.unwrap(DeepKernel.__init__)(DeepKernel(), kernel="matren")
    with pytest.raises(ConfigError, match="did you mean 'delta'"):
        inspect.unwrap(FastWeights.__init__)(FastWeights(), rule="delt")
    with pytest.raises(ConfigError, match="did you mean 'rotary'"):
        inspect.unwrap(TNPD.__init__)(TNPD(), places="rotery")
    with pytest.raises(ConfigError, match="n_heads to divide"):
        TNPD(d_model=8, n_heads=3)


def test_waves_compare_by_distance() -> None:
    encoder = Fourier(1, 3, longest=4.0, shortest=1.0)
    assert encoder.lengths == pytest.approx((4.0, 2.0, 1.0))
    wave = encoder(torch.tensor([[0.3], [1.1], [5.3], [6.1]]))[:, 1:]
    assert (wave[0] @ wave[1]).item() == pytest.approx((wave[2] @ wave[3]).item())
    with pytest.raises(EpisodeError, match="give it n_inputs"):
        encoder(torch.zeros(2, 3))
    with pytest.raises(ConfigError, match="longest >= shortest"):
        Fourier(longest=0.1)

"""Attention, proved: against plain torch and the entmax package, by finite differences, and by what weights mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import entmax
import pytest
import torch
from torch import Tensor
from torch.autograd import grad, gradcheck, gradgradcheck
from torch.nn import functional as F

import regard.nn.fused
from regard.errors import ConfigError
from regard.nn.attention import Compare, How, MultiHeadAttention, attention, attention_weights, scores

HOWS: tuple[How, ...] = get_args(How)
COMPARES: tuple[Compare, ...] = get_args(Compare)
SMOOTH: tuple[How, ...] = ("soft", "sparsemax", "entmax")
EXACT: tuple[How, ...] = ("soft", "sparsemax", "entmax", "hard")


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def positive(*shape: int, seed: int = 0) -> Tensor:
    return draw(*shape, seed=seed).abs() + 0.3


def seeded(how: How, seed: int = 0) -> torch.Generator | None:
    return torch.Generator().manual_seed(seed) if how == "gumbel" else None


# ---- scores ----------------------------------------------------------------------------------------------------------


def test_scores_are_the_textbook_formulas() -> None:
    q, k = draw(2, 3, 5), draw(2, 4, 5, seed=1)
    pairs = q[:, :, None] - k[:, None]
    torch.testing.assert_close(scores(q, k, "dot"), torch.einsum("bqd,bsd->bqs", q, k) / 5**0.5)
    torch.testing.assert_close(scores(q, k, "cosine"), F.cosine_similarity(q[:, :, None], k[:, None], dim=-1))
    torch.testing.assert_close(scores(q, k, "distance"), -pairs.square().sum(-1))


@pytest.mark.parametrize("compare", COMPARES)
def test_a_zero_vector_has_finite_derivatives_of_both_orders(compare: Compare) -> None:
    q, k = torch.zeros(2, 3, requires_grad=True), torch.zeros(4, 3, requires_grad=True)
    first = grad(scores(q, k, compare).square().sum(), q, create_graph=True)[0]
    first.sum().backward()
    assert q.grad is not None and k.grad is not None
    assert all(bool(t.isfinite().all()) for t in (first, q.grad, k.grad))


# ---- how scores become weights ---------------------------------------------------------------------------------------


def test_soft_is_softmax_with_the_logarithm_of_the_weight() -> None:
    score, weight = draw(3, 4, 6).requires_grad_(), positive(3, 1, 6, seed=1).requires_grad_()
    ours, plain = attention_weights(score, weight), torch.softmax(score + weight.log(), -1)
    torch.testing.assert_close(ours, plain)
    probe = draw(3, 4, 6, seed=2)
    for a, b in zip(
        grad((ours * probe).sum(), [score, weight]), grad((plain * probe).sum(), [score, weight]), strict=True
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(("how", "oracle"), [("sparsemax", entmax.sparsemax), ("entmax", entmax.entmax15)])
@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_sparse_attention_is_that_of_the_entmax_package(how: How, oracle: Callable[..., Tensor], scale: float) -> None:
    score = (draw(50, 9) * scale).requires_grad_()
    ours, theirs = attention_weights(score, how=how), oracle(score, dim=-1)
    torch.testing.assert_close(ours, theirs)
    probe = draw(50, 9, seed=1)
    torch.testing.assert_close(grad((ours * probe).sum(), score)[0], grad((theirs * probe).sum(), score)[0])
    assert scale < 1 or bool((ours == 0).any()), "nothing was sparse, so nothing was shown"


@pytest.mark.parametrize("how", EXACT)
def test_weight_two_is_the_row_twice_and_weight_zero_an_absent_row(how: How) -> None:
    score, weight = draw(40, 5), torch.tensor([1.0, 2.0, 0.0, 1.0, 3.0], dtype=torch.float64)
    rows = torch.tensor([0, 1, 1, 3, 4, 4, 4])
    for k in (1, 2, 3, 5):
        weighted = attention_weights(score, weight, how, k=k)
        repeated = attention_weights(score[:, rows], how=how, k=k)
        summed = torch.zeros_like(weighted).index_add(-1, rows, repeated)
        torch.testing.assert_close(weighted, summed, atol=1e-12, rtol=0)
        assert bool((weighted[:, 2] == 0).all())


@pytest.mark.parametrize("how", HOWS)
def test_an_absent_row_moves_nothing_wherever_its_score_lies(how: How) -> None:
    score, weight = draw(4, 5), torch.tensor([1.0, 0.5, 0.0, 1.0, 1.0], dtype=torch.float64)
    expected = attention_weights(score, weight, how, generator=seeded(how))
    for extreme in (-1e4, 0.0, 1e4):
        moved = score.clone()
        moved[:, 2] = extreme
        found = attention_weights(moved, weight, how, generator=seeded(how))
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


def test_gumbel_of_weight_two_wins_as_often_as_the_row_twice() -> None:
    score = torch.tensor([0.3, -0.2, 0.9], dtype=torch.float64).expand(40_000, 3)
    weight = torch.tensor([2.0, 1.0, 0.5], dtype=torch.float64)
    share = attention_weights(score, weight, "gumbel", generator=torch.Generator().manual_seed(0)).mean(0)
    # Three standard errors of a share over 40,000 draws.
    torch.testing.assert_close(share, attention_weights(score[0], weight), atol=0.0075, rtol=0)


@pytest.mark.parametrize("how", HOWS)
def test_rows_sum_to_one_and_are_zero_where_nothing_has_weight(how: How) -> None:
    score = draw(3, 4, 5).requires_grad_()
    weight = torch.tensor([[1.0, 0, 2, 0, 1], [0, 0, 0, 0, 0], [0, 0, 0, 0.1, 0]], dtype=torch.float64)
    p = attention_weights(score, weight[:, None].requires_grad_(), how, k=2, generator=seeded(how))
    torch.testing.assert_close(p.sum(-1), torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)[:, None].expand(3, 4))
    assert bool((p >= 0).all())
    first = grad(p.square().sum(), score, create_graph=True)[0]
    second = grad(first.square().sum() + 0 * score.sum(), score)[0]
    assert bool(first.isfinite().all()) and bool(second.isfinite().all())


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("extreme", [1e4, -1e4])
def test_extreme_scores_stay_finite_in_single_precision(how: How, extreme: float) -> None:
    score = draw(6, 5, dtype=torch.float32)
    score[:3, 1] = extreme
    score[3:] *= extreme
    score.requires_grad_()
    weight = torch.tensor([1.0, 1.0, 0.0, 2.0, 1e-6], requires_grad=True)
    p = attention_weights(score, weight, how, generator=seeded(how))
    slopes = grad((p * torch.arange(5)).sum(), [score, weight])
    assert all(bool(t.isfinite().all()) for t in (p, *slopes))
    torch.testing.assert_close(p.sum(-1), torch.ones(6))


def test_hard_keeps_k_rows_and_has_the_slope_of_soft() -> None:
    score = draw(7, 6).requires_grad_()
    for k in (1, 2, 4):
        p = attention_weights(score, how="hard", k=k)
        top = score.topk(k, dim=-1).indices
        torch.testing.assert_close(p, torch.zeros_like(p).scatter(-1, top, 1 / k))
        probe = draw(7, 6, seed=1)
        soft = grad((attention_weights(score) * probe).sum(), score)[0]
        torch.testing.assert_close(grad((p * probe).sum(), score)[0], soft)


def test_gumbel_is_repeated_by_its_generator_and_has_the_slope_of_soft() -> None:
    score = draw(30, 6).requires_grad_()
    one, again, other = (attention_weights(score, how="gumbel", generator=seeded("gumbel", s)) for s in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert bool(((one == 0) | (one == 1)).all())
    probe = draw(30, 6, seed=1)
    soft = grad((attention_weights(score) * probe).sum(), score)[0]
    torch.testing.assert_close(grad((one * probe).sum(), score)[0], soft)


# ---- derivatives -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compare", COMPARES)
@pytest.mark.parametrize("how", SMOOTH)
@pytest.mark.parametrize("keep", [False, True])
def test_derivatives_of_both_orders_agree_with_finite_differences(compare: Compare, how: How, keep: bool) -> None:
    inputs = [t.requires_grad_() for t in (draw(2, 2, 3), draw(2, 4, 3, seed=1), draw(2, 4, 2, seed=2))]
    weight = positive(2, 4, seed=3).requires_grad_()

    def run(q: Tensor, k: Tensor, v: Tensor, w: Tensor) -> Tensor:
        return attention(q, k, v, w, compare=compare, how=how, keep=keep, temperature=0.7)[0]

    assert gradcheck(run, (*inputs, weight))
    assert gradgradcheck(run, (*inputs, weight), atol=1e-4)


@pytest.mark.usefixtures("_either_way")
def test_derivatives_of_the_fused_path_agree_with_finite_differences() -> None:
    inputs = [t.requires_grad_() for t in (draw(2, 2, 3), draw(2, 4, 3, seed=1), draw(2, 4, 2, seed=2))]
    weight = torch.tensor([[1.0, 0.0, 2.0, 1.0], [0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    run = lambda q, k, v: attention(q, k, v, weight)[0]  # noqa: E731
    assert gradcheck(run, inputs)
    assert gradgradcheck(run, inputs)


@pytest.mark.parametrize("how", SMOOTH)
def test_the_slope_at_weight_zero_says_what_adding_the_row_would_do(how: How) -> None:
    score = draw(3, 5)
    weight = torch.tensor([1.0, 0.0, 2.0, 1.0, 1.0], dtype=torch.float64, requires_grad=True)
    value = draw(5, 1, seed=1)
    run = lambda w: (attention_weights(score, w, how) @ value).sum()  # noqa: E731
    slope = grad(run(weight), weight)[0][1]
    added = weight.detach().clone()
    added[1] = 1e-7
    torch.testing.assert_close(slope, (run(added) - run(weight.detach())) / 1e-7, atol=1e-5, rtol=1e-5)


# ---- the fused path --------------------------------------------------------------------------------------------------


@pytest.fixture(params=["formula", "kernel"])
def _either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """In training, the formula where scores are few, and the kernel's own derivative where they are many."""
    monkeypatch.setattr(regard.nn.fused, "_SMALL", 0 if request.param == "kernel" else 128**2)


def both_orders(out: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    first = grad(out.square().sum(), inputs, create_graph=True)
    second = grad(sum((g.sin().sum() for g in first), start=torch.zeros(())), inputs)
    return [*first, *second]


WEIGHTS = {
    "none": None,
    "rows": torch.tensor([[1.0, 0.0, 2.0, 1.0], [0.3, 1.0, 0.0, 0.0]], dtype=torch.float64),
    "empty": torch.tensor([[1.0, 0.0, 2.0, 1.0], [0.0, 0.0, 0.0, 0.0]], dtype=torch.float64),
    "each query": positive(2, 3, 4, seed=9) * (draw(2, 3, 4, seed=8) > -0.5),
}


@pytest.mark.usefixtures("_either_way")
@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("heads", [(), (3,)])
def test_fused_and_kept_agree_in_values_and_both_derivatives(name: str, heads: tuple[int, ...]) -> None:
    weight = WEIGHTS[name]
    if weight is not None and heads:
        weight = (weight[:, None, None] if weight.ndim == 2 else weight[:, None]).expand(2, *heads, -1, 4)
    inputs = [draw(2, *heads, n, d, seed=i).requires_grad_() for i, (n, d) in enumerate([(3, 5), (4, 5), (4, 6)])]
    fused, nothing = attention(*inputs, weight, temperature=0.5)
    kept, p = attention(*inputs, weight, temperature=0.5, keep=True)
    assert nothing is None and p is not None
    torch.testing.assert_close(fused, kept)
    torch.testing.assert_close(p @ inputs[2], kept)
    for a, b in zip(both_orders(fused, inputs), both_orders(kept, inputs), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.usefixtures("_either_way")
@pytest.mark.parametrize("share", ["key is value", "all one", "key from query"])
def test_fused_counts_a_shared_tensor_once(share: str) -> None:
    x, y = draw(2, 4, 5).requires_grad_(), draw(2, 4, 5, seed=1).requires_grad_()
    leaves = [x] if share == "all one" else [x, y]

    def slopes(keep: bool) -> list[torch.Tensor]:
        # Built again each time: a backward frees the graph before the attention too.
        made = {"key is value": (x, y, y), "all one": (x, x, x), "key from query": (x, (x * y).tanh(), y * x)}
        return list(both_orders(attention(*made[share], keep=keep)[0], leaves))

    for a, b in zip(slopes(keep=False), slopes(keep=True), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.usefixtures("_either_way")
def test_stock_fused_attention_cannot_be_differentiated_twice_and_ours_can() -> None:
    inputs = [draw(1, 1, 4, 8, seed=i, dtype=torch.float32).requires_grad_() for i in range(3)]
    with pytest.raises(RuntimeError, match="derivative"):
        both_orders(F.scaled_dot_product_attention(*inputs), inputs)
    for slope in both_orders(attention(*inputs)[0], inputs):
        assert bool(slope.isfinite().all())


@pytest.mark.usefixtures("_either_way")
def test_only_the_inputs_that_want_a_gradient_get_one() -> None:
    q, k, v = draw(2, 3, 5), draw(2, 4, 5, seed=1).requires_grad_(), draw(2, 4, 5, seed=2)
    kept = grad(attention(q, k, v, keep=True)[0].square().sum(), k)[0]
    torch.testing.assert_close(grad(attention(q, k, v)[0].square().sum(), k)[0], kept)


def test_no_support_rows_at_all_answers_zero() -> None:
    out, _ = attention(draw(2, 3, 5), draw(2, 0, 5), draw(2, 0, 4))
    assert torch.equal(out, torch.zeros(2, 3, 4, dtype=torch.float64))


# ---- transforms ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compare", COMPARES)
@pytest.mark.parametrize("how", EXACT)
def test_vmap_and_vmap_of_grad_are_loops(compare: Compare, how: How) -> None:
    inputs = (draw(3, 2, 4), draw(3, 5, 4, seed=1), draw(3, 5, 2, seed=2), positive(3, 5, seed=3))

    def run(q: Tensor, k: Tensor, v: Tensor, w: Tensor) -> Tensor:
        return attention(q, k, v, w, compare=compare, how=how)[0].square().sum()

    for function in (
        run,
        torch.func.grad(run, (0, 1, 2, 3)),
        torch.func.grad(lambda *a: torch.func.grad(run)(*a).sin().sum()),
    ):
        together = torch.func.vmap(function)(*inputs)
        one_by_one = [function(*(t[i] for t in inputs)) for i in range(3)]
        for i, single in enumerate(one_by_one):
            torch.testing.assert_close(torch.utils._pytree.tree_map(lambda t, i=i: t[i], together), single)


def test_heads_are_attention_side_by_side() -> None:
    torch.manual_seed(0)
    layer = MultiHeadAttention(6, 2).double()
    x, context, weight = draw(2, 3, 6), draw(2, 4, 6, seed=1), positive(2, 4, seed=2)
    q, k, v = layer.query(x), layer.key(context), layer.value(context)
    heads = [attention(q[..., h], k[..., h], v[..., h], weight)[0] for h in (slice(0, 3), slice(3, 6))]
    fused, kept = layer(x, context, weight)[0], layer(x, context, weight, keep=True)
    torch.testing.assert_close(fused, layer.out(torch.cat(heads, -1)))
    torch.testing.assert_close(fused, kept[0])
    assert kept[1].shape == (2, 2, 3, 4)


def test_wrong_choices_say_what_to_choose() -> None:
    # As in use: tests execute annotations, which would object first.
    plain_scores, plain_weights = scores.__wrapped__, attention_weights.__wrapped__  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="did you mean 'cosine'"):
        plain_scores(draw(2, 3), draw(2, 3), "cosin")
    with pytest.raises(ConfigError, match="did you mean 'entmax'"):
        plain_weights(draw(2, 3), None, "entmx")
    with pytest.raises(ConfigError, match="expected n_heads to divide"):
        MultiHeadAttention(6, 4)

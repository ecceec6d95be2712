"""Learners that solve for their weights, or write them: another way of computing the same agrees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import LinearSVC
from torch import Tensor, nn

from regard.episode import Episode, Support
from regard.errors import ConfigError
from regard.learners.base import Learner
from regard.learners.cnaps import CNAPs
from regard.learners.metaoptnet import MetaOptNet, support_vectors
from regard.learners.r2d2 import R2D2
from regard.learners.solvers import ridge
from regard.learners.versa import VERSA
from regard.learners.weight_generator import WeightGenerator
from regard.nn.conv4 import Conv4
from regard.nn.flat import Flat
from regard.nn.mlp import MLP
from regard.testing import random_episode


@pytest.fixture(autouse=True)
def _double():  # type: ignore[no-untyped-def]
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def real_rows(support: Support, b: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    kept = support.weight[b] > 0
    return support.x[b][kept].numpy(), support.y[b][kept].numpy(), support.weight[b][kept].numpy()  # type: ignore[index]


# ---- R2D2 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [3, 40])
def test_ridge_is_one_solution_whichever_system_is_solved(width: int) -> None:
    support = random_episode(0, (width,), n_targets=2).support
    x, w = support.x, support.weight[..., None]
    assert isinstance(x, Tensor)
    primal = torch.linalg.solve(x.mT @ (w * x) + 0.3 * torch.eye(width), x.mT @ (w * support.y))
    dual = x.mT @ torch.linalg.solve(w * (x @ x.mT) + 0.3 * torch.eye(x.shape[1]), w * support.y)
    solution = ridge(x, support.y, support.weight, 0.3)
    torch.testing.assert_close(primal, dual, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(solution, primal, rtol=1e-10, atol=1e-12)
    assert torch.equal(solution, dual if x.shape[1] < width else primal)


@pytest.mark.parametrize("width", [3, 40])
def test_r2d2_equals_ridge_of_scikit_learn(width: int) -> None:
    targets, classes = random_episode(1, (width,), n_targets=2), random_episode(1, (width,))
    learner = R2D2(Flat(), penalty=0.7, scale=4.0)
    normal, logits = learner(targets), learner(classes)
    for b in range(3):
        x, y, w = real_rows(targets.support, b)
        query = np.pad(targets.query_x[b].numpy(), ((0, 0), (0, 1)), constant_values=1)  # type: ignore[index]
        x = np.pad(x, ((0, 0), (0, 1)), constant_values=1)
        oracle = Ridge(alpha=0.7, fit_intercept=False).fit(x, y, sample_weight=w / w.sum())
        np.testing.assert_allclose(normal.mean[b].detach().numpy(), oracle.predict(query), rtol=1e-8)
        x, y, w = real_rows(classes.support, b)
        query = np.pad(classes.query_x[b].numpy(), ((0, 0), (0, 1)), constant_values=1)  # type: ignore[index]
        present = np.unique(y)
        x = np.pad(x, ((0, 0), (0, 1)), constant_values=1)
        oracle = Ridge(alpha=0.7, fit_intercept=False).fit(x, np.eye(3)[y][:, present], sample_weight=w / w.sum())
        np.testing.assert_allclose(logits[b][:, present].detach().numpy(), 4 * oracle.predict(query), rtol=1e-8)
    torch.testing.assert_close(normal.stddev, torch.full_like(normal.mean, 0.25))


# ---- MetaOptNet ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cost", [0.1, 3.0])
@pytest.mark.parametrize("width", [3, 40])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_support_vectors_equal_crammer_and_singer_of_scikit_learn(width: int, cost: float) -> None:
    support = random_episode(0, (width,), n_way=4, n_shot=5).support
    assert isinstance(support.x, Tensor)
    matrix = support_vectors(support.x, support, cost)
    for b in range(3):
        x, y, w = real_rows(support, b)
        oracle = LinearSVC(multi_class="crammer_singer", C=cost, fit_intercept=False, tol=1e-12, max_iter=10**6)
        oracle.fit(x, y, sample_weight=w)
        np.testing.assert_allclose(matrix[b].T.numpy()[oracle.classes_], oracle.coef_, atol=1e-5)


@pytest.mark.parametrize("size", [0.01, 30.0])
def test_support_vectors_of_features_of_any_size_are_a_minimum(size: float) -> None:
    support = random_episode(0, (8,), n_way=4, n_shot=5).support
    support = replace(support, x=support.x * size)  # type: ignore[operator]
    cost = 1.0 / size

    def objective(matrix: Tensor) -> Tensor:
        score = support.x @ matrix  # type: ignore[operator]
        hidden = torch.where(support.membership().sum(1, keepdim=True) > 0, score + 1 - support.one_hot(), -torch.inf)
        error = hidden.amax(-1) - (score * support.one_hot()).sum(-1)
        error = torch.where(support.weight > 0, support.weight * error, 0.0).sum(-1)
        return matrix.square().sum((1, 2)) / 2 + cost * error

    matrix = support_vectors(support.x, support, cost)  # type: ignore[arg-type]
    least = objective(matrix)
    for seed in range(20):
        noise = torch.randn(matrix.shape, generator=torch.Generator().manual_seed(seed))
        aside = objective(matrix + 1e-2 * matrix.abs().amax() * noise)
        assert bool((least <= aside).all())


@pytest.mark.parametrize("width", [3, 40])
def test_logistic_head_equals_scikit_learn(width: int) -> None:
    episode = random_episode(0, (width,), n_way=4, n_shot=5, n_query=8)
    p = MetaOptNet(Flat(), head="logistic", cost=0.5)(episode).softmax(-1).detach().numpy()
    for b in range(3):
        x, y, w = real_rows(episode.support, b)
        oracle = LogisticRegression(C=0.5, solver="newton-cg", tol=1e-12, max_iter=10_000).fit(x, y, sample_weight=w)
        expected = np.zeros_like(p[b])
        expected[:, oracle.classes_] = oracle.predict_proba(episode.query_x[b].numpy())  # type: ignore[index]
        np.testing.assert_allclose(p[b], expected, atol=1e-6)


@pytest.mark.parametrize("make", [lambda: MetaOptNet(Flat()), lambda: MetaOptNet(Flat(), head="logistic")])
def test_derivatives_at_the_optimum_are_differences_of_optima(make: Callable[[], Learner]) -> None:
    episode, learner = random_episode(3, (5,), n_shot=4), make()
    support = episode.support

    def answer(x: Tensor, weight: Tensor) -> Tensor:
        return learner.loss(replace(episode, support=replace(support, x=x, weight=weight))).sum()

    x, weight = support.x.clone().requires_grad_(), support.weight.clone().requires_grad_()  # type: ignore[union-attr]
    by_x, by_weight = torch.autograd.grad(answer(x, weight), [x, weight])
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        dx, dw = (torch.randn(t.shape, generator=generator) for t in (x, weight))
        dw = dw * (support.weight > 0)  # a weight below 0 means nothing
        sides = [answer((x + s * 1e-5 * dx).detach(), (weight + s * 1e-5 * dw).detach()).item() for s in (1, -1)]
        slope = (by_x * dx).sum() + (by_weight * dw).sum()
        assert slope.item() == pytest.approx((sides[0] - sides[1]) / 2e-5, rel=1e-4, abs=1e-6)


# ---- generated weights -----------------------------------------------------------------------------------------------


def test_weight_generator_equals_its_formula_row_by_row() -> None:
    episode, learner = random_episode(0, (5,)), WeightGenerator(MLP(5, 4, ()), n_base=3).double()
    got = learner(episode)
    for b, k in ((0, 1), (2, 0)):
        rows = [s for s in range(9) if episode.support.y[b, s] == k and episode.support.weight[b, s] > 0]
        mean, memory, mass = torch.zeros(4), torch.zeros(4), 0.0
        for s in rows:
            z = nn.functional.normalize(learner.encoder(episode.support.x[b, s][None])[0], dim=0)  # type: ignore[index]
            like = [nn.functional.cosine_similarity(learner.query(z), key, dim=0) for key in learner.key]
            p = (learner.sharpness * torch.stack(like)).softmax(0)
            w = episode.support.weight[b, s]
            mean, mass = mean + w * z, mass + w
            memory = memory + w * sum(p[i] * learner.value[i] / learner.value[i].norm() for i in range(3))
        weights = learner.scale_mean * mean / mass + learner.scale_memory * memory / mass
        for q in range(4):
            z = learner.encoder(episode.query_x[b, q][None])[0]  # type: ignore[index]
            logit = learner.temperature * nn.functional.cosine_similarity(z, weights, dim=0)
            torch.testing.assert_close(got[b, q, k], logit, rtol=1e-10, atol=1e-12)


def test_versa_trains_on_the_mean_probability_of_its_draws() -> None:
    episode, learner = random_episode(0, (5,)), VERSA(MLP(5, 4, ()), width=6, n_samples=7).double()
    torch.manual_seed(1)
    loss = learner.train().loss(episode)
    state, z = learner.adapt(episode.support), learner.encoder(episode.query_x.flatten(0, 1)).unflatten(0, (3, 4))  # type: ignore[union-attr]
    torch.manual_seed(1)
    p = learner.sample(state, z, 7).softmax(-1).mean(0)
    for b in range(3):
        asked = [-p[b, q, episode.query_y[b, q]].log() for q in range(4) if episode.query_weight[b, q] > 0]
        torch.testing.assert_close(loss[b], torch.stack(asked).mean())


def test_versa_draws_have_the_mean_it_predicts_by_and_obey_a_generator() -> None:
    episode, learner = random_episode(0, (5,)), VERSA(MLP(5, 4, ()), width=6, deviation=0.5).double().eval()
    state, z = learner.adapt(episode.support), learner.encoder(episode.query_x.flatten(0, 1)).unflatten(0, (3, 4))  # type: ignore[union-attr]
    draws = [learner.sample(state, z, 4000, torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    present = (state.mass > 0)[:, None].expand(3, 4, 3)
    mean, spread = draws[0].mean(0)[present], draws[0].std(0)[present]
    expected = torch.nn.functional.pad(z, (0, 1), value=1.0).square() @ state.deviation.square().mT
    torch.testing.assert_close(spread, expected.sqrt()[present], rtol=0.06, atol=0)
    assert bool(((mean - learner(episode)[present]).abs() < 5 * spread / 4000**0.5).all())
    torch.manual_seed(3)
    first = learner.loss(episode)
    assert torch.equal(first, learner.loss(episode)), "not in training, the loss is a function of the episode"


@pytest.mark.parametrize("make", [R2D2, MetaOptNet, WeightGenerator, VERSA])
def test_vectors_are_wanted_and_parts_refused(make: Callable[[nn.Module], Learner]) -> None:
    with pytest.raises(ConfigError, match="parts=False"):
        make(Conv4(parts=True))


@pytest.mark.parametrize("make", [R2D2, MetaOptNet, WeightGenerator, VERSA])
def test_single_precision_stays_so(make: Callable[[nn.Module], Learner]) -> None:
    episode: Episode = random_episode(0).to(dtype=torch.float32)
    learner = make(MLP(6, 8, ())).float()
    assert learner(episode).dtype == torch.float32
    double = learner.double()(random_episode(0))
    single = learner.float()(episode)
    torch.testing.assert_close(single.double().softmax(-1), double.softmax(-1), rtol=0, atol=2e-5)


# ---- they learn ------------------------------------------------------------------------------------------------------

LEARNING: dict[str, Callable[[], Learner]] = {
    "R2D2": lambda: R2D2(MLP(8, 8)),
    "MetaOptNet": lambda: MetaOptNet(MLP(8, 8), scale=10.0),
    "WeightGenerator": lambda: WeightGenerator(MLP(8, 8), n_base=8),
    "VERSA": lambda: VERSA(MLP(8, 8), width=32),
    "CNAPs": lambda: CNAPs(MLP(8, 8)),
}


def two_telling_numbers_of_eight(seed: int) -> Episode:
    """Three classes, told apart by two of the numbers; the other six are louder, and noise."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(3).repeat_interleave(6).repeat(8, 1)
    x = 2 * torch.randn(8, 18, 8, generator=generator)
    centre = 2 * torch.randn(8, 3, 2, generator=generator)
    x[..., :2] = centre.gather(1, y[..., None].expand(-1, -1, 2)) + 0.2 * torch.randn(8, 18, 2, generator=generator)
    asked = torch.arange(18) % 6 >= 3
    return Episode(Support(x[:, ~asked], y[:, ~asked], n_classes=3), x[:, asked], y[:, asked])


@pytest.mark.parametrize("name", LEARNING)
def test_practice_helps_on_tasks_never_seen(name: str) -> None:
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)
    learner, unseen = LEARNING[name](), two_telling_numbers_of_eight(10**6).to(dtype=torch.float32)

    def error() -> float:
        learner.eval()
        wrong = learner(unseen).argmax(-1) != unseen.query_y
        learner.train()
        return wrong.double().mean().item()

    before, optimizer = error(), torch.optim.Adam(learner.parameters(), lr=5e-3)
    for step in range(80):
        loss = learner.loss(two_telling_numbers_of_eight(step).to(dtype=torch.float32)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = error()
    assert after < 0.6 * before, f"error {before:.2f} before and {after:.2f} after practice"

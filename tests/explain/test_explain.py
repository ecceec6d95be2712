"""Explanations prove themselves: two ways agree, planted evidence is found, and what is absent explains nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from inspect import unwrap

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from encoders import Vectors
from regard.episode import Episode, Items, Support, Value
from regard.errors import ConfigError, EpisodeError
from regard.explain import faithfulness, influence, saliency_maps
from regard.explain.saliency import votes
from regard.learners.base import EncodingAttendingLearner, Learner
from regard.learners.cross_transformer import CrossTransformer
from regard.learners.matching import Matching
from regard.learners.nearest_neighbour import NearestNeighbour
from regard.learners.prototypical import Prototypical
from regard.learners.relation import Relation
from regard.nn.conv4 import Conv4
from regard.nn.encoder import Encoder
from regard.testing import random_episode


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(before)


class Plain(Learner):
    """A learner that hides its encoder, so that it is asked the long way."""

    def __init__(self, inner: Prototypical) -> None:
        super().__init__()
        self.inner = inner

    def adapt(self, support: Support) -> object:
        return self.inner.adapt(support)

    def predict(self, state: object, query_x: Items) -> Tensor:
        return self.inner.predict(state, query_x)  # type: ignore[return-value]


@dataclass(frozen=True)
class Memory(Value):
    z: Tensor
    one_hot: Tensor
    weight: Tensor


class Attending(EncodingAttendingLearner):
    """Attends by the first feature of an item and answers by the second: 'honest' where the two agree."""

    def __init__(self, honest: bool) -> None:
        super().__init__()
        self.encoder = nn.Identity()
        self.honest = honest

    def adapt_encoded(self, support: Support) -> Memory:
        return Memory(support.x, support.one_hot(), support.weight)  # type: ignore[arg-type]

    def _rows(self, state: Memory, query_z: Tensor, feature: int) -> Tensor:
        p = state.weight * state.z[..., feature].exp()
        return (p / p.sum(-1, keepdim=True))[:, None].expand(-1, query_z.shape[1], -1)

    def predict_encoded(self, state: Memory, query_z: Tensor) -> Tensor:
        return (self._rows(state, query_z, 1) @ state.one_hot).log()

    def attend_encoded(self, state: Memory, query_z: Tensor) -> Tensor:
        return self._rows(state, query_z, 1 if self.honest else 0)


def vectors(n_tasks: int = 3, n_rows: int = 8, n_query: int = 5, n_classes: int = 3, seed: int = 0) -> Episode:
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n_rows).remainder(n_classes).expand(n_tasks, -1).clone()
    x = torch.randn(n_tasks, n_rows, 6, generator=generator)
    query = torch.randn(n_tasks, n_query, 6, generator=generator)
    weight = 0.5 + torch.rand(n_tasks, n_rows, generator=generator)
    query_y = torch.randint(n_classes, (n_tasks, n_query), generator=generator)
    return Episode(Support(x, y, weight, n_classes), query, query_y)


def planted(n_tasks: int = 40, seed: int = 0) -> Episode:
    """One row of each task carries the evidence in feature 1; another, of another class, shines in feature 0."""
    episode = vectors(n_tasks, n_rows=9, seed=seed)
    x = 0.1 * episode.support.x
    generator = torch.Generator().manual_seed(seed)
    key = torch.randint(9, (n_tasks,), generator=generator)
    task = torch.arange(n_tasks)
    x[task, key, 1] = 3.0
    x[task, (key + 1) % 9, 0] = 3.0
    ones = torch.ones_like(episode.support.weight)
    return Episode(Support(x, episode.support.y, ones, 3), episode.query_x, episode.query_y)


# ---- influence -------------------------------------------------------------------------------------------------------


def one_backward_a_query(learner: Learner, episode: Episode) -> Tensor:
    weight = episode.support.weight.clone().requires_grad_()
    support = Support(episode.support.x, episode.support.y, weight, episode.n_classes)
    log_p = torch.log_softmax(learner.predict(learner.adapt(support), episode.query_x), -1)  # type: ignore[arg-type]
    best = log_p.max(-1).values.sum(0)
    return torch.stack([torch.autograd.grad(b, weight, retain_graph=True)[0] for b in best], 1)


def learners() -> dict[str, Learner]:
    return {
        "prototypical": Prototypical(Vectors()),
        "plain": Plain(Prototypical(Vectors())),
        "matching": Matching(Vectors()),
        "full context": Matching(Vectors(), n_reads=2),
    }


@pytest.mark.parametrize("name", list(learners()))
def test_influence_is_the_gradient_query_by_query(name: str) -> None:
    learner, episode = learners()[name].eval(), vectors()
    told = influence(learner, episode)
    torch.testing.assert_close(told.influence, one_backward_a_query(learner, episode))
    torch.testing.assert_close(told.contribution, told.influence * episode.support.weight[:, None])


def test_influence_is_a_difference_quotient() -> None:
    learner, episode, step = Prototypical(Vectors()), vectors(), 1e-6
    told = influence(learner, episode)
    moved = []
    for sign in (1, -1):
        weight = episode.support.weight.clone()
        weight[:, 4] += sign * step
        with torch.no_grad():
            other = replace(episode, support=replace(episode.support, weight=weight))
            moved.append(torch.log_softmax(learner(other), -1).gather(-1, told.predicted[..., None])[..., 0])
    torch.testing.assert_close(told.influence[..., 4], (moved[0] - moved[1]) / (2 * step), rtol=1e-6, atol=1e-8)


def test_a_row_of_weight_0_contributes_nothing_and_changes_nothing() -> None:
    learner, episode = Matching(Vectors()), vectors()
    padded = Episode(
        Support(
            torch.cat([episode.support.x, torch.randn(3, 2, 6)], 1),  # type: ignore[list-item]
            torch.cat([episode.support.y, torch.zeros(3, 2, dtype=torch.int64)], 1),
            torch.cat([episode.support.weight, torch.zeros(3, 2)], 1),
            3,
        ),
        episode.query_x,
        episode.query_y,
    )
    a, b = influence(learner, episode), influence(learner, padded)
    assert a.attention is not None and b.attention is not None
    assert b.contribution[..., -2:].abs().max() == 0
    assert b.attention[..., -2:].abs().max() == 0
    # What adding such a row would do is still known.
    assert b.influence[..., -2:].abs().min() > 0
    torch.testing.assert_close(a.influence, b.influence[..., :-2])
    torch.testing.assert_close(a.probability, b.probability)


def test_influence_finds_the_planted_row_and_leaves_no_trace() -> None:
    learner, episode = Attending(honest=True).train(), planted()
    told = influence(learner, episode)
    key = episode.support.x[..., 1].argmax(-1)  # type: ignore[index]
    assert torch.equal(told.contribution.argmax(-1), key[:, None].expand(-1, 5))
    assert learner.training
    other = Prototypical(Vectors())
    influence(other, vectors())
    assert all(p.grad is None for p in other.parameters())


def test_influence_of_numbers_is_the_gradient_of_the_mean() -> None:
    learner, episode = Matching(Vectors()), vectors()
    y = torch.randn(3, 8, 2)
    numbers = Episode(Support(episode.support.x, y, episode.support.weight), episode.query_x, torch.randn(3, 5, 2))
    told = influence(learner, numbers)
    assert told.attention is not None
    # d/dw_s of sum_s p_s y_s with p_s proportional to w_s: p_s (y_s - mean) / w_s.
    mean = told.attention @ y.sum(-1)[..., None]
    expected = told.attention * (y.sum(-1)[:, None] - mean) / episode.support.weight[:, None]
    torch.testing.assert_close(told.influence, expected)


def test_transductive_learners_are_refused() -> None:
    learner = Prototypical(Conv4(n_filters=4, norm="transductive", n_halvings=2, image_size=8))
    with pytest.raises(ConfigError, match="Prototypical is transductive"):
        influence(learner, pictures())


# ---- faithfulness ----------------------------------------------------------------------------------------------------


def test_deleting_planted_evidence_hurts_more_than_chance() -> None:
    told = faithfulness(Attending(honest=True), [planted()])
    assert told.difference.low > 0.3
    assert told.top_curve[1] < told.random_curve[1] - 0.3
    assert told.top_curve[0] == pytest.approx(told.random_curve[0])
    assert told.top_curve[0] - told.top_curve[1] == pytest.approx(told.top.mean)


def test_attention_that_looks_elsewhere_is_found_out() -> None:
    told = faithfulness(Attending(honest=False), [planted()])
    assert told.top.mean < 0.05
    assert told.difference.high < 0.05
    # Influence asks the learner itself, and is right where its attention lies.
    assert faithfulness(Attending(honest=False), [planted()], by="influence").difference.low > 0.3


def test_an_explanation_of_ones_own_is_judged_alike() -> None:
    learner, episode = Attending(honest=True), planted()

    def scores(asked: Learner, given: Episode) -> Tensor:
        assert isinstance(asked, Attending)
        return asked.attend(asked.adapt(given.support), given.query_x)

    own, theirs = (faithfulness(learner, [episode], by=by) for by in (scores, "attention"))
    assert own.by == "scores" and own.difference == theirs.difference
    with pytest.raises(ConfigError, match="tasks, queries, rows"):
        unwrap(faithfulness)(learner, [episode], by=lambda asked, given: given.support.weight)


def test_deleting_is_dropping_the_row() -> None:
    learner, episode = Matching(Vectors()), vectors(n_tasks=2, n_query=1)
    told = faithfulness(learner, [episode], n_deleted=1)
    for task in range(2):
        one = episode.tasks(slice(task, task + 1))
        top = int(learner.attend(learner.adapt(one.support), one.query_x)[0, 0].argmax())
        kept = [row for row in range(8) if row != top]
        less = replace(
            one,
            support=Support(one.support.x[:, kept], one.support.y[:, kept], one.support.weight[:, kept], 3),  # type: ignore[index]
        )
        with torch.no_grad():
            before, after = (torch.softmax(learner(e), -1)[0, 0] for e in (one, less))
        best = int(before.argmax())
        assert told.per_episode["top"][task] == pytest.approx(float(before[best] - after[best]))


def test_the_random_row_is_of_the_same_class_and_real() -> None:
    # Class 0 has rows 0 and 1, row 1 the only possible comparison; row 3 is padding with tempting features.
    x = torch.zeros(2, 4, 6)
    x[:, 0, 1], x[:, 1, 1], x[:, 3, 1] = 2.0, 1.0, 9.0
    support = Support(x, torch.tensor([[0, 0, 1, 0]] * 2), torch.tensor([[1.0, 1, 1, 0]] * 2), 2)
    told = faithfulness(Attending(honest=True), [Episode(support, torch.zeros(2, 1, 6), torch.zeros(2, 1).long())])
    e1, e2 = np.exp(1), np.exp(2)
    before, after = (e1 + e2) / (1 + e1 + e2), e2 / (1 + e2)
    assert told.random.mean == pytest.approx(before - after)
    # The last row stays, so the curve ends where one row is left: row 2 of the other class.
    assert told.top_curve == pytest.approx([before, e1 / (1 + e1), 0, 0, 0, 0])


def test_same_seed_same_answer_in_any_batches() -> None:
    episode, learner = planted(6), Matching(Vectors())
    whole = faithfulness(learner, [episode], seed=4)
    split = faithfulness(learner, [episode.tasks(slice(0, 2)), episode.tasks(slice(2, 6))], seed=4)
    for name in ("top", "random"):
        np.testing.assert_allclose(whole.per_episode[name], split.per_episode[name], rtol=1e-10)
    np.testing.assert_allclose(whole.random_curve, split.random_curve)
    other = faithfulness(learner, [episode], seed=5)
    assert not np.allclose(other.per_episode["random"], whole.per_episode["random"])
    np.testing.assert_allclose(other.per_episode["top"], whole.per_episode["top"])


def test_faithfulness_says_what_it_needs() -> None:
    with pytest.raises(ConfigError, match="by='influence'"):
        faithfulness(Prototypical(Vectors()), [vectors()])
    with pytest.raises(ConfigError, match="did you mean 'attention'"):
        unwrap(faithfulness)(Matching(Vectors()), [vectors()], by="atention")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="n_deleted is 0"):
        faithfulness(Matching(Vectors()), [vectors()], n_deleted=0)
    with pytest.raises(EpisodeError, match="1 support row"):
        faithfulness(Matching(Vectors()), [vectors(n_rows=1, n_classes=1)])
    with pytest.raises(EpisodeError, match="no episodes"):
        faithfulness(Matching(Vectors()), [])


# ---- saliency maps ---------------------------------------------------------------------------------------------------


def pictures(n_tasks: int = 2, n_shot: int = 2, seed: int = 0) -> Episode:
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(3).repeat_interleave(n_shot).expand(n_tasks, -1)
    x = torch.randint(256, (n_tasks, y.shape[1], 8, 8), generator=generator, dtype=torch.uint8)
    query = torch.randint(256, (n_tasks, 4, 8, 8), generator=generator, dtype=torch.uint8)
    return Episode(Support(x, y, n_classes=3), query, torch.zeros(n_tasks, 4, dtype=torch.int64))


def cross_transformer() -> CrossTransformer:
    return CrossTransformer(Conv4(n_filters=8, n_halvings=1, parts=True, image_size=8), d_head=8)


def test_votes_of_the_places_average_to_the_logits() -> None:
    learner, episode = cross_transformer().eval(), pictures()
    support, query_z = learner.encode_episode(episode)
    state = learner.adapt_encoded(support)
    torch.testing.assert_close(votes(learner, state, query_z).mean(2), learner.predict_encoded(state, query_z))


def test_places_are_shares_of_the_attention() -> None:
    learner, episode = cross_transformer(), pictures()
    told = saliency_maps(learner, episode)
    assert told.support.shape == (2, 4, 6, 8, 8)
    assert told.query.shape == (2, 4, 8, 8)
    # 4 x 4 places, each enlarged to 4 pixels: the pictures of one class hold 1 in all, so 4.
    per_class = told.support.sum((-1, -2)).reshape(2, 4, 3, 2).sum(-1)
    np.testing.assert_allclose(per_class, 4.0, rtol=1e-4)
    assert told.support.min() >= 0
    # The margin of the predicted class is positive on the whole picture.
    assert (told.query.mean((-1, -2)) > 0).all()
    with torch.no_grad():
        expected = torch.softmax(learner.eval()(episode), -1).max(-1)
    np.testing.assert_array_equal(told.predicted, expected.indices.numpy())
    np.testing.assert_allclose(told.probability, expected.values.numpy(), rtol=1e-5)


def test_the_map_lies_where_the_stroke_is() -> None:
    class Patches(Encoder):
        """Sixteen places of a picture: each its mean ink, once as it is and once inverted."""

        parts, n_features = True, 2

        def forward(self, x: Items) -> Tensor:
            assert isinstance(x, Tensor)
            ink = x.to(torch.get_default_dtype())[:, None] / 255
            ink = nn.functional.avg_pool2d(ink, 2).flatten(1)
            return torch.stack([ink, 1 - ink], -1)

    learner = CrossTransformer(Patches(), d_head=2)
    with torch.no_grad():
        learner.key.weight.copy_(10 * torch.eye(2))
    x = torch.zeros(1, 2, 8, 8, dtype=torch.uint8)
    x[0, 0, 2:4, 6:8] = 255
    query = torch.full((1, 1, 8, 8), 255, dtype=torch.uint8)
    told = saliency_maps(
        learner, Episode(Support(x, torch.tensor([[0, 1]])), query, torch.zeros(1, 1, dtype=torch.int64))
    )
    row, column = np.unravel_index(told.support[0, 0, 0].argmax(), (8, 8))
    assert row in (2, 3) and column in (6, 7)
    assert np.ptp(told.support[0, 0, 1]) < 1e-6


def test_padding_pictures_are_not_looked_at() -> None:
    episode = pictures()
    weight = torch.ones(2, 6)
    weight[:, 5] = 0
    told = saliency_maps(cross_transformer(), replace(episode, support=replace(episode.support, weight=weight)))
    assert told.support[:, :, 5].max() == 0
    assert told.support[:, :, 4].min() > 0


def test_saliency_maps_say_what_they_need() -> None:
    with pytest.raises(ConfigError, match="Relation does not attend to patches"):
        unwrap(saliency_maps)(Relation(Conv4(n_filters=4, n_halvings=1, parts=True, image_size=8)), pictures())  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"gives 16 patches, not 3 x 5"):
        saliency_maps(cross_transformer(), pictures(), grid=(3, 5))
    flat = vectors()
    with pytest.raises(EpisodeError, match="expected images"):
        saliency_maps(cross_transformer(), flat)


def test_influence_by_the_norm_of_targets_is_that_of_the_jacobian() -> None:
    episode = random_episode(0, n_targets=3, n_tasks=1)
    learner = Matching(Vectors())

    def mean(weight: Tensor) -> Tensor:
        return learner(replace(episode, support=replace(episode.support, weight=weight))).mean[0]

    jacobian = torch.autograd.functional.jacobian(mean, episode.support.weight)[:, :, 0]
    result = influence(learner, episode, over_targets="norm")
    torch.testing.assert_close(result.influence[0], jacobian.square().sum(1).sqrt())
    torch.testing.assert_close(result.contribution, result.influence * episode.support.weight[:, None])
    torch.testing.assert_close(influence(learner, episode).influence[0], jacobian.sum(1))
    with pytest.raises(ConfigError, match="over_targets is 'nrom'"):
        unwrap(influence)(learner, episode, over_targets="nrom")


def test_numbers_are_followed_by_how_far_they_move() -> None:
    """In deviations of the task's targets, whichever way, of the row that a nearest neighbour answers by."""
    x = torch.arange(5.0)[None, :, None].expand(2, 5, 1)
    y = torch.tensor([[0.0, 3.0, 1.0, 7.0, 4.0], [5.0, -2.0, 1.0, 1.0, 0.0]])[..., None]
    query = torch.tensor([[[1.2]], [[3.1]]])
    told = faithfulness(NearestNeighbour(), [Episode(Support(x, y), query, query)], n_deleted=4)
    # Without rows 1 and 3 the neighbours are 2 and 4.
    expected = [2 / y[0].std(correction=0).item(), 1 / y[1].std(correction=0).item()]
    np.testing.assert_allclose(told.per_episode["top"], expected, rtol=1e-6)
    np.testing.assert_allclose(told.per_episode["random"], 0, atol=1e-6)
    assert told.top_curve[0] == 0 and told.top_curve[1] == pytest.approx(-np.mean(expected))
    larger = faithfulness(NearestNeighbour(), [Episode(Support(x, 1000 * y), query, query)])
    np.testing.assert_allclose(larger.per_episode["top"], expected, rtol=1e-6)

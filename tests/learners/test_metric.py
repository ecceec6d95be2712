"""What is particular to each metric learner, against a second way of computing it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoders import Same
from regard.episode import Episode, Support
from regard.errors import ConfigError, EpisodeError
from regard.learners.base import query_loss
from regard.learners.cross_transformer import CrossTransformer
from regard.learners.feat import FEAT
from regard.learners.matching import Matching
from regard.learners.prototypical import Prototypical
from regard.learners.relation import Relation
from regard.learners.row_attention import alike, class_logits, weighted_normal
from regard.learners.siamese import Siamese
from regard.learners.triplet import Triplet
from regard.nn.flat import Flat
from regard.nn.mlp import MLP
from regard.testing import random_episode


@pytest.fixture(autouse=True)
def _double() -> object:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(before)


def full(episode: Episode) -> Episode:
    """The episode with weight 1 everywhere."""
    support = replace(episode.support, weight=torch.ones_like(episode.support.weight))
    return replace(episode, support=support, query_weight=torch.ones_like(episode.query_weight))


def test_prototypical_equals_numpy() -> None:
    episode = full(random_episode(0))
    logits = Prototypical(Same(6))(episode)
    x, y, query = episode.support.x.numpy(), episode.support.y.numpy(), episode.query_x.numpy()  # type: ignore[union-attr]
    for b in range(3):
        for k in range(3):
            centre = x[b][y[b] == k].mean(0)
            np.testing.assert_allclose(logits[b, :, k].numpy(), -((query[b] - centre) ** 2).sum(-1), rtol=1e-10)


def test_matching_equals_the_formula() -> None:
    episode = full(random_episode(1))
    learner = Matching(Same(6), scale=3.0)
    cosine = F.cosine_similarity(episode.query_x[:, :, None], episode.support.x[:, None], dim=-1)  # type: ignore[index]
    p = torch.softmax(3.0 * cosine, -1)
    torch.testing.assert_close(learner.attend(learner.adapt(episode.support), episode.query_x), p)
    torch.testing.assert_close(learner(episode).softmax(-1), p @ F.one_hot(episode.support.y, 3).double())


def test_full_context_equals_torch_lstm_cells() -> None:
    episode = full(random_episode(2))
    learner = Matching(Same(6), n_reads=3)
    context = learner.context
    assert context is not None
    there, back = nn.LSTMCell(6, 6), nn.LSTMCell(6, 6)
    for cell, step in ((there, context.forwards), (back, context.backwards)):
        _copy(cell, step.gates, 6)
    x, query = episode.support.x, episode.query_x
    assert isinstance(x, Tensor) and isinstance(query, Tensor)
    key = torch.zeros_like(x)
    for cell, order in ((there, range(9)), (back, range(8, -1, -1))):
        state = (torch.zeros(3, 6), torch.zeros(3, 6))
        for s in order:
            state = cell(x[:, s], state)
            key[:, s] += state[0]
    key = key + x
    torch.testing.assert_close(learner.adapt(episode.support).x, key)
    # The reading cell has a recurrent input twice as wide as its state: h and r.
    gates = context.reading.gates
    hidden, read, cell_state = (torch.zeros_like(query) for _ in range(3))
    for _ in range(3):
        f, i, o, g = gates(torch.cat([query, hidden, read], -1)).chunk(4, -1)
        cell_state = f.sigmoid() * cell_state + i.sigmoid() * g.tanh()
        hidden = o.sigmoid() * cell_state.tanh() + query
        read = torch.softmax(hidden @ key.mT / 6**0.5, -1) @ key
    torch.testing.assert_close(context.query(query, learner.adapt(episode.support)), hidden)


def _copy(cell: nn.LSTMCell, gates: nn.Linear, d: int) -> None:
    """Our gates stand as keep, write, show, content; torch's as write, keep, content, show."""
    order = [1, 0, 3, 2]
    weight = torch.cat([gates.weight.unflatten(0, (4, d))[k] for k in order])
    bias = torch.cat([gates.bias.unflatten(0, (4, d))[k] for k in order])
    with torch.no_grad():
        cell.weight_ih.copy_(weight[:, :d])
        cell.weight_hh.copy_(weight[:, d:])
        cell.bias_ih.copy_(bias)
        cell.bias_hh.zero_()


def test_full_context_claims_less() -> None:
    plain, context = Matching(Same(6)), Matching(Same(6), n_reads=2)
    assert plain.ignores_order and plain.counts_weight
    assert not context.ignores_order and not context.counts_weight


def test_cross_transformer_equals_one_softmax_over_all_places() -> None:
    episode = full(random_episode(3, (4, 6)))
    learner = CrossTransformer(Same(6, parts=True), d_head=5)
    logits = learner(episode)
    x, query = episode.support.x, episode.query_x
    for b in range(3):
        for k in range(3):
            rows = x[b, episode.support.y[b] == k].flatten(0, 1)  # type: ignore[index]
            score = learner.key(query[b]) @ learner.key(rows).mT / 5**0.5  # type: ignore[index]
            aligned = torch.softmax(score, -1) @ learner.value(rows)
            distance = (learner.value(query[b]) - aligned).square().sum(-1).mean(-1)  # type: ignore[index]
            torch.testing.assert_close(logits[b, :, k], -learner.log_scale.exp() * distance)


@pytest.mark.parametrize("n_rows", [None, 1])
def test_cross_transformer_without_gradients_answers_the_same(n_rows: int | None) -> None:
    episode = random_episode(3, (4, 6))
    if n_rows == 1:  # one example a class takes a path of its own
        first = Support(episode.support.x[:, :3], torch.arange(3).expand(3, 3), torch.ones(3, 3))  # type: ignore[index]
        episode = replace(episode, support=first)
    learner = CrossTransformer(Same(6, parts=True), d_head=5)
    with torch.no_grad():
        fused = learner(episode)
    torch.testing.assert_close(fused, learner(episode).detach())


def test_siamese_loss_is_balanced_cross_entropy() -> None:
    episode = full(random_episode(4))
    learner = Siamese(Same(6))
    apart = (episode.query_x[:, :, None] - episode.support.x[:, None]).abs()  # type: ignore[index]
    p = torch.sigmoid(apart @ learner.verdict.weight[0] + learner.verdict.bias)
    same = episode.query_y[:, :, None] == episode.support.y[:, None]
    for b in range(3):
        together, different = -p[b][same[b]].log().mean(), -(1 - p[b][~same[b]]).log().mean()
        torch.testing.assert_close(learner.loss(episode)[b], (together + different) / 2)


@pytest.mark.parametrize("mining", ["semi-hard", "all"])
def test_triplet_loss_equals_a_loop(mining: str) -> None:
    episode = random_episode(5)
    learner = Triplet(Same(6), mining=mining, margin=0.3)  # type: ignore[arg-type]
    x, query = F.normalize(episode.support.x, dim=-1), F.normalize(episode.query_x, dim=-1)  # type: ignore[arg-type]
    for b in range(3):
        weight, y = episode.support.weight[b].tolist(), episode.support.y[b].tolist()
        real = [s for s in range(len(y)) if weight[s] > 0]
        total = mass = 0.0
        for q, (asked, label) in enumerate(
            zip(episode.query_weight[b].tolist(), episode.query_y[b].tolist(), strict=True)
        ):
            far = (query[b, q] - x[b]).square().sum(-1).tolist()
            for s in (s for s in real if y[s] == label):
                others = [n for n in real if y[n] != label]
                if mining == "semi-hard":
                    beyond = [n for n in others if far[n] > far[s]]
                    others = [min(beyond, key=far.__getitem__) if beyond else max(others, key=far.__getitem__)]
                for n in others:
                    w = asked * weight[s] * (weight[n] if mining == "all" else 1.0)
                    total, mass = total + w * max(0.0, far[s] - far[n] + 0.3), mass + w
        assert learner.loss(episode)[b].item() == pytest.approx(total / mass, rel=1e-9)


def test_targets_are_alike_by_degrees() -> None:
    episode = random_episode(6, n_targets=1)
    degree = alike(episode)
    apart = (episode.query_y[:, :, None] - episode.support.y[:, None]).abs().squeeze(-1)
    assert bool(((degree > 0) & (degree <= 1)).all())
    assert bool((degree.argmax(-1) == apart.argmin(-1)).all())
    moved = replace(
        episode, support=replace(episode.support, y=episode.support.y * 9 + 4), query_y=episode.query_y * 9 + 4
    )
    torch.testing.assert_close(alike(moved), degree)


@pytest.mark.parametrize("learner", [Siamese, Triplet])
def test_training_on_targets_helps(learner: type[Siamese] | type[Triplet]) -> None:
    """The target hangs on the first feature alone; the loss by pairs or triplets has to find that out."""

    def episode(seed: int) -> Episode:
        noise = random_episode(seed, n_tasks=2, n_shot=6, n_query=8, n_targets=1)
        support = replace(noise.support, y=noise.support.x[..., :1])  # type: ignore[index]
        return full(replace(noise, support=support, query_y=noise.query_x[..., :1]))  # type: ignore[index]

    model = learner(MLP(6, 8, hidden=(16,)))
    before = (model(episode(999)).mean - episode(999).query_y).square().mean().item()
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for step in range(150):
        optimiser.zero_grad()
        model.loss(episode(step)).mean().backward()
        optimiser.step()
    after = (model(episode(999)).mean - episode(999).query_y).square().mean().item()
    assert after < 0.5 * before, (before, after)


def test_relation_head_equals_one_convolution_of_the_concatenation() -> None:
    episode = full(random_episode(7, (9, 6)))
    learner = Relation(Same(6, parts=True), width=8)
    state = learner.adapt(episode.support)
    head = learner.head
    joint = torch.cat([head.of_class.weight, head.of_query.weight], 1)
    for k in range(3):
        pair = torch.cat([state.maps[:, k, None].expand_as(episode.query_x), episode.query_x], -1)  # type: ignore[arg-type]
        maps = pair.flatten(0, 1).mT.unflatten(-1, (3, 3))
        z = head.rest(F.conv2d(maps, joint, head.of_query.bias, padding=1)).relu().mean((2, 3))
        torch.testing.assert_close(learner(episode)[..., k], head.verdict(z).view(3, 4))


def test_relation_loss_is_squared_error_to_one_hot() -> None:
    episode = full(random_episode(8))
    learner = Relation(Same(6), width=8)
    error = (learner(episode).sigmoid() - F.one_hot(episode.query_y, 3)).square().sum(-1).mean(-1)
    torch.testing.assert_close(learner.loss(episode), error)


def test_relation_scores_begin_at_a_fifth_so_that_they_do_not_all_end_the_same() -> None:
    """From a half, the way down to one class in five killed the head's units on large maps: 20.0 in five ways."""
    episode = full(random_episode(8, (64, 6)))
    for norm in ("group", "batch"):
        score = Relation(Same(6, parts=True), norm=norm)(episode).sigmoid()
        assert (score.mean() - 0.2).abs() < 0.1


def test_relation_wants_square_maps() -> None:
    episode = random_episode(9, (6, 6))
    with pytest.raises(ConfigError, match="gives 6 parts: expected a square map"):
        Relation(Same(6, parts=True), width=8)(episode)


def test_relation_says_when_its_head_mixes_queries() -> None:
    assert not Relation(Same(6, parts=True)).transductive
    assert Relation(Same(6, parts=True), norm="transductive").transductive


def test_feat_auxiliary_loss_equals_a_loop() -> None:
    episode = full(random_episode(10))
    learner, weight = FEAT(Same(6), contrast=0.5), 0.5
    auxiliary = learner.loss(episode) - query_loss(learner(episode), episode)
    z = torch.cat([episode.support.x, episode.query_x], 1)  # type: ignore[list-item]
    y = torch.cat([episode.support.y, episode.query_y], 1)
    for b in range(3):
        centres = []
        for k in range(3):
            members = z[b, y[b] == k]
            centres.append(learner.norm(members + learner.attention(members, members)[0]).mean(0))
        logits = -(z[b][:, None] - torch.stack(centres)).square().sum(-1) / 6
        torch.testing.assert_close(auxiliary[b], weight * F.cross_entropy(logits, y[b]))


def test_class_logits_keep_classes_that_are_far_apart() -> None:
    support = Support(torch.zeros(1, 3, 1), torch.tensor([[0, 0, 1]]), torch.ones(1, 3))
    logits = class_logits(torch.tensor([[[0.0, 0.0, -2000.0]]]), support)
    torch.testing.assert_close(logits, torch.tensor([[[np.log(2.0), -2000.0]]]))


def test_weighted_normal_keeps_digits_of_large_targets() -> None:
    p, y = torch.tensor([[[0.25, 0.75]]]), torch.tensor([[[1e9], [1e9 + 4]]])
    normal = weighted_normal(p, y, noise=1.0)
    torch.testing.assert_close(normal.mean, torch.tensor([[[1e9 + 3]]]))
    torch.testing.assert_close(normal.stddev, torch.tensor([[[2.0]]]), rtol=1e-6, atol=0.0)


def test_parts_are_refused_where_vectors_are_compared() -> None:
    for learner in (Siamese, Triplet, Matching, FEAT):
        with pytest.raises(ConfigError, match=f"{learner.__name__} compares vectors, and Same gives parts"):
            learner(Same(6, parts=True))


def test_bad_input_is_explained() -> None:
    learner, episode = Prototypical(Same(6)), random_episode(11)
    with pytest.raises(EpisodeError, match="Prototypical classifies, and the support has"):
        learner(random_episode(11, n_targets=1))
    with pytest.raises(EpisodeError, match="expected as many tasks, and items of one shape"):
        learner(replace(episode, query_x=episode.query_x[..., :5]))  # type: ignore[index]
    with pytest.raises(EpisodeError, match="expected the same kind of items"):
        learner(replace(episode, query_x={"ids": episode.query_x}))
    with pytest.raises(EpisodeError, match="the support has no rows"):
        learner.adapt(Support(torch.zeros(1, 0, 6), torch.zeros(1, 0, dtype=torch.int64)))
    # Where annotations are executed, the annotation speaks first.
    with pytest.raises(Exception, match="'semi-hard'"):
        Triplet(Same(6), mining="semihard")  # type: ignore[arg-type]


def test_flat_items() -> None:
    image = torch.tensor([[[0, 255]]], dtype=torch.uint8)
    torch.testing.assert_close(Flat()(image), torch.tensor([[0.0, 1.0]]))
    with pytest.raises(EpisodeError, match="items are a dict"):
        Flat()({"ids": image})

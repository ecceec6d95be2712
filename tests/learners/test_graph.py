"""What is particular to each learner on graphs, against a second way: loops over nodes, or many steps."""

from __future__ import annotations

from inspect import unwrap

import pytest
import torch
from torch import Tensor

from encoders import Parts, Same
from regard.episode import Episode
from regard.errors import ConfigError
from regard.learners.egnn import EGNN
from regard.learners.few_shot_gnn import FewShotGNN
from regard.learners.tpn import TPN
from regard.testing import random_episode


@pytest.fixture(autouse=True)
def _double() -> object:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(before)


def one_task(seed: int) -> tuple[Episode, list[tuple[Tensor, int, float]], Tensor]:
    """An episode of one task, its rows that have weight as (vector, class, weight), and its queries."""
    episode = random_episode(seed, n_tasks=1, n_way=2, n_shot=3)
    x, y, weight = episode.support.x, episode.support.y, episode.support.weight
    assert isinstance(x, Tensor) and isinstance(episode.query_x, Tensor)
    rows = [(x[0, s], int(y[0, s]), float(weight[0, s])) for s in range(x.shape[1]) if weight[0, s] > 0]
    return episode, rows, episode.query_x[0]


def test_few_shot_gnn_equals_loops_over_nodes() -> None:
    episode, rows, queries = one_task(0)
    learner = FewShotGNN(Same(6), n_layers=2, n_new=4, width=5)
    logits = learner(episode)[0]
    for q, query in enumerate(queries):
        for c in range(2):
            nodes = [torch.cat([x, torch.tensor([1.0 if y == c else -1.0])]) for x, y, _ in rows]
            nodes.append(torch.cat([query, torch.zeros(1)]))  # the last node is the query
            weights = [w for *_, w in rows] + [1.0]
            for k, layer in enumerate([*learner.layers, learner.last]):
                mixed = []
                for i, node in enumerate(nodes):
                    seen = range(len(nodes)) if i == len(rows) else range(len(rows))
                    raw = {j: weights[j] * layer.edges.layers((node - nodes[j]).abs()).exp() for j in seen}  # type: ignore[union-attr,operator]
                    total = sum(raw.values())
                    mean = sum(raw[j] / total * nodes[j] for j in seen)
                    mixed.append(layer.update(torch.cat([node, mean])))  # type: ignore[operator,list-item]
                if k == 2:
                    torch.testing.assert_close(logits[q, c], mixed[-1][0])
                    break
                nodes = [torch.cat([v, learner.activations[k](m)]) for v, m in zip(nodes, mixed, strict=True)]


def test_egnn_equals_the_papers_products_in_loops() -> None:
    episode, rows, queries = one_task(1)
    learner = EGNN(Same(6), n_layers=2, width=5)
    logits = learner(episode)[0]
    for q, query in enumerate(queries):
        nodes = [*(x for x, *_ in rows), query]
        n, weights, labels = len(rows), [*(w for *_, w in rows), 1.0], [y for _, y, _ in rows]
        edge = torch.tensor([[float(a == b) for b in labels] for a in labels])
        own = torch.full((n,), 0.5)
        for update, pairs in zip(learner.nodes, learner.edges, strict=True):
            new = []
            for i, node in enumerate(nodes):
                e = [*own, torch.tensor(1.0)] if i == n else list(edge[i])
                alike = sum(w * a * v for w, a, v in zip(weights, e, nodes, strict=False)) / sum(
                    w * a for w, a in zip(weights, e, strict=False)
                )
                unlike = sum(w * (1 - a) * v for w, a, v in zip(weights, e, nodes, strict=False)) / sum(
                    w * (1 - a) for w, a in zip(weights, e, strict=False)
                )
                new.append(node + update(torch.cat([node, torch.as_tensor(alike), torch.as_tensor(unlike)])))
            nodes = new
            s = torch.stack([pairs.layers((nodes[n] - nodes[j]).abs()).sigmoid().squeeze() for j in range(n)])  # type: ignore[union-attr,operator]
            own = own * s / (own * s + (1 - own) * (1 - s))
        means = []
        for c in range(2):
            of_class = [j for j in range(n) if labels[j] == c]
            means.append(sum(weights[j] * own[j] for j in of_class) / sum(weights[j] for j in of_class))
        torch.testing.assert_close(logits[q].softmax(-1), torch.stack(means) / sum(means))  # type: ignore[arg-type]


def test_egnn_is_trained_on_the_edges_of_every_layer() -> None:
    episode, *_ = one_task(2)
    learner = EGNN(Same(6), n_layers=2, width=5)
    first, last = learner.edge_logits(learner.adapt(episode.support), episode.query_x)  # type: ignore[arg-type]
    total, n = torch.zeros(()), 0.0
    for q in range(episode.query_y.shape[1]):
        loss = torch.zeros(())
        for logits, factor in ((first, 0.5), (last, 1.0)):
            for is_same in (True, False):
                side = (episode.support.y[0] == episode.query_y[0, q]) == is_same
                weight = episode.support.weight[0] * side
                p = logits[0, q].sigmoid() if is_same else 1 - logits[0, q].sigmoid()
                loss = loss - factor * (weight * p.log()).sum() / weight.sum() / 2
        total, n = total + episode.query_weight[0, q] * loss, n + float(episode.query_weight[0, q])
    torch.testing.assert_close(learner.loss(episode)[0], total / n)


@pytest.mark.parametrize("graph", ["support", "all"])
def test_tpn_equals_a_walk_of_many_steps(graph: str) -> None:
    episode, rows, queries = one_task(3)
    learner = TPN(Same(6), alpha=0.8, graph=graph)  # type: ignore[arg-type]
    assert learner.transductive == (graph == "all")
    z = torch.stack([x for x, *_ in rows] + list(queries))
    x = z / (learner.scale(z) + 1e-3)
    kernel = (-torch.cdist(x, x).square() / 2).exp()
    n = len(rows)
    weight = torch.tensor([w for *_, w in rows] + [float(graph == "all")] * len(queries))
    degree = kernel @ weight
    walk = kernel * weight / (degree[:, None] * degree).sqrt()
    labels = torch.zeros(len(z), 2)
    for j, (_, y, _) in enumerate(rows):
        labels[j, y] = 1
    flow = labels
    for _ in range(400):
        flow = 0.8 * walk @ flow + labels
    torch.testing.assert_close(learner(episode)[0], flow[n:])


def test_tpn_far_from_everything_is_unsure_and_finite() -> None:
    episode, *_ = one_task(4)
    learner = TPN(Same(6))
    state = learner.adapt(episode.support)
    far = learner.predict_encoded(state, 1e4 * torch.ones(1, 1, 6)).softmax(-1)
    torch.testing.assert_close(far, torch.full((1, 1, 2), 0.5))
    near = learner.predict_encoded(state, state.scaled)
    assert bool(near.isfinite().all())


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="alpha is 1"):
        TPN(Same(6), alpha=1.0)
    with pytest.raises(ConfigError, match="did you mean 'all'"):
        unwrap(TPN.__init__)(TPN.__new__(TPN), Same(6), graph="al")
    for learner in (FewShotGNN, EGNN, TPN):
        with pytest.raises(ConfigError, match="gives parts"):
            learner(Parts())

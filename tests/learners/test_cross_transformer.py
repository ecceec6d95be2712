"""One row per class in order is compared without looking for rows; it is the same answer as by the way for all."""

from __future__ import annotations

import torch

from regard.episode import Episode, Support
from regard.learners.cross_transformer import CrossTransformer, _is_row_per_class
from regard.nn.conv4 import Conv4


def episode_of(order: list[int], weight: torch.Tensor | None = None) -> Episode:
    generator = torch.Generator().manual_seed(0)
    x, query = (torch.rand(2, n, 12, 12, generator=generator, dtype=torch.float64) for n in (4, 3))
    y = torch.arange(4).expand(2, -1)
    weight = torch.ones(2, 4, dtype=torch.float64) if weight is None else weight
    support = Support(x[:, order], y[:, order], weight[:, order], 4)
    return Episode(support, query, torch.tensor([[0, 1, 3], [2, 2, 1]]))


def test_rows_in_the_order_of_classes_are_answered_and_learned_from_alike() -> None:
    torch.manual_seed(0)
    learner = CrossTransformer(Conv4(n_filters=8, parts=True, norm="group", n_halvings=2), d_head=8).double()
    sorted_, turned = episode_of([0, 1, 2, 3]), episode_of([2, 0, 3, 1])
    assert _is_row_per_class(sorted_.support.membership()) and not _is_row_per_class(turned.support.membership())
    found = []
    for episode in (sorted_, turned):
        learner.zero_grad()
        learner.loss(episode).mean().backward()
        slopes = [p.grad.clone() for p in learner.parameters() if p.grad is not None]
        state = learner.adapt(episode.support)
        found.append((learner.predict(state, episode.query_x), learner.attend(state, episode.query_x), slopes))
    (logits, attention, slopes), (turned_logits, turned_attention, turned_slopes) = found
    torch.testing.assert_close(logits, turned_logits)
    torch.testing.assert_close(attention[..., [2, 0, 3, 1]], turned_attention)
    for a, b in zip(slopes, turned_slopes, strict=True):
        torch.testing.assert_close(a, b)


def test_rows_that_do_not_count_or_whose_weights_are_learned_take_the_way_for_all() -> None:
    weight = torch.tensor([[1.0, 2.0, 1.0, 1.0], [1.0, 1.0, 0.0, 1.0]], dtype=torch.float64)
    assert not _is_row_per_class(episode_of([0, 1, 2, 3], weight).support.membership())
    learned = torch.ones(2, 4, dtype=torch.float64, requires_grad=True)
    assert not _is_row_per_class(episode_of([0, 1, 2, 3], learned).support.membership())

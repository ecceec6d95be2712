"""Modulated encoders: zeros change nothing, each item has its own, and CNAPs gives each task its own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from regard.errors import ConfigError, EpisodeError
from regard.learners.base import Learner
from regard.learners.cnaps import CNAPs
from regard.nn.conv4 import Conv4
from regard.nn.film import FilmEncoder
from regard.nn.flat import Flat
from regard.nn.mlp import MLP
from regard.testing import LAWS, check_learner, random_episode


def encoders() -> list[tuple[FilmEncoder, tuple[int, ...]]]:
    return [
        (Conv4(1, (3, 4, 5, 6), image_size=8, n_halvings=2), (8, 8)),
        (Conv4(1, 4, image_size=8, n_halvings=2, halve_by="stride", parts=True), (8, 8)),
        (MLP(6, 5, (4, 3)), (6,)),
        (MLP(6, 5, (4, 3), parts=True), (2, 6)),
    ]


@pytest.mark.parametrize("which", range(4))
def test_zeros_change_nothing_and_every_item_has_its_own(which: int) -> None:
    encoder, item = encoders()[which]
    encoder = encoder.double()
    x = torch.rand(3, *item, dtype=torch.float64)
    film = torch.randn(3, encoder.n_film, dtype=torch.float64)
    torch.testing.assert_close(encoder(x, torch.zeros_like(film)), encoder(x), rtol=0, atol=0)
    together = encoder(x, film)
    for i in range(3):
        torch.testing.assert_close(together[i : i + 1], encoder(x[i : i + 1], film[i : i + 1]))
    assert not torch.allclose(together, encoder(x, film[[1, 2, 0]]))


def test_scale_and_shift_stand_before_each_relu() -> None:
    encoder = MLP(6, 5, (4, 3)).double()
    x, film = torch.randn(2, 6, dtype=torch.float64), torch.randn(2, 14, dtype=torch.float64)
    first, _, second, _, last = encoder.layers
    z = ((1 + film[:, 0:4]) * first(x) + film[:, 4:8]).relu()
    z = ((1 + film[:, 8:11]) * second(z) + film[:, 11:14]).relu()
    torch.testing.assert_close(encoder(x, film), last(z))


def test_a_wrong_number_of_numbers_is_an_error() -> None:
    with pytest.raises(EpisodeError, match="expected 14"):
        MLP(6, 5, (4, 3))(torch.zeros(2, 6), torch.zeros(2, 13))


def test_cnaps_on_convolutions_keeps_the_laws() -> None:
    # torch's group norm has no vmap rule for channels-last memory, and kinks make differences of gradients inexact.
    left_out = {"vmap_is_a_loop", "second_derivatives_are_right"}

    def make() -> Learner:
        return CNAPs(Conv4(1, 4, image_size=8, n_halvings=2), width=8)

    laws = [law for law in LAWS if law.__name__ not in left_out]
    check_learner(make, lambda seed: random_episode(seed, (8, 8)), laws=laws)


def test_cnaps_equals_its_formula_task_by_task() -> None:
    episode, learner = random_episode(0, (6,)), CNAPs(MLP(6, 5, (4,)), width=3).double()
    logits, support = learner(episode), episode.support
    for b in range(3):
        kept = support.weight[b] > 0
        x, y, w = support.x[b][kept], support.y[b][kept], support.weight[b][kept]  # type: ignore[index]
        film = learner.film((w[:, None] * learner.set_encoder(x)).sum(0) / w.sum())
        z, query = (learner.encoder(t, film.expand(len(t), -1)) for t in (x, episode.query_x[b]))  # type: ignore[index]
        for k in y.unique():
            of_class = (w * (y == k))[:, None]
            centre = (of_class * z).sum(0) / of_class.sum()
            expected = query @ (centre + learner.matrix(centre)) / 5**0.5 + learner.bias(centre)
            torch.testing.assert_close(logits[b, :, k], expected)


@pytest.mark.parametrize("encoder", [Flat(), MLP(6, 5, ())])
def test_cnaps_wants_something_to_modulate(encoder: nn.Module) -> None:
    with pytest.raises(ConfigError, match="FilmEncoder"):
        CNAPs(encoder)  # type: ignore[arg-type]

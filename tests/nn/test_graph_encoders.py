"""Graph encoders against a loop over nodes and edges; padding and the order of nodes do not matter."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from regard.episode import Episode, Support
from regard.errors import ConfigError, EpisodeError
from regard.learners.cross_transformer import CrossTransformer
from regard.nn.graph_encoders import GIN, GraphAttention, GraphEncoder

Make = Callable[..., GraphEncoder]
BOTH = pytest.mark.parametrize("make", [GIN, GraphAttention])


def graphs(sizes: tuple[int, ...] = (3, 5), width: int = 7) -> dict[str, Tensor]:
    """Random symmetric edges of 4 kinds; nodes beyond the size are padding, with rubbish in it."""
    generator = torch.Generator().manual_seed(0)
    n = len(sizes)
    atoms = torch.randn(n, width, 6, generator=generator, dtype=torch.float64)
    bonds = torch.randint(0, 5, (n, width, width), generator=generator).triu(1)
    mask = (torch.arange(width) < torch.tensor(sizes)[:, None]).to(torch.uint8)
    return {"atoms": atoms, "bonds": (bonds + bonds.mT).to(torch.uint8), "mask": mask}


def built(make: Make, **options: object) -> GraphEncoder:
    torch.manual_seed(0)
    return make(6, 8, n_layers=2, **options).double().eval()


@BOTH
def test_padding_and_the_order_of_nodes_do_not_matter(make: Make) -> None:
    encoder, x = built(make), graphs()
    z = encoder(x)
    alone = {key: value[:1, :3] if key != "bonds" else value[:1, :3, :3] for key, value in x.items()}
    torch.testing.assert_close(encoder(alone)[0], z[0])
    order = torch.tensor([2, 0, 1])
    turned = {"atoms": alone["atoms"][:, order], "bonds": alone["bonds"][:, order][:, :, order], "mask": alone["mask"]}
    torch.testing.assert_close(encoder(turned)[0], z[0])
    parts = built(make, parts=True)
    weight = parts.part_weight(parts(x))
    assert weight is not None and torch.equal(weight, x["mask"].double())


@BOTH
@pytest.mark.parametrize("parts", [False, True])
def test_graphs_of_a_large_batch_are_each_encoded_as_alone(make: Make, parts: bool) -> None:
    sizes = tuple(1 + (5 * i) % 7 for i in range(70))
    encoder, x = built(make, parts=parts), graphs(sizes)
    alone = torch.cat([encoder({key: value[i : i + 1] for key, value in x.items()}) for i in range(len(sizes))])
    torch.testing.assert_close(encoder(x), alone)
    assert encoder({key: value[:0] for key, value in x.items()}).shape == (0, *alone.shape[1:])


@BOTH
def test_a_vector_tells_a_graph_from_two_of_it(make: Make) -> None:
    encoder, x = built(make), graphs((3,), 6)
    x["bonds"][:, 3:] = x["bonds"][:, :, 3:] = 0
    twice = {key: value.clone() for key, value in x.items()}
    twice["atoms"][:, 3:], twice["mask"][:, 3:] = twice["atoms"][:, :3], 1
    twice["bonds"][:, 3:, 3:] = twice["bonds"][:, :3, :3]
    assert not torch.allclose(encoder(twice), encoder(x))


def test_a_round_of_gin_is_a_loop_over_neighbours() -> None:
    encoder, x = built(GIN, parts=True), graphs((4,), 4)
    h = encoder.embed(x["atoms"])[0]
    for layer in encoder.layers:  # type: ignore[union-attr]
        sums = []
        for i in range(4):
            sent = (1 + layer.epsilon) * h[i]
            for j in range(4):
                if (kind := int(x["bonds"][0, i, j])) > 0:
                    sent = sent + F.relu(h[j] + layer.kind[kind - 1])
            sums.append(sent)
        h = h + layer.feed(layer.norm(torch.stack(sums)))
    torch.testing.assert_close(encoder(x)[0], encoder.norm(h))


def test_a_round_of_attention_hears_neighbours_alone() -> None:
    encoder, x = built(GraphAttention, parts=True), graphs((5,), 5)
    x["bonds"] = torch.zeros_like(x["bonds"])
    x["bonds"][0, 0, 1] = x["bonds"][0, 1, 0] = x["bonds"][0, 1, 2] = x["bonds"][0, 2, 1] = 1
    before = encoder(x)[0]
    x["atoms"][0, 3] += 1  # no neighbour of any
    x["atoms"][0, 2] += 1  # two steps from 0
    after = encoder(x)[0]
    torch.testing.assert_close(after[4], before[4])
    assert not torch.allclose(after[0], before[0]) and not torch.allclose(after[1], before[1])


@BOTH
def test_attention_over_atoms_learns_on_them(make: Make) -> None:
    learner = CrossTransformer(built(make, parts=True)).double()
    x = graphs((3, 5, 4, 2), 6)
    support = Support({k: v[None] for k, v in x.items()}, torch.tensor([[0, 0, 1, 1]]), n_classes=2)
    episode = Episode(support, {k: v[None, :2] for k, v in x.items()}, torch.tensor([[0, 1]]), torch.ones(1, 2), 2)
    learner.loss(episode).sum().backward()
    assert learner(episode).shape == (1, 2, 2)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in learner.encoder.parameters())


def test_other_items_and_settings_are_refused() -> None:
    with pytest.raises(EpisodeError, match="GIN reads graphs"):
        built(GIN)(torch.zeros(1, 3))
    with pytest.raises(ConfigError, match="n_heads is 3"):
        GraphAttention(6, 8, n_heads=3)
    with pytest.raises(ConfigError, match="n_layers 0"):
        GIN(6, 8, n_layers=0)

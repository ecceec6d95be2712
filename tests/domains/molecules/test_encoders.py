"""The network of assays knows how familiar a molecule is, and training gives it the molecules to know that by."""

from __future__ import annotations

import pytest
import torch

from regard.domains.molecules.encoders import AssayNetwork
from regard.errors import EpisodeError
from regard.learners.context_memory import RemembersItems
from regard.nn.tanimoto import tanimoto


def items(n: int, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    counts = (3 * torch.rand(n, 19, generator=generator) - 1.5).clamp_min(0).ceil().to(torch.uint8)
    return {"counts": counts, "descriptors": torch.randn(n, 4, generator=generator)}


def network(n_context: int, *, keep_descriptors: bool = False) -> AssayNetwork:
    made = AssayNetwork(
        (2, 3), 8, 8, n_counts=19, n_descriptors=4, n_context=n_context, keep_descriptors=keep_descriptors
    )
    return made.eval()


def test_familiarity_is_the_likeness_to_the_nearest_molecule_of_the_training_set() -> None:
    encoder, seen, new = network(5), items(5, 0), items(4, 1)
    assert isinstance(encoder, RemembersItems)
    encoder.remember(seen)
    low, high = encoder.blocks["familiarity"]
    assert high == encoder.n_features == 19 + 5 + 2 + 1
    expected = tanimoto(new["counts"].float(), seen["counts"].float(), 1).amax(1)
    torch.testing.assert_close(encoder(new)[:, low], expected)
    assert torch.equal(encoder(seen)[:, low], torch.ones(5))
    again = network(5)
    again.load_state_dict(encoder.state_dict())
    assert torch.equal(again(new), encoder(new))
    with pytest.raises(EpisodeError, match="counts of 5 molecules"):
        encoder.remember(items(4, 0))


def test_without_a_context_nothing_is_added() -> None:
    encoder = network(0)
    assert "familiarity" not in encoder.blocks and encoder.n_features == encoder(items(2, 0)).shape[1] == 26
    assert not any("context" in name for name in encoder.state_dict())


@pytest.mark.parametrize("n_context", [0, 5])
def test_descriptors_are_kept_as_they_are(n_context: int) -> None:
    bare, encoder, new = network(n_context), network(n_context, keep_descriptors=True), items(3, 1)
    encoder.load_state_dict(bare.state_dict())
    low, high = encoder.blocks["descriptors"]
    assert torch.equal(encoder(new)[:, :low], bare(new)) and high == encoder.n_features == bare.n_features + 4
    assert torch.equal(encoder(new)[:, low:], new["descriptors"])
    assert {**bare.blocks, "descriptors": (low, high)} == encoder.blocks

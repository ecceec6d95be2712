"""The encoder of small pictures: shapes, and that a picture's parts are its own."""

from __future__ import annotations

import pytest
import torch

from regard.errors import EpisodeError
from regard.nn.residual_maps import ResidualMaps


@pytest.mark.parametrize("norm", ["group", "batch", "none"])
def test_parts_are_the_map_and_belong_to_one_picture(norm: str) -> None:
    torch.manual_seed(0)
    encoder = ResidualMaps(stem=(4, 8), width=16, n_blocks=2, norm=norm, parts=True)  # type: ignore[arg-type]
    x = torch.randint(0, 256, (5, 28, 28), dtype=torch.uint8)
    encoder(x)
    encoder.eval()
    z = encoder(x)
    assert z.shape == (5, 49, 16) and encoder.n_features == 16 and not encoder.transductive
    torch.testing.assert_close(encoder(x[2:3]), z[2:3])
    encoder.parts = False
    torch.testing.assert_close(encoder(x), z.mean(1))


def test_a_block_adds_to_what_it_was_given() -> None:
    torch.manual_seed(0)
    shallow, deep = (ResidualMaps(stem=(4, 8), width=8, n_blocks=n, norm="none", parts=True) for n in (0, 2))
    missing = deep.load_state_dict(shallow.state_dict(), strict=False).missing_keys
    with torch.no_grad():
        for name in missing:
            deep.get_parameter(name).zero_()
    x = torch.rand(3, 28, 28)
    torch.testing.assert_close(deep(x), shallow(x))


def test_pictures_of_other_channels_are_refused() -> None:
    with pytest.raises(EpisodeError, match="1 channel"):
        ResidualMaps()(torch.zeros(2, 28, 28, 3))

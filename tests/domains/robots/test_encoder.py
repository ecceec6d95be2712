"""A row of a scene, cut into its objects."""

from __future__ import annotations

import pytest
import torch

from regard.domains.robots.encoder import SceneObjects
from regard.errors import ConfigError, EpisodeError


def test_each_object_has_what_all_share() -> None:
    z = SceneObjects(2, 3, 2)(torch.arange(10.0)[None])
    assert z.tolist() == [[[0, 1, 8, 9, 2, 3], [0, 1, 8, 9, 4, 5], [0, 1, 8, 9, 6, 7]]]


def test_what_does_not_fit() -> None:
    with pytest.raises(EpisodeError, match=r"expected \(rows, 10\), with 3 objects"):
        SceneObjects(2, 3, 2)(torch.zeros(1, 9))
    with pytest.raises(ConfigError, match="expected at least 1 of each"):
        SceneObjects(2, 0, 2)

"""A scene of objects as parts: one vector for each object, so that attention can be over objects."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from regard.episode import Items
from regard.errors import ConfigError, EpisodeError
from regard.nn.encoder import Encoder


class SceneObjects(Encoder):
    """(N, F) rows to (N, P, D): for each of P objects what all share, and its own features.

    A row is [ shared features, features of object 1, ..., of object P, the rest ]; the rest (progress, and whether the
    row was shown) is shared too. Nothing is learned here.

    Args:
        n_shared: features in front of the objects, such as where the hand is.
        n_objects: P.
        n_object_features: of each object.
        n_rest: features behind them.

    Raises:
        ConfigError: no object, or objects without features.
    """

    parts = True

    def __init__(self, n_shared: int, n_objects: int, n_object_features: int, n_rest: int = 2) -> None:
        super().__init__()
        if n_objects < 1 or n_object_features < 1 or min(n_shared, n_rest) < 0:
            raise ConfigError(
                f"n_objects is {n_objects} and n_object_features {n_object_features}: expected at least 1 of each."
            )
        self.n_shared, self.n_objects, self.n_object_features = n_shared, n_objects, n_object_features
        self.n_inputs = n_shared + n_objects * n_object_features + n_rest
        self.n_features = n_shared + n_object_features + n_rest

    def forward(self, x: Items) -> Float[Tensor, "N P D"]:
        """Cut into objects.

        Raises:
            EpisodeError: rows of another length.
        """
        if isinstance(x, dict) or x.ndim != 2 or x.shape[1] != self.n_inputs:
            came = "a dict" if isinstance(x, dict) else tuple(x.shape)
            raise EpisodeError(f"rows are {came}: expected (rows, {self.n_inputs}), with {self.n_objects} objects.")
        end = self.n_shared + self.n_objects * self.n_object_features
        shared = torch.cat([x[:, : self.n_shared], x[:, end:]], 1)
        objects = x[:, self.n_shared : end].unflatten(1, (self.n_objects, self.n_object_features))
        return torch.cat([shared[:, None].expand(-1, self.n_objects, -1), objects], 2)

"""An encoder with a linear head: items (N, *item) to (N, n_outputs), the model that gradient learners adapt."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from regard.episode import Items
from regard.errors import ConfigError
from regard.nn.encoder import Encoder


class Headed(nn.Module):
    """head(encoder(x)).

    Args:
        encoder: items to vectors (N, D).
        n_outputs: the most classes a task may have, or the number of targets.

    Raises:
        ConfigError: an encoder that gives parts.
    """

    def __init__(self, encoder: Encoder, n_outputs: int) -> None:
        super().__init__()
        if getattr(encoder, "parts", False):
            raise ConfigError(
                f"a linear head reads vectors, and {type(encoder).__name__} gives parts (N, P, D): expected an encoder "
                "to (N, D); build it with parts=False."
            )
        n_features = encoder.n_features
        self.encoder, self.head = encoder, nn.Linear(n_features, n_outputs)

    def prepare(self, x: Items) -> Any:
        """As the encoder's."""
        return self.encoder.prepare(x) if isinstance(self.encoder, Encoder) else x

    def forward(self, x: Any) -> Float[Tensor, "N out"]:
        """(N, *item), or what `prepare` made of them, to (N, n_outputs)."""
        return self.head(self.encoder(x))

"""A multi-layer perceptron: rows of numbers to vectors, for tables, functions and anything already made into features.

Left out on purpose: dropout and norms. Items here are short rows, episodes are small, and plain dense layers are what
vmap and torch.compile run 30 to 50 times faster than a loop over tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from regard.episode import Items
from regard.errors import ConfigError, EpisodeError
from regard.nn.film import FilmEncoder, modulated


class MLP(FilmEncoder):
    """Linear, ReLU, ..., Linear.

    Args:
        n_inputs: numbers in one item, or in one part of it.
        n_features: D.
        hidden: the widths between; empty for a linear map.
        parts: items are (P, n_inputs), each part mapped by itself to give (N, P, D); else an item of any shape is
            flattened and gives one vector.

    Raises:
        ConfigError: a width below 1.
        EpisodeError: in `forward`, items of another size.

    Examples:
        >>> import torch
        >>> MLP(8, n_features=32)(torch.randn(5, 8)).shape
        torch.Size([5, 32])
    """

    def __init__(
        self, n_inputs: int, n_features: int = 64, hidden: Sequence[int] = (64, 64), *, parts: bool = False
    ) -> None:
        super().__init__()
        widths = (n_inputs, *hidden, n_features)
        if min(widths) < 1:
            raise ConfigError(f"widths are {widths}: expected each to be at least 1.")
        self.n_inputs, self.n_features, self.parts = n_inputs, n_features, parts
        layers: list[nn.Module] = []
        for wide, narrow in pairwise(widths):
            layers += [nn.Linear(wide, narrow), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])
        self.film_widths = tuple(hidden)

    def forward(self, x: Items, film: Float[Tensor, "N F"] | None = None) -> Float[Tensor, "N *P D"]:
        """(N, *item) to (N, D), or (N, P, n_inputs) to (N, P, D)."""
        if isinstance(x, dict):
            raise EpisodeError(f"items are a dict of {sorted(x)}: MLP expects one tensor of numbers.")
        rows = x if self.parts else x.flatten(1)
        if rows.ndim != 2 + self.parts or rows.shape[-1] != self.n_inputs:
            raise EpisodeError(
                f"items have shape {tuple(x.shape[1:])}: this MLP expects "
                f"{'(parts, ' + str(self.n_inputs) + ')' if self.parts else f'{self.n_inputs} numbers'} in each; "
                "make it with n_inputs of your data."
            )
        return modulated(self.layers, rows, film, self.film_widths)

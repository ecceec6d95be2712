"""The small encoders that tests share: no kinks, so that differences of gradients are exact, and few numbers."""

from __future__ import annotations

from torch import Tensor, nn

from regard.episode import Items
from regard.nn.encoder import Encoder
from regard.nn.film import FilmEncoder


class Vectors(Encoder):
    """(N, d_item) items to (N, n_features)."""

    parts = False

    def __init__(self, d_item: int = 6, n_features: int = 5) -> None:
        super().__init__()
        self.n_features = n_features
        self.linear = nn.Linear(d_item, n_features)

    def forward(self, x: Items) -> Tensor:
        assert isinstance(x, Tensor)
        return self.linear(x).tanh()


class Parts(Vectors):
    """(N, P, 6) items to (N, P, 5): each token by itself, all of the same weight."""

    parts = True

    def part_weight(self, z: Tensor) -> Tensor | None:
        return None


class Bent(FilmEncoder):
    """(N, 6) to (N, 5) through a layer that is modulated."""

    parts = False

    def __init__(self) -> None:
        super().__init__()
        self.n_features, self.film_widths = 5, (4,)
        self.first, self.last = nn.Linear(6, 4), nn.Linear(4, 5)

    def forward(self, x: Items, film: Tensor | None = None) -> Tensor:
        z = self.first(x)
        scale, shift = (0.0, 0.0) if film is None else film.split(4, -1)
        return self.last(((1 + scale) * z + shift).tanh())


class Same(Encoder):
    """Items are vectors, or tokens, already."""

    def __init__(self, n_features: int, parts: bool = False) -> None:
        super().__init__()
        self.n_features, self.parts = n_features, parts

    def forward(self, x: Items) -> Tensor:
        assert isinstance(x, Tensor)
        return x

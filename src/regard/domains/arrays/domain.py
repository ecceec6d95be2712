"""Arrays and tensors as they are: what a learner in hand reads, whose data nobody described."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from regard.domains.base import Domain, Reader

if TYPE_CHECKING:
    from regard.domains.data import Data


@dataclass(frozen=True, repr=False)
class Arrays(Domain):
    """The domain of arrays."""

    name: ClassVar[str] = "arrays"
    items: ClassVar[str] = "arrays"
    encoders: ClassVar[tuple[str, ...]] = ("MLP", "Flat", "Fourier")

    def data_sets(self) -> Mapping[str, Callable[..., Data]]:
        return {}

    def reader(self, content: Mapping[str, Any]) -> Reader:
        from regard.domains.arrays.reader import ArrayReader

        return ArrayReader()


ARRAYS = Arrays()

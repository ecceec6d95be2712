"""Labelled items in memory, each of one class, each class perhaps of one group (an alphabet, a super-category)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from regard.episode import Items, as_items, as_tensor, first_tensor, map_items
from regard.errors import DataError, did_you_mean
from regard.sampling.memory import empty_in_large_pages


@dataclass(frozen=True)
class Dataset:
    """N labelled items.

    Args:
        x: (N, *item) tensor or a dict of such; images stay uint8 here, a quarter of the memory traffic of floats.
        y: (N,) int64 class index into `class_names`.
        class_names: one name a class.
        class_groups: one group name a class, or empty where classes have no groups.

    Raises:
        DataError: sizes disagree, or a label points outside `class_names`.

    Examples:
        >>> import numpy as np
        >>> data = Dataset.of(np.zeros((4, 28, 28), dtype=np.uint8), ["cat", "dog", "cat", "dog"])
        >>> len(data), data.class_names
        (4, ('cat', 'dog'))
        >>> data.select_classes([1]).class_names
        ('dog',)
    """

    x: Items
    y: Tensor
    class_names: tuple[str, ...]
    class_groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # Arrays and lists are converted once, here.
        object.__setattr__(self, "x", as_items(self.x, "x"))
        object.__setattr__(self, "y", as_tensor(self.y, "y"))
        if self.y.ndim != 1 or first_tensor(self.x).shape[0] != self.y.shape[0]:
            raise DataError(
                f"items have leading size {first_tensor(self.x).shape[0]} and labels shape {tuple(self.y.shape)}: "
                "expected one label an item."
            )
        if self.y.numel() and not 0 <= int(self.y.min()) <= int(self.y.max()) < self.n_classes:
            raise DataError(
                f"labels run from {int(self.y.min())} to {int(self.y.max())} for {self.n_classes} class names: "
                f"expected 0..{self.n_classes - 1}; build the data set with Dataset.of(x, labels)."
            )
        if self.class_groups and len(self.class_groups) != self.n_classes:
            raise DataError(f"{len(self.class_groups)} group names for {self.n_classes} classes: expected one a class.")

    @classmethod
    def of(
        cls, x: Items | np.ndarray, labels: Sequence[object] | np.ndarray | Tensor, groups: dict[str, str] | None = None
    ) -> Self:
        """From arrays and any labels (strings, numbers): classes are numbered in sorted order.

        Args:
            x: (N, *item) array, tensor, or a dict of tensors.
            labels: N labels.
            groups: group name by class name, where classes have groups.
        """
        flat = labels.tolist() if isinstance(labels, Tensor | np.ndarray) else list(labels)
        names = sorted(set(flat), key=lambda v: (str(type(v)), v))
        number = {name: i for i, name in enumerate(names)}
        y = torch.tensor([number[label] for label in flat], dtype=torch.int64)
        items = torch.from_numpy(x) if isinstance(x, np.ndarray) else x
        class_names = tuple(str(name) for name in names)
        return cls(items, y, class_names, tuple(groups[name] for name in class_names) if groups else ())

    def __len__(self) -> int:
        return self.y.shape[0]

    @property
    def n_classes(self) -> int:
        """How many classes there are names for."""
        return len(self.class_names)

    def rows(self, index: Tensor) -> Items:
        """The items at `index`, any shape: one gather."""
        flat = index.reshape(-1)
        return map_items(lambda t: t.index_select(0, flat.to(t.device)).reshape(*index.shape, *t.shape[1:]), self.x)

    def select_classes(self, classes: Sequence[int]) -> Self:
        """Only these classes, renumbered in the order given; items keep their order."""
        new_number = torch.full((self.n_classes,), -1, dtype=torch.int64)
        new_number[list(classes)] = torch.arange(len(classes))
        kept = (new_number[self.y] >= 0).nonzero()[:, 0]
        return replace(
            self,
            x=map_items(lambda t: torch.index_select(t, 0, kept.to(t.device), out=_room(len(kept), t)), self.x),
            y=new_number[self.y[kept]],
            class_names=tuple(self.class_names[c] for c in classes),
            class_groups=tuple(self.class_groups[c] for c in classes) if self.class_groups else (),
        )

    def select_groups(self, groups: Sequence[str]) -> Self:
        """Only the classes of these groups.

        Raises:
            DataError: a group that no class has.
        """
        for group in groups:
            if group not in self.class_groups:
                raise DataError(f"no class has the group {group!r}: {did_you_mean(group, set(self.class_groups))}")
        return self.select_classes([c for c, g in enumerate(self.class_groups) if g in set(groups)])

    def with_rotations(self) -> Self:
        """Four times the classes: each turned by 0, 90, 180 and 270 degrees (Santoro et al. 2016, for Omniglot).

        The turned copies are kept, so that an episode stays one gather: four times the memory of the uint8 images. A
        turned class stays in the group of its upright one.

        Raises:
            DataError: items that are not square images.
        """
        images = first_tensor(self.x)
        if isinstance(self.x, dict) or images.ndim not in (3, 4) or images.shape[1] != images.shape[2]:
            raise DataError(
                f"items have shape {tuple(images.shape[1:])}: classes by rotation need square images (side, side) or "
                "(side, side, channels)."
            )
        turns = [torch.rot90(images, k, (1, 2)) for k in range(4)]
        return replace(
            self,
            x=torch.cat(turns, out=_room(4 * len(images), images)),
            y=torch.cat([self.y + k * self.n_classes for k in range(4)]),
            class_names=tuple(f"{name}@{90 * k}" for k in range(4) for name in self.class_names),
            class_groups=self.class_groups * 4,
        )


def _room(n: int, like: Tensor) -> Tensor | None:
    """Where `n` items like these are quickest to gather from; None leaves it to PyTorch."""
    if like.device.type != "cpu" or like.requires_grad:
        return None
    return empty_in_large_pages((n, *like.shape[1:]), like.dtype)

"""Which classes are for training, validation and test: deterministic, disjoint, and checked to be so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from regard.errors import DataError
from regard.sampling.dataset import Dataset
from regard.sampling.random import bits


def split_classes(dataset: Dataset, fractions: Mapping[str, float], seed: int = 0) -> dict[str, Dataset]:
    """Split by class, at random but the same for the same seed and class *names*, whatever their order.

    Args:
        dataset: what to split.
        fractions: name of a part to its share, such as {"train": 0.6, "validation": 0.2, "test": 0.2}.
        seed: another seed, another split.

    Raises:
        DataError: fractions that do not sum to 1, or a part that would be left without a class.

    Examples:
        >>> import torch
        >>> data = Dataset.of(torch.randn(20, 8), torch.arange(10).repeat(2))
        >>> splits = split_classes(data, {"train": 0.6, "validation": 0.2, "test": 0.2})
        >>> {name: split.n_classes for name, split in splits.items()}
        {'train': 6, 'validation': 2, 'test': 2}
    """
    if abs(sum(fractions.values()) - 1) > 1e-6 or min(fractions.values()) <= 0:
        raise DataError(f"fractions {dict(fractions)} sum to {sum(fractions.values()):g}: expected positive, sum 1.")
    order = shuffled_classes(dataset, seed)
    ends = np.round(np.cumsum(list(fractions.values())) * dataset.n_classes).astype(int)
    parts = {name: sorted(order[start:end]) for name, start, end in zip(fractions, [0, *ends[:-1]], ends, strict=True)}
    for name, classes in parts.items():
        if not classes:
            raise DataError(f"part {name!r} would have no class: {dataset.n_classes} classes are too few to split so.")
    return _checked({name: dataset.select_classes(classes) for name, classes in parts.items()})


def shuffled_classes(dataset: Dataset, seed: int = 0) -> list[int]:
    """The numbers of the classes, in an order that depends on the seed and the class names alone."""
    by_name = np.argsort(np.array(dataset.class_names))
    return by_name[np.argsort(bits(seed, 0, np.zeros(1, dtype=np.int64), dataset.n_classes)[0])].tolist()


def split_by_group(dataset: Dataset, groups: Mapping[str, Sequence[str]]) -> dict[str, Dataset]:
    """Split by whole groups: `{"train": ("Latin", "Greek"), "test": ("Hebrew",)}` holds alphabets out.

    Raises:
        DataError: an unknown group, or one that stands in two parts.
    """
    return _checked({name: dataset.select_groups(list(part)) for name, part in groups.items()})


def split_by_name(dataset: Dataset, names: Mapping[str, Sequence[str]]) -> dict[str, Dataset]:
    """Split by lists of class names, for published splits.

    Raises:
        DataError: a name that the data set does not have, or one that stands in two parts.
    """
    number = {name: i for i, name in enumerate(dataset.class_names)}
    missing = [name for part in names.values() for name in part if name not in number]
    if missing:
        raise DataError(
            f"{len(missing)} classes of the split are not in the data, first {missing[0]!r}: check its version."
        )
    return _checked({part: dataset.select_classes([number[n] for n in listed]) for part, listed in names.items()})


def check_disjoint(parts: Mapping[str, Dataset]) -> None:
    """Raise unless no class name stands in two parts.

    Raises:
        DataError: names a class that does, and the two parts.

    Examples:
        >>> import torch
        >>> data = Dataset.of(torch.randn(4, 8), ["a", "b", "c", "d"])
        >>> check_disjoint({"train": data.select_classes([0, 1]), "test": data.select_classes([2, 3])})
    """
    home: dict[str, str] = {}
    for part, dataset in parts.items():
        for name in dataset.class_names:
            if home.setdefault(name, part) != part:
                raise DataError(
                    f"class {name!r} stands in {home[name]!r} and in {part!r}: expected disjoint classes; a learner "
                    "tested on classes it was trained on shows memory, not learning from few examples."
                )


def _checked(parts: dict[str, Dataset]) -> dict[str, Dataset]:
    check_disjoint(parts)
    return parts

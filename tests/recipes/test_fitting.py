"""Episodes fitted to data: never wider or longer than it is, unchanged where they fit, and said where they are not."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from regard.domains.arrays.reader import ArrayReader
from regard.domains.data import LabelledData
from regard.domains.options import GroupedEpisodeOptions, GroupedTrainingOptions
from regard.domains.registry import find_domain
from regard.errors import DataError
from regard.recipes.config import Recipe
from regard.recipes.fitting import fitted_to, highest
from regard.sampling import Dataset


def dataset(sizes: list[int], groups: tuple[str, ...] = ()) -> Dataset:
    y = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    return Dataset(torch.zeros(len(y), 2), y, tuple(f"c{i}" for i in range(len(sizes))), groups)


def recipe(**changes: Any) -> Recipe:
    base = Recipe.read("glyphs")
    kinds: dict[str, Any] = {
        "episodes": GroupedTrainingOptions(n_way=5, n_shot=1, n_query=3),
        "validation": GroupedEpisodeOptions(n_way=5, n_shot=1, n_query=3),
        "evaluation": (GroupedEpisodeOptions(n_way=5, n_shot=1, n_query=3),),
    }
    return base.model_copy(update={**kinds, **changes})


def data(train: Dataset, other: Dataset | None = None) -> LabelledData:
    splits = {"train": train, "validation": other or train, "test": other or train}
    return LabelledData(find_domain("arrays"), "toy", splits, ArrayReader())


def fit(n_way: Any, n_shot: Any, n_query: Any, sizes: list[int]) -> tuple[Any, Any, Any]:
    wished = GroupedEpisodeOptions(n_way=n_way, n_shot=n_shot, n_query=n_query)
    fitted, _ = fitted_to(recipe(evaluation=(wished,)), data(dataset([9] * 9), dataset(sizes)))
    [e] = fitted.evaluation
    return e.n_way, e.n_shot, e.n_query


@pytest.mark.parametrize(
    ("wished", "sizes", "given"),
    [
        ((5, 1, 3), [9] * 6, (5, 1, 3)),
        ((5, 1, 3), [4] * 5, (5, 1, 3)),
        ((5, 1, 3), [4] * 4, (4, 1, 3)),
        ((5, 1, 3), [3, 9, 9, 9, 9], (5, 1, 2)),
        ((5, 5, 3), [4] * 5, (5, 3, 1)),
        ((2, 1, 3), [2, 2], (2, 1, 1)),
        (((2, 8), (1, 6), 3), [5] * 6, ((2, 6), (1, 4), 1)),
        (((7, 8), 1, 3), [5] * 6, ((6, 6), 1, 3)),
    ],
)
def test_ways_shots_and_queries_shrink_to_what_there_is(
    wished: tuple[Any, Any, Any], sizes: list[int], given: tuple[Any, Any, Any]
) -> None:
    found = fit(*wished, sizes)
    assert found == given
    assert highest(found[0]) <= len(sizes) and highest(found[1]) + found[2] <= min(sizes)


def test_what_fits_is_left_alone_and_nothing_is_said() -> None:
    wished = recipe()
    fitted, notes = fitted_to(wished, data(dataset([9] * 9)))
    assert fitted == wished and notes == []


def test_each_change_is_said_once_with_its_split() -> None:
    small = dataset([3] * 4)
    kind = GroupedEpisodeOptions(n_way=5, n_shot=1, n_query=3)
    fitted, notes = fitted_to(recipe(evaluation=(kind, kind)), data(dataset([9] * 9), small))
    assert notes == [
        f"{split}: 4-way 1-shot with 2 queries instead of 5-way 1-shot with 3 queries, which this data does not have"
        for split in ("validation", "test")
    ]
    assert len(fitted.evaluation) == 1, "two that became the same are one"
    assert fitted.episodes.n_way == 5


def test_the_split_that_is_evaluated_counts() -> None:
    splits = {"train": dataset([9] * 9), "validation": dataset([9] * 4)}
    two = LabelledData(find_domain("arrays"), "toy", splits, ArrayReader())
    assert fitted_to(recipe(), two, "validation")[0].evaluation[0].n_way == 4


def test_within_groups_the_largest_group_bounds_the_ways() -> None:
    grouped = dataset([9] * 7, ("a", "a", "a", "a", "b", "b", "c"))
    kind = GroupedEpisodeOptions(n_way=5, n_query=3, within_groups=True)
    fitted, _ = fitted_to(recipe(evaluation=(kind, GroupedEpisodeOptions(n_way=5, n_query=3))), data(grouped))
    assert [e.n_way for e in fitted.evaluation] == [4, 5]


@pytest.mark.parametrize(
    ("sizes", "message"), [([9], "has 1 classes"), ([9, 9, 1], "its class 'c2' 1 items"), ([0, 9, 9], "'c0' 0 items")]
)
def test_too_little_of_either_is_an_error(sizes: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        fitted_to(recipe(), data(dataset([9] * 9), dataset(sizes)))
    assert "expected at least two of both" in str(caught.value)

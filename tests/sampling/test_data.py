"""Data sets, splits and random numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, kstest

from regard.errors import DataError
from regard.sampling.dataset import Dataset
from regard.sampling.random import bits, uniform, without_replacement
from regard.sampling.splits import check_disjoint, split_by_group, split_by_name, split_classes


def letters(names: str = "abcdefghij", per_class: int = 3) -> Dataset:
    labels = [name for name in names for _ in range(per_class)]
    groups = {name: "vowel" if name in "aei" else "consonant" for name in names}
    return Dataset.of(torch.arange(len(labels))[:, None], labels, groups)


def test_any_labels_are_numbered_in_sorted_order() -> None:
    dataset = Dataset.of(np.zeros((4, 2)), ["b", "a", "c", "b"])
    assert dataset.class_names == ("a", "b", "c")
    assert dataset.y.tolist() == [1, 0, 2, 1]
    assert Dataset.of(torch.zeros(3, 1), torch.tensor([7, -1, 7])).class_names == ("-1", "7")
    assert Dataset.of(torch.zeros(3, 1), np.array([10, 9, 10])).class_names == ("9", "10")


def test_selecting_keeps_items_with_their_names() -> None:
    dataset = letters()
    chosen = dataset.select_classes([4, 0])
    assert chosen.class_names == ("e", "a")
    assert chosen.class_groups == ("vowel", "vowel")
    assert chosen.x[chosen.y == 0][:, 0].tolist() == [12, 13, 14]
    assert dataset.select_groups(["vowel"]).class_names == ("a", "e", "i")
    with pytest.raises(DataError, match="did you mean 'vowel'"):
        dataset.select_groups(["vowels"])


BAD = [
    ({"y": torch.zeros(3, dtype=torch.int64)}, "leading size 2"),
    ({"y": torch.tensor([0, 2])}, r"expected 0\.\.1"),
    ({"y": torch.tensor([-1, 0])}, "from -1"),
    ({"class_groups": ("g",)}, "1 group names for 2 classes"),
]


@pytest.mark.parametrize(("changed", "message"), BAD)
def test_data_that_disagree_are_refused(changed: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Dataset(**{"x": torch.zeros(2, 1), "y": torch.tensor([0, 1]), "class_names": ("a", "b"), **changed})  # type: ignore[arg-type]


FRACTIONS = {"train": 0.6, "validation": 0.2, "test": 0.2}


def names(parts: dict[str, Dataset]) -> dict[str, set[str]]:
    return {part: set(dataset.class_names) for part, dataset in parts.items()}


def test_a_split_is_disjoint_complete_and_the_same_for_the_same_names() -> None:
    parts = split_classes(letters(), FRACTIONS, seed=3)
    assert [d.n_classes for d in parts.values()] == [6, 2, 2]
    assert set().union(*names(parts).values()) == set("abcdefghij")
    shuffled = letters().select_classes([3, 9, 0, 1, 8, 7, 2, 6, 5, 4])
    assert names(split_classes(shuffled, FRACTIONS, seed=3)) == names(parts)
    assert names(split_classes(letters(), FRACTIONS, seed=4)) != names(parts)


@pytest.mark.parametrize("fractions", [{"a": 0.5, "b": 0.6}, {"a": 1.5, "b": -0.5}, {"a": 0.99, "b": 0.01}])
def test_fractions_that_cannot_be_are_refused(fractions: dict[str, float]) -> None:
    with pytest.raises(DataError, match=r"expected positive, sum 1|no class"):
        split_classes(letters(), fractions)


def test_splits_by_group_and_name_are_checked() -> None:
    parts = split_by_group(letters(), {"train": ["vowel"], "test": ["consonant"]})
    assert parts["train"].class_names == ("a", "e", "i")
    with pytest.raises(DataError, match="'a' stands in 'train' and in 'test'"):
        split_by_group(letters(), {"train": ["vowel"], "test": ["vowel"]})
    assert split_by_name(letters(), {"train": ["c", "b"]})["train"].class_names == ("c", "b")
    with pytest.raises(DataError, match="first 'z'"):
        split_by_name(letters(), {"train": ["a", "z"]})
    with pytest.raises(DataError, match="disjoint"):
        check_disjoint({"one": letters("ab"), "two": letters("bc")})


def test_a_random_word_depends_on_seed_stream_episode_and_place_alone() -> None:
    words = bits(1, 2, np.array([5, 6, 7]), 10)
    assert np.array_equal(bits(1, 2, np.array([7]), 4)[0], words[2, :4])
    others = [bits(2, 2, np.array([5]), 10), bits(1, 3, np.array([5]), 10), words[:1], words[1:2]]
    assert len({word for each in others for word in each.ravel().tolist()}) == 40


def test_neighbouring_counters_and_seeds_are_not_alike() -> None:
    for words in (
        bits(0, 0, np.arange(1000), 64),
        np.concatenate([bits(s, 0, np.array([0]), 64) for s in range(1000)]),
    ):
        ones = np.unpackbits(words.view(np.uint8), axis=1)
        # Every bit is set half of the time, and changes half of the time from row to row.
        assert abs(ones.mean(0) - 0.5).max() < 0.09
        assert abs((ones[1:] != ones[:-1]).mean(0) - 0.5).max() < 0.09


def test_uniform_is_uniform_and_open() -> None:
    noise = uniform(0, 0, np.arange(1000), 100)
    assert noise.dtype == np.float32
    assert 0 < noise.min() < noise.max() < 1
    assert kstest(noise.ravel(), "uniform").pvalue > 1e-3


@pytest.mark.parametrize(("size", "largest"), [(5, 5), (5, 8), (5, 128), (5, 10_000)])
def test_every_ordered_choice_without_replacement_is_as_likely(size: int, largest: int) -> None:
    population = np.full((20_000, 1), size)
    drawn = without_replacement(0, 1, np.arange(20_000), population, 3, largest)[:, 0]
    assert chisquare(np.unique(drawn @ [25, 5, 1], return_counts=True)[1]).pvalue > 1e-3
    assert len(np.unique(drawn @ [25, 5, 1])) == 60


@pytest.mark.parametrize("largest", [100, 200])
def test_columns_and_sizes_do_not_disturb_each_other(largest: int) -> None:
    population = np.array([[3, 100, 40], [100, 3, 99]])
    drawn = without_replacement(0, 1, np.arange(2), population, 3, largest)
    assert (drawn < population[..., None]).all()
    assert all(len(set(each)) == 3 for each in drawn.reshape(-1, 3).tolist())
    alone = without_replacement(0, 1, np.array([1]), population[1:], 3, largest)
    assert np.array_equal(alone[0], drawn[1])
